"""Small files that several machines agree on, plans and receipts: in a collection's folder, or in its store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from wildsat_core.collection.mirror import mirror_of
from wildsat_core.files import TEMPORARY_PREFIX, put_text_if_absent, write_text_atomically


def read_shared(root: Path, key: str) -> bytes | None:
    """A file by its path within the collection, None where there is none."""
    if mirror := mirror_of(root):
        return mirror.get(key)
    try:
        return (root / key).read_bytes()
    except FileNotFoundError:
        return None


def put_shared_if_absent(root: Path, key: str, text: str) -> bool:
    """Write a file whole unless there is one; of several writers at once exactly one succeeds.

    Returns:
        Whether this one did.
    """
    if mirror := mirror_of(root):
        return mirror.put_if_absent(key, text.encode())
    return put_text_if_absent(root / key, text)


def write_shared(root: Path, key: str, text: str) -> None:
    """Write a file whole; one that is there is replaced."""
    if mirror := mirror_of(root):
        mirror.put(key, text.encode())
    else:
        write_text_atomically(root / key, text)


def list_shared(root: Path, folder: str) -> list[str]:
    """Paths of the files below a folder of the collection, sorted; others may remove some meanwhile."""
    if mirror := mirror_of(root):
        return sorted(one.key for one in mirror.objects(f"{folder}/"))
    below = os.walk(root / folder, onerror=_unless_gone)
    found = (Path(path, name) for path, _, names in below for name in names if not name.startswith(TEMPORARY_PREFIX))
    return sorted(path.relative_to(root).as_posix() for path in found)


def _unless_gone(err: OSError) -> None:
    if not isinstance(err, FileNotFoundError):
        raise err


def remove_shared(root: Path, keys: Iterable[str]) -> None:
    """Remove files, in order; those that are gone already do no harm."""
    if mirror := mirror_of(root):
        mirror.delete(keys)
        return
    for key in keys:
        (root / key).unlink(missing_ok=True)
