"""Bodies are counted as they arrive, so that neither a false nor a missing Content-Length lets more in."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import error_response

MULTIPART_OVERHEAD = 64 * 1024  # boundaries, part headers and the small fields beside a picture
UPLOAD_PATH = "/search/image"


class BodyLimitMiddleware:
    """Refuses a body beyond the limit of its kind with 413."""

    def __init__(self, app: ASGIApp, json_bytes: int, upload_bytes: int) -> None:
        """Wrap an application."""
        self.app = app
        self.json_bytes = json_bytes
        self.upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse by the announced length at once, else count."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        limit = self._limit(scope["path"])
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            await error_response(request, _too_large(limit))(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _too_large(limit)
            return message

        await self.app(scope, counted, send)

    def _limit(self, path: str) -> int:
        return self.upload_bytes + MULTIPART_OVERHEAD if path.endswith(UPLOAD_PATH) else self.json_bytes


def _too_large(limit: int) -> HTTPException:
    # The framework's own exception: while it reads a body it turns every other kind into a plain 400.
    return HTTPException(413, f"the body is larger than {limit} bytes, the most that is taken here")
