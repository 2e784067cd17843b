"""Hits apart from one another: great-circle spacing and a cap per country, refilled from further down."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.geo import EARTH_RADIUS_KM, unit_vectors
from wildsat_core.search.scan import Rows, Scores

Mask = npt.NDArray[np.bool_]

_ROWS_AT_ONCE = 512
_POINTS_AT_ONCE = 4_096


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
        # Cosines of angles between places: many at once are one product of matrices.
        self._spaced = spacing_km > 0
        self._most_cosine = float(np.cos(min(spacing_km / EARTH_RADIUS_KM, np.pi)))
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
        kept = self._points(np.array(self._rows, np.int64))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            points = self._points(part)
            before, open_ = len(self), self._far(points, kept)
            close = points @ points.T > self._most_cosine if self._spaced else None
            for i in range(len(part)):
                if len(self) == wanted:
                    return
                if not open_[i] or self._is_full(part[i]):
                    continue
                self._rows.append(int(part[i]))
                self._scores.append(float(scores[start + i]))
                self._countries[int(self._tiles.country[part[i]])] += 1
                if close is not None:
                    open_ &= ~close[i]
            kept = np.concatenate([kept, self._points(np.array(self._rows[before:], np.int64))])

    def may_follow(self, rows: Rows) -> Mask:
        """Which of some rows, (M,), no row kept since the last call stands in the way of."""
        new = np.array(self._rows[self._barred :], np.int64)
        self._barred = len(self)
        mask = self._below_cap(rows) & ~np.isin(rows, new)
        left = np.flatnonzero(mask)
        mask[left] = self._far(self._points(rows[left]), self._points(new))
        return mask

    def _points(self, rows: Rows) -> npt.NDArray[np.float64]:
        return unit_vectors(self._tiles.lon[rows], self._tiles.lat[rows])

    def _far(self, points: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> Mask:
        """Which of some points, (M, 3), are far enough from all others, (N, 3)."""
        far = np.ones(len(points), bool)
        if not self._spaced:
            return far
        for start in range(0, len(points), _ROWS_AT_ONCE):
            some = far[start : start + _ROWS_AT_ONCE]
            for first in range(0, len(others), _POINTS_AT_ONCE):
                cosines = points[start : start + _ROWS_AT_ONCE] @ others[first : first + _POINTS_AT_ONCE].T
                some &= (cosines <= self._most_cosine).all(axis=1)
        return far

    def _is_full(self, row: int) -> bool:
        country = int(self._tiles.country[row])
        return self._cap is not None and country >= 0 and self._countries[country] >= self._cap

    def _below_cap(self, rows: Rows) -> Mask:
        if self._cap is None:
            return np.ones(len(rows), bool)
        full = [country for country, count in self._countries.items() if country >= 0 and count >= self._cap]
        return ~np.isin(self._tiles.country[rows], full)
