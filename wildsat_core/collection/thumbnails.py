"""Thumbnails of a segment: WebP pictures by row in one read-only SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from wildsat_core.collection.connections import FileReader
from wildsat_core.errors import CollectionFormatError


def write_thumbnails(path: Path, thumbnails: Iterable[bytes | None]) -> None:
    """Write row i's picture under row i; None leaves the row out."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")  # the file is written aside and renamed when whole
        connection.execute("CREATE TABLE thumbs (row INTEGER PRIMARY KEY, webp BLOB NOT NULL)")
        rows = ((row, webp) for row, webp in enumerate(thumbnails) if webp is not None)
        connection.executemany("INSERT INTO thumbs VALUES (?, ?)", rows)
        connection.commit()
    finally:
        connection.close()


class Thumbnails:
    """Reads thumbnails from any thread."""

    def __init__(self, path: Path) -> None:
        """Connect lazily."""
        self._path = path
        self._file = FileReader(path)

    def get(self, row: int) -> bytes | None:
        """WebP bytes of a row of the segment, None when it has no picture.

        Raises:
            CollectionFormatError: the file is damaged or gone.
        """
        try:
            with self._file.connection() as connection:
                found = connection.execute("SELECT webp FROM thumbs WHERE row = ?", (row,)).fetchone()
        except sqlite3.DatabaseError as err:
            raise CollectionFormatError(f"the thumbnails in {self._path} can't be read: {err}") from err
        return bytes(found[0]) if found else None
