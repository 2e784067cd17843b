"""Where and when a collection's tiles lie, as OGC and STAC tell it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.tiles import TileTable
from wildsat_core.search.properties import UNDATED_SINCE

GLOBE = (-180.0, -90.0, 180.0, 90.0)


def spatial_extent(tiles: TileTable) -> tuple[float, float, float, float]:
    """West, south, east, north of the box around all live tiles; the whole globe for an empty collection.

    Where a tile crosses 180 degrees, the narrowest such box: west > east when it crosses, too (RFC 7946, section 5.2).
    """
    live = tiles.live
    if not live.any():
        return GLOBE
    west, east = tiles.west[live], tiles.east[live]
    south, north = float(tiles.south[live].min()), float(tiles.north[live].max())
    least, greatest = _around(west, east) if (east > 180.0).any() else (float(west.min()), float(east.max()))
    return round(least, 6), round(south, 6), round(greatest, 6), round(north, 6)


def _around(west: npt.NDArray[np.float64], east: npt.NDArray[np.float64]) -> tuple[float, float]:
    """What is left of the parallel without its widest gap; east is unwrapped, west <= east."""
    order = np.argsort(west)
    west, reached = west[order], np.maximum.accumulate(east[order])
    # What reaches over 180 degrees covers the beginning, too.
    reached = np.maximum(reached, reached[-1] - 360.0)
    gaps = np.append(west[1:], west[0] + 360.0) - reached
    widest = int(gaps.argmax())
    if gaps[widest] <= 0.0:
        return GLOBE[0], GLOBE[2]
    start, end = float(west[(widest + 1) % len(west)]), float(reached[widest])
    return start, end - 360.0 if end > 180.0 else end


def temporal_extent(tiles: TileTable, made_at: dt.datetime) -> tuple[str, str]:
    """First and last time as RFC 3339 has it; tiles of unknown day are of any time until the collection was made."""
    span = tiles.dates_spanned()
    undated = bool(np.isnat(tiles.captured_on[tiles.live]).any()) or span is None
    first = min(([span[0]] if span else []) + ([UNDATED_SINCE] if undated else []))
    last = f"{span[1]}T23:59:59Z" if span else ""
    made = made_at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{first}T00:00:00Z", max(last, made if undated else last)
