"""HEAD wherever GET is answered: the same status and headers, no body."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """Has the routes answer a HEAD as they would a GET, and keeps the body back.

    One layer rather than a method more on every route, so that no route can forget it and ETag, type and length can't
    differ between the two.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as a GET; layers further out still see the HEAD."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["route"] = asked.get("route")  # the metrics name requests by it
                await send(message)
            elif message["type"] == "http.response.body":
                await send({**message, "body": b""})

        try:
            await self.app(asked, receive, bodiless)
        except Exception:
            scope["route"] = asked.get("route")
            raise
