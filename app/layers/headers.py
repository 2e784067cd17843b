"""The outermost layer: a request id, security headers on every answer, one access-log line without the query."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence

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
    ]
)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), payment=(), usb=()",
}


class HeadersMiddleware:
    """Adds what every answer carries, errors included."""

    def __init__(
        self,
        app: ASGIApp,
        policy_of: PolicyOf,
        *,
        allow_cross_origin: bool = False,
        embed_origins: Sequence[str] = (),
        log_queries: bool = False,
    ) -> None:
        """Wrap an application.

        Args:
            app: what it is.
            policy_of: gives the policy of a request.
            allow_cross_origin: whether pages elsewhere may load its resources.
            embed_origins: web origins whose pages may show its pages in a frame.
            log_queries: whether query strings are logged.
        """
        self.app = app
        self.policy_of = policy_of
        self.log_queries = log_queries
        ancestors = " ".join(embed_origins) or "'none'"
        self.headers = SECURITY_HEADERS | {
            "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors {ancestors}",
            **({} if embed_origins else {"X-Frame-Options": "DENY"}),
            "Cross-Origin-Resource-Policy": "cross-origin" if allow_cross_origin else "same-origin",
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
