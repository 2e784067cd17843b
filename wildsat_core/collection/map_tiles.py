"""Map tiles of a collection's own imagery, in one MBTiles file.

Rows are counted from the north here, and from the south in the file, as the specification has it:
https://github.com/mapbox/mbtiles-spec/blob/master/1.3/spec.md
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from wildsat_core.errors import CollectionFormatError
from wildsat_core.files import TEMPORARY_PREFIX

MEDIA_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class MapTile(NamedTuple):
    """A picture at its place on the map: row 0 is the northernmost."""

    zoom: int
    column: int
    row: int
    picture: bytes


def write_map_tiles(path: Path, tiles: Iterable[MapTile], metadata: Mapping[str, str]) -> int:
    """Write an MBTiles file aside and rename it when it is whole.

    Args:
        path: the file; one that is there is replaced.
        tiles: in any order, each place once.
        metadata: as the specification has it: name, format, bounds, minzoom, maxzoom, attribution.

    Returns:
        Number of map tiles.
    """
    aside = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    aside.unlink(missing_ok=True)
    connection = sqlite3.connect(aside)
    try:
        connection.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
        connection.execute(
            "CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB, "
            "PRIMARY KEY (zoom_level, tile_column, tile_row)) WITHOUT ROWID"
        )
        connection.executemany("INSERT INTO metadata VALUES (?, ?)", metadata.items())
        rows = ((t.zoom, t.column, _from_south(t.zoom, t.row), t.picture) for t in tiles)
        connection.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", rows)
        connection.commit()
        count = int(connection.execute("SELECT count(*) FROM tiles").fetchone()[0])
    finally:
        connection.close()
    aside.replace(path)
    return count


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
        query = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
        found = self._connection().execute(query, (z, x, _from_south(z, y))).fetchone()
        return bytes(found[0]) if found else None

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(self._uri, uri=True)
        return connection


def _from_south(zoom: int, row: int) -> int:
    return (1 << zoom) - 1 - row
