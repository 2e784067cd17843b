"""How much work is taken on at once: a bounded queue in front of the search, refusal beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from app.errors import OverloadedError


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

    async def enter(self) -> None:
        """Take a place, or wait for one.

        Raises:
            OverloadedError: too many wait already, or none came free in time.
        """
        if self._running.locked():
            if self.waiting >= self._max_waiting:
                raise OverloadedError(
                    f"{self.waiting} requests are waiting already, the most this service allows; try again soon"
                )
            self.waiting += 1
            try:
                await asyncio.wait_for(self._running.acquire(), self._max_wait_s)
            except TimeoutError as err:
                raise OverloadedError(f"no place came free within {self._max_wait_s:g} s; try again soon") from err
            finally:
                self.waiting -= 1
        else:
            await self._running.acquire()
        self.at_work += 1

    def leave(self) -> None:
        self.at_work -= 1
        self._running.release()


async def hold_place(request: Request) -> AsyncIterator[None]:
    """Hold a place in the gate while the endpoint works."""
    gate: Gate = request.app.state.gate
    await gate.enter()
    try:
        yield
    finally:
        gate.leave()


# Scope "function": the place is free again once the answer is computed, before a slow client has read it.
Gated = Annotated[None, Depends(hold_place, scope="function")]
