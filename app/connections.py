"""Connections are bounded: those that ask nothing, ask slowly or don't read make room for who wants an answer.

uvicorn ends a connection that stays silent after an answer. One that never asks, sends half a head, or does not read
its answer it would keep for ever, until no descriptor is left for anybody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wildsat_core.machine import open_files

HEAD_S = 10.0  # from the beginning of a connection, or the end of an answer, to the end of a request's head
UNREAD_S = 60.0  # while the client takes nothing of an answer
HEAD_BYTES = 64 * 1024  # of a request's head
OTHER_FILES = 400  # open files that are no connections: collections, their pictures, libraries

log = logging.getLogger(__name__)


def affordable(most: int) -> int:
    """How many connections this process can hold: as many as wanted, or what its limit of open files leaves."""
    files = open_files(most + OTHER_FILES)
    if files is None or files >= most + OTHER_FILES:
        return most
    held = max(files - OTHER_FILES, files // 4)
    log.warning("%d open files leave room for %d connections, not for %d; see ulimit -n", files, held, most)
    return held


class Room:
    """The connections of one server that wait for a request's head, the longest waiting first."""

    def __init__(self, most: int) -> None:
        """Start with none.

        Args:
            most: connections altogether; beyond, the longest waiting one is ended for a new one.
        """
        self.most = most
        self.waiting: OrderedDict[BoundedProtocol, None] = OrderedDict()

    def protocol(self, *args: Any, **options: Any) -> BoundedProtocol:  # noqa: ANN401 - uvicorn's own
        """A protocol for one connection, as uvicorn's setting `http` takes it."""
        return BoundedProtocol(self, *args, **options)


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection, under the limits of its room."""

    def __init__(self, room: Room, *args: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Belong to a room."""
        super().__init__(*args, **options)
        self._room = room
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # of a head that is not whole yet
        self._in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for it, or end it at once where all others are being answered."""
        super().connection_made(transport)
        if len(self.connections) > self._room.most:
            oldest = next(iter(self._room.waiting), self)
            oldest._end()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a head is whole; refuse one that becomes too long."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request may have {HEAD_BYTES} bytes.")
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole.

        Raises:
            ValueError: it is too long; the parser makes a 400 of it.
        """
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD_BYTES:
            raise ValueError("the head is too long")
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait()
        super().on_response_complete()
        if not self.cycle.response_complete:  # the next one was here already
            self._wait_no_more()

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is made."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self._end)

    def resume_writing(self) -> None:
        """It has taken some."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the room."""
        self._wait_no_more()
        super().connection_lost(exc)
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _wait(self) -> None:
        self._wait_no_more()
        if not self.transport.is_closing():
            self._room.waiting[self] = None
            self._deadline = self.loop.call_later(HEAD_S, self._end)

    def _wait_no_more(self) -> None:
        self._room.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        """End the connection without a word: what is not read can't be told anything, either."""
        self._wait_no_more()
        self.connections.discard(self)
        self.transport.abort()
