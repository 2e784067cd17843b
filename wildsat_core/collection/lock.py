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
    with _held(root, wait_s, f"is writing to {root}"), advice_when_full(root):  # whoever writes holds the lock
        yield


@contextmanager
def build_lock(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of one build: the same command twice on one machine would do all work twice.

    Args:
        folder: of the build.
        wait_s: how long to wait for the other one before giving up.

    Raises:
        CollectionLockedError: another process still does this build after `wait_s` seconds.
    """
    with _held(folder, wait_s, "does this very build"):
        yield


@contextmanager
def _held(folder: Path, wait_s: float, doing: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK_FILE, mode=0o644).acquire(timeout=wait_s, poll_interval=_POLL_S)
    except Timeout:
        raise CollectionLockedError(f"another process {doing}; wait for it to end, or give a longer --wait") from None
    with lock:
        yield
