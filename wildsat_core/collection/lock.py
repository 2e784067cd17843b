"""One writer at a time: an advisory lock that the operating system drops when its process dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wildsat_core.errors import CollectionLockedError
from wildsat_core.files import advice_when_full

_POLL_S = 0.1


@contextmanager
def writer_lock(root: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the collection's writer lock.

    Args:
        root: folder of the collection, made if absent.
        wait_s: how long to wait for another writer before giving up.

    Raises:
        CollectionLockedError: another process still writes after `wait_s` seconds.
        DiskFullError: the block ran out of room.
    """
    root.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    descriptor = os.open(root / "LOCK", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise CollectionLockedError(
                        f"another process is writing to {root}; wait for it to end, or give a longer --wait"
                    ) from None
                time.sleep(_POLL_S)
        with advice_when_full(root):  # whoever writes holds the lock
            yield
    finally:
        os.close(descriptor)
