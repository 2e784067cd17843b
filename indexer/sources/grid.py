"""A grid of the whole globe in kilometres: rows of constant height, as many columns as each row's circumference holds.

Cells are equally far apart everywhere, so that polar regions are not over-represented as they are in a grid of
degrees. Row centres run from pole to pole, the two poles included, each with a single cell. Columns begin at the
antimeridian; a cell whose size exceeds the step reaches over it, and no place is covered twice by one centre.
The idea of rows with their own number of columns is that of the sinusoidal and Major TOM grids
(https://arxiv.org/abs/2402.12095); the rule here is written out below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import KM_PER_DEGREE, square_bbox
from wildsat_core.types import BBox

HALF_MERIDIAN_KM = 180.0 * KM_PER_DEGREE
MAX_CELLS_PER_ROW = 100_000_000  # a step of less than half a metre is a slip of the keyboard


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of the grid.

    Attributes:
        row: 0 at the South Pole, upwards.
        column: 0 at the antimeridian, eastwards.
        lon, lat: centre in degrees.
        bbox: square of the grid's size around the centre; the whole parallel at a pole.
    """

    row: int
    column: int
    lon: float
    lat: float
    bbox: BBox


@dataclass(frozen=True, slots=True)
class KilometreGrid:
    """Squares of `size_km`, centres `step_km` apart. A step below the size makes neighbours overlap.

    Raises:
        InvalidInputError: a size or step that is not positive, or larger than the globe allows.
    """

    size_km: float
    step_km: float

    def __post_init__(self) -> None:
        """Check once, so that the arithmetic below needs no guards."""
        for name, value in (("tile-km", self.size_km), ("step-km", self.step_km)):
            if not (math.isfinite(value) and 0 < value <= HALF_MERIDIAN_KM / 4):
                limit = round(HALF_MERIDIAN_KM / 4)
                raise InvalidInputError(f"{name} must lie in (0, {limit}] kilometres, got {value}", name)
        if self.columns(self.rows // 2) > MAX_CELLS_PER_ROW:
            raise InvalidInputError(f"step-km of {self.step_km} is too fine for a grid of the globe", "step-km")

    @property
    def name(self) -> str:
        """Says size and step; part of every cell id, so that two grids never share an id."""
        return f"{self.size_km:g}x{self.step_km:g}km"

    @property
    def rows(self) -> int:
        """Number of rows; the first and last are the poles."""
        return max(math.ceil(HALF_MERIDIAN_KM / self.step_km), 2) + 1

    def latitude(self, row: int) -> float:
        """Centre of a row in degrees."""
        return -90.0 + 180.0 * row / (self.rows - 1)

    def columns(self, row: int) -> int:
        """Number of cells of a row: its circumference divided by the step, rounded up; one at a pole."""
        if row in (0, self.rows - 1):
            return 1
        circumference_km = 2 * HALF_MERIDIAN_KM * math.cos(math.radians(self.latitude(row)))
        return max(math.ceil(circumference_km / self.step_km), 1)

    def cell(self, row: int, column: int) -> Cell:
        """The cell of this row and column."""
        lat, count = self.latitude(row), self.columns(row)
        lon = _longitude(column, count)
        return Cell(row, column, lon, lat, square_bbox(lon, lat, self.size_km))

    def cell_id(self, cell: Cell) -> str:
        """Stable name of a cell, unique among all grids: size and step, row, column."""
        return f"{self.name}-r{cell.row:04d}-c{cell.column:04d}"

    def cells(self, bbox: BBox | None = None) -> Iterator[Cell]:
        """Cells whose centre lies in the box, or all; rows from north to south, columns eastwards."""
        for row in range(self.rows - 1, -1, -1):
            lat = self.latitude(row)
            if bbox is not None and not bbox.south <= lat <= bbox.north:
                continue
            for column in self._columns_within(row, bbox):
                yield self.cell(row, column)

    def count(self, bbox: BBox | None = None) -> int:
        """How many cells `cells` gives, without making them."""
        south, north = (-90.0, 90.0) if bbox is None else (bbox.south, bbox.north)
        rows = (row for row in range(self.rows) if south <= self.latitude(row) <= north)
        return sum(len(self._columns_within(row, bbox)) for row in rows)

    def _columns_within(self, row: int, bbox: BBox | None) -> range | list[int]:
        """Columns whose centre lies between west and east; a box over the antimeridian gives two runs of columns."""
        count = self.columns(row)
        if bbox is None or (bbox.west, bbox.east) == (-180.0, 180.0):
            return range(count)
        if count == 1:
            return range(1 if _holds(bbox, _longitude(0, 1)) else 0)

        def run(west: float, east: float) -> range:
            # One column more at each end, and then out again if need be: the centre itself decides, not its rounding.
            first = max(math.ceil((west + 180.0) / 360.0 * count - 0.5) - 1, 0)
            last = min(math.floor((east + 180.0) / 360.0 * count - 0.5) + 1, count - 1)
            first += sum(_longitude(c, count) < west for c in range(first, min(first + 2, count)))
            last -= sum(_longitude(c, count) > east for c in range(max(last - 1, 0), last + 1))
            return range(first, last + 1)

        if bbox.crosses_antimeridian:
            return [*run(-180.0, bbox.east), *run(bbox.west, 180.0)]
        return run(bbox.west, bbox.east)


def _longitude(column: int, columns: int) -> float:
    """Centre of a column; a row's only column, at a pole, is at 0."""
    return -180.0 + 360.0 * (column + 0.5) / columns


def _holds(bbox: BBox, lon: float) -> bool:
    if bbox.crosses_antimeridian:
        return lon >= bbox.west or lon <= bbox.east
    return bbox.west <= lon <= bbox.east
