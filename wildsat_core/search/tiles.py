"""The tiles of a collection, wherever its shards are: what is known of them, and which satisfy filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsat_core.collection.manifest import Manifest
from wildsat_core.collection.reader import Collection
from wildsat_core.geo import KM_PER_DEGREE
from wildsat_core.ground_scale import GroundScale
from wildsat_core.search.cache import Cache
from wildsat_core.search.paging import Page, Position
from wildsat_core.search.query import Filters
from wildsat_core.search.scan import Rows, Scores
from wildsat_core.search.shards import LocalShards, Shards
from wildsat_core.search.sorting import Sorting
from wildsat_core.types import Space, Tile

if TYPE_CHECKING:
    import pyarrow as pa

_CACHED_LAND = 64
_HEIGHT_ROWS = 65_536


class CollectionTiles:
    """The tiles of one generation of a collection; no model is needed. Safe to use from many threads."""

    def __init__(self, shards: Shards) -> None:
        """Ask these shards; nothing is read yet."""
        self.shards = shards
        self._land: Cache[Filters, float] = Cache(_CACHED_LAND)

    @property
    def collection(self) -> Collection:
        """The whole collection, where it is open in this process."""
        if not isinstance(self.shards, LocalShards):
            raise TypeError("the tiles of this engine are elsewhere; ask the engine for them")
        return self.shards.collection

    @property
    def manifest(self) -> Manifest:
        """What is searched."""
        return self.shards.manifest

    @property
    def spatial_extent(self) -> tuple[float, float, float, float]:
        """West, south, east, north of all tiles."""
        return self.shards.extent.bbox

    @property
    def temporal_extent(self) -> tuple[str, str]:
        """First and last time of all tiles."""
        return self.shards.extent.interval(self.manifest.created_at)

    @property
    def filterable(self) -> dict[str, Any]:
        """What filters can tell the tiles apart by: days (first and last, or None), months, cloud, land, countries."""
        days, told = self.shards.extent.days, self.shards.extent.told
        return {
            "days": [day.isoformat() for day in days] if days else None,
            "months": sorted(told.months),
            "cloud": told.cloud,
            "land": told.land,
            "countries": sorted(told.countries),
        }

    @property
    def ground_scale(self) -> GroundScale | None:
        """Pixel sizes and sides of all tiles; None where no pixel size is known."""
        return self.shards.ground_scale

    def row_of(self, tile_id: str) -> int:
        """Row of a tile.

        Raises:
            TileNotFoundError: there is none of this id.
        """
        return self.shards.row_of(tile_id)

    def tile(self, tile_id: str) -> Tile:
        """A tile.

        Raises:
            TileNotFoundError: there is none of this id.
        """
        return self.tiles_at([self.row_of(tile_id)])[0]

    def tiles_at(self, rows: Rows | Sequence[int]) -> list[Tile]:
        """The tiles of some rows (R,), in the order given."""
        return self.shards.begin_tiles(np.asarray(rows, np.int64))()

    def table(self, rows: Rows) -> pa.Table:
        """Some rows (R,) of the table of tiles, in the order given, with the columns of `collection.tiles.schema`."""
        return self.shards.table(rows)

    def thumbnail(self, tile_id: str) -> bytes | None:
        """WebP bytes of a tile's picture, None when it has none.

        Raises:
            TileNotFoundError: there is no tile of this id.
        """
        return self.shards.thumbnail(self.row_of(tile_id))

    def vectors(self, space: Space, rows: Rows) -> Scores:
        """(K, D) float32 vectors of some rows, in the order given."""
        return self.shards.vectors(space, rows)

    def passing(self, filters: Filters) -> Rows:
        """(R,) rows that satisfy every filter except `min_percentile`, ascending."""
        return self.shards.passing(self._settled(filters))

    def count(self, filters: Filters) -> int:
        """How many rows do."""
        return self.shards.count(self._settled(filters))

    def page(
        self, filters: Filters, limit: int, *, after: Position | None = None, skip: int = 0, sorting: Sorting = ()
    ) -> Page:
        """A page of the tiles that do, sorted by properties or along the curve; see `Pages.page`."""
        return self.shards.page(self._settled(filters), limit, after, skip, sorting)

    def _settled(self, filters: Filters) -> Filters:
        """Filters that a shard can apply by itself.

        `ranges` are one only where a tile satisfies them with the rest, `show_land` only where enough tiles do.
        """
        filters, land = replace(filters, min_percentile=None, show_land=None), filters.show_land
        if filters.ranges and not self.shards.count(filters):
            filters = replace(filters, ranges=())
        showing = replace(filters, show_land=0.0)
        return showing if land is not None and self._enough_show_land(showing, land) else filters

    def _enough_show_land(self, showing: Filters, least: float) -> bool:
        """Whether at least a share of the tiles that pass the filters shows land, and one does; cached."""

        def share() -> float:
            return self.shards.count(showing) / max(self.shards.count(replace(showing, show_land=None)), 1)

        found = self._land.get(showing, share)
        return found > 0 and found >= least

    @cached_property
    def tile_side_km(self) -> float:
        """Height of the middling tile, of an even sample; 0 without tiles."""
        return self.shards.middling_height(_HEIGHT_ROWS) * KM_PER_DEGREE
