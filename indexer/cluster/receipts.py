"""Receipts: a unit is done when its receipt lies there, and counts once, however often it was run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from indexer.cluster.plan import JobPlan, folder_of
from indexer.cluster.units import Unit
from indexer.pipeline.left_out import LeftOutCounter
from indexer.pipeline.report import BuildReport
from wildsat_core.addresses import without_secrets
from wildsat_core.collection.manifest import SegmentInfo
from wildsat_core.collection.segment import INFO_FILE, segment_folder
from wildsat_core.errors import CollectionFormatError
from wildsat_core.files import put_text_if_absent, write_text_atomically

FAILED = "failed"


class Receipt(BaseModel):
    """What became of a unit.

    Attributes:
        segment: None where no tile was worth one.
        left_out, names: as `LeftOutCounter` has them.
        stage_s: seconds by stage; device: what embedded; worker: host and process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: int
    key: str
    segment: SegmentInfo | None
    tiles: int
    left_out: dict[str, int]
    names: dict[str, list[str]]
    stage_s: dict[str, float]
    elapsed_s: float
    device: str
    worker: str


def receipt_path(root: Path, job: str, unit_name: str) -> Path:
    return folder_of(root, job) / f"{unit_name}.json"


def read_receipt(root: Path, path: Path) -> Receipt | None:
    """The receipt in a file, None where there is none yet. One whose segment `gc` has taken goes, too.

    Raises:
        CollectionFormatError: the file is damaged.
    """
    try:
        receipt = Receipt.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as err:
        raise CollectionFormatError(
            f"{path} can't be read as a receipt: {err}; remove it, and the unit is done again"
        ) from err
    if receipt.segment is not None and not (segment_folder(root, receipt.segment.id) / INFO_FILE).is_file():
        path.unlink(missing_ok=True)
        return None
    return receipt


def put_receipt(root: Path, job: str, unit: Unit, receipt: Receipt) -> Receipt:
    """Write a receipt, unless the unit has one: then that one counts."""
    path = receipt_path(root, job, unit.name)
    if put_text_if_absent(path, receipt.model_dump_json(indent=1) + "\n"):
        return receipt
    found = read_receipt(root, path)
    assert found is not None
    return found


def receipts_of(root: Path, plan: JobPlan) -> Mapping[int, Receipt]:
    """Receipts by the number of the unit."""
    found = (read_receipt(root, receipt_path(root, plan.job, name)) for name in unit_names(plan))
    return {receipt.unit: receipt for receipt in found if receipt is not None}


def unit_names(plan: JobPlan) -> list[str]:
    return [f"{number:06d}-{key}" for number, key in enumerate(plan.units)]


def note_failure(root: Path, job: str, unit_name: str, problem: str) -> None:
    """Name a unit that failed for good, and why, for people."""
    told = without_secrets(problem).rstrip() + "\n"
    write_text_atomically(folder_of(root, job) / FAILED / f"{unit_name}.txt", told)


def worker_name() -> str:
    return f"{os.uname().nodename if hasattr(os, 'uname') else 'host'}:{os.getpid()}"


def summed(report: BuildReport, receipts: Mapping[int, Receipt]) -> BuildReport:
    """Add what the units did to the report of the whole build."""
    for _, receipt in sorted(receipts.items()):
        report.added += receipt.tiles
        report.left_out.add(LeftOutCounter(receipt.left_out, receipt.names))
        for stage, seconds in receipt.stage_s.items():
            report.stage_s[stage] = report.stage_s.get(stage, 0.0) + seconds
    return report
