"""What makes a build the same build after a kill, and the writer that goes on with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from indexer.pipeline.inputs import InputGuard
from indexer.pipeline.options import BuildOptions
from wildsat_core.addresses import same_when_signed_anew
from wildsat_core.collection import CollectionWriter
from wildsat_core.types import ModelRef, Space, SpaceSpec

JOBS: Final = "jobs"  # folder of a collection: what its unfinished builds read from


def job_of(source: object, model: ModelRef, options: BuildOptions) -> str:
    """Names a build by what it is made from, so that the same command, and no other, finds what it left behind."""
    area = options.area.to_geojson() if options.area else None
    facts = [
        same_when_signed_anew(repr(source)),
        str(model),
        options.min_land,
        options.read.max_missing,
        options.on_known,
        area,
    ]
    facts += [options.centres_in.as_tuple()] if options.centres_in else []
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def open_writer(
    root: Path, model: ModelRef, spaces: Mapping[Space, SpaceSpec], job: str, options: BuildOptions
) -> CollectionWriter:
    return CollectionWriter(
        root,
        root.name,
        model,
        spaces,
        job=job,
        segment_rows=options.segment_tiles,
        wait_s=options.wait_s,
        restart=options.restart,
    )


def input_guard(root: Path, job: str, source: object) -> InputGuard:
    """Tells when what a build reads from was changed since it was interrupted."""
    return InputGuard(root / JOBS / f"{job}.json", source, "begin anew with --restart")
