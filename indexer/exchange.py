"""A collection as one GeoParquet file, and vectors made elsewhere as a collection.

A file that was exported here has one column `vector_<space>` for each space and says in its metadata which model made
them; it can be imported again as it was. Any other Parquet file with a list of numbers and a place in each row can be
imported too, when told which space its vectors are.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from indexer.pipeline import Progress
from wildsat_core.collection import Collection, CollectionWriter, Manifest
from wildsat_core.collection.tiles import schema as tile_schema
from wildsat_core.errors import SourceError
from wildsat_core.geo import square_bbox
from wildsat_core.types import BBox, ModelRef, Space, SpaceSpec, Tile

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

METADATA_KEY: Final = b"wildsat"
ROWS_AT_ONCE: Final = 4096
DEFAULT_SIDE_KM: Final = 2.56  # of a place that comes as a point
ID_COLUMNS: Final = ("tile_id", "unique_id", "id")
LON_LAT_COLUMNS: Final = (("lon", "lat"), ("centre_lon", "centre_lat"), ("longitude", "latitude"))
DATE_COLUMNS: Final = ("captured_on", "date", "timestamp", "datetime")


@dataclass(frozen=True, slots=True)
class GivenVectors:
    """What a file that was not exported here does not say of itself.

    Attributes:
        column: which column holds the vectors.
        space: which space they are.
        spec: dimension and metric.
        model: who made them.
    """

    column: str
    space: Space
    spec: SpaceSpec
    model: ModelRef


def export_collection(collection: Collection, path: Path, on_progress: Progress = lambda _: None) -> int:
    """Write all live tiles with vectors and thumbnails as one GeoParquet file, aside and then renamed.

    Returns:
        Number of tiles.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    manifest = collection.manifest
    facts = {
        "model": _model_dict(manifest.model),
        "spaces": {s: {"dim": d.dim, "metric": d.metric, "dtype": d.dtype} for s, d in manifest.spaces.items()},
        "provenance": manifest.provenance,
        "calibration": manifest.calibration,
    }
    base = tile_schema()
    fields = [*base, *(pa.field(f"vector_{s}", pa.list_(pa.float16(), d.dim)) for s, d in manifest.spaces.items())]
    fields.append(pa.field("thumbnail", pa.binary()))
    whole = pa.schema(fields, metadata={**base.metadata, METADATA_KEY: json.dumps(facts).encode()})
    rows = np.flatnonzero(collection.tiles.live)
    aside = path.with_name(f".tmp-{path.name}")
    with pq.ParquetWriter(aside, whole, compression="zstd") as out:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            out.write_table(_export_rows(collection, part, whole))
            on_progress(len(part))
    aside.replace(path)
    return len(rows)


def import_collection(
    path: Path,
    root: Path,
    given: GivenVectors | None = None,
    on_progress: Progress = lambda _: None,
    provenance: Mapping[str, Any] | None = None,
) -> Manifest:
    """Add the tiles and vectors of a Parquet file to a collection, making it if there is none.

    Args:
        path: the file.
        root: folder of the collection.
        given: for a file that was not exported here.
        on_progress: called with the number of rows read since the last call.
        provenance: added to what the file says.

    Raises:
        SourceError: the file can't be read, or lacks an id, a place or a vector.
        ModelMismatchError: the collection was made by another model.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            model, columns, specs, facts = _contents(file, path, given)
            with CollectionWriter(root, root.name, model, specs, job="import") as writer:
                for batch in file.iter_batches(ROWS_AT_ONCE):
                    table = pa.Table.from_batches([batch])
                    vectors = {s: _vectors(table, c, specs[s], path) for s, c in columns.items()}
                    thumbnails = table["thumbnail"].to_pylist() if "thumbnail" in table.column_names else None
                    writer.add(list(_tiles(table, path)), vectors, thumbnails)
                    on_progress(len(table))
                return writer.publish({**facts, **(provenance or {})})
    except (pa.ArrowException, OSError) as err:
        raise SourceError(f"{path} can't be read as Parquet: {err}") from err


def _export_rows(collection: Collection, rows: npt.NDArray[np.integer], whole: pa.Schema) -> pa.Table:
    import pyarrow as pa

    tiles = collection.tiles.take(rows)
    columns = {name: tiles[name] for name in tiles.column_names}
    for space, spec in collection.spaces.items():
        flat = pa.array(collection.vectors(space, rows).astype(np.float16).ravel())
        columns[f"vector_{space}"] = pa.FixedSizeListArray.from_arrays(flat, spec.dim)
    columns["thumbnail"] = pa.array([collection.thumbnail(int(row)) for row in rows], pa.binary())
    return pa.Table.from_pydict(columns, schema=whole)


def _model_dict(model: ModelRef) -> dict[str, str]:
    return {
        "name": model.name,
        "weights_sha256": model.weights_sha256,
        "text_encoder": model.text_encoder,
        "preprocessing": model.preprocessing,
    }


def _contents(
    file: pq.ParquetFile, path: Path, given: GivenVectors | None
) -> tuple[ModelRef, dict[Space, str], dict[Space, SpaceSpec], dict[str, Any]]:
    """Model, vector column of each space, their specs, and provenance.

    Raises:
        SourceError: neither the file nor the caller says.
    """
    metadata = file.schema_arrow.metadata or {}
    if given is not None:
        if given.column not in file.schema_arrow.names:
            held = ", ".join(file.schema_arrow.names)
            raise SourceError(f"{path} has no column {given.column!r} of vectors; it has: {held}")
        return given.model, {given.space: given.column}, {given.space: given.spec}, {"source": "parquet"}
    if METADATA_KEY not in metadata:
        raise SourceError(
            f"{path} was not exported here: say with --space, --column and --made-by what its vectors are"
        )
    try:
        facts = json.loads(metadata[METADATA_KEY])
        specs: dict[Space, SpaceSpec] = {space: SpaceSpec(**spec) for space, spec in facts["spaces"].items()}
        columns: dict[Space, str] = {space: f"vector_{space}" for space in specs}
        return ModelRef(**facts["model"]), columns, specs, dict(facts["provenance"])
    except (ValueError, KeyError, TypeError) as err:
        raise SourceError(f"{path}: its metadata is damaged: {err!r}") from err


def _vectors(table: pa.Table, column: str, spec: SpaceSpec, path: Path) -> npt.NDArray[np.float32]:
    """(N, D) float32 of a column of lists.

    Raises:
        SourceError: a list is missing or of another length.
    """
    import pyarrow as pa

    lists = table[column].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    if lists.null_count or not (lengths == spec.dim).all():
        raise SourceError(f"{path}: column {column!r} must hold lists of {spec.dim} numbers in every row")
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    vectors: npt.NDArray[np.float32] = flat.astype(np.float32).reshape(-1, spec.dim)
    return vectors


def _tiles(table: pa.Table, path: Path) -> Iterator[Tile]:
    """Tiles of rows, by the columns that are there.

    Raises:
        SourceError: no id, or no place.
    """
    names = set(table.column_names)
    id_column = next((c for c in ID_COLUMNS if c in names), None)
    if id_column is None:
        raise SourceError(f"{path} has no column {' or '.join(ID_COLUMNS)}; it has: {', '.join(sorted(names))}")
    keep = [c for c in table.column_names if not c.startswith("vector_") and c not in ("thumbnail", "embedding")]
    for row in table.select(keep).to_pylist():
        box, outline = _place(row, path)
        yield Tile(
            tile_id=str(row[id_column]),
            bbox=box,
            gsd_m=float(row.get("gsd_m") or 0.0),
            source=row.get("source") or "parquet",
            href=row.get("href") or "",
            captured_on=_date(next((row[c] for c in DATE_COLUMNS if row.get(c)), None)),
            cloud_cover=row.get("cloud_cover"),
            country=row.get("country"),
            footprint_wkb=outline,
        )


def _place(row: Mapping[str, Any], path: Path) -> tuple[BBox, bytes | None]:
    """Box and, where it says too much, outline of a row."""
    import shapely

    box = row.get("bbox")
    outline = row.get("geometry")
    if isinstance(box, Mapping):
        corners = BBox(box["xmin"], box["ymin"], box["xmax"], box["ymax"])
        return corners, outline if row.get("is_box") is False else None
    if isinstance(outline, bytes):
        shape = shapely.from_wkb(outline)
        if shape.geom_type != "Point":
            return BBox(*shape.bounds), outline
        lon, lat = shape.coords[0][:2]
        return square_bbox(lon, lat, DEFAULT_SIDE_KM), None
    for columns in LON_LAT_COLUMNS:
        if all(row.get(column) is not None for column in columns):
            lon, lat = (float(row[column]) for column in columns)
            return square_bbox(lon, lat, DEFAULT_SIDE_KM), None
    raise SourceError(f"{path} has rows without a place: a column bbox, geometry (WKB), or lon and lat is needed")


def _date(value: Any) -> dt.date | None:  # noqa: ANN401 - a date, a time or a text of one
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, dt.datetime):
        return value.date()
    return value if isinstance(value, dt.date) else dt.datetime.fromisoformat(str(value)).date()
