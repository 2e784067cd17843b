"""Who is asking and how often: API keys or addresses, a token bucket for each."""

from __future__ import annotations

import hmac
import ipaddress
import time
from pathlib import Path

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import error_response
from app.failures import KeyRequiredError, RateLimitedError
from app.layers.proxies import read_address
from app.layers.rates import TokenBuckets
from app.policies import Key, PolicyOf
from app.requests.parameters import RANKING
from app.settings import Settings
from wildsat_core.errors import WildsatError


class ClientsMiddleware:
    """Knows clients by key or address; refuses those without a needed key or beyond their rate."""

    def __init__(self, app: ASGIApp, policy_of: PolicyOf, settings: Settings, counted_in: Path | None) -> None:
        """Read keys and limits once.

        Args:
            app: what answers.
            policy_of: tells what needs a key.
            settings: the keys and the rate.
            counted_in: file in which several processes count together, None for one.
        """
        self.app = app
        self.policy_of = policy_of
        self.keys = settings.api_keys
        self.require_key = settings.require_key
        self.buckets = (
            TokenBuckets(settings.rate_per_minute, settings.rate_burst, counted_in)
            if settings.rate_per_minute
            else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 429."""
        if scope["type"] != "http" or self._is_open(scope):
            await self.app(scope, receive, send)
            return
        try:
            self._admit(HTTPConnection(scope))
        except WildsatError as error:
            await error_response(Request(scope), error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["method"] == "OPTIONS" or self.policy_of(scope).key is Key.OPEN

    def _is_keyless(self, connection: HTTPConnection) -> bool:
        """The page stays open, a search that it would make on the way does not; nor what its script asks of the API."""
        asked = connection.query_params.multi_items()
        searches = any(value and name in RANKING for name, value in asked)
        return self.policy_of(connection.scope).key is Key.PAGE and not searches

    def _admit(self, connection: HTTPConnection) -> None:
        try:
            key = self._known_key(connection)
        except KeyRequiredError:
            self._charge(f"address {_counted(connection)}")  # guessing is not free
            raise
        if self.require_key and key is None and not self._is_keyless(connection):
            raise KeyRequiredError(
                "this service needs an API key; send it in the header X-API-Key or as a Bearer token"
            )
        self._charge(f"key {key}" if key is not None else f"address {_counted(connection)}")

    def _charge(self, client: str) -> None:
        """Take a token of a client's.

        Raises:
            RateLimitedError: it has none left.
        """
        wait_s = self.buckets.take(client, time.monotonic()) if self.buckets is not None else 0.0
        if wait_s > 0:
            raise RateLimitedError(f"too many requests; the next one is allowed in {wait_s:.1f} s", wait_s)

    def _known_key(self, connection: HTTPConnection) -> int | None:
        """Number of the key that was sent, None without one; comparing takes as long whatever fits."""
        sent = connection.headers.get("x-api-key") or ""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if not sent and scheme.lower() == "bearer":
            sent = token.strip()
        matches = [number for number, key in enumerate(self.keys) if hmac.compare_digest(key.encode(), sent.encode())]
        if sent and not matches:
            raise KeyRequiredError("the API key is not known")
        return matches[0] if matches else None


def _counted(connection: HTTPConnection) -> str:
    """What a client without a key is counted by: its address, or its /64, which an IPv6 client owns at least."""
    told = connection.client.host if connection.client else "unknown"
    address = read_address(told)
    if address is None:
        return told[:64]
    return str(address if address.version == 4 else ipaddress.IPv6Network((address, 64), strict=False))
