"""Parts of the Earth that have a name: boxes, or cells of half a degree, and which tiles lie in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wildsat_core.types import BBox

Mask = npt.NDArray[np.bool_]
Degrees = npt.NDArray[np.floating]

HALF_DEGREE_COLUMNS, HALF_DEGREE_ROWS = 720, 360


@dataclass(frozen=True, slots=True)
class Region:
    """A named part of the Earth.

    Attributes:
        name: as people know it.
        boxes: at least one, which together hold the whole region.
        cells: numbers of half-degree cells, row by row from 90 north and 180 west, where the region is known so finely;
            then the boxes only say where to look.
    """

    name: str
    boxes: tuple[BBox, ...]
    cells: tuple[int, ...] = ()

    def holds(self, west: Degrees, south: Degrees, east: Degrees, north: Degrees) -> Mask:
        """Which tiles, (N,) boxes in degrees with east unwrapped, lie in the region.

        A tile lies in a box when its middle does, or when it holds the middle of the box: so that a mountain is found
        by the tile that shows it. It lies in cells when its middle does, or when it holds the middle of a cell.
        """
        if self.cells:
            return self._meets_cells(west, south, east, north)
        inside = np.zeros(len(west), bool)
        lon, lat = (west + east) / 2, (south + north) / 2
        for box in self.boxes:
            inside |= _centred(box, lon, lat) | _holds_middle(box, west, south, east, north)
        return inside

    def _meets_cells(self, west: Degrees, south: Degrees, east: Degrees, north: Degrees) -> Mask:
        """By sums over the grid: how many of the region's cells have their middle inside of each tile."""
        grid = np.zeros((HALF_DEGREE_ROWS, HALF_DEGREE_COLUMNS), np.int32)
        grid.ravel()[np.asarray(self.cells)] = 1
        lon, lat = ((west + east) / 2 + 180) % 360, (south + north) / 2
        row = np.clip((90 - lat) * 2, 0, HALF_DEGREE_ROWS - 1).astype(int)
        inside = grid[row, (lon * 2).astype(int) % HALF_DEGREE_COLUMNS] > 0
        twice = np.concatenate([grid, grid], 1)  # a tile may go on beyond 180 degrees
        sums = np.zeros((HALF_DEGREE_ROWS + 1, 2 * HALF_DEGREE_COLUMNS + 1), np.int64)
        np.cumsum(np.cumsum(twice, axis=0), axis=1, out=sums[1:, 1:])
        # A cell's middle lies a quarter of a degree inside of its edges.
        top, bottom = (
            np.clip(np.ceil((90 - edge) * 2 - 0.5), 0, HALF_DEGREE_ROWS).astype(int) for edge in (north, south)
        )
        first = (west + 180) % 360
        left = np.ceil(first * 2 - 0.5).astype(int)
        right = np.minimum(np.ceil((first + east - west) * 2 - 0.5).astype(int), 2 * HALF_DEGREE_COLUMNS)
        count = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return np.asarray(inside | (count > 0))


def _centred(box: BBox, lon: Degrees, lat: Degrees) -> Mask:
    beyond = (lon - box.west) % 360.0
    return np.asarray((lat >= box.south) & (lat <= box.north) & (beyond <= box.width_deg))


def _holds_middle(box: BBox, west: Degrees, south: Degrees, east: Degrees, north: Degrees) -> Mask:
    lon, lat = box.west + box.width_deg / 2, (box.south + box.north) / 2
    return np.asarray((south <= lat) & (north >= lat) & ((lon - west) % 360.0 <= east - west))
