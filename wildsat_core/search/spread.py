"""Hits apart from one another: great-circle spacing and a cap per country, refilled from further down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wildsat_core.geo import EARTH_RADIUS_KM, unit_vectors
from wildsat_core.search.scan import Rows, Scores

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

_ROWS_AT_ONCE = 512
_POINTS_AT_ONCE = 4_096
_UNSURE = 1e-13  # a product of matrices may be off by some last bits, and by others for other rows around it


@dataclass(frozen=True, slots=True)
class Places:
    """Where some rows are, (K,) each.

    Attributes:
        lon, lat: degrees, of the centres.
        country: index into `countries`, -1 when unknown.
        countries: codes.
    """

    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]
    country: npt.NDArray[np.int32]
    countries: tuple[str, ...]

    @property
    def points(self) -> Points:
        """(K, 3) on the unit sphere."""
        return unit_vectors(self.lon, self.lat)

    def names(self) -> npt.NDArray[np.object_]:
        """(K,) codes of the countries, None when unknown."""
        return np.array([*self.countries, None], object)[self.country]


@dataclass(frozen=True, slots=True)
class Barred:
    """What rows that were kept rule out: themselves, what lies near, and countries that are full.

    Attributes:
        rows: (M,) kept.
        points: (M, 3) theirs.
        most_cosine: of the angle between two rows that are far enough apart; None without spacing.
        full: countries of which no more are taken.
    """

    rows: Rows
    points: Points
    most_cosine: float | None
    full: frozenset[str]

    def may_follow(self, rows: Rows, places: Places) -> Mask:
        """Which of some rows, (K,), nothing stands in the way of."""
        full = [i for i, name in enumerate(places.countries) if name in self.full]
        mask = ~np.isin(places.country, full) & ~np.isin(rows, self.rows)
        left = np.flatnonzero(mask)
        if self.most_cosine is not None:
            mask[left] = _far(unit_vectors(places.lon[left], places.lat[left]), self.points, self.most_cosine)
        return mask


def _far(points: Points, others: Points, most_cosine: float) -> Mask:
    """Which of some points, (M, 3), are far enough from all others, (N, 3)."""
    far = np.ones(len(points), bool)
    for start in range(0, len(points), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        for first in range(0, len(others), _POINTS_AT_ONCE):
            near = _close(points[some], others[first : first + _POINTS_AT_ONCE], most_cosine)
            far[some] &= ~near.any(axis=1)
    return far


def _close(points: Points, others: Points, most_cosine: float) -> Mask:
    """Which pairs of points, (M, 3) and (N, 3), are nearer than allowed, (M, N)."""
    cosines = points @ others.T
    close: Mask = cosines > most_cosine
    i, j = np.nonzero(np.abs(cosines - most_cosine) <= _UNSURE)
    if len(i):
        a, b = points[i], others[j]
        close[i, j] = a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2] > most_cosine
    return close


class Spread:
    """Takes rows best first and keeps those far enough from all kept so far.

    Args:
        spacing_km: least great-circle distance between centres; 0 for none.
        max_per_country: at most so many rows of one country; rows of no known country are not capped.
    """

    def __init__(self, spacing_km: float, max_per_country: int | None) -> None:
        """Start with nothing kept."""
        self._cap = max_per_country
        # Cosines of angles between places: many at once are one product of matrices.
        self._most_cosine = float(np.cos(min(spacing_km / EARTH_RADIUS_KM, np.pi))) if spacing_km > 0 else None
        self._counts: Counter[str] = Counter()
        self._rows: list[int] = []
        self._scores: list[float] = []
        self._points: Points = np.empty((0, 3))

    def __len__(self) -> int:
        """How many rows are kept."""
        return len(self._rows)

    @property
    def kept(self) -> tuple[Rows, Scores]:
        """(K,) rows kept, best first, and their scores."""
        return np.array(self._rows, np.int64), np.array(self._scores, np.float32)

    @property
    def barred(self) -> Barred:
        """What those kept rule out."""
        full = frozenset(c for c, count in self._counts.items() if self._cap is not None and count >= self._cap)
        return Barred(self.kept[0], self._points, self._most_cosine, full)

    def take(self, rows: Rows, scores: Scores, places: Places, wanted: int) -> None:
        """Go through rows that may follow those kept, best first, until `wanted` are kept.

        Args:
            rows: (M,) best first.
            scores: (M,) theirs.
            places: of the rows.
            wanted: how many to keep in all.
        """
        points, names = places.points, places.names()
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            some, taken = points[part], []
            open_ = np.ones(len(some), bool)
            if self._most_cosine is not None:
                open_ = _far(some, self._points, self._most_cosine)
                close = _close(some, some, self._most_cosine)
            for i in range(len(some)):
                if len(self) == wanted:
                    break
                country = names[start + i]
                if not open_[i] or self._is_full(country):
                    continue
                taken.append(i)
                self._rows.append(int(rows[start + i]))
                self._scores.append(float(scores[start + i]))
                if country is not None:
                    self._counts[country] += 1
                if self._most_cosine is not None:
                    open_ &= ~close[i]
            self._points = np.concatenate([self._points, some[taken]])

    def _is_full(self, country: str | None) -> bool:
        return self._cap is not None and country is not None and self._counts[country] >= self._cap
