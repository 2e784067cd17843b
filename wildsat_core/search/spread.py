"""Hits apart from one another: great-circle spacing and a cap per country, refilled from further down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.geo import EARTH_RADIUS_KM, unit_vectors


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
        self._least_chord = 2 * np.sin(min(spacing_km / EARTH_RADIUS_KM, np.pi) / 2)
        self._countries: Counter[int] = Counter()
        self._points = np.empty((0, 3))
        self.kept: list[int] = []

    def take(self, rows: Iterable[int], first: int, wanted: int) -> None:
        """Go through rows, best first, until `wanted` are kept.

        Args:
            rows: rows of the table.
            first: position of the first of them in the ranking; `kept` holds positions.
            wanted: how many to keep in all.
        """
        for position, row in enumerate(rows, first):
            if len(self.kept) >= wanted:
                return
            point = unit_vectors(self._tiles.lon[row], self._tiles.lat[row])
            if self._fits(int(self._tiles.country[row]), point):
                self.kept.append(position)
                self._points = np.concatenate([self._points, point[None]])
                self._countries[int(self._tiles.country[row])] += 1

    def _fits(self, country: int, point: npt.NDArray[np.float64]) -> bool:
        if self._cap is not None and country >= 0 and self._countries[country] >= self._cap:
            return False
        if self._least_chord == 0 or not len(self._points):
            return True
        return bool((np.linalg.norm(self._points - point, axis=1) >= self._least_chord).all())
