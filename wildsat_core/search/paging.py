"""Pages of tiles that stay true while the collection changes: in an order that no change to it touches.

A row's number holds within a generation only, so a page can't begin "at row 2000". Tiles come in the order of their
centre along the Hilbert curve, then of their id: both belong to the tile. A page begins after a position in that order;
whoever follows the links gets each tile that stays exactly once, whatever is added, deleted or compacted meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import curve_key

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the order of tiles, whether or not there still is a tile.

    Attributes:
        key: of the tile's centre along the curve.
        tile_id: its id.
    """

    key: int
    tile_id: str

    def __str__(self) -> str:
        """As it stands in a link."""
        return f"{self.key:08x}-{self.tile_id}"

    @classmethod
    def read(cls, text: str, parameter: str) -> Self:
        """Read what `str` wrote.

        Raises:
            InvalidInputError: it did not.
        """
        found = re.fullmatch(r"([0-9a-f]{8})-(.+)", text, re.ASCII)
        if found is None:
            raise InvalidInputError(
                f"{parameter} must come from the link to the next page, got {text[:80]!r}", parameter
            )
        return cls(int(found[1], 16), found[2])


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows in the order of their tiles.

    Attributes:
        rows: at most as many as were asked for.
        following: after which the next page begins, None when this is the last.
    """

    rows: Rows
    following: Position | None


class Pages:
    """Cuts rows of a generation into pages; the curve's keys are reckoned once."""

    def __init__(self, tiles: TileTable) -> None:
        """Only remember."""
        self._tiles = tiles

    @cached_property
    def _keys(self) -> npt.NDArray[np.uint32]:
        """(N,) of all rows; the curve's order of 16 gives 32 bits."""
        return curve_key(self._tiles.lon, self._tiles.lat).astype(np.uint32)

    def page(self, rows: Rows, limit: int, *, after: Position | None = None, skip: int = 0) -> Page:
        """The first tiles of some rows.

        Args:
            rows: to choose from, in any order.
            limit: how many, at least 1.
            after: leave out the tiles up to this position.
            skip: leave out so many more.
        """
        keys = self._keys[rows]
        if after is not None:
            keep = keys >= after.key
            rows, keys = rows[keep], keys[keep]
            tied = np.flatnonzero(keys == after.key)
            done = np.array([tile_id <= after.tile_id for tile_id in self._ids(rows[tied])], bool)
            rows, keys = np.delete(rows, tied[done]), np.delete(keys, tied[done])
        if skip >= len(rows):
            return Page(rows[:0], None)
        stop = min(skip + limit, len(rows))
        if stop < len(rows):  # only what can be on this page is sorted
            near = keys <= np.partition(keys, stop - 1)[stop - 1]
            rows, keys, more = rows[near], keys[near], True
        else:
            more = False
        order = np.argsort(keys, kind="stable")
        rows, keys = rows[order], keys[order]
        # Ids decide among equal keys alone, so they are read only of the keys that the page shows.
        first, last = np.searchsorted(keys, keys[skip], "left"), np.searchsorted(keys, keys[stop - 1], "right")
        ids = self._ids(rows[first:last])
        chosen = sorted(range(len(ids)), key=lambda i: (keys[first + i], ids[i]))[skip - first : stop - first]
        following = Position(int(keys[first + chosen[-1]]), ids[chosen[-1]]) if more else None
        return Page(rows[first + np.array(chosen, np.int64)], following)

    def positions(self, rows: Rows) -> list[Position]:
        """Where some tiles stand in the order."""
        keys = self._keys[rows].tolist()
        return [Position(key, tile_id) for key, tile_id in zip(keys, self._ids(rows), strict=True)]

    def _ids(self, rows: Rows) -> Sequence[str]:
        return list(self._tiles.take(rows, ["tile_id"])["tile_id"].to_pylist()) if len(rows) else []
