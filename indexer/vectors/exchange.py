"""A collection as one GeoParquet file, and such a file as a collection.

The file has one column `vector_<space>` for each space and says in its metadata which model made them, so that it can
be imported again as it was; `indexer.vectors.files` reads it, and any other Parquet file with a place and a vector a
row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from indexer.pipeline.options import BuildOptions, Progress
from indexer.vectors.build import build_from_vectors
from indexer.vectors.files import METADATA_KEY, ROWS_AT_ONCE, GivenVectors, VectorFiles
from wildsat_core.collection import Collection, Manifest, read_current_manifest
from wildsat_core.collection.tile_files import for_pruning
from wildsat_core.collection.tile_files import schema as tile_schema
from wildsat_core.files import advice_when_full, file_aside
from wildsat_core.types import ModelRef

if TYPE_CHECKING:
    import pyarrow as pa


def export_collection(collection: Collection, path: Path, on_progress: Progress = lambda _: None) -> int:
    """Write all live tiles with vectors and thumbnails as one GeoParquet file, aside and then renamed.

    Returns:
        Number of tiles.

    Raises:
        OSError: nothing can be written there; nothing is left behind.
        DiskFullError: the same, for want of room.
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
    with (
        advice_when_full(path.parent),
        file_aside(path) as file,
        pq.ParquetWriter(file, whole, compression="zstd") as out,
    ):
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            out.write_table(_export_rows(collection, part, whole))
            on_progress(len(part))
    return len(rows)


def import_collection(
    path: Path,
    root: Path,
    given: GivenVectors | None = None,
    on_progress: Progress = lambda _: None,
    provenance: Mapping[str, Any] | None = None,
    options: BuildOptions | None = None,
) -> Manifest:
    """Add the tiles and vectors of a Parquet file, or a folder of them, to a collection, making it if there is none.

    Args:
        path: the file or folder.
        root: folder of the collection.
        given: for a file that was not exported here.
        on_progress: called with the number of rows read since the last call.
        provenance: added to what the file says.
        options: whether tiles that are there are replaced, and how long to wait for another writer.

    Raises:
        SourceError: the file can't be read, or lacks an id, a place or a vector.
        ModelMismatchError: the collection was made by another model.
    """
    build_from_vectors(VectorFiles(path, given), root, options or BuildOptions(), provenance or {}, on_progress)
    return read_current_manifest(root)


def _export_rows(collection: Collection, rows: npt.NDArray[np.integer], whole: pa.Schema) -> pa.Table:
    import pyarrow as pa

    tiles = for_pruning(collection.tiles.take(rows))
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
