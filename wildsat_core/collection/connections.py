"""A bounded number of open SQLite files, however many collections, segments and threads there are."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

MOST_IDLE = 64  # beside these, each thread that is reading just now has one open


class _Pool:
    """Connections that nobody uses just now, the longest unused of all readers going first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: OrderedDict[tuple[int, int], sqlite3.Connection] = OrderedDict()
        self._numbers = count()
        self._lock = threading.Lock()

    def take(self, reader: int) -> sqlite3.Connection | None:
        """One of a reader's, which is no longer idle then; None when it has none."""
        with self._lock:
            key = next((key for key in reversed(self._idle) if key[0] == reader), None)
            return self._idle.pop(key) if key else None

    def give(self, reader: int, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._idle[reader, next(self._numbers)] = connection
            over = [self._idle.popitem(last=False)[1] for _ in range(len(self._idle) - self._most)]
        for old in over:
            old.close()

    def forget(self, reader: int) -> None:
        with self._lock:
            gone = [self._idle.pop(key) for key in list(self._idle) if key[0] == reader]
        for connection in gone:
            connection.close()


_pool = _Pool(MOST_IDLE)
_readers = count()


class FileReader:
    """Reads an SQLite file that never changes, from any thread."""

    def __init__(self, path: Path) -> None:
        """Connect when it is read; `immutable` lets SQLite skip locks on a file that never changes."""
        self._uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._number = next(_readers)
        weakref.finalize(self, _pool.forget, self._number)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread alone until the block ends.

        Raises:
            sqlite3.DatabaseError: the file is gone, or no SQLite file; also from what is read with it.
        """
        held = _pool.take(self._number)
        if held is None:
            held = sqlite3.connect(self._uri, uri=True, check_same_thread=False)
        try:
            yield held
        except BaseException:
            held.close()
            raise
        _pool.give(self._number, held)
