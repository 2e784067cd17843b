"""The heat-map: how well every tile fits a query, painted as map tiles.

Each tile's outline adds its percentile to the pixels that it covers. The sums over boxes come from a difference array:
four corner entries a tile, then two running sums, so that painting costs the same whatever the boxes' sizes. At low
zoom, where a map tile holds a large part of all tiles, pictures are cut from one world picture made once per query.
"""

from __future__ import annotations

import io
import math
import threading
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.filters import BlockBoxes
from wildsat_core.types import BBox

Grid = npt.NDArray[np.float32]

TILE_PX = 256
WORLD_ZOOM = 3  # the world picture is 2048 pixels wide: 20 km a pixel at the equator
MAX_ZOOM = 22
MAX_LATITUDE = 85.051129  # where Web Mercator is square
DEFAULT_FLOOR = 75.0

# Anchors of a colour ramp whose lightness only rises (CIE L* 24 to 92), so that it reads the same in grey and with any
# kind of colour blindness: indigo, blue, teal, green, yellow.
_RAMP = np.array([[60, 28, 112], [52, 91, 161], [24, 145, 148], [112, 191, 98], [250, 229, 72]], np.float64)
_LEAST_ALPHA, _GREATEST_ALPHA = 70, 225


def mercator(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Web Mercator of degrees in units of the world's width: x from -180 degrees eastward, y from the north."""
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
        """Left, top, right, bottom; right may exceed 1 for tiles across the antimeridian."""
        left, top = mercator(self.tiles.west, self.tiles.north)
        right, bottom = mercator(self.tiles.east, self.tiles.south)
        return left, top, right, bottom


@dataclass(frozen=True)
class HeatField:
    """The percentile of every tile for one query, ready to be painted.

    Attributes:
        footprints: where the tiles are.
        percentile: (N,) float32 in [0, 100], NaN for tiles that the query's filters leave out.
    """

    footprints: Footprints
    percentile: npt.NDArray[np.float32]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def grid(self, z: int, x: int, y: int) -> Grid:
        """Mean percentile of the tiles that cover each pixel, (256, 256), NaN where there is none."""
        if z <= WORLD_ZOOM:
            with self._lock:
                world = self.world
            return _shrink(world, z, x, y)
        rows = self.footprints.blocks.rows_meeting(map_tile_bbox(z, x, y))
        return self._accumulate(rows, 2**z * TILE_PX, x * TILE_PX, y * TILE_PX, TILE_PX)

    @cached_property
    def world(self) -> Grid:
        """The whole world at WORLD_ZOOM."""
        size = 2**WORLD_ZOOM * TILE_PX
        return self._accumulate(np.arange(len(self.percentile)), size, 0, 0, size)

    def _accumulate(self, rows: npt.NDArray[np.int64], world_px: int, left: int, top: int, size: int) -> Grid:
        """Sum and count over a window of `size` pixels whose corner is (left, top) in a world of `world_px`."""
        total, count = np.zeros((2, size + 1, size + 1))
        for turn in (0, -1):  # what sticks out beyond 180 degrees shows at the left edge too
            mine = rows[self._in_window(rows, turn, left / world_px, top / world_px, size / world_px)]
            values = self.percentile[mine].astype(np.float64)
            x0, x1 = (np.rint((self.footprints.edges[i][mine] + turn) * world_px).astype(np.int64) for i in (0, 2))
            y0, y1 = (np.rint(self.footprints.edges[i][mine] * world_px).astype(np.int64) for i in (1, 3))
            # Rounding, so that neighbours share no pixel and leave none between them; nothing is too small to be seen.
            x1, y1 = np.maximum(x1, x0 + 1), np.maximum(y1, y0 + 1)
            x0, x1 = (np.clip(v - left, 0, size) for v in (x0, x1))
            y0, y1 = (np.clip(v - top, 0, size) for v in (y0, y1))
            # Where clipping left nothing, the four corners cancel.
            for ys, xs, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
                at = ys * (size + 1) + xs
                total += sign * np.bincount(at, values, (size + 1) ** 2).reshape(size + 1, size + 1)
                count += sign * np.bincount(at, minlength=(size + 1) ** 2).reshape(size + 1, size + 1)
        total, count = (a.cumsum(0).cumsum(1)[:size, :size] for a in (total, np.rint(count)))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(count > 0.5, total / count, np.nan).astype(np.float32)

    def _in_window(
        self, rows: npt.NDArray[np.int64], turn: int, left: float, top: float, size: float
    ) -> npt.NDArray[np.bool_]:
        """Which rows are painted and may touch the window, given in units of the world's width."""
        x0, y0, x1, y1 = (edge[rows] for edge in self.footprints.edges)
        pixel = size / TILE_PX  # a margin for rounding
        near = (x1 + turn >= left - pixel) & (x0 + turn <= left + size + pixel)
        near &= (y1 >= top - pixel) & (y0 <= top + size + pixel)
        return near & ~np.isnan(self.percentile[rows])


def _shrink(world: Grid, z: int, x: int, y: int) -> Grid:
    """Cut a map tile out of the world picture and average its pixels down to 256."""
    step = 2 ** (WORLD_ZOOM - z)
    side = TILE_PX * step
    part = world[y * side : (y + 1) * side, x * side : (x + 1) * side]
    if step == 1:
        return part
    blocks = part.reshape(TILE_PX, step, TILE_PX, step)
    known = ~np.isnan(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


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
