"""A grid of the whole globe in kilometres: rows of constant height, as many columns as each row's circumference holds.

Cells are equally far apart everywhere, so that polar regions are not over-represented as they are in a grid of
degrees. Row centres run from pole to pole, the two poles included, each with a single cell. Columns begin at the
antimeridian; a cell whose size exceeds the step reaches over it, and no place is covered twice by one centre.
The idea of rows with their own number of columns is that of the sinusoidal and Major TOM grids
(https://arxiv.org/abs/2402.12095); the rule here is written out below.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import KM_PER_DEGREE, square_bbox
from wildsat_core.types import BBox

HALF_MERIDIAN_KM = 180.0 * KM_PER_DEGREE
MOST_IN_PARTITION = 16_384  # tiles that are listed, read and written as one
SQUARE_CELLS = 6  # a square of so many cells a side is read together: about one chunk of tiles
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
class CellBlock:
    """Neighbouring cells: some rows, and of each its share of columns.

    Attributes:
        first, above: the rows from `first` up to, not including, `above`.
        part, parts: which of so many equal shares of each row's columns.
        cells: their number.
    """

    first: int
    above: int
    part: int
    parts: int
    cells: int

    @property
    def key(self) -> str:
        """Its name among the blocks of one grid and box."""
        return f"r{self.first}-{self.above}-{self.part}of{self.parts}"


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
        [cell] = self._cells_of_row(row, (column,))
        return cell

    def _cells_of_row(self, row: int, columns: Iterable[int]) -> Iterator[Cell]:
        lat, count = self.latitude(row), self.columns(row)
        for column in columns:
            lon = _longitude(column, count)
            yield Cell(row, column, lon, lat, square_bbox(lon, lat, self.size_km))

    def cell_id(self, cell: Cell) -> str:
        """Stable name of a cell, unique among all grids: size and step, row, column."""
        return f"{self.name}-r{cell.row:04d}-c{cell.column:04d}"

    def cells(self, bbox: BBox | None = None) -> Iterator[Cell]:
        """Cells whose centre lies in the box, or all; rows from north to south, columns eastwards."""
        for row in reversed(self._rows_within(bbox)):
            yield from self._cells_of_row(row, self._columns_within(row, bbox))

    def count(self, bbox: BBox | None = None) -> int:
        """How many cells `cells` gives, without making them."""
        return sum(len(self._columns_within(row, bbox)) for row in self._rows_within(bbox))

    def blocks(self, bbox: BBox | None = None, at_most: int = MOST_IN_PARTITION) -> Iterator[CellBlock]:
        """The cells of `cells`, in compact blocks, from north to south."""
        rows = self._rows_within(bbox)
        widest = max((len(self._columns_within(row, bbox)) for row in rows), default=0)
        height = max(math.isqrt(at_most), at_most // max(widest, 1))
        for above in range(rows.stop, rows.start, -height):
            band = range(max(above - height, rows.start), above)
            counts = [len(self._columns_within(row, bbox)) for row in band]
            # Parts of a row differ by one cell at most, so each row may add one to its share.
            parts = math.ceil(sum(counts) / max(at_most - len(band), 1))
            for part in range(parts):
                cells = sum(n * (part + 1) // parts - n * part // parts for n in counts)
                if cells:
                    yield CellBlock(band.start, band.stop, part, parts, cells)

    def cells_of(self, block: CellBlock, bbox: BBox | None = None) -> Iterator[Cell]:
        """Cells of a block of `blocks`, square by square, so that neighbours on the ground are read together.

        Args:
            block: one of those that `blocks` gives for the same box.
            bbox: the box.
        """
        for above in range(block.above, block.first, -SQUARE_CELLS):
            rows = range(above - 1, max(above - SQUARE_CELLS, block.first) - 1, -1)
            columns = {row: _part(self._columns_within(row, bbox), block.part, block.parts) for row in rows}
            squares = math.ceil(max(map(len, columns.values())) / SQUARE_CELLS)
            for square in range(squares):
                for row in rows:
                    yield from self._cells_of_row(row, _part(columns[row], square, squares))

    def _rows_within(self, bbox: BBox | None) -> range:
        """Rows whose centre lies between south and north."""
        if bbox is None:
            return range(self.rows)
        every = range(self.rows)
        first = bisect.bisect_left(every, bbox.south, key=self.latitude)
        return every[first : bisect.bisect_right(every, bbox.north, key=self.latitude)]

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


def _part(columns: Sequence[int], part: int, parts: int) -> Sequence[int]:
    """One of several parts, as equal as can be, of a row's columns."""
    return columns[len(columns) * part // parts : len(columns) * (part + 1) // parts]


def _longitude(column: int, columns: int) -> float:
    """Centre of a column; a row's only column, at a pole, is at 0."""
    return -180.0 + 360.0 * (column + 0.5) / columns


def _holds(bbox: BBox, lon: float) -> bool:
    if bbox.crosses_antimeridian:
        return lon >= bbox.west or lon <= bbox.east
    return bbox.west <= lon <= bbox.east
