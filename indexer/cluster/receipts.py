"""Receipts: a unit is done when its receipt lies there, and counts once, however often it was run."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from indexer.cluster.plan import JobPlan, key_of
from indexer.cluster.units import Unit
from indexer.pipeline.job import JOBS
from indexer.pipeline.left_out import LeftOutCounter
from indexer.pipeline.report import BuildReport
from wildsat_core.addresses import without_secrets
from wildsat_core.collection.manifest import SegmentInfo
from wildsat_core.collection.mirror import mirror_of
from wildsat_core.collection.segment import INFO_FILE
from wildsat_core.collection.shared import (
    list_shared,
    put_shared_if_absent,
    read_shared,
    remove_shared,
    write_shared,
)
from wildsat_core.errors import CollectionFormatError

FAILED = "failed"
AT_ONCE = 16  # receipts read at once, which takes a store as long as one


class Receipt(BaseModel):
    """What became of a unit.

    Attributes:
        segment: None where no tile was worth one.
        listed: candidates dealt with, as progress counts them.
        taken_over: of its tiles, those that an interrupted attempt had embedded.
        left_out, names: as `LeftOutCounter` has them.
        stage_s: seconds by stage; device: what embedded; worker: host and process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: int
    key: str
    segment: SegmentInfo | None
    tiles: int
    listed: int = 0
    taken_over: int = 0
    left_out: dict[str, int]
    names: dict[str, list[str]]
    stage_s: dict[str, float]
    elapsed_s: float
    device: str
    worker: str


def read_receipt(root: Path, job: str, unit_name: str) -> Receipt | None:
    """The receipt of a unit, None where there is none yet. One whose segment `gc` has taken goes, too.

    Raises:
        CollectionFormatError: the file is damaged.
    """
    key = key_of(job, f"{unit_name}.json")
    try:
        content = read_shared(root, key)
        receipt = None if content is None else Receipt.model_validate_json(content)
    except (OSError, ValidationError) as err:
        raise CollectionFormatError(
            f"{root / key} can't be read as a receipt: {err}; remove it, and the unit is done again"
        ) from err
    if receipt is None or receipt.segment is None:
        return receipt
    if read_shared(root, f"segments/{receipt.segment.id}/{INFO_FILE}") is None:
        remove_shared(root, [key])
        return None
    return receipt


def put_receipt(root: Path, job: str, unit: Unit, receipt: Receipt) -> Receipt:
    """Write a receipt, unless the unit has one: then that one counts. Its segment lies in the store before it."""
    if receipt.segment is not None and (mirror := mirror_of(root)):
        mirror.push_segment(receipt.segment)
    if put_shared_if_absent(root, key_of(job, f"{unit.name}.json"), receipt.model_dump_json(indent=1) + "\n"):
        return receipt
    found = read_receipt(root, job, unit.name)
    assert found is not None
    return found


def receipts_of(root: Path, plan: JobPlan) -> Mapping[int, Receipt]:
    """Receipts by the number of the unit."""
    there = set(list_shared(root, f"{JOBS}/{plan.job}"))
    names = [name for name in unit_names(plan) if key_of(plan.job, f"{name}.json") in there]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="wildsat-receipts") as threads:
        found = list(threads.map(lambda name: read_receipt(root, plan.job, name), names))
    return {receipt.unit: receipt for receipt in found if receipt is not None}


def unit_names(plan: JobPlan) -> list[str]:
    return [f"{number:06d}-{key}" for number, key in enumerate(plan.units)]


def note_failure(root: Path, job: str, unit_name: str, problem: str) -> None:
    """Name a unit that failed for good, and why, for people."""
    told = without_secrets(problem).rstrip() + "\n"
    write_shared(root, key_of(job, f"{FAILED}/{unit_name}.txt"), told)


def worker_name() -> str:
    return f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}:{os.getpid()}"


def summed(report: BuildReport, receipts: Mapping[int, Receipt], earlier: Collection[int] = ()) -> BuildReport:
    """Add what the units did to the report of the whole build.

    Args:
        report: to add to.
        receipts: by the number of the unit.
        earlier: units that an interrupted run did: their tiles count as taken over, their time not at all.
    """
    workers = set()
    for number, receipt in sorted(receipts.items()):
        report.left_out.add(LeftOutCounter(receipt.left_out, receipt.names))
        if number in earlier:
            report.adopted += receipt.tiles
            continue
        report.adopted += receipt.taken_over
        report.added += receipt.tiles - receipt.taken_over
        report.units += 1
        workers.add(receipt.worker)
        for stage, seconds in receipt.stage_s.items():
            report.stage_s[stage] = report.stage_s.get(stage, 0.0) + seconds
    report.workers = len(workers)
    return report
