"""How much work is taken on at once: a bounded queue in front of the search, refusal beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import error_response
from app.failures import ClientGoneError, OverloadedError
from app.policies import Cost, PolicyOf


class Gate:
    """Lets `running` requests work and `waiting` more wait; a request beyond that is refused at once.

    Used from the event loop only, so that plain counters are safe.
    """

    def __init__(self, running: int, waiting: int, max_wait_s: float) -> None:
        """Start with every place free."""
        self._running = asyncio.Semaphore(running)
        self._max_waiting = waiting
        self._max_wait_s = max_wait_s
        self.waiting = 0
        self.at_work = 0

    async def enter(self, gone: Callable[[], Awaitable[None]]) -> None:
        """Take a place, or wait for one.

        Args:
            gone: returns when the client has gone.

        Raises:
            OverloadedError: too many wait already, or none came free in time.
            ClientGoneError: nobody waits for the answer any more.
        """
        if self._running.locked():
            if self.waiting >= self._max_waiting:
                raise OverloadedError(
                    f"{self.waiting} requests are waiting already, the most this service allows; try again soon"
                )
            self.waiting += 1
            try:
                await self._wait(gone)
            finally:
                self.waiting -= 1
        else:
            await self._running.acquire()
        self.at_work += 1

    async def _wait(self, gone: Callable[[], Awaitable[None]]) -> None:
        turn, left = asyncio.ensure_future(self._running.acquire()), asyncio.ensure_future(gone())
        taken = False
        try:
            await asyncio.wait((turn, left), timeout=self._max_wait_s, return_when=asyncio.FIRST_COMPLETED)
            taken = turn.done()
        finally:
            left.cancel()
            if not taken and not turn.cancel():  # it came in the very moment of giving up
                self._running.release()
        if not taken and left.done():
            raise ClientGoneError("the client went before its turn came")
        if not taken:
            raise OverloadedError(f"no place came free within {self._max_wait_s:g} s; try again soon")

    def leave(self) -> None:
        self.at_work -= 1
        self._running.release()


async def gone(request: Request) -> None:
    """Return when the client has gone; the body has been read before anybody waits."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def hold_place(request: Request) -> AsyncIterator[None]:
    """Hold a place in the gate while the endpoint works."""
    gate: Gate = request.app.state.gate
    with request.app.state.metrics.timed("wait"):
        await gate.enter(lambda: gone(request))
    try:
        yield
    finally:
        gate.leave()


async def hold_export(request: Request) -> AsyncIterator[None]:
    """Hold one of the few places for exports while the file is written."""
    gate: Gate = request.app.state.export_gate
    await gate.enter(lambda: gone(request))
    try:
        yield
    finally:
        gate.leave()


class LoadMiddleware:
    """Refuses a GET while too many others wait for their answers.

    Tiles, pictures and items pass no gate: they are quick, but would otherwise queue for threads without end. Bodies
    are left out, since they may come slowly; what takes one passes the gate.
    """

    def __init__(self, app: ASGIApp, policy_of: PolicyOf, most: int) -> None:
        """Start with nothing under way."""
        self.app = app
        self.policy_of = policy_of
        self.most = most
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request from here to the start of its answer."""
        counted = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if not counted or self.policy_of(scope).cost is Cost.PROBE:
            await self.app(scope, receive, send)
            return
        if self.under_way >= self.most:
            error = OverloadedError(f"{self.most} requests are under way, the most this service allows; try again soon")
            await error_response(Request(scope), error)(scope, receive, send)
            return
        self.under_way += 1
        counts = True

        def answered() -> None:
            nonlocal counts
            self.under_way -= counts
            counts = False

        async def noted(message: Message) -> None:
            answered()
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            answered()
