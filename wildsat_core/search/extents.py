"""Where and when a collection's tiles lie, as OGC and STAC tell it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.search.properties import UNDATED_SINCE

GLOBE = (-180.0, -90.0, 180.0, 90.0)

Degrees = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of some tiles, so that a filter can tell them apart.

    Attributes:
        months: those in which a tile was captured.
        cloud: whether the cloud cover of any is known.
        land: whether the share of land of any is known.
        countries: ISO 3166-1 alpha-3 codes.
    """

    months: frozenset[int]
    cloud: bool
    land: bool
    countries: frozenset[str]

    @classmethod
    def of(cls, tiles: TileTable) -> Self:
        """Of the live tiles of a table."""
        live = np.flatnonzero(tiles.live)
        days = tiles.captured_on[live]
        months = np.unique(days[~np.isnat(days)].astype("datetime64[M]").astype(int) % 12 + 1)
        codes = np.unique(tiles.country[live])
        return cls(
            frozenset(months.tolist()),
            bool((~np.isnan(tiles.cloud_cover[live])).any()),
            bool((~np.isnan(tiles.land_share[live])).any()),
            frozenset(tiles.countries[code] for code in codes if code >= 0),
        )

    @classmethod
    def of_all(cls, parts: Sequence[Self]) -> Self:
        """Of all together."""
        return cls(
            frozenset[int]().union(*(part.months for part in parts)),
            any(part.cloud for part in parts),
            any(part.land for part in parts),
            frozenset[str]().union(*(part.countries for part in parts)),
        )


@dataclass(frozen=True, slots=True)
class Extent:
    """Where and when some tiles lie; those of several sets add up to that of all.

    Attributes:
        west, east: (K,) degrees: the stretches of the parallel that tiles cover, apart from one another and from west
            to east; east is unwrapped, and what reaches over 180 degrees may cover the beginning, too.
        north_south: least and greatest latitude; None without tiles.
        days: first and last known day; None when none is known.
        undated: whether a tile's day is unknown.
        told: what filters can tell tiles apart by.
    """

    west: Degrees
    east: Degrees
    north_south: tuple[float, float] | None
    days: tuple[dt.date, dt.date] | None
    undated: bool
    told: Told

    @classmethod
    def of(cls, tiles: TileTable) -> Self:
        """Of the live tiles of a table."""
        live = tiles.live
        span = (float(tiles.south[live].min()), float(tiles.north[live].max())) if live.any() else None
        undated = bool(np.isnat(tiles.captured_on[live]).any())
        return cls(*_joined(tiles.west[live], tiles.east[live]), span, tiles.dates_spanned(), undated, Told.of(tiles))

    @classmethod
    def of_all(cls, parts: Sequence[Self]) -> Self:
        """Of all together."""
        west, east = (np.concatenate([getattr(part, name) for part in parts]) for name in ("west", "east"))
        spans = [part.north_south for part in parts if part.north_south]
        days = [part.days for part in parts if part.days]
        return cls(
            *_joined(west, east),
            (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None,
            (min(first for first, _ in days), max(last for _, last in days)) if days else None,
            any(part.undated for part in parts),
            Told.of_all([part.told for part in parts]),
        )

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the box around all tiles; the whole globe when there are none.

        Where a tile crosses 180 degrees, the narrowest such box: west > east when it crosses, too (RFC 7946, section
        5.2).
        """
        if self.north_south is None:
            return GLOBE
        crosses = bool((self.east > 180.0).any())
        west, east = self._around() if crosses else (float(self.west[0]), float(self.east[-1]))
        south, north = self.north_south
        return round(west, 6), round(south, 6), round(east, 6), round(north, 6)

    def _around(self) -> tuple[float, float]:
        """What is left of the parallel without its widest gap."""
        # What reaches over 180 degrees covers the beginning, too.
        reached = np.maximum(self.east, self.east[-1] - 360.0)
        gaps = np.append(self.west[1:], self.west[0] + 360.0) - reached
        widest = int(gaps.argmax())
        if gaps[widest] <= 0.0:
            return GLOBE[0], GLOBE[2]
        start, end = float(self.west[(widest + 1) % len(self.west)]), float(reached[widest])
        return start, end - 360.0 if end > 180.0 else end

    def interval(self, made_at: dt.datetime) -> tuple[str, str]:
        """First and last time as RFC 3339 has it; tiles of unknown day are of any time until `made_at`."""
        undated = self.undated or self.days is None
        first = min(([self.days[0]] if self.days else []) + ([UNDATED_SINCE] if undated else []))
        last = f"{self.days[1]}T23:59:59Z" if self.days else ""
        made = made_at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{first}T00:00:00Z", max(last, made if undated else last)


def _joined(west: Degrees, east: Degrees) -> tuple[Degrees, Degrees]:
    """Stretches of the parallel, those that touch or overlap as one."""
    order = np.argsort(west, kind="stable")
    west, reached = west[order], np.maximum.accumulate(east[order])
    first = np.append(True, west[1:] > reached[:-1])[: len(west)]
    last = np.append(first[1:], True)[: len(west)]
    return west[first], reached[last]
