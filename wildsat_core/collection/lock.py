"""One writer at a time: a lock that the operating system drops when its process dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wildsat_core.errors import CollectionLockedError
from wildsat_core.files import advice_when_full

LOCK_FILE = "LOCK"
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
    try:
        lock = FileLock(root / LOCK_FILE, mode=0o644).acquire(timeout=wait_s, poll_interval=_POLL_S)
    except Timeout:
        raise CollectionLockedError(
            f"another process is writing to {root}; wait for it to end, or give a longer --wait"
        ) from None
    with lock, advice_when_full(root):  # whoever writes holds the lock
        yield
