"""Thumbnails of a segment: WebP pictures one after another in a file that begins with where each of them lies."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from wildsat_core.collection.connections import FileReader
from wildsat_core.errors import CollectionFormatError

THUMBNAILS_FILE: Final = "thumbs.bin"
THUMBNAILS_FILE_1: Final = "thumbs.sqlite"  # of version 1


class Thumbnails(Protocol):
    """Reads thumbnails from any thread."""

    def get(self, row: int) -> bytes | None:
        """WebP bytes of a row of the segment, None when it has no picture.

        Raises:
            CollectionFormatError: the file is damaged or gone.
        """
        ...


def open_thumbnails(folder: Path) -> Thumbnails:
    """Those of a segment, of either version; files are opened when a picture is read."""
    older = folder / THUMBNAILS_FILE_1
    return SqliteThumbnails(older) if older.exists() else PackedThumbnails(folder / THUMBNAILS_FILE)


def write_thumbnails(path: Path, thumbnails: Sequence[bytes | None]) -> None:
    """Write N + 1 offsets from the start of the file, uint64 little-endian, then the pictures.

    Row i has what lies between offsets i and i + 1; nothing where it is None.
    """
    sizes = [len(picture or b"") for picture in thumbnails]
    offsets = np.cumsum([8 * (len(sizes) + 1), *sizes], dtype="<u8")
    with path.open("wb") as file:
        file.write(offsets.tobytes())
        file.writelines(picture for picture in thumbnails if picture)


class PackedThumbnails:
    """Reads what `write_thumbnails` wrote: 16 bytes, then the picture."""

    def __init__(self, path: Path) -> None:
        """Open lazily."""
        self._path = path

    def get(self, row: int) -> bytes | None:
        """As `Thumbnails` says."""
        try:
            with self._path.open("rb", buffering=0) as file:
                start, end = np.frombuffer(_read(file.fileno(), 16, 8 * row), "<u8").tolist()
                if not 8 <= start <= end <= os.fstat(file.fileno()).st_size:
                    raise ValueError(f"row {row} is said to lie from {start} to {end}")
                return _read(file.fileno(), end - start, start) or None
        except (OSError, ValueError) as err:
            raise CollectionFormatError(f"the thumbnails in {self._path} can't be read: {err}") from err


def _read(descriptor: int, size: int, at: int) -> bytes:
    os.lseek(descriptor, at, os.SEEK_SET)
    found = os.read(descriptor, size)
    if len(found) != size:
        raise ValueError(f"it ends at {at + len(found)}, not {at + size}")
    return found


class SqliteThumbnails:
    """Reads the SQLite file of version 1, which has the pictures by row."""

    def __init__(self, path: Path) -> None:
        """Connect lazily."""
        self._path = path
        self._file = FileReader(path)

    def get(self, row: int) -> bytes | None:
        """As `Thumbnails` says."""
        try:
            with self._file.connection() as connection:
                found = connection.execute("SELECT webp FROM thumbs WHERE row = ?", (row,)).fetchone()
        except sqlite3.DatabaseError as err:
            raise CollectionFormatError(f"the thumbnails in {self._path} can't be read: {err}") from err
        return bytes(found[0]) if found else None
