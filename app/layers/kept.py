"""Answers that were given before are given again from memory, while nothing that is served has changed.

What many ask (the page's examples, a link that is passed around, the map tiles of one heat-map) is worked out once.
The stages' times in such an answer are those of its making; its header Age says how long ago that was.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.answers.etags import is_known
from app.policies import ANEW, Cost, PolicyOf

MOST_OF_ONE = 1 << 20  # bytes; a larger answer is asked for once, to be stored elsewhere
OVERHEAD_BYTES = 2048  # of an answer beside its body: headers, address, the objects themselves
REPEATED_BY_304 = frozenset((b"etag", b"cache-control", b"vary"))

Key = tuple[str, bytes, bool]


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole answer, packed or not, as the layers within have made it."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    etag: str
    route: Any
    made_s: float


class KeptAnswers:
    """The last answers, the least recently asked for going first. Used from the event loop only."""

    def __init__(self, most_bytes: int) -> None:
        """Start with none."""
        self.most_bytes = most_bytes
        self.bytes = 0
        self._answers: OrderedDict[Key, Kept] = OrderedDict()
        self._state: object = None

    def get(self, key: Key, state: object) -> Kept | None:
        """The answer to a request in a state of what is served."""
        if state is not self._state:
            self._answers.clear()
            self._state, self.bytes = state, 0
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        return found

    def put(self, key: Key, state: object, answer: Kept) -> None:
        """Keep an answer that was begun in a state, unless that is over."""
        if state is not self._state or key in self._answers:
            return
        self._answers[key] = answer
        self.bytes += len(answer.body) + OVERHEAD_BYTES
        while self.bytes > self.most_bytes:
            _, gone = self._answers.popitem(last=False)
            self.bytes -= len(gone.body) + OVERHEAD_BYTES


class KeptMiddleware:
    """Answers from memory where the same was asked before; the guards further out have seen the request already."""

    def __init__(self, app: ASGIApp, policy_of: PolicyOf, *, state: Callable[[], object], most_bytes: int) -> None:
        """Wrap an application.

        Args:
            app: what answers.
            policy_of: tells what is tagged, and so decided by the URL and by what is served alone.
            state: an object that is another one when anything served has changed.
            most_bytes: of all answers kept.
        """
        self.app = app
        self.policy_of = policy_of
        self.state = state
        self.answers = KeptAnswers(most_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on and keep what comes back."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        policy, headers = self.policy_of(scope), Headers(scope=scope)
        if not policy.tagged or policy.cost is not Cost.SEARCH or "range" in headers:
            await self.app(scope, receive, send)
            return
        state = self.state()
        key = (scope["path"], scope["query_string"], "gzip" in headers.get("accept-encoding", ""))
        kept = self.answers.get(key, state)
        if kept is None:
            await self.app(scope, receive, self._keeping(scope, key, state, send))
            return
        scope["route"] = kept.route  # the metrics name requests by it
        await _give(kept, headers.get("if-none-match"), send)

    def _keeping(self, scope: Scope, key: Key, state: object, send: Send) -> Send:
        """A `send` that keeps what it passes on."""
        start: tuple[tuple[bytes, bytes], ...] | None = None
        body = bytearray()

        async def noted(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = tuple(message["headers"]) if message["status"] == 200 else None
            elif start is not None:
                body.extend(message.get("body", b""))
                if len(body) > MOST_OF_ONE:
                    start = None
                elif not message.get("more_body", False):
                    self._keep(scope, key, state, start, bytes(body))
            await send(message)

        return noted

    def _keep(
        self, scope: Scope, key: Key, state: object, headers: tuple[tuple[bytes, bytes], ...], body: bytes
    ) -> None:
        etag = next((value for name, value in headers if name.lower() == b"etag"), b"").decode("latin-1")
        if etag and not scope.get(ANEW):
            self.answers.put(key, state, Kept(headers, body, etag, scope.get("route"), time.monotonic()))


async def _give(kept: Kept, known: str | None, send: Send) -> None:
    age = (b"age", str(int(time.monotonic() - kept.made_s)).encode())
    if known and is_known(known, kept.etag):
        named = [(name, value) for name, value in kept.headers if name.lower() in REPEATED_BY_304]
        await send({"type": "http.response.start", "status": 304, "headers": [*named, age]})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [*kept.headers, age]})
    await send({"type": "http.response.body", "body": kept.body})
