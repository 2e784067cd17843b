"""The heat-map: how well every tile fits a query, painted as map tiles.

Each tile adds its percentile to the pixels that it covers (`pixels.py`): those of its outline where that can be told
from its box, else those of its box. At low zoom, where a map tile holds a large part of all tiles, pictures are cut
from pictures of the whole world made once per query.
"""

from __future__ import annotations

import functools
import io
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.filters import BlockBoxes
from wildsat_core.search.pixels import PixelSums, means
from wildsat_core.types import BBox

Grid = npt.NDArray[np.float32]

TILE_PX = 256
WORLD_ZOOM = 3  # the world picture is 2048 pixels wide: 20 km a pixel at the equator
MAX_ZOOM = 22
MAX_LATITUDE = 85.051129  # where Web Mercator is square
DEFAULT_FLOOR = 75.0
_FRACTIONS = 2.0**10  # of a percentile, far finer than any colour
_OUTLINED_PX = 4  # a tile smaller than this is painted as its box

# Anchors of a colour ramp whose lightness only rises (CIE L* 24 to 92), so that it reads the same in grey and with any
# kind of colour blindness: indigo, blue, teal, green, yellow.
_RAMP = np.array([[60, 28, 112], [52, 91, 161], [24, 145, 148], [112, 191, 98], [250, 229, 72]], np.float64)
_LEAST_ALPHA, _GREATEST_ALPHA = 70, 225


def mercator(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Web Mercator of degrees in units of the world's width: x from -180 degrees eastward, y from the north.

    Both of the shape of what is given.
    """
    phi = np.radians(np.clip(lat, -MAX_LATITUDE, MAX_LATITUDE))
    return np.asarray(lon, np.float64) / 360.0 + 0.5, 0.5 - np.arcsinh(np.tan(phi)) / (2 * np.pi)


def map_tile_bbox(z: int, x: int, y: int) -> BBox:
    """Degrees covered by a map tile.

    Raises:
        InvalidInputError: no such map tile.
    """
    check_map_tile(z, x, y)
    n = 2**z

    def lat(row: int) -> float:
        return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / n))))

    return BBox(x / n * 360 - 180, lat(y + 1), (x + 1) / n * 360 - 180, lat(y))


def check_map_tile(z: int, x: int, y: int) -> None:
    """Refuse map tiles outside the pyramid.

    Raises:
        InvalidInputError: z not in 0 to MAX_ZOOM, or x or y not in 0 to 2^z - 1.
    """
    if not 0 <= z <= MAX_ZOOM:
        raise InvalidInputError(f"map tile zoom must lie in 0 to {MAX_ZOOM}, got {z}", "z")
    for name, value in (("x", x), ("y", y)):
        if not 0 <= value < 2**z:
            raise InvalidInputError(f"map tile {name} must lie in 0 to {2**z - 1} at zoom {z}, got {value}", name)


@dataclass(frozen=True)
class Footprints:
    """The tiles' boxes in Web Mercator, made once for a generation: (N,) each, in units of the world's width."""

    tiles: TileTable
    blocks: BlockBoxes

    @cached_property
    def edges(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Left, top, right, bottom in widths of the world, (N,) each; right exceeds 1 across the antimeridian."""
        left, top = mercator(self.tiles.west, self.tiles.north)
        right, bottom = mercator(self.tiles.east, self.tiles.south)
        return left, top, right, bottom

    def rings(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], ...]:
        """Outlines of some rows in Web Mercator, in widths of the world.

        Returns:
            x and y of all vertices, (V,); the number of each vertex's ring, (V,); whether a ring is a hole, (R,); the
            position in `rows` that a ring belongs to, (R,).
        """
        import shapely

        parts, row_of = shapely.get_parts(self.tiles.outlines(rows), return_index=True)
        rings, part_of = shapely.get_rings(parts, return_index=True)
        vertices, ring = shapely.get_coordinates(rings, return_index=True)
        hole = np.diff(part_of, prepend=-1) == 0  # a part's first ring is its outside
        of = row_of[part_of]
        lon, west = vertices[:, 0], self.tiles.west[rows[of[ring]]]
        # An outline across the antimeridian is stored in two parts; unwrapped like its box, they meet again.
        x, y = mercator(np.where(lon < west - 1e-9, lon + 360.0, lon), vertices[:, 1])
        return x, y, ring, hole, of


@dataclass(frozen=True)
class Painter:
    """The percentiles of a shard's tiles for one query, ready to be painted.

    Attributes:
        footprints: where the tiles are.
        percentile: (N,) in [0, 100], NaN for tiles that the query's filters leave out.
    """

    footprints: Footprints
    percentile: npt.NDArray[np.float32]

    def sums(self, z: int, x: int, y: int) -> npt.NDArray[np.float64]:
        """Sum of the percentiles of the tiles over each pixel of a map tile, and their number, (2, 256, 256)."""
        rows = self.footprints.blocks.rows_meeting(map_tile_bbox(z, x, y))
        return self._painted(rows, 2**z * TILE_PX, x * TILE_PX, y * TILE_PX, TILE_PX)

    def world(self) -> npt.NDArray[np.float64]:
        """The same of the whole world at WORLD_ZOOM, (2, 2048, 2048)."""
        size = 2**WORLD_ZOOM * TILE_PX
        return self._painted(np.arange(len(self.percentile)), size, 0, 0, size)

    def _painted(
        self, rows: npt.NDArray[np.int64], world_px: int, left: int, top: int, size: int
    ) -> npt.NDArray[np.float64]:
        """A window of `size` pixels whose corner is (left, top) in a world of `world_px`."""
        sums = PixelSums(size)
        for turn in (0, -1):  # what sticks out beyond 180 degrees shows at the left edge too
            mine = rows[self._in_window(rows, turn, left / world_px, top / world_px, size / world_px)]
            if not mine.size:
                continue
            x0, y0, x1, y1 = (edge[mine] for edge in self.footprints.edges)
            outlined = ~self.footprints.tiles.is_box[mine]
            outlined &= np.minimum(x1 - x0, y1 - y0) * world_px >= _OUTLINED_PX
            self._add_outlines(sums, mine[outlined], turn, world_px, left, top)
            # Rounding, so that neighbours share no pixel and leave none between them; nothing is too small to be seen.
            west, east = (np.rint((v[~outlined] + turn) * world_px).astype(np.int64) - left for v in (x0, x1))
            north, south = (np.rint(v[~outlined] * world_px).astype(np.int64) - top for v in (y0, y1))
            values = self._values(mine[~outlined])
            sums.add_boxes(west, north, np.maximum(east, west + 1), np.maximum(south, north + 1), values)
        return sums.sums()

    def _values(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Percentiles of some rows as multiples of a power of two.

        Sums of those are exact, so that they are the same in whatever order tiles are added.
        """
        return np.rint(self.percentile[rows].astype(np.float64) * _FRACTIONS) / _FRACTIONS

    def _add_outlines(
        self, sums: PixelSums, rows: npt.NDArray[np.int64], turn: int, world_px: int, left: int, top: int
    ) -> None:
        if not rows.size:
            return
        x, y, ring, hole, of = self.footprints.rings(rows)
        sums.add_rings((x + turn) * world_px - left, y * world_px - top, ring, hole, self._values(rows[of]))

    def _in_window(
        self, rows: npt.NDArray[np.int64], turn: int, left: float, top: float, size: float
    ) -> npt.NDArray[np.bool_]:
        """Which rows are painted and may touch the window, given in units of the world's width."""
        x0, y0, x1, y1 = (edge[rows] for edge in self.footprints.edges)
        pixel = size / TILE_PX  # a margin for rounding
        near = (x1 + turn >= left - pixel) & (x0 + turn <= left + size + pixel)
        near &= (y1 >= top - pixel) & (y0 <= top + size + pixel)
        near &= y1 > y0  # what lies wholly beyond the map's end has no height on it
        return near & ~np.isnan(self.percentile[rows])


Packed = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]


def packed(sums: npt.NDArray[np.float64]) -> Packed:
    """What a painter gives, (2, H, W), as whole numbers of few bytes: shards elsewhere send the whole world."""
    return _narrow(sums[0] * _FRACTIONS), _narrow(sums[1])


def unpacked(parts: Sequence[Packed]) -> npt.NDArray[np.float64]:
    """The sums of all shards, (2, H, W) as a painter gives them."""
    total, count = (
        functools.reduce(lambda a, b: a + b.astype(np.int64), each, np.int64(0)) for each in zip(*parts, strict=True)
    )
    return np.stack([total / _FRACTIONS, count.astype(np.float64)])


def _narrow(values: npt.NDArray[np.float64]) -> npt.NDArray[np.integer]:
    most = values.max(initial=0.0)
    kind = next(kind for kind in (np.uint16, np.uint32, np.uint64) if most < np.iinfo(kind).max)
    return np.rint(np.maximum(values, 0.0)).astype(kind)


Sums = Callable[[tuple[int, int, int] | None], npt.NDArray[np.float64]]


class HeatField:
    """How well every tile fits one query, as map tiles."""

    def __init__(self, sums: Sums) -> None:
        """Paint nothing yet.

        Args:
            sums: gives what `Painter.sums` gives of all tiles for a map tile, and `Painter.world` for None.
        """
        self._sums = sums
        self._lock = threading.Lock()

    def grid(self, z: int, x: int, y: int) -> Grid:
        """Mean percentile of the tiles that cover each pixel, (256, 256), NaN where there is none."""
        if z <= WORLD_ZOOM:
            with self._lock:
                world = self.worlds[z]
            return world[y * TILE_PX : (y + 1) * TILE_PX, x * TILE_PX : (x + 1) * TILE_PX]
        return means(self._sums((z, x, y)))

    @cached_property
    def worlds(self) -> list[Grid]:
        """The whole world at zooms 0 to WORLD_ZOOM, (H, W) percentiles each."""
        world = means(self._sums(None))
        known = ~np.isnan(world)
        worlds, total, count = [world], np.where(known, world, 0.0), known.astype(np.float64)
        for _ in range(WORLD_ZOOM):
            total, count = (a.reshape(len(a) // 2, 2, -1, 2).sum(axis=(1, 3)) for a in (total, count))
            worlds.append(np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32))
        return worlds[::-1]


def paint(grid: Grid, floor: float = DEFAULT_FLOOR) -> bytes:
    """Colour percentiles and write them as a PNG.

    Args:
        grid: (H, W) percentiles, NaN for nothing.
        floor: below this percentile pixels are transparent, in [0, 100).

    Raises:
        InvalidInputError: the floor is out of range.
    """
    from PIL import Image

    if not 0 <= floor < 100:
        raise InvalidInputError(f"floor must lie in [0, 100), got {floor}", "floor")
    with np.errstate(invalid="ignore"):
        level = np.nan_to_num((grid - floor) / (100.0 - floor), nan=-1.0)
    index = np.where(level < 0, 0, 1 + np.rint(np.clip(level, 0, 1) * 254)).astype(np.uint8)
    picture = Image.fromarray(index, mode=None)
    colours = ramp(255)
    picture.putpalette(np.concatenate([[0, 0, 0], colours[:, :3].ravel()]).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    alpha = bytes([0, *colours[:, 3].tolist()])
    picture.save(buffer, "PNG", transparency=alpha, compress_level=1)
    return buffer.getvalue()


def ramp(count: int) -> npt.NDArray[np.uint8]:
    """Colours from the floor to the top, (count, 4) RGBA; for pictures and legends alike."""
    t = np.linspace(0, len(_RAMP) - 1, count)
    channels = [np.interp(t, np.arange(len(_RAMP)), _RAMP[:, c]) for c in range(3)]
    alpha = np.linspace(_LEAST_ALPHA, _GREATEST_ALPHA, count)
    return np.rint(np.stack([*channels, alpha], axis=1)).astype(np.uint8)
