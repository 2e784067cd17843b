"""Pages of tiles that stay true while the collection changes: in an order that no change to it touches.

A row's number holds within a generation only, so a page can't begin "at row 2000". Tiles come in the order of their
centre along the Hilbert curve, then of their id; properties may go before. All of them belong to the tile. A page
begins after a position in that order; whoever follows the links gets each tile that stays exactly once, whatever is
added, deleted or compacted meanwhile.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import curve_key
from wildsat_core.search.sorting import SortColumn, Sorting, SortKey, Value

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of tiles, whether or not there still is a tile.

    Attributes:
        key: of the tile's centre along the curve.
        tile_id: its id.
        values: its values of the properties that tiles are sorted by before all.
    """

    key: int
    tile_id: str
    values: tuple[Value, ...] = ()

    def __str__(self) -> str:
        """As it stands in a link."""
        at = f"{self.key:08x}-{self.tile_id}"
        return f"{base64.urlsafe_b64encode(json.dumps(self.values).encode()).decode()}~{at}" if self.values else at

    @classmethod
    def read(cls, text: str, parameter: str, sorting: Sorting = ()) -> Self:
        """Read what `str` wrote.

        Raises:
            InvalidInputError: it did not, or of tiles that were sorted by something else.
        """
        held, _, at = text.partition("~") if sorting else ("", "", text)
        found, values = re.fullmatch(r"([0-9a-f]{8})-(.+)", at, re.ASCII), _read_values(held)
        if found is None or len(values) != len(sorting) or not all(map(SortKey.holds, sorting, values)):
            raise InvalidInputError(
                f"{parameter} must come from the link to the next page, got {text[:80]!r}", parameter
            )
        return cls(int(found[1], 16), found[2], tuple(values))

    def before_all(self) -> Position:
        """Where the tiles of the same values begin."""
        return Position(-1, "", self.values)

    def after_all(self) -> Position:
        """Where they end."""
        return Position(2**32, "", self.values)

    def rank(self, sorting: Sorting) -> tuple[Any, ...]:
        """What it is sorted by, beside those of other tiles."""
        return (*map(SortKey.rank, sorting, self.values), self.key, self.tile_id)


def _read_values(held: str) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(held)) if held else []
    except ValueError:
        return []
    return values if isinstance(values, list) else []


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows in the order of their tiles.

    Attributes:
        rows: at most as many as were asked for.
        positions: theirs.
        more: whether others follow.
    """

    rows: Rows
    positions: list[Position]
    more: bool

    @property
    def following(self) -> Position | None:
        """After which the next page begins, None when this is the last."""
        return self.positions[-1] if self.more and self.positions else None


class Pages:
    """Cuts rows of a generation into pages; the curve's keys are reckoned once."""

    def __init__(self, tiles: TileTable) -> None:
        """Only remember."""
        self._tiles = tiles

    @cached_property
    def _keys(self) -> npt.NDArray[np.uint32]:
        """(N,) of all rows; the curve's order of 16 gives 32 bits."""
        return curve_key(self._tiles.lon, self._tiles.lat).astype(np.uint32)

    def page(
        self,
        rows: Rows,
        limit: int,
        *,
        after: Position | None = None,
        skip: int = 0,
        columns: Sequence[SortColumn] = (),
    ) -> Page:
        """The first tiles of some rows.

        Args:
            rows: (R,) to choose from, in any order.
            limit: how many, at least 1.
            after: leave out the tiles up to this position.
            skip: leave out so many more.
            columns: what the rows are sorted by before all, the first one first.
        """
        places = np.arange(len(rows))
        if after is not None:
            places = self._later(rows, after, columns)
        stop = min(skip + limit, len(places))
        if skip >= stop:
            return Page(rows[:0], [], False)
        more = stop < len(places)
        if more:  # only what can be on this page is sorted
            first = self._orders(rows, columns, places, 1)[0]
            places = places[first <= np.partition(first, stop - 1)[stop - 1]]
        orders = self._orders(rows, columns, places)
        sorting = np.lexsort(orders[::-1])
        places = places[sorting]
        # Ids decide among equals alone, so they are read only of those that the page shows.
        differs = np.logical_or.reduce([np.diff(order[sorting]) != 0 for order in orders])
        groups = np.concatenate([[0], np.cumsum(differs)])
        first, last = np.searchsorted(groups, groups[skip], "left"), np.searchsorted(groups, groups[stop - 1], "right")
        ids = self._ids(rows[places[first:last]])
        chosen = sorted(range(len(ids)), key=lambda i: (groups[first + i], ids[i]))[skip - first : stop - first]
        shown = places[first + np.array(chosen, np.int64)]
        values = zip(*(column.values(shown) for column in columns), strict=True) if columns else [()] * len(shown)
        keys = self._keys[rows[shown]].tolist()
        positions = [Position(key, ids[i], told) for key, i, told in zip(keys, chosen, values, strict=True)]
        return Page(rows[shown], positions, more)

    def _orders(
        self, rows: Rows, columns: Sequence[SortColumn], places: Rows, most: int | None = None
    ) -> list[npt.NDArray[np.int64]]:
        """What decides the order of some of the rows, the first one first; at most so many."""
        orders = [column.codes[places] for column in columns[:most]]
        return orders if len(orders) == most else [*orders, self._keys[rows[places]].astype(np.int64)]

    def _later(self, rows: Rows, after: Position, columns: Sequence[SortColumn]) -> Rows:
        """Which of the rows come after a position."""
        later, tied = np.zeros(len(rows), bool), np.ones(len(rows), bool)
        for column, value in zip(columns, after.values, strict=True):
            beyond, same = column.beyond(value)
            later |= tied & beyond
            tied &= same
        keys = self._keys[rows].astype(np.int64)
        later |= tied & (keys > after.key)
        equal = np.flatnonzero(tied & (keys == after.key))
        later[equal] = [tile_id > after.tile_id for tile_id in self._ids(rows[equal])]
        return np.flatnonzero(later)

    def _ids(self, rows: Rows) -> Sequence[str]:
        return list(self._tiles.take(rows, ["tile_id"])["tile_id"].to_pylist()) if len(rows) else []
