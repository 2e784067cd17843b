"""Fetching what neighbouring tiles need of a file on a server in few requests, before they are read one by one.

A cloud-optimised GeoTIFF keeps its pixels in blocks, one row of blocks after another. Read tile by tile, each block is
a request or more; those that lie side by side in a row GDAL gets in one. What was fetched stays in GDAL's cache of
decoded blocks, from which the tiles are then cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from indexer.sources.projections import DEGREES, Floats, transform_each

if TYPE_CHECKING:
    from affine import Affine

MOST_AHEAD_BYTES: Final = 2**27  # decoded; GDAL's cache is a twentieth of the machine's memory


class PixelWindow(NamedTuple):
    """Columns from `left` up to `right`, rows from `top` up to `bottom`."""

    left: int
    top: int
    right: int
    bottom: int


def windows_of(bounds: Floats, crs: Any, to_pixels: Affine, px: int) -> list[PixelWindow]:  # noqa: ANN401
    """Which pixels of a raster, about, boxes that are resampled are made of.

    Args:
        bounds: (N, 4) west, south, east, north in degrees.
        crs: of the raster.
        to_pixels: from places in that system to columns and rows.
        px: side of the result in pixels.

    Returns:
        A window for each box that all of is in the plane of the system, perhaps beyond the raster.
    """
    share = np.linspace(0, 1, 3)
    west, south, east, north = bounds.T[:, :, None]
    lon, lat = west + (east - west) * share, south + (north - south) * share
    x, y = transform_each(DEGREES, crs, lon[:, :, None], lat[:, None, :])  # (N, 3, 3)
    is_there = np.isfinite(x + y).all(axis=(1, 2))
    x, y = (v[is_there].reshape(-1, 9) for v in (x, y))
    t = to_pixels
    at = np.clip([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], -1e9, 1e9)
    low, high = at.min(axis=2), at.max(axis=2)  # (2, N)
    margin = 2 + (high - low) / px  # as far as bilinear resampling looks: a pixel of the result, and some of the raster
    ends = np.concatenate([np.floor(low - margin), np.ceil(high + margin)]).astype(int)
    return [PixelWindow(*window) for window in ends.T.tolist()]


def runs_of_blocks(
    windows: Iterable[PixelWindow], size: tuple[int, int], block: tuple[int, int], most_blocks: int
) -> Iterator[PixelWindow]:
    """The blocks of a file that some windows touch, as runs of neighbours, row of blocks by row of blocks.

    Args:
        windows: of pixels, which may reach beyond the file.
        size: height and width of the file.
        block: height and width of its blocks.
        most_blocks: no more blocks than this in all.
    """
    down, across = (-(-length // step) for length, step in zip(size, block, strict=True))
    needed = np.zeros((down, across + 1), bool)  # the last column ends every run
    for left, top, right, bottom in windows:
        if min(right, size[1]) > max(left, 0) and min(bottom, size[0]) > max(top, 0):
            rows = slice(max(top, 0) // block[0], -(-min(bottom, size[0]) // block[0]))
            needed[rows, max(left, 0) // block[1] : -(-min(right, size[1]) // block[1])] = True
    for row in np.flatnonzero(needed.any(axis=1)).tolist():
        edges = np.flatnonzero(np.diff(needed[row], prepend=False)).tolist()
        for first, above in zip(edges[::2], edges[1::2], strict=True):
            last = min(above, first + most_blocks)
            most_blocks -= last - first
            if last == first:
                return
            yield PixelWindow(
                first * block[1],
                row * block[0],
                min(last * block[1], size[1]),
                min((row + 1) * block[0], size[0]),
            )
