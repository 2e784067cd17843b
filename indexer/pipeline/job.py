"""What every build does around its loop: begin or go on, choose, publish; and what makes it the same after a kill."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from indexer.pipeline.inputs import InputGuard
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.report import BuildReport
from wildsat_core.addresses import same_when_signed_anew
from wildsat_core.collection import CollectionWriter
from wildsat_core.files import advice_when_full
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


class Input(Protocol):
    """What a build reads from; its repr tells it from others."""

    def provenance(self) -> dict[str, Any]:
        """Facts for the manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A build under way: what chooses its tiles, writes them, and counts."""

    chooser: Chooser
    writer: CollectionWriter
    report: BuildReport


@contextmanager
def job(
    source: Input,
    model: ModelRef,
    spaces: Mapping[Space, SpaceSpec],
    root: Path,
    options: BuildOptions,
    provenance: Mapping[str, Any],
) -> Iterator[Job]:
    """Begin a build, or go on with it after an interruption; publish what was written once the block ends well.

    Args:
        source: what it reads from.
        model: whose vectors are written, and `spaces` their form.
        spaces: of the vectors.
        root: folder of the collection; its last part is the collection's name.
        options: how to run.
        provenance: facts for the manifest beside those of the source.
    """
    start = time.perf_counter()
    report = BuildReport(root.name, model.name)
    name = job_of(source, model, options)
    guard = InputGuard(root / JOBS / f"{name}.json", source, "begin anew with --restart")
    writer = CollectionWriter(
        root,
        root.name,
        model,
        spaces,
        job=name,
        segment_rows=options.segment_tiles,
        wait_s=options.wait_s,
        restart=options.restart,
    )
    with writer:
        with advice_when_full(root):
            guard.begin(goes_on=writer.rows_pending > 0)
        report.adopted = writer.rows_pending
        # Asked from one thread while another adds: a look-up in a set of strings is a single step.
        known = writer.known if options.on_known == "skip" else writer.pending
        chooser = Chooser(known, options.land, options.min_land, options.countries, options.area, options.centres_in)
        yield Job(chooser, writer, report)
        report.check_not_empty()
        report.check_faults(options.max_bad)
        guard.finish()
        manifest = writer.publish({**source.provenance(), **provenance})
    report.added -= writer.dropped
    report.left_out["id given twice"] += writer.dropped
    report.generation = manifest.generation
    report.elapsed_s = time.perf_counter() - start
    report.save(root)
