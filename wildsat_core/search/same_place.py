"""Which tiles show the same place on different days, wherever they are stored.

Two tiles show the same place when their sides differ by at most a quarter of the shorter one, and their centres lie at
most a quarter of the shorter side apart: tiles of a grid that overlap their neighbours are places of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wildsat_core.geo import EARTH_RADIUS_KM, great_circle_km, unit_vectors
from wildsat_core.search.scan import Rows

Floats = npt.NDArray[np.float64]

APART = 0.25  # of the shorter side: how far apart the centres of one place may lie
UNLIKE = 1.25  # times the shorter side: how long the longer one may be
_LEAST_EDGE = 1e-6  # of a cell, on the unit sphere: three cells' numbers then fit 63 bits
_SITES_AT_ONCE = 262_144


@dataclass(frozen=True, slots=True)
class Dated:
    """Some tiles of known days, (K,) each.

    Attributes:
        rows: in the generation.
        lon, lat: degrees, of the centres.
        side_km: from south to north.
        days: when they were taken.
    """

    rows: Rows
    lon: Floats
    lat: Floats
    side_km: Floats
    days: npt.NDArray[np.datetime64]

    @classmethod
    def of_all(cls, parts: Sequence[Dated]) -> Dated:
        """Those of several shards, in the order of rows."""
        rows = np.concatenate([part.rows for part in parts])
        order = np.argsort(rows)
        others = (np.concatenate([getattr(p, n) for p in parts])[order] for n in ("lon", "lat", "side_km", "days"))
        return cls(rows[order], *others)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The tiles to compare, (P,) rows each: one place in each pair."""

    before: Rows
    after: Rows


def find_pairs(before: Dated, after: Dated) -> Pairs:
    """The first tile of each place in one period beside the last of the same place in another, where it is later."""
    sites, of_before, of_after = _sites(before, after)
    i, j = _same_place(sites)
    first = _first(before, of_before, len(sites), i, j, latest=False)
    last = _first(after, of_after, len(sites), i, j, latest=True)
    i, j = i[(first[i] >= 0) & (last[j] >= 0)], j[(first[i] >= 0) & (last[j] >= 0)]
    later = before.days[first[i]] < after.days[last[j]]
    pairs = Pairs(before.rows[first[i[later]]], after.rows[last[j[later]]])
    order = np.lexsort((pairs.after, pairs.before))
    return Pairs(pairs.before[order], pairs.after[order])


def _sites(before: Dated, after: Dated) -> tuple[Floats, Rows, Rows]:
    """Different centres and sides, (S, 3), and which one each tile has: most tiles of a grid have those of others."""
    places = [np.stack([each.lon, each.lat, each.side_km], axis=1) for each in (before, after)]
    sites, of = np.unique(np.concatenate(places), axis=0, return_inverse=True)
    of = of.reshape(-1).astype(np.int64)
    return sites, of[: len(before.rows)], of[len(before.rows) :]


def _first(dated: Dated, site: Rows, sites: int, i: Rows, j: Rows, *, latest: bool) -> Rows:
    """The tile of each site, (S,), that is first, or latest, of all of one place; -1 where the site has no such."""
    days = -dated.days.astype(np.int64) if latest else dated.days.astype(np.int64)
    order = np.lexsort((dated.rows, days))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    best = np.full(sites, len(order), np.int64)
    np.minimum.at(best, site, rank)
    around = best.copy()
    np.minimum.at(around, i, best[j])
    found = np.full(sites, -1, np.int64)
    mine = np.flatnonzero((best == around) & (best < len(order)))
    found[mine] = order[best[mine]]
    return found


def _same_place(sites: Floats) -> tuple[Rows, Rows]:
    """All pairs of sites that are one place, each way round, and each site with itself; (P,) and (P,)."""
    found = list(_near_pairs(sites))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    i, j = (np.concatenate(part) for part in zip(*found, strict=True))
    return i, j


def _near_pairs(sites: Floats) -> Iterator[tuple[Rows, Rows]]:
    """The same in parts: sites of about one size at a time, looked up in cells into which few of them fall."""
    side = sites[:, 2]
    size = np.floor(np.log2(np.maximum(side, 1e-9))).astype(np.int64)
    for one in np.unique(size):
        mine = np.flatnonzero(size == one)
        least, most = side[mine].min() / UNLIKE, side[mine].max() * UNLIKE
        others = np.flatnonzero((side >= least) & (side <= most))
        edge = max(APART * side[mine].max() / EARTH_RADIUS_KM, _LEAST_EDGE)
        for start in range(0, len(mine), _SITES_AT_ONCE):
            i, j = _in_near_cells(sites, mine[start : start + _SITES_AT_ONCE], others, edge)
            short, long = np.minimum(side[i], side[j]), np.maximum(side[i], side[j])
            away_km = great_circle_km(sites[i, 0], sites[i, 1], sites[j, 0], sites[j, 1])
            same = (long <= UNLIKE * short) & (away_km <= APART * short)
            yield i[same], j[same]


def _in_near_cells(sites: Floats, mine: Rows, others: Rows, edge: float) -> tuple[Rows, Rows]:
    """Pairs of sites in the same or in neighbouring cells of a cubic grid around the Earth."""
    count = int(2 / edge) + 4  # cells along an axis; neighbours of the outermost are among them

    def cells(some: Rows) -> Rows:
        return ((unit_vectors(sites[some, 0], sites[some, 1]) + 1.0) / edge).astype(np.int64) + 1

    def key(cell: Rows) -> Rows:
        return (cell[:, 0] * count + cell[:, 1]) * count + cell[:, 2]

    keys = key(cells(others))
    order = np.argsort(keys, kind="stable")
    keys, cell = keys[order], cells(mine)
    firsts, seconds = [], []
    for x in (-1, 0, 1):
        for y in (-1, 0, 1):  # three cells one above the other have consecutive numbers
            middle = key(cell + np.array([x, y, 0]))
            start, stop = np.searchsorted(keys, middle - 1, "left"), np.searchsorted(keys, middle + 1, "right")
            many = stop - start
            firsts.append(np.repeat(mine, many))
            within = np.arange(int(many.sum())) - np.repeat(np.cumsum(many) - many, many)
            seconds.append(others[order[np.repeat(start, many) + within]])
    return np.concatenate(firsts), np.concatenate(seconds)
