"""The unforeseen becomes an answer below CORS and metrics, so that a page may read it and an alert can count it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import error_response


class CrashMiddleware:
    """Answers 500 for what no handler foresaw; the log has the rest."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer in the application's place when it fails before it has begun to."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise  # the connection must break for the client to notice
            await error_response(Request(scope), error)(scope, receive, send)
