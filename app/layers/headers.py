"""The outermost layer: a request id, security headers on every answer, one access-log line without the query."""

from __future__ import annotations

import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.policies import Cost, PolicyOf

access = logging.getLogger("wildsat.access")

# No inline script or style anywhere; MapLibre's worker is a file of our own, and the map's pictures arrive as blobs.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), payment=(), usb=()",
}


class HeadersMiddleware:
    """Adds what every answer carries, errors included."""

    def __init__(
        self, app: ASGIApp, policy_of: PolicyOf, *, allow_cross_origin: bool = False, log_queries: bool = False
    ) -> None:
        """Wrap an application; resources may be embedded elsewhere only where CORS is configured."""
        self.app = app
        self.policy_of = policy_of
        self.log_queries = log_queries
        self.headers = SECURITY_HEADERS | {
            "Cross-Origin-Resource-Policy": "cross-origin" if allow_cross_origin else "same-origin"
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the request an id, pass it on, and decorate the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope["wildsat.request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def decorated(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
                headers["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, decorated)
        finally:
            self._log(scope, status, time.perf_counter() - started, request_id)

    def _log(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        path = scope["path"]
        probed = self.policy_of(scope).cost is Cost.PROBE  # every second, and saying nothing
        level = logging.DEBUG if probed else logging.INFO
        if self.log_queries and scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        access.log(level, "%s %r %d %.1f ms %s", scope["method"], path, status, seconds * 1000, request_id)
