"""The collection's own imagery as map tiles: a picture of the globe turned into Web Mercator, in one MBTiles file."""

from __future__ import annotations

import io
import math
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

MAP_TILE_PX: Final = 512
JPEG_QUALITY: Final = 82

Picture = npt.NDArray[np.uint8]


def write_imagery(path: Path, picture: Image, max_zoom: int, metadata: Mapping[str, str]) -> int:
    """Write zooms 0 to `max_zoom` of a plate carree picture of the whole globe.

    Args:
        path: the MBTiles file; written aside and renamed when whole.
        picture: RGB, row 0 at +90 degrees, column 0 at -180 degrees.
        max_zoom: the finest zoom; the picture is enlarged where it has fewer pixels.
        metadata: name, attribution and description, as the MBTiles specification has them.

    Returns:
        Number of map tiles.

    Source: https://github.com/mapbox/mbtiles-spec/blob/master/1.3/spec.md
    """
    aside = path.with_name(f".tmp-{path.name}")
    aside.unlink(missing_ok=True)
    connection = sqlite3.connect(aside)
    try:
        connection.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
        connection.execute(
            "CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB, "
            "PRIMARY KEY (zoom_level, tile_column, tile_row)) WITHOUT ROWID"
        )
        facts = {
            "format": "jpg",
            "type": "baselayer",
            "minzoom": "0",
            "maxzoom": str(max_zoom),
            "bounds": "-180,-85.0511,180,85.0511",
            "tile_size": str(MAP_TILE_PX),
            **metadata,
        }
        connection.executemany("INSERT INTO metadata VALUES (?, ?)", facts.items())
        for zoom in range(max_zoom, -1, -1):
            connection.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", _zoom_tiles(picture, zoom))
        connection.commit()
        count = int(connection.execute("SELECT count(*) FROM tiles").fetchone()[0])
    finally:
        connection.close()
    aside.replace(path)
    return count


def _zoom_tiles(picture: Image, zoom: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Zoom, column, row (from the south, as MBTiles counts) and JPEG of each map tile of a zoom."""
    from PIL import Image

    across = 1 << zoom
    side = across * MAP_TILE_PX
    # Longitude is linear in both pictures, so columns are a plain resize. Rows are made as fine as the map's finest
    # row and then picked by latitude; reducing before picking keeps low zooms free of aliasing.
    height = min(picture.height, side)
    narrow = np.asarray(picture.resize((side, height), Image.Resampling.LANCZOS))
    for row in range(across):
        strip = _mercator_rows(narrow, row * MAP_TILE_PX, side)
        for column in range(across):
            square = strip[:, column * MAP_TILE_PX : (column + 1) * MAP_TILE_PX]
            buffer = io.BytesIO()
            Image.fromarray(square).save(buffer, "JPEG", quality=JPEG_QUALITY)
            yield zoom, column, across - 1 - row, buffer.getvalue()


def _mercator_rows(picture: Picture, first: int, side: int) -> Picture:
    """Map rows first..first + 512 of a Web Mercator map of `side` pixels, by linear interpolation between rows."""
    y = (np.arange(first, first + MAP_TILE_PX) + 0.5) / side
    lat = np.degrees(np.arctan(np.sinh(math.pi * (1 - 2 * y))))
    at = (90.0 - lat) / 180.0 * len(picture) - 0.5
    upper = np.clip(np.floor(at).astype(int), 0, len(picture) - 1)
    lower = np.minimum(upper + 1, len(picture) - 1)
    share = np.clip(at - upper, 0, 1)[:, None, None].astype(np.float32)
    mixed = picture[upper] * (1 - share) + picture[lower] * share
    rows: Picture = np.rint(mixed).astype(np.uint8)
    return rows
