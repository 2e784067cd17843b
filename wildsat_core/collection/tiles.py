"""The tile table: one row a tile, columns as numpy arrays, stored as GeoParquet."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import CollectionFormatError
from wildsat_core.printable import printable
from wildsat_core.types import BBox, Tile

if TYPE_CHECKING:
    import pyarrow as pa

_FEW = 64  # rows that are sooner cut out one by one than taken from each part
ROW_GROUP_ROWS = 4096  # also the block of rows that the search prunes by its box


def geo_metadata(kinds: Sequence[str]) -> bytes:
    """GeoParquet's own metadata for outlines of some kinds in the column geometry, boxes in bbox."""
    corners = {corner: ["bbox", corner] for corner in ("xmin", "ymin", "xmax", "ymax")}
    column = {"encoding": "WKB", "geometry_types": list(kinds), "covering": {"bbox": corners}}
    told = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return json.dumps(told).encode()


def schema() -> pa.Schema:
    """Columns of tiles.parquet; docs/collection-format.md explains each."""
    import pyarrow as pa

    corner = [("xmin", pa.float64()), ("ymin", pa.float64()), ("xmax", pa.float64()), ("ymax", pa.float64())]
    names = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            ("tile_id", pa.string()),
            ("geometry", pa.binary()),
            ("bbox", pa.struct(corner)),
            ("is_box", pa.bool_()),
            ("captured_on", pa.date32()),
            ("cloud_cover", pa.float32()),
            ("gsd_m", pa.float32()),
            ("source", names),
            ("country", names),
            ("href", pa.string()),
        ],
        metadata={b"geo": geo_metadata(["Polygon", "MultiPolygon"])},
    )


def tiles_to_arrow(tiles: Sequence[Tile]) -> pa.Table:
    """Rows in the order given."""
    import pyarrow as pa

    columns = {
        "tile_id": [printable(t.tile_id) for t in tiles],
        "geometry": _geometries_wkb(tiles),
        "bbox": [dict(zip(("xmin", "ymin", "xmax", "ymax"), t.bbox.as_tuple(), strict=True)) for t in tiles],
        "is_box": [t.footprint_wkb is None for t in tiles],
        "captured_on": [t.captured_on for t in tiles],
        "cloud_cover": [t.cloud_cover for t in tiles],
        "gsd_m": [t.gsd_m for t in tiles],
        "source": [printable(t.source) for t in tiles],
        "country": [t.country for t in tiles],
        "href": [printable(t.href) for t in tiles],
    }
    return pa.Table.from_pydict(columns, schema=schema())


def _geometries_wkb(tiles: Sequence[Tile]) -> npt.NDArray[np.object_]:
    import shapely

    from wildsat_core.geo import bbox_geometry

    outlines = shapely.to_wkb(shapely.box(*np.array([t.bbox.as_tuple() for t in tiles]).reshape(-1, 4).T))
    for i, tile in enumerate(tiles):
        if tile.footprint_wkb:
            outlines[i] = tile.footprint_wkb
        elif tile.bbox.crosses_antimeridian:
            outlines[i] = shapely.to_wkb(shapely.geometry.shape(bbox_geometry(tile.bbox)))
    return np.asarray(outlines)


def for_pruning(table: pa.Table) -> pa.Table:
    """The same rows with a `bbox` that other programs may prune by, for files that leave a collection.

    Here xmin > xmax tells a box across 180 degrees. A reader of a GeoParquet covering compares each corner for itself,
    so it would pass over such a row: outside, its box spans all longitudes. The geometry still tells the truth.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    corners = {name: _bbox_corner(table, name) for name in ("xmin", "ymin", "xmax", "ymax")}
    wraps = corners["xmin"] > corners["xmax"]
    corners["xmin"], corners["xmax"] = np.where(wraps, -180.0, corners["xmin"]), np.where(wraps, 180.0, corners["xmax"])
    boxes = pc.make_struct(*map(pa.array, corners.values()), field_names=list(corners))
    return table.set_column(table.schema.get_field_index("bbox"), "bbox", boxes)


def multi_polygons(table: pa.Table) -> list[bytes]:
    """The outlines of some rows as WKB, each a MultiPolygon with outer rings counter-clockwise."""
    import shapely

    outlines = np.array(table["geometry"].to_pylist(), object)
    shaped = np.flatnonzero(~_numpy(table["is_box"]).astype(bool))
    if shaped.size:
        outlines[shaped] = shapely.to_wkb(shapely.orient_polygons(shapely.from_wkb(outlines[shaped])))
    # Little-endian, kind 6 (3 is a Polygon), of one part.
    return [wkb if wkb[1] == 6 else b"\x01\x06\x00\x00\x00\x01\x00\x00\x00" + wkb for wkb in outlines]


def write_tiles(path: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path, row_group_size=ROW_GROUP_ROWS, compression="zstd")


def read_tiles(path: Path) -> pa.Table:
    """Read tiles.parquet.

    Raises:
        CollectionFormatError: damaged, or with other columns than `schema()`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, partitioning=None)
        table.validate(full=True)  # above all, that texts are UTF-8
    except (pa.ArrowException, OSError) as err:
        raise CollectionFormatError(f"{path} can't be read as Parquet: {err}") from err
    if table.schema.names != schema().names:
        raise CollectionFormatError(f"{path} has columns {table.schema.names}, expected {schema().names}")
    return table.cast(schema())


def read_ids(path: Path) -> pa.ChunkedArray:
    """The column of ids of tiles.parquet, without the rest.

    Raises:
        CollectionFormatError: damaged, or without this column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=["tile_id"], partitioning=None)["tile_id"].cast(pa.string())
    except (pa.ArrowException, OSError, KeyError) as err:
        raise CollectionFormatError(f"the ids of {path} can't be read: {err}") from err


def find_ids(column: pa.ChunkedArray, tile_ids: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Which rows of a column of ids hold one of these."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return _numpy(pc.is_in(column, value_set=pa.array(list(tile_ids), pa.string()))).astype(bool)


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
    is_box: npt.NDArray[np.bool_]
    country: npt.NDArray[np.int32]
    countries: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> SegmentTiles:
        """Read tiles.parquet.

        Raises:
            CollectionFormatError: damaged, with other columns than `schema()`, or with a box that is none.
        """
        tiles = cls.from_arrow(read_tiles(path))
        # Compared so that NaN fails, too; east as it is written, not unwrapped.
        on_globe = (np.abs(tiles.west) <= 180) & (np.abs(_bbox_corner(tiles.arrow, "xmax")) <= 180)
        on_globe &= (tiles.south >= -90) & (tiles.south <= tiles.north) & (tiles.north <= 90)
        if bad := int((~on_globe).sum()):
            raise CollectionFormatError(f"{path} has {bad} tiles whose box is not on the globe; rebuild the collection")
        return tiles

    @classmethod
    def from_arrow(cls, table: pa.Table) -> SegmentTiles:
        table = table.unify_dictionaries().combine_chunks()  # one chunk a column: rows are taken from it at once
        west, south, east, north = (_bbox_corner(table, name) for name in ("xmin", "ymin", "xmax", "ymax"))
        country, countries = _dictionary(table, "country")
        return cls(
            arrow=table,
            west=west,
            south=south,
            east=np.where(east < west, east + 360.0, east),
            north=north,
            captured_on=_numpy(table["captured_on"]).astype("datetime64[D]"),
            cloud_cover=_numpy(table["cloud_cover"]).astype(np.float32),
            is_box=_numpy(table["is_box"]).astype(bool),
            country=country,
            countries=countries,
        )


@dataclass(frozen=True, slots=True)
class TileTable:
    """Columns of all tiles of a generation, row i being row i of every space's vectors.

    Attributes:
        west, south, east, north: (N,) degrees; east is unwrapped, so west <= east <= west + 360.
        captured_on: (N,) datetime64[D], NaT when unknown.
        cloud_cover: (N,) float32 in [0, 1], NaN when unknown.
        country: (N,) int32 index into `countries`, -1 when unknown.
        is_box: (N,) bool, False where the outline is not the box.
        live: (N,) bool, False for deleted rows.
        lon, lat: (N,) degrees, of the centres.
        parts: of each segment, with the columns that are read by row: ids, hrefs, outlines.
        offsets: (S + 1,) first row of each part, then N.
    """

    parts: tuple[SegmentTiles, ...]
    offsets: npt.NDArray[np.int64]
    live: npt.NDArray[np.bool_]
    west: npt.NDArray[np.float64]
    south: npt.NDArray[np.float64]
    east: npt.NDArray[np.float64]
    north: npt.NDArray[np.float64]
    captured_on: npt.NDArray[np.datetime64]
    cloud_cover: npt.NDArray[np.float32]
    is_box: npt.NDArray[np.bool_]
    country: npt.NDArray[np.int32]
    countries: tuple[str, ...]
    lon: npt.NDArray[np.float64] = field(init=False)
    lat: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Centres follow from the boxes."""
        object.__setattr__(self, "lon", ((self.west + self.east) / 2 + 180.0) % 360.0 - 180.0)
        object.__setattr__(self, "lat", (self.south + self.north) / 2)

    @classmethod
    def of(cls, parts: Sequence[SegmentTiles], live: npt.NDArray[np.bool_]) -> TileTable:
        """The tiles of some segments, in order; `live` counts through all of them."""
        known = tuple(parts)
        parts = known or (SegmentTiles.from_arrow(schema().empty_table()),)
        countries = {name: i for i, name in enumerate(dict.fromkeys(name for p in parts for name in p.countries))}
        # A code is a place in its segment's own list of names; -1, unknown, picks the last entry.
        codes = [np.array([*(countries[name] for name in p.countries), -1], np.int32)[p.country] for p in parts]
        return cls(
            parts=known,
            offsets=np.cumsum([0, *(part.arrow.num_rows for part in known)]),
            live=live,
            west=np.concatenate([part.west for part in parts]),
            south=np.concatenate([part.south for part in parts]),
            east=np.concatenate([part.east for part in parts]),
            north=np.concatenate([part.north for part in parts]),
            captured_on=np.concatenate([part.captured_on for part in parts]),
            cloud_cover=np.concatenate([part.cloud_cover for part in parts]),
            is_box=np.concatenate([part.is_box for part in parts]),
            country=np.concatenate(codes),
            countries=tuple(countries),
        )

    def __len__(self) -> int:
        return len(self.live)

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of `schema()`, all rows; `take` is the way to some of them."""
        return self._joined([part.arrow.select([name]) for part in self.parts])[name]

    def take(self, rows: npt.NDArray[np.integer], columns: Sequence[str] | None = None) -> pa.Table:
        """Some rows in the order given, with all columns or some."""
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
        """The tiles of some rows in the order given; much faster than one by one."""
        return [_tile(values) for values in self.take(rows).to_pylist()]

    def rows_of(self, tile_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Live rows of these ids, in row order; unknown ids are left out."""
        if not tile_ids:
            return np.empty(0, np.int64)
        return np.flatnonzero(find_ids(self.column("tile_id"), tile_ids) & self.live)

    @staticmethod
    def _joined(pieces: Sequence[pa.Table]) -> pa.Table:
        import pyarrow as pa

        return pa.concat_tables(pieces).unify_dictionaries() if pieces else schema().empty_table()

    def outlines(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.object_]:
        """(K,) shapely outlines of some rows, in the order given."""
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
        footprint_wkb=None if values["is_box"] else values["geometry"],
    )


def _shortest(value: float | None) -> float | None:
    """A float32 as people write it, 0.3 and not 0.30000001192092896; None for what is not a number."""
    return float(str(np.float32(value))) if value is not None and math.isfinite(value) else None


def _numpy(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.asarray(column.to_numpy())


def _bbox_corner(table: pa.Table, corner: str) -> npt.NDArray[np.float64]:
    import pyarrow.compute as pc

    return _numpy(pc.struct_field(table["bbox"], corner)).astype(np.float64)


def _dictionary(table: pa.Table, name: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Codes and words of a dictionary column; null becomes -1."""
    chunks = table[name].chunks
    if not chunks:
        return np.empty(0, np.int32), ()
    codes = np.concatenate([c.indices.fill_null(-1).to_numpy(zero_copy_only=False) for c in chunks]).astype(np.int32)
    return codes, tuple(chunks[0].dictionary.to_pylist())
