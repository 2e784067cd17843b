"""Thumbnails of a segment: WebP pictures by row in one read-only SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

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
    """Reads thumbnails from any thread; each thread has a connection of its own."""

    def __init__(self, path: Path) -> None:
        """Connect lazily; `immutable` lets SQLite skip locks on a file that never changes."""
        self._path = path
        self._uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._local = threading.local()

    def get(self, row: int) -> bytes | None:
        """WebP bytes of a row of the segment, None when it has no picture.

        Raises:
            CollectionFormatError: the file is damaged.
        """
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(self._uri, uri=True)
        try:
            found = connection.execute("SELECT webp FROM thumbs WHERE row = ?", (row,)).fetchone()
        except sqlite3.DatabaseError as err:
            raise CollectionFormatError(f"the thumbnails in {self._path} are damaged: {err}") from err
        return bytes(found[0]) if found else None
