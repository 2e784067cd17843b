"""The committer: from the receipts of all units to one generation of the collection."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from indexer.cluster.plan import JobPlan, check_inputs_meanwhile, forget
from indexer.cluster.receipts import receipts_of, summed, unit_names
from indexer.pipeline.report import BuildReport
from indexer.sources.protocol import Source
from wildsat_core.collection.commit import commit_segments
from wildsat_core.errors import InvalidInputError
from wildsat_core.types import Space, SpaceSpec


def commit_job(
    root: Path,
    plan: JobPlan,
    spaces: Mapping[Space, SpaceSpec],
    source: Source,
    provenance: Mapping[str, Any],
    *,
    on_known: Literal["skip", "replace"] = "skip",
    max_bad: float | None = None,
    allow_failed: bool = False,
    wait_s: float = 0.0,
    earlier: Collection[int] = (),
    elapsed_s: Callable[[], float] | None = None,
) -> BuildReport:
    """Publish what the units wrote, and forget the job.

    Two committers do no harm: the second finds the segments published, or no job.

    Args:
        root: folder of the collection.
        plan: of the job.
        spaces: of the vectors.
        source: what the units were read from.
        provenance: what people are told of the imagery beside what the source says.
        on_known: what becomes of tiles that are live already.
        max_bad: largest share of what was given that may be bad.
        allow_failed: publish although units are missing; their receipts may come later, with the same plan.
        wait_s: how long to wait for another writer.
        earlier: units that an interrupted run did, for the report.
        elapsed_s: how long the build took; None for since it was planned.

    Raises:
        InvalidInputError: units are missing, and that is not allowed.
        SourceError: there is no tile, too much is bad, or the imagery was changed while it was read.
    """
    receipts = receipts_of(root, plan)
    missing = [name for number, name in enumerate(unit_names(plan)) if number not in receipts]
    if missing and not allow_failed:
        raise InvalidInputError(
            f"{len(missing)} of {len(plan.units)} units are not done (the first is {missing[0]}): `wildsat index work "
            f"{root.name}` does them, --allow-failed publishes without them",
            "allow-failed",
        )
    report = summed(BuildReport(root.name, plan.model.name), receipts, earlier)
    report.missing_units = missing
    report.check_not_empty()
    report.check_faults(max_bad)
    check_inputs_meanwhile(plan, source)
    segments = [receipt.segment for _, receipt in sorted(receipts.items()) if receipt.segment]
    told = {**source.provenance(), **provenance}
    manifest, repeated = commit_segments(
        root, plan.model, spaces, segments, on_known=on_known, provenance=told, wait_s=wait_s
    )
    report.adopted -= max(repeated - report.added, 0)
    report.added -= min(repeated, report.added)
    report.left_out["id given twice"] += repeated
    report.generation = manifest.generation
    report.elapsed_s = elapsed_s() if elapsed_s else (dt.datetime.now(dt.UTC) - plan.created_at).total_seconds()
    report.save(root)
    if not missing:
        forget(root, plan.job)
    return report
