"""How much of a box is land, by the outlines of countries.

A box smaller than a few cells of the mask, and on a coast, is compared with the outlines themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.countries import Countries, load_countries
from wildsat_core.geo import wrap_lon
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from shapely import STRtree

CELLS_PER_DEGREE: Final = 10
SMALL_DEG: Final = 0.5  # up to this height cells of a tenth of a degree say too little


@dataclass(frozen=True)
class LandMask:
    """Land over the whole globe in cells of a tenth of a degree.

    Attributes:
        sums: (H + 1, W + 1) int32, number of land cells north and west of each corner, row 0 at +90 degrees.
        middles: the same of cells whose middle is land; None where that is the same.
        coasts: the cells that an outline runs through, and the outlines; None where only cells are known.
    """

    sums: npt.NDArray[np.int32]
    middles: LandMask | None = None
    coasts: tuple[LandMask, STRtree] | None = None

    @classmethod
    def from_cells(cls, land: npt.NDArray[np.bool_]) -> LandMask:
        """From (H, W) cells, row 0 at +90 degrees, column 0 at -180 degrees."""
        sums = np.zeros((land.shape[0] + 1, land.shape[1] + 1), np.int32)
        np.cumsum(np.cumsum(land, axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
        return cls(sums)

    @classmethod
    def from_countries(cls, countries: Countries) -> LandMask:
        """Paint all outlines, both by the cells that an outline touches and by those whose middle it holds."""
        import shapely
        from affine import Affine
        from rasterio.features import rasterize

        step = 1.0 / CELLS_PER_DEGREE
        shape = (180 * CELLS_PER_DEGREE, 360 * CELLS_PER_DEGREE)
        parts = shapely.get_parts([country.outline for country in countries.countries])
        transform = Affine(step, 0.0, -180.0, 0.0, -step, 90.0)
        land, middles, lines = (
            cls.from_cells(
                rasterize(shapes, out_shape=shape, transform=transform, all_touched=touched, dtype="uint8") > 0
            )
            for shapes, touched in ((parts, True), (parts, False), (shapely.boundary(parts), True))
        )
        return replace(land, middles=middles, coasts=(lines, shapely.STRtree(parts)))

    def share(self, boxes: Sequence[BBox], *, generous: bool = False) -> npt.NDArray[np.float64]:
        """Share of land of each box in the plane of degrees, (N,) in [0, 1].

        Args:
            boxes: N of them.
            generous: in large boxes count whole cells that an outline touches, so that no small island is lost.
        """
        shares = (self if generous or self.middles is None else self.middles)._share_of_cells(boxes)
        if self.coasts is None:
            return shares
        lines, outlines = self.coasts
        # Boxes are rounded to cells: one more on each side, so that no line is missed.
        near_line = lines._share_of_cells([_widened(box, 1.0 / CELLS_PER_DEGREE) for box in boxes]) > 0
        for i, box in enumerate(boxes):
            if near_line[i] and box.north - box.south <= SMALL_DEG:
                shares[i] = _share_within(box, outlines)
        return shares

    def _share_of_cells(self, boxes: Sequence[BBox]) -> npt.NDArray[np.float64]:
        west, south, east, north = np.array([b.as_tuple() for b in boxes], np.float64).reshape(-1, 4).T
        width = np.where(east < west, east + 360.0, east) - west
        height_cells, width_cells = self.sums.shape[0] - 1, self.sums.shape[1] - 1
        top, bottom = (90.0 - north) / 180.0 * height_cells, (90.0 - south) / 180.0 * height_cells
        left = (west + 180.0) / 360.0 * width_cells
        # Whole cells, at least one: a box smaller than a cell takes the cell under its middle.
        rows = _cells_between(top, bottom, height_cells)
        columns = _cells_between(left, left + width / 360.0 * width_cells, None)
        area = (rows[1] - rows[0]) * (columns[1] - columns[0])
        shares: npt.NDArray[np.float64] = (self._before(rows, columns[1]) - self._before(rows, columns[0])) / area
        return shares

    def _before(self, rows: tuple[Any, Any], column: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Land cells of some rows west of a column, which may lie beyond the east edge: then it goes on in the west."""
        width = self.sums.shape[1] - 1
        turns, rest = np.divmod(column, width)

        def upto(columns: Any) -> npt.NDArray[np.int64]:  # noqa: ANN401 - array or one number
            cells: npt.NDArray[np.int64] = self.sums[rows[1], columns].astype(np.int64) - self.sums[rows[0], columns]
            return cells

        total: npt.NDArray[np.int64] = turns * upto(width) + upto(rest)
        return total


@functools.cache
def load_land() -> LandMask:
    """The mask of the countries that come with the program; painted once, in about a second."""
    return LandMask.from_countries(load_countries())


def _cells_between(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], limit: int | None) -> tuple[Any, Any]:
    first, last = np.rint(start).astype(np.int64), np.rint(end).astype(np.int64)
    thin = last <= first
    middle = np.floor((start + end) / 2).astype(np.int64)
    if limit is not None:
        middle = np.clip(middle, 0, limit - 1)
    return np.where(thin, middle, first), np.where(thin, middle + 1, last)


def _widened(box: BBox, by_deg: float) -> BBox:
    south, north = max(box.south - by_deg, -90.0), min(box.north + by_deg, 90.0)
    if box.width_deg + 2 * by_deg >= 360.0:
        return BBox(-180.0, south, 180.0, north)
    return BBox(float(wrap_lon(box.west - by_deg)), south, float(wrap_lon(box.east + by_deg)), north)


def _share_within(box: BBox, outlines: STRtree) -> float:
    """Share of a box that lies in outlines, in the plane of degrees."""
    import shapely

    (west, south, _, north), east = box.as_tuple(), box.west + box.width_deg
    total = 0.0
    for start, end, turn in ((west, min(east, 180.0), 0.0), (180.0, east, -360.0)):
        if end > start:
            window = shapely.box(start + turn, south, end + turn, north)
            parts = outlines.geometries[outlines.query(window, predicate="intersects")]
            total += float(shapely.area(shapely.clip_by_rect(parts, *window.bounds)).sum())
    return min(total / ((east - west) * (north - south)), 1.0)
