"""Bodies are counted and timed as they arrive, so that neither a false nor a missing Content-Length lets more in."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import error_response
from app.failures import UnexpectedBodyError
from app.policies import Body, PolicyOf

MULTIPART_OVERHEAD = 64 * 1024  # boundaries, part headers and the small fields beside a picture
MOST_UPLOADS_HELD = 8  # bodies of requests under way hold no more than so many of the largest uploads, together
PATIENCE_S = 30.0  # for a whole body


class BodyLimitMiddleware:
    """Refuses a body beyond the limit of its kind with 413, one that comes too slowly with 408.

    What all bodies under way hold is limited, too; beyond it the answer is 503.
    """

    def __init__(self, app: ASGIApp, policy_of: PolicyOf, json_bytes: int, upload_bytes: int) -> None:
        """Wrap an application; nothing is held yet."""
        self.app = app
        self.policy_of = policy_of
        self.upload_bytes = upload_bytes
        self.limits = {Body.NONE: json_bytes, Body.JSON: json_bytes, Body.PICTURE: upload_bytes + MULTIPART_OVERHEAD}
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse by the announced length at once, else count."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        body = self.policy_of(scope).body
        limit = self.limits[body]
        announced = request.headers.get("content-length", "")
        comes = announced not in ("", "0") or "transfer-encoding" in request.headers
        if body is Body.NONE and comes and scope["method"] in ("GET", "HEAD"):
            refusal = UnexpectedBodyError("this address takes no body; what is asked stands in the URL")
            await error_response(request, refusal)(scope, receive, send)
            return
        if announced.isdigit() and int(announced) > limit:
            await error_response(request, _too_large(limit))(scope, receive, send)
            return
        taken, whole, deadline = 0, False, 0.0

        async def counted() -> Message:
            nonlocal taken, whole, deadline
            if whole:  # what comes now is the end of the connection, for which there is no hurry
                return await receive()
            deadline = deadline or asyncio.get_running_loop().time() + PATIENCE_S
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as err:
                raise HTTPException(408, f"the body did not come within {PATIENCE_S:g} s") from err
            size = len(message.get("body", b""))
            whole = not message.get("more_body", False)
            taken, self.held = taken + size, self.held + size
            if taken > limit:
                raise _too_large(limit)
            if self.held > MOST_UPLOADS_HELD * self.upload_bytes:
                raise HTTPException(503, "too many large requests are under way; try again soon", {"Retry-After": "1"})
            return message

        try:
            await self.app(scope, counted, send)
        finally:
            self.held -= taken


def _too_large(limit: int) -> HTTPException:
    # The framework's own exception: while it reads a body it turns every other kind into a plain 400.
    return HTTPException(413, f"the body is larger than {limit} bytes, the most that is taken here")
