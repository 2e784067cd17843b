"""The collection's own imagery as map tiles: a picture of the globe turned into Web Mercator, in one MBTiles file."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.map_tiles import MapTile, write_map_tiles

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
    """
    zooms = range(max_zoom, -1, -1)
    facts = {
        "format": "jpg",
        "type": "baselayer",
        "minzoom": "0",
        "maxzoom": str(max_zoom),
        "bounds": "-180,-85.0511,180,85.0511",
        "tile_size": str(MAP_TILE_PX),
        **metadata,
    }
    return write_map_tiles(path, (tile for zoom in zooms for tile in _zoom_tiles(picture, zoom)), facts)


def _zoom_tiles(picture: Image, zoom: int) -> Iterator[MapTile]:
    """Each map tile of a zoom as JPEG."""
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
            yield MapTile(zoom, column, row, buffer.getvalue())


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
