"""A build from beginning to end: plan its units, have them done, publish what they wrote."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.cluster.commit import commit_job
from indexer.cluster.plan import JobPlan, forget, job_folder, key_of, make_plan
from indexer.cluster.receipts import FAILED, receipts_of
from indexer.cluster.work import Worker, run_units
from indexer.pipeline.encoding import check_bands
from indexer.pipeline.job import job_of
from indexer.pipeline.options import BuildOptions, Progress
from indexer.pipeline.report import BuildReport
from indexer.sources.protocol import Source
from wildsat_core.collection.lock import build_lock
from wildsat_core.errors import SourceError

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel

# Has units of a plan done, by their numbers; tells how many candidates were dealt with, and gives why units failed.
UnitEngine = Callable[[JobPlan, Sequence[int], Progress], Mapping[str, str]]


def build_collection(
    source: Source,
    model: WildSATModel,
    root: Path,
    options: BuildOptions,
    provenance: Mapping[str, Any],
    on_progress: Progress = lambda _: None,
    *,
    engine: UnitEngine | None = None,
    order: Mapping[str, Any] | None = None,
    allow_failed: bool = False,
) -> BuildReport:
    """Index a source into a collection, making it if there is none, and publish it as a new generation.

    The same call goes on after an interruption: units that are done are not done again, nor is what was embedded of the
    one that was interrupted.

    Args:
        source: tiles to index.
        model: embeds them; a collection's tiles are all of one model.
        root: folder of the collection; its last part is the collection's name.
        options: how to run.
        provenance: facts for the manifest beside those of the source: title, attribution, notice.
        on_progress: called with the number of candidates dealt with since the last call.
        engine: has the units done; None for this process.
        order: the command as `order_json` tells it, by which other processes can do units of the same plan.
        allow_failed: publish although units failed.

    Returns:
        Counts and times; also saved in the folder.

    Raises:
        ModelMismatchError: the collection was made by another model.
        CollectionLockedError: another process does this build, or writes to the collection when it is published.
        InvalidInputError: the source's bands, pixel type or pixel size don't suit the model.
        SourceError: the source can't be listed, is out of reach, or gave not one tile; or units failed: they are named.
    """
    began = time.perf_counter()
    check_bands(model, source)
    job = job_of(source, model.ref, options)
    with build_lock(job_folder(root, job), options.wait_s):
        if options.restart:
            forget(root, job)
        plan = make_plan(root, job, source, model.ref, dict(order or {}))
        done = receipts_of(root, plan)
        if done:
            on_progress(sum(receipt.listed for receipt in done.values()))
        left = [number for number in range(len(plan.units)) if number not in done]
        if engine is None:
            worker = Worker.start(root, plan, source, model, options, checked=True)
            worker.taken = sum(receipt.tiles for receipt in done.values())
            with closing(worker):
                failed: Mapping[str, str] = run_units(worker, left, on_progress)
        else:
            failed = engine(plan, left, on_progress)
        if failed and not allow_failed:
            raise SourceError(_told(failed, plan))
        return commit_job(
            root,
            plan,
            model.spaces,
            source,
            provenance,
            on_known=options.on_known,
            max_bad=options.max_bad,
            allow_failed=allow_failed,
            wait_s=options.wait_s,
            earlier=done.keys(),
            elapsed_s=lambda: time.perf_counter() - began,
        )


def _told(failed: Mapping[str, str], plan: JobPlan) -> str:
    """Which units failed, in sentences."""
    name, why = next(iter(failed.items()))
    return (
        f"{len(failed)} of {len(plan.units)} units failed, among them {name}: {why.strip()}\n"
        "The others are done, and the same command tries these again; --allow-failed publishes without them. All are "
        f"named under {key_of(plan.job, FAILED)}"
    )
