"""Hits apart from one another: great-circle spacing and a cap per country, refilled from further down."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.geo import EARTH_RADIUS_KM, unit_vectors
from wildsat_core.search.scan import Rows, Scores

Mask = npt.NDArray[np.bool_]


class Spread:
    """Takes rows best first and keeps those far enough from all kept so far.

    Args:
        tiles: the table that rows count in.
        spacing_km: least great-circle distance between centres; 0 for none.
        max_per_country: at most so many rows of one country; rows of no known country are not capped.
    """

    def __init__(self, tiles: TileTable, spacing_km: float, max_per_country: int | None) -> None:
        """Start with nothing kept."""
        self._tiles, self._cap = tiles, max_per_country
        # Distance on the chord: far cheaper than arcs, and in the same order.
        self._least_chord = float(2 * np.sin(min(spacing_km / EARTH_RADIUS_KM, np.pi) / 2))
        self._countries: Counter[int] = Counter()
        self._rows: list[int] = []
        self._scores: list[float] = []
        self._barred = 0  # rows kept that `may_follow` has dealt with

    def __len__(self) -> int:
        """How many rows are kept."""
        return len(self._rows)

    @property
    def kept(self) -> tuple[Rows, Scores]:
        """Rows kept, best first, and their scores."""
        return np.array(self._rows, np.int64), np.array(self._scores, np.float32)

    def take(self, rows: Rows, scores: Scores, wanted: int) -> None:
        """Go through rows that may follow those kept, best first, until `wanted` are kept.

        Args:
            rows: (M,) of the table, best first.
            scores: (M,) theirs.
            wanted: how many to keep in all.
        """
        points = self._points(rows)
        pending = np.arange(len(rows))
        while pending.size and len(self) < wanted:
            first = pending[0]
            self._rows.append(int(rows[first]))
            self._scores.append(float(scores[first]))
            self._countries[int(self._tiles.country[rows[first]])] += 1
            pending = pending[1:]
            open_ = self._far_from(points[first], points[pending]) & self._below_cap(rows[pending])
            pending = pending[open_]

    def may_follow(self, rows: Rows) -> Mask:
        """Which of some rows, (M,), no row kept since the last call stands in the way of."""
        new = np.array(self._rows[self._barred :], np.int64)
        self._barred = len(self)
        mask = self._below_cap(rows) & ~np.isin(rows, new)
        if not self._least_chord:
            return mask
        points = self._points(rows)
        for point in self._points(new):  # what is out of the way already is not looked at again
            left = np.flatnonzero(mask)
            mask[left] = self._far_from(point, points[left])
        return mask

    def _points(self, rows: Rows) -> npt.NDArray[np.float64]:
        return unit_vectors(self._tiles.lon[rows], self._tiles.lat[rows])

    def _far_from(self, point: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> Mask:
        if not self._least_chord:
            return np.ones(len(points), bool)
        away = points - point
        return np.asarray(np.einsum("ij,ij->i", away, away) >= self._least_chord**2)

    def _below_cap(self, rows: Rows) -> Mask:
        if self._cap is None:
            return np.ones(len(rows), bool)
        full = [country for country, count in self._countries.items() if country >= 0 and count >= self._cap]
        return ~np.isin(self._tiles.country[rows], full)
