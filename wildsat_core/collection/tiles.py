"""The tile table: one row a tile, columns as numpy arrays, mapped from files."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.columns import Column, Derived
from wildsat_core.collection.id_index import IdIndex, SegmentIds
from wildsat_core.collection.tile_files import LAND_SHARE, as_numpy, bbox_corner, read_tiles, schema
from wildsat_core.errors import CollectionFormatError
from wildsat_core.types import BBox, Tile

if TYPE_CHECKING:
    import pyarrow as pa

_FEW = 64  # rows that are sooner cut out one by one than taken from each part


@dataclass(frozen=True, slots=True)
class SegmentTiles:
    """Columns of one segment's tiles; see `TileTable` for what they hold. Never change, so generations share them."""

    arrow: pa.Table
    west: npt.NDArray[np.float64]
    south: npt.NDArray[np.float64]
    east: npt.NDArray[np.float64]
    north: npt.NDArray[np.float64]
    captured_on: npt.NDArray[np.datetime64]
    cloud_cover: npt.NDArray[np.float32]
    land_share: npt.NDArray[np.float32]
    is_box: npt.NDArray[np.bool_]
    country: npt.NDArray[np.int32]
    countries: tuple[str, ...]
    folder: Path | None = None

    @classmethod
    def read(cls, path: Path) -> SegmentTiles:
        """Read the table of a segment; its boxes, ids and outlines stay in the file.

        Raises:
            CollectionFormatError: damaged, with other columns than `schema()`, or with a box that is none.
        """
        tiles = cls.from_arrow(read_tiles(path), path.parent)
        # Compared so that NaN fails, too; east as it is written, not unwrapped.
        on_globe = (np.abs(tiles.west) <= 180) & (np.abs(bbox_corner(tiles.arrow, "xmax")) <= 180)
        on_globe &= (tiles.south >= -90) & (tiles.south <= tiles.north) & (tiles.north <= 90)
        if bad := int((~on_globe).sum()):
            raise CollectionFormatError(f"{path} has {bad} tiles whose box is not on the globe; rebuild the collection")
        return tiles

    @classmethod
    def from_arrow(cls, table: pa.Table, folder: Path | None = None) -> SegmentTiles:
        table = table.unify_dictionaries().combine_chunks()  # one chunk a column: rows are taken from it at once
        west, south, east, north = (bbox_corner(table, name) for name in ("xmin", "ymin", "xmax", "ymax"))
        country, countries = _dictionary(table, "country")
        return cls(
            arrow=table,
            west=west,
            south=south,
            east=np.where(east < west, east + 360.0, east) if (east < west).any() else east,
            north=north,
            captured_on=as_numpy(table["captured_on"]).astype("datetime64[D]", copy=False),
            cloud_cover=as_numpy(table["cloud_cover"]).astype(np.float32, copy=False),
            land_share=as_numpy(table[LAND_SHARE]).astype(np.float32, copy=False),
            is_box=as_numpy(table["is_box"]).astype(bool, copy=False),
            country=country,
            countries=countries,
            folder=folder,
        )

    def ids(self) -> SegmentIds:
        """Its ids with their hashes, from the files beside the table where there are some."""
        column = self.arrow["tile_id"]
        return SegmentIds.read(self.folder, column) if self.folder else SegmentIds.of(column)


@dataclass(frozen=True)
class TileTable:
    """Columns of all tiles of a generation, row i being row i of every space's vectors.

    Attributes:
        parts: of each segment, with the columns that are read by row: ids, hrefs, outlines.
        offsets: (S + 1,) first row of each part, then N.
        live: (N,) bool, False for deleted rows.
        west, south, east, north: (N,) degrees; east is unwrapped, so west <= east <= west + 360.
        captured_on: (N,) datetime64[D], NaT when unknown.
        cloud_cover: (N,) float32 in [0, 1], NaN when unknown.
        land_share: (N,) float32 in [0, 1], NaN when unknown.
        is_box: (N,) bool, False where the outline is not the box.
        country: (N,) int32 index into `countries`, -1 when unknown.
        lon, lat: (N,) degrees, of the centres.
    """

    parts: tuple[SegmentTiles, ...]
    offsets: npt.NDArray[np.int64]
    live: npt.NDArray[np.bool_]
    west: Column
    south: Column
    east: Column
    north: Column
    captured_on: Column
    cloud_cover: Column
    land_share: Column
    is_box: Column
    country: Column
    countries: tuple[str, ...]

    @classmethod
    def of(cls, parts: Sequence[SegmentTiles], live: npt.NDArray[np.bool_]) -> TileTable:
        """The tiles of some segments, in order; `live` (N,) counts through all of them."""
        known = tuple(parts)
        parts = known or (SegmentTiles.from_arrow(schema().empty_table()),)
        offsets = np.cumsum([0, *(part.arrow.num_rows for part in parts)])
        countries = tuple(dict.fromkeys(name for part in parts for name in part.countries))

        def column(name: str) -> Column:
            return Column([getattr(part, name) for part in parts], offsets)

        return cls(
            parts=known,
            offsets=offsets if known else offsets[:1],
            live=live,
            west=column("west"),
            south=column("south"),
            east=column("east"),
            north=column("north"),
            captured_on=column("captured_on"),
            cloud_cover=column("cloud_cover"),
            land_share=column("land_share"),
            is_box=column("is_box"),
            country=Column([_codes(part, countries) for part in parts], offsets),
            countries=countries,
        )

    @cached_property
    def lon(self) -> Column:
        return Derived(lambda west, east: ((west + east) / 2 + 180.0) % 360.0 - 180.0, self.west, self.east)

    @cached_property
    def lat(self) -> Column:
        return Derived(lambda south, north: (south + north) / 2, self.south, self.north)

    @cached_property
    def least_land(self) -> float:
        """The smallest share of land that is known of a tile, 1 where none is known."""
        return min((float(known.min()) for part in self.parts if (known := _known(part.land_share)).size), default=1.0)

    @cached_property
    def ids(self) -> IdIndex:
        """Finds rows by id; made at the first need."""
        return IdIndex([part.ids() for part in self.parts])

    def __len__(self) -> int:
        return len(self.live)

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of `schema()`, all rows; `take` is the way to some of them."""
        return self._joined([part.arrow.select([name]) for part in self.parts])[name]

    def take(self, rows: npt.NDArray[np.integer], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows (R,) in the order given, with all columns or some."""
        part_of = np.searchsorted(self.offsets, rows, side="right") - 1
        tables = [part.arrow.select(columns) if columns else part.arrow for part in self.parts]
        if len(rows) <= _FEW:
            within = rows - self.offsets[part_of]
            slices = [tables[i].slice(row, 1) for i, row in zip(part_of.tolist(), within.tolist(), strict=True)]
            return self._joined(slices).combine_chunks()
        pieces = [tables[i].take(rows[part_of == i] - self.offsets[i]) for i in np.unique(part_of)]
        back = np.argsort(np.argsort(part_of, kind="stable"))  # from the order of the parts to that of `rows`
        return self._joined(pieces).combine_chunks().take(back)

    def tile(self, row: int) -> Tile:
        """The tile of one row, deleted or not."""
        return self.tiles_at(np.array([row]))[0]

    def tiles_at(self, rows: npt.NDArray[np.integer]) -> list[Tile]:
        """The tiles of rows (R,) in the order given; much faster than one by one."""
        return [_tile(values) for values in self.take(rows).to_pylist()]

    def rows_of(self, tile_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Live rows of these ids, (R,) ascending; unknown ids are left out."""
        if not tile_ids:
            return np.empty(0, np.int64)
        rows = self.ids.rows_of(tile_ids)
        return rows[self.live[rows]]

    @staticmethod
    def _joined(pieces: Sequence[pa.Table]) -> pa.Table:
        import pyarrow as pa

        return pa.concat_tables(pieces).unify_dictionaries() if pieces else schema().empty_table()

    def outlines(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.object_]:
        """(K,) shapely outlines of some rows, in degrees, in the order given."""
        import shapely

        return np.asarray(shapely.from_wkb(self.take(rows, ["geometry"])["geometry"].to_numpy()))

    def dates_spanned(self) -> tuple[dt.date, dt.date] | None:
        """First and last known day of the live tiles."""
        days = self.captured_on[self.live]
        days = days[~np.isnat(days)]
        return (days.min().item(), days.max().item()) if days.size else None


def _tile(values: dict[str, Any]) -> Tile:
    box = values["bbox"]
    return Tile(
        tile_id=values["tile_id"],
        bbox=BBox(box["xmin"], box["ymin"], box["xmax"], box["ymax"]),
        gsd_m=_shortest(values["gsd_m"]) or 0.0,
        source=values["source"] or "",
        href=values["href"] or "",
        captured_on=values["captured_on"],
        cloud_cover=_shortest(values["cloud_cover"]),
        country=values["country"],
        land_share=_shortest(values[LAND_SHARE]),
        footprint_wkb=None if values["is_box"] else values["geometry"],
    )


def _shortest(value: float | None) -> float | None:
    """A float32 as people write it, 0.3 and not 0.30000001192092896; None for what is not a number."""
    return float(str(np.float32(value))) if value is not None and math.isfinite(value) else None


def _known(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return values[~np.isnan(values)]


def _codes(part: SegmentTiles, countries: Sequence[str]) -> npt.NDArray[np.int32]:
    """A part's country codes as places in the list of all; they are places in the part's own."""
    if countries[: len(part.countries)] == part.countries:
        return part.country
    place = {name: i for i, name in enumerate(countries)}
    # -1, unknown, picks the last entry.
    return np.array([*(place[name] for name in part.countries), -1], np.int32)[part.country]


def _dictionary(table: pa.Table, name: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Codes and words of a dictionary column; null becomes -1."""
    chunks = table[name].chunks
    if not chunks:
        return np.empty(0, np.int32), ()
    codes = np.concatenate([c.indices.fill_null(-1).to_numpy(zero_copy_only=False) for c in chunks]).astype(np.int32)
    return codes, tuple(chunks[0].dictionary.to_pylist())
