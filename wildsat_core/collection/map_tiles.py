"""Map tiles of a collection's own imagery, in one MBTiles file.

Rows are counted from the north here, and from the south in the file, as the specification has it:
https://github.com/mapbox/mbtiles-spec/blob/master/1.3/spec.md
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wildsat_core.collection.connections import FileReader
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
    """Reads pictures by zoom, column and row from any thread.

    Attributes:
        metadata: as the specification has it.
        media_type: of the pictures.
        tile_px: side of a picture in pixels, read from the first one.

    Raises:
        CollectionFormatError: not an MBTiles file, or its pictures are of a kind that browsers don't show.
    """

    def __init__(self, path: Path) -> None:
        """Read the metadata and one picture."""
        self._path = path
        self._file = FileReader(path)
        self.metadata = {str(name): str(value) for name, value in self._read("SELECT name, value FROM metadata")}
        kind = self.metadata.get("format", "")
        if kind not in MEDIA_TYPES:
            raise CollectionFormatError(f"{path} has pictures of format {kind!r}; jpg, png and webp are served")
        self.media_type = MEDIA_TYPES[kind]
        try:
            self.zooms = int(self.metadata.get("minzoom", 0)), int(self.metadata.get("maxzoom", 0))
        except ValueError as err:
            raise CollectionFormatError(f"{path} has a minzoom or maxzoom that is no number") from err
        first = self._read("SELECT tile_data FROM tiles LIMIT 1")
        self.tile_px = _side_px(bytes(first[0][0]), path) if first else 256

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """West, south, east and north of what there are pictures of; None where the file does not say."""
        try:
            west, south, east, north = map(float, self.metadata["bounds"].split(","))
        except (KeyError, ValueError):
            return None
        return west, south, east, north

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """Picture of a map tile with row 0 in the north, None where there is none.

        Raises:
            CollectionFormatError: the file is damaged or gone.
        """
        query = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
        found = self._read(query, z, x, _from_south(z, y))
        return bytes(found[0][0]) if found else None

    def _read(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        try:
            with self._file.connection() as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as err:
            raise CollectionFormatError(f"{self._path} can't be read as MBTiles: {err}") from err


def _side_px(picture: bytes, path: Path) -> int:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture)) as opened:
            return opened.width
    except (UnidentifiedImageError, OSError) as err:
        raise CollectionFormatError(f"{path} has pictures that can't be read: {err}") from err


def _from_south(zoom: int, row: int) -> int:
    return (1 << zoom) - 1 - row
