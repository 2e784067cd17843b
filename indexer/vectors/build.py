"""A collection from ready-made vectors: what passes the filters is written as it is. No model runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.pipeline.estimate import TABLE_BYTES, Estimate
from indexer.pipeline.job import job
from indexer.pipeline.left_out import LeftOutCounter
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions, Progress
from indexer.pipeline.report import BuildReport
from indexer.sources.protocol import Candidate, LeftOut
from indexer.vectors.files import NO_VECTOR, Rows, VectorFiles
from wildsat_core.types import Space, SpaceSpec, Tile

Vectors = npt.NDArray[np.float32]


def build_from_vectors(
    files: VectorFiles,
    root: Path,
    options: BuildOptions,
    provenance: Mapping[str, Any],
    on_progress: Progress = lambda _: None,
) -> BuildReport:
    """Add ready-made vectors to a collection, making it if there is none, and publish it as a new generation.

    Goes on after an interruption like `build_collection`. Rows whose vector is zero or not finite are left out and
    counted.

    Args:
        files: what to add.
        root: folder of the collection; its last part is the collection's name.
        options: how to run; what concerns reading pictures plays no part.
        provenance: added to what the files say.
        on_progress: called with the number of rows dealt with since the last call.

    Raises:
        ModelMismatchError: the collection was made by another model.
        CollectionLockedError: another process is writing to it.
        SourceError: a file can't be read.
    """
    with job(files, files.model, files.specs, root, options, provenance) as run:
        report = run.report
        began = time.perf_counter()
        for rows in files.read():
            for fault in rows.faults:
                report.left_out.note(fault)
            chosen = run.chooser.pick(rows.candidates, report.left_out)
            tiles, vectors, pictures = _with_vectors(rows, chosen, files.specs, report.left_out)
            report.stage_s["read"] += time.perf_counter() - began
            began = time.perf_counter()
            taken = run.writer.add(tiles, vectors, pictures, on_known=options.on_known)
            report.added += taken
            report.left_out["id given twice"] += len(tiles) - taken
            report.stage_s["write"] += time.perf_counter() - began
            on_progress(len(rows))
            began = time.perf_counter()
    return report


def _with_vectors(
    rows: Rows, chosen: Sequence[Candidate], specs: Mapping[Space, SpaceSpec], left_out: LeftOutCounter
) -> tuple[list[Tile], dict[Space, Vectors], list[bytes | None]]:
    """Tiles, vectors and pictures of some rows, without those whose vector is zero or no numbers as they are stored."""
    vectors, pictures = rows.at(np.array([c.locator for c in chosen], int))
    good = np.ones(len(chosen), bool)
    for space, array in vectors.items():
        with np.errstate(over="ignore"):
            stored = array.astype(specs[space].dtype)
        good &= np.isfinite(stored).all(axis=1) & stored.any(axis=1)
    for i in np.flatnonzero(~good).tolist():
        what = "is zero, or has numbers that are infinite, missing or too large"
        left_out.note(LeftOut(NO_VECTOR, f"the vector of {chosen[i].tile.tile_id} {what}"))
    kept = np.flatnonzero(good)
    return (
        [chosen[i].tile for i in kept.tolist()],
        {space: array[kept] for space, array in vectors.items()},
        [pictures[i] for i in kept],
    )


def estimate_vectors(files: VectorFiles, chooser: Chooser) -> Estimate:
    """Count what would be added and time the reading of the first rows; writes nothing.

    Raises:
        SourceError: a file can't be read.
    """
    start = time.perf_counter()
    first = next(files.read(), None)
    sampled = len(first) if first else 0
    per_tile_s = (time.perf_counter() - start) / max(sampled, 1)
    left_out = LeftOutCounter()
    tiles = 0
    for rows in files.read(with_vectors=False):
        for fault in rows.faults:
            left_out.note(fault)
        tiles += len(chooser.pick(rows.candidates, left_out))
    pictures = sum(len(p) for p in first.thumbnails if p) / max(sampled, 1) if first else 0.0
    vector_bytes = sum(spec.dim * np.dtype(spec.dtype).itemsize for spec in files.specs.values())
    return Estimate(
        tiles, left_out, sampled, round(tiles * (vector_bytes + pictures + TABLE_BYTES)), tiles * per_tile_s
    )
