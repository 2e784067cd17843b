"""The files of tile tables: their columns, from tiles to rows and back out to other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import CollectionFormatError
from wildsat_core.printable import printable
from wildsat_core.types import Tile

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_FILE: Final = "tiles.arrow"
TABLE_FILE_1: Final = "tiles.parquet"  # of version 1
LAND_SHARE: Final = "land_share"  # the one column that older files lack


def geo_metadata(kinds: Sequence[str]) -> bytes:
    """GeoParquet's own metadata for outlines of some kinds in the column geometry, boxes in bbox."""
    corners = {corner: ["bbox", corner] for corner in ("xmin", "ymin", "xmax", "ymax")}
    column = {"encoding": "WKB", "geometry_types": list(kinds), "covering": {"bbox": corners}}
    told = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return json.dumps(told).encode()


def schema() -> pa.Schema:
    """Columns of a table; docs/collection-format.md explains each."""
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
            (LAND_SHARE, pa.float32()),
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
        LAND_SHARE: [t.land_share for t in tiles],
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

    corners = {name: bbox_corner(table, name) for name in ("xmin", "ymin", "xmax", "ymax")}
    wraps = corners["xmin"] > corners["xmax"]
    corners["xmin"], corners["xmax"] = np.where(wraps, -180.0, corners["xmin"]), np.where(wraps, 180.0, corners["xmax"])
    boxes = pc.make_struct(*map(pa.array, corners.values()), field_names=list(corners))
    return table.set_column(table.schema.get_field_index("bbox"), "bbox", boxes)


def multi_polygons(table: pa.Table) -> list[bytes]:
    """The outlines of some rows as WKB, each a MultiPolygon with outer rings counter-clockwise."""
    import shapely

    outlines = np.array(table["geometry"].to_pylist(), object)
    shaped = np.flatnonzero(~as_numpy(table["is_box"]).astype(bool))
    if shaped.size:
        outlines[shaped] = shapely.to_wkb(shapely.orient_polygons(shapely.from_wkb(outlines[shaped])))
    # Little-endian, kind 6 (3 is a Polygon), of one part.
    return [wkb if wkb[1] == 6 else b"\x01\x06\x00\x00\x00\x01\x00\x00\x00" + wkb for wkb in outlines]


def write_tiles(path: Path, table: pa.Table) -> None:
    """Write a segment's table as one Arrow IPC file of one batch, uncompressed, so that it can be mapped."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table.combine_chunks(), max_chunksize=max(len(table), 1))


def read_tiles(path: Path) -> pa.Table:
    """Map tiles.arrow, or read tiles.parquet of version 1; where they have no land shares, these are unknown.

    Raises:
        CollectionFormatError: damaged, or with other columns than `schema()`.
    """
    import pyarrow as pa

    try:
        table = _mapped(path) if path.name == TABLE_FILE else _parquet(path)
        table.validate(full=True)  # above all, that texts are UTF-8
    except (pa.ArrowException, OSError) as err:
        raise CollectionFormatError(f"{path} can't be read as a table: {err}") from err
    if LAND_SHARE not in table.schema.names:
        table = table.append_column(LAND_SHARE, pa.nulls(table.num_rows, pa.float32()))
    if table.schema.names != schema().names:
        raise CollectionFormatError(f"{path} has columns {table.schema.names}, expected {schema().names}")
    return table.cast(schema())


def read_ids(folder: Path) -> pa.ChunkedArray:
    """The column of ids of a segment, without the rest.

    Raises:
        CollectionFormatError: damaged, or without this column.
    """
    import pyarrow as pa

    path = table_path(folder)
    try:
        table = _mapped(path) if path.name == TABLE_FILE else _parquet(path, ["tile_id"])
        return table["tile_id"].combine_chunks().cast(pa.string())
    except (pa.ArrowException, OSError, KeyError) as err:
        raise CollectionFormatError(f"the ids of {path} can't be read: {err}") from err


def table_path(folder: Path) -> Path:
    """The table of a segment: that of today's format, or of version 1 where it lies."""
    older = folder / TABLE_FILE_1
    return older if older.exists() else folder / TABLE_FILE


def _mapped(path: Path) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns, partitioning=None)


def as_numpy(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """(N,) values of a column; not copied where it lies in one piece and lacks none."""
    return np.asarray(column.to_numpy())


def bbox_corner(table: pa.Table, corner: str) -> npt.NDArray[np.float64]:
    """One corner of each row's box in degrees, (N,), as it is written; not copied where the table lies in one piece."""
    import pyarrow.compute as pc

    return as_numpy(pc.struct_field(table["bbox"], corner)).astype(np.float64, copy=False)
