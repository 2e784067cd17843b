"""Map tiles of a collection's own imagery, read from MBTiles (https://github.com/mapbox/mbtiles-spec)."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from wildsat_core.errors import CollectionFormatError

MEDIA_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class Imagery:
    """Reads pictures by zoom, column and row from any thread; each thread has a connection of its own.

    Raises:
        CollectionFormatError: not an MBTiles file, or its pictures are of a kind that browsers don't show.
    """

    def __init__(self, path: Path) -> None:
        """Read the metadata; the file never changes, so SQLite may skip its locks."""
        self._uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._local = threading.local()
        try:
            self.metadata = dict(self._connection().execute("SELECT name, value FROM metadata").fetchall())
        except sqlite3.DatabaseError as err:
            raise CollectionFormatError(f"{path} can't be read as MBTiles: {err}") from err
        kind = self.metadata.get("format", "")
        if kind not in MEDIA_TYPES:
            raise CollectionFormatError(f"{path} has pictures of format {kind!r}; jpg, png and webp are served")
        self.media_type = MEDIA_TYPES[kind]

    @property
    def zooms(self) -> tuple[int, int]:
        """Least and greatest zoom."""
        return int(self.metadata.get("minzoom", 0)), int(self.metadata.get("maxzoom", 0))

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """Picture of a map tile with row 0 in the north, None where there is none."""
        row = (1 << z) - 1 - y  # MBTiles counts rows from the south
        query = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
        found = self._connection().execute(query, (z, x, row)).fetchone()
        return bytes(found[0]) if found else None

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(self._uri, uri=True)
        return connection
