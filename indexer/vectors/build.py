"""A collection from ready-made vectors: what passes the filters is written as it is. No model runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexer.pipeline.estimate import TABLE_BYTES, Plan
from indexer.pipeline.job import job_of, open_writer
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions, Progress
from indexer.pipeline.report import BuildReport
from indexer.vectors.files import VectorFiles


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
    start = time.perf_counter()
    report = BuildReport(root.name, files.model.name)
    with open_writer(root, files.model, files.specs, job_of(files, files.model, options), options) as writer:
        report.adopted = writer.rows_pending
        known = writer.known if options.on_known == "skip" else writer.pending
        chooser = Chooser(known, options.land, options.min_land, options.countries, options.area, options.centres_in)
        began = time.perf_counter()
        for rows in files.read():
            chosen = chooser.pick(rows.candidates, report.left_out)
            vectors, pictures = rows.at(np.array([c.locator for c in chosen], int))
            good = np.ones(len(chosen), bool)
            for array in vectors.values():
                good &= np.isfinite(array).all(axis=1) & array.any(axis=1)
            report.left_out["no vector"] += int((~good).sum())
            report.stage_s["read"] += time.perf_counter() - began
            began = time.perf_counter()
            kept = np.flatnonzero(good)
            tiles = [chosen[i].tile for i in kept]
            vectors = {space: array[kept] for space, array in vectors.items()}
            taken = writer.add(tiles, vectors, [pictures[i] for i in kept], on_known=options.on_known)
            report.added += taken
            report.left_out["id given twice"] += len(kept) - taken
            report.stage_s["write"] += time.perf_counter() - began
            on_progress(len(rows.candidates))
            began = time.perf_counter()
        report.check_not_empty()
        manifest = writer.publish({**files.provenance(), **provenance})
    report.generation = manifest.generation
    report.elapsed_s = time.perf_counter() - start
    report.save(root)
    return report


def plan_vectors(files: VectorFiles, chooser: Chooser) -> Plan:
    """Count what would be added and time the reading of the first rows; writes nothing.

    Raises:
        SourceError: a file can't be read.
    """
    start = time.perf_counter()
    first = next(files.read(), None)
    sampled = len(first.candidates) if first else 0
    per_tile_s = (time.perf_counter() - start) / max(sampled, 1)
    left_out: Counter[str] = Counter()
    tiles = sum(len(chooser.pick(rows.candidates, left_out)) for rows in files.read(with_vectors=False))
    pictures = sum(len(p) for p in first.thumbnails if p) / max(sampled, 1) if first else 0.0
    vector_bytes = sum(spec.dim * np.dtype(spec.dtype).itemsize for spec in files.specs.values())
    return Plan(tiles, left_out, sampled, round(tiles * (vector_bytes + pictures + TABLE_BYTES)), tiles * per_tile_s)
