"""Web Mercator map tiles as places: zoom, column and row to a box of degrees."""

from __future__ import annotations

import math
from collections.abc import Iterator

from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import KM_PER_DEGREE
from wildsat_core.types import BBox

MAX_ZOOM = 24
MAX_LATITUDE = 85.0511287798066


def map_tile_box(zoom: int, column: int, row: int) -> BBox:
    """Box of a map tile, row 0 in the north."""
    across = 1 << zoom

    def latitude(y: int) -> float:
        return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * y / across))))

    west, east = (x / across * 360.0 - 180.0 for x in (column, column + 1))
    return BBox(west, latitude(row + 1), east, latitude(row))


def pixel_m(box: BBox, pixels: int) -> float:
    """Ground size of a map tile's pixel: of its height, which in this projection shrinks towards the poles."""
    return (box.north - box.south) * KM_PER_DEGREE * 1000 / pixels


def map_tiles_in(box: BBox, zoom: int) -> Iterator[tuple[int, int]]:
    """Columns and rows of the map tiles whose centre lies in a box, from north to south.

    Raises:
        InvalidInputError: the zoom is out of range.
    """
    if not 0 <= zoom <= MAX_ZOOM:
        raise InvalidInputError(f"zoom must lie in 0..{MAX_ZOOM}, got {zoom}", "zoom")
    across = 1 << zoom
    columns = [x for west, east in _runs(box) for x in range(_first(west, across), _last(east, across) + 1)]
    top, bottom = (math.floor(_mercator_y(lat, across)) for lat in (box.north, box.south))
    for row in range(max(top, 0), min(bottom, across - 1) + 1):
        if box.south <= map_tile_box(zoom, 0, row).centre[1] <= box.north:
            yield from ((column, row) for column in columns)


def _runs(box: BBox) -> list[tuple[float, float]]:
    if box.crosses_antimeridian:
        return [(-180.0, box.east), (box.west, 180.0)]
    return [(box.west, box.east)]


def _first(west: float, across: int) -> int:
    return max(math.ceil((west + 180.0) / 360.0 * across - 0.5), 0)


def _last(east: float, across: int) -> int:
    return min(math.floor((east + 180.0) / 360.0 * across - 0.5), across - 1)


def _mercator_y(lat: float, across: int) -> float:
    clipped = math.radians(min(max(lat, -MAX_LATITUDE), MAX_LATITUDE))
    return (1 - math.asinh(math.tan(clipped)) / math.pi) / 2 * across
