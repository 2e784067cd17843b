"""Which tiles may be ranked: exact, before ranking, pruned by the boxes of blocks of rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wildsat_core.area import Area
from wildsat_core.collection.reader import Collection
from wildsat_core.collection.tiles import TileTable
from wildsat_core.errors import LimitExceededError
from wildsat_core.geo import boxes_meet, great_circle_km
from wildsat_core.region import Region
from wildsat_core.search.query import LAND_SHOWN, Circle, Filters
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Mask = npt.NDArray[np.bool_]

_BLOCK_ROWS = 1_024
_AREA_ROWS = 4_096  # compared with an area between two looks at the clock
AREA_S = 3.0  # a natural area of the most vertices allowed takes less with a million tiles


@dataclass(frozen=True, slots=True)
class BlockBoxes:
    """Box around each block of rows; blocks are short because rows follow a space-filling curve.

    Attributes:
        starts: (B + 1,) first row of each block, then N.
        west, south, east, north: (B,) degrees, east unwrapped like the tiles'.
    """

    starts: npt.NDArray[np.int64]
    west: npt.NDArray[np.float64]
    south: npt.NDArray[np.float64]
    east: npt.NDArray[np.float64]
    north: npt.NDArray[np.float64]

    @classmethod
    def of(cls, collection: Collection, block_rows: int = _BLOCK_ROWS) -> BlockBoxes:
        """Cut each segment into blocks; no block spans two segments, since each is sorted for itself."""
        cuts = [
            np.arange(start, stop, block_rows)
            for start, stop in zip(collection.offsets[:-1], collection.offsets[1:], strict=True)
        ]
        starts = np.concatenate([*cuts, [len(collection.tiles)]]).astype(np.int64)
        tiles, first = collection.tiles, starts[:-1]
        if not first.size:
            empty = np.empty(0)
            return cls(starts, empty, empty, empty, empty)
        return cls(
            starts,
            np.minimum.reduceat(tiles.west, first),
            np.minimum.reduceat(tiles.south, first),
            np.maximum.reduceat(tiles.east, first),
            np.maximum.reduceat(tiles.north, first),
        )

    def rows_meeting(self, box: BBox) -> npt.NDArray[np.int64]:
        """All rows of the blocks whose box meets the box given, (R,) ascending."""
        blocks = np.flatnonzero(boxes_meet(box, self.west, self.south, self.east, self.north))
        if not blocks.size:
            return np.empty(0, np.int64)
        return np.concatenate([np.arange(self.starts[b], self.starts[b + 1]) for b in blocks])


def passing_rows(collection: Collection, blocks: BlockBoxes, filters: Filters) -> npt.NDArray[np.int64] | None:
    """Rows that satisfy every filter except `min_percentile`, (R,) ascending; None when every live row does.

    Deleted rows never pass. `ranges` and `show_land` are filters like any other: whether they are to be, `SearchEngine`
    decides by all tiles.

    Raises:
        LimitExceededError: the area is so intricate that comparing it takes too long.
    """
    tiles = collection.tiles
    if filters.show_land is not None and tiles.least_land >= LAND_SHOWN:
        filters = replace(filters, show_land=None)
    if filters == Filters(min_percentile=filters.min_percentile):
        return None
    rows = _rows_to_test(tiles, blocks, filters)
    keep = tiles.live[rows]
    for condition in _column_conditions(tiles, filters, rows):
        keep &= condition
    rows = rows[keep]
    if filters.bbox:
        rows = rows[_touches_box(tiles, rows, filters.bbox)]
    if filters.circle:
        rows = rows[_within(tiles, rows, filters.circle)]
    if filters.area:
        rows = rows[_touches_area(tiles, rows, filters)]
    if filters.where:
        rows = filters.where.passing(collection, rows)
    return _in_regions(tiles, rows, filters)


def _in_regions(tiles: TileTable, rows: npt.NDArray[np.int64], filters: Filters) -> npt.NDArray[np.int64]:
    for region in (*filters.regions, *filters.ranges):
        rows = rows[_lies_in(tiles, rows, region)]
    for region in filters.outside:
        rows = rows[~_lies_in(tiles, rows, region)]
    return rows


def _lies_in(tiles: TileTable, rows: npt.NDArray[np.int64], region: Region) -> Mask:
    return region.holds(tiles.west[rows], tiles.south[rows], tiles.east[rows], tiles.north[rows])


def _rows_to_test(tiles: TileTable, blocks: BlockBoxes, filters: Filters) -> npt.NDArray[np.int64]:
    """Prune by ids and by the blocks' boxes."""
    if filters.tile_ids is not None:
        return tiles.rows_of(sorted(filters.tile_ids)).astype(np.int64)
    boxes = [filters.bbox] if filters.bbox else []
    if filters.area:
        boxes.append(bounds_of(filters.area))
    candidates = [blocks.rows_meeting(box) for box in boxes]
    if not candidates:
        return np.arange(len(tiles))
    rows = candidates[0]
    for other in candidates[1:]:
        rows = np.intersect1d(rows, other, assume_unique=True)
    return rows


def bounds_of(area: Area) -> BBox:
    """Smallest box around an area, not crossing the antimeridian."""
    west, south, east, north = area.geometry.bounds
    return BBox(west, south, east, north)


def _column_conditions(tiles: TileTable, filters: Filters, rows: npt.NDArray[np.int64]) -> list[Mask]:
    conditions: list[Mask] = []
    if filters.countries:
        wanted = [i for i, name in enumerate(tiles.countries) if name in filters.countries]
        conditions.append(np.isin(tiles.country[rows], wanted))
    if filters.not_countries:
        unwanted = [i for i, name in enumerate(tiles.countries) if name in filters.not_countries]
        conditions.append(~np.isin(tiles.country[rows], unwanted))
    if filters.max_cloud is not None:
        conditions.append(tiles.cloud_cover[rows] <= filters.max_cloud)
    if filters.min_land is not None:
        conditions.append(tiles.land_share[rows] >= filters.min_land)
    if filters.show_land is not None:
        conditions.append(~(tiles.land_share[rows] < LAND_SHOWN))  # where it is unknown, the comparison is false
    if not (filters.date_from or filters.date_to or filters.months):
        return conditions
    days = tiles.captured_on[rows]
    undated = np.isnat(days) if filters.undated else np.zeros(len(days), bool)
    if filters.date_from:  # comparisons with NaT are False: an unknown date does not pass
        conditions.append((days >= np.datetime64(filters.date_from)) | undated)
    if filters.date_to:
        conditions.append((days <= np.datetime64(filters.date_to)) | undated)
    if filters.months:
        month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
        conditions.append(~np.isnat(days) & np.isin(month, sorted(filters.months)))
    return conditions


def _touches_box(tiles: TileTable, rows: npt.NDArray[np.int64], box: BBox) -> Mask:
    hit = boxes_meet(box, tiles.west[rows], tiles.south[rows], tiles.east[rows], tiles.north[rows])
    outlined = np.flatnonzero(hit & ~tiles.is_box[rows])
    if outlined.size:
        import shapely

        from wildsat_core.geo import bbox_geometry

        hit[outlined] = _outlines_touch(tiles, rows[outlined], shapely.geometry.shape(bbox_geometry(box)))
    return hit


def _touches_area(tiles: TileTable, rows: npt.NDArray[np.int64], filters: Filters) -> Mask:
    assert filters.area is not None
    near = boxes_meet(bounds_of(filters.area), tiles.west[rows], tiles.south[rows], tiles.east[rows], tiles.north[rows])
    hit, close = near, rows[near]
    parts, give_up = [], time.monotonic() + AREA_S
    for start in range(0, len(close), _AREA_ROWS):
        if time.monotonic() > give_up:
            raise LimitExceededError(
                f"the area takes longer than {AREA_S:g} s to compare with {len(close)} tiles: its edges lie too close "
                "together; simplify it",
                "area",
            )
        part = close[start : start + _AREA_ROWS]
        parts.append(filters.area.intersects(tiles.west[part], tiles.south[part], tiles.east[part], tiles.north[part]))
    hit[near] = np.concatenate(parts) if parts else False
    outlined = np.flatnonzero(hit & ~tiles.is_box[rows])
    if outlined.size:
        hit[outlined] = _outlines_touch(tiles, rows[outlined], filters.area.geometry)
    return hit


def _outlines_touch(tiles: TileTable, rows: npt.NDArray[np.int64], geometry: BaseGeometry) -> Mask:
    """Whose outlines share a point with a geometry within [-180, 180]; the two meridians at its ends are one."""
    import shapely
    from shapely.affinity import translate

    outlines = tiles.outlines(rows)
    turns = [translate(geometry, xoff=turn) for turn in (-360.0, 0.0, 360.0)]
    return np.asarray(np.logical_or.reduce([shapely.intersects(turned, outlines) for turned in turns]))


def _within(tiles: TileTable, rows: npt.NDArray[np.int64], circle: Circle) -> Mask:
    return great_circle_km(circle.lon, circle.lat, tiles.lon[rows], tiles.lat[rows]) <= circle.radius_km
