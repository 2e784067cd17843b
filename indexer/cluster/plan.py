"""The plan of a shared build: what is to be built from what, pinned so that all workers do the same."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from indexer.cluster.units import Unit, units_of
from indexer.pipeline.inputs import InputState, check_meanwhile, check_since, inputs_of
from indexer.pipeline.job import JOBS
from indexer.sources.protocol import Pinnable, Source
from wildsat_core.addresses import same_when_signed_anew, without_secrets
from wildsat_core.collection.commit import check_same_model
from wildsat_core.collection.manifest import read_current_generation
from wildsat_core.collection.shared import list_shared, put_shared_if_absent, read_shared, remove_shared, write_shared
from wildsat_core.errors import CollectionNotFoundError, InvalidInputError, ModelMismatchError, SourceError
from wildsat_core.types import ModelRef

PLAN_FILE = "plan.json"


class JobPlan(BaseModel):
    """What all workers of a build must agree on.

    Attributes:
        job: names the build by what it is made from.
        order: what was typed, for workers that start from nothing but this file, and signed addresses where there are.
        generation: the live one when it was planned, 0 for none: tiles that it holds are known already.
        units: key of each unit, in order.
        at_most: tiles of each unit at most.
        inputs: sizes and times of the files read, as JSON of `InputState`.
        scenes: of a source that asks a catalogue, what it had; None for others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    created_at: dt.datetime
    order: dict[str, Any]
    model: ModelRef
    generation: int
    units: tuple[str, ...]
    at_most: tuple[int, ...]
    inputs: str
    scenes: tuple[str, ...] | None = None


def make_plan(root: Path, job: str, source: Source, model: ModelRef, order: dict[str, Any]) -> JobPlan:
    """Pin a build, or take the plan that an equal command left: a build goes on with the units it was cut into.

    Raises:
        SourceError: the source can't be listed, has no tile, or its files were changed since the plan was made.
        ModelMismatchError: the collection was made by another model.
    """
    check_same_model(root, model)
    inputs = inputs_of(source)
    inputs.warn_if_untold()
    if read_shared(root, key_of(job, PLAN_FILE)) is not None:
        plan = read_plan(root, job)
        _check_state(plan, inputs)
        return _renewed(root, plan, list(units_of(as_planned(plan, source))))
    units = list(units_of(source))
    if not units:
        raise SourceError("the source has no tile there")
    try:
        generation = read_current_generation(root)
    except CollectionNotFoundError:
        generation = 0
    plan = JobPlan(
        job=job,
        created_at=dt.datetime.now(dt.UTC),
        order=order,
        model=model,
        generation=generation,
        units=tuple(unit.key for unit in units),
        at_most=tuple(unit.at_most for unit in units),
        inputs=inputs.to_json(),
        scenes=tuple(sorted(source.scene_ids())) if isinstance(source, Pinnable) else None,
    )
    put_shared_if_absent(root, key_of(job, PLAN_FILE), plan.model_dump_json(indent=1) + "\n")
    return read_plan(root, job)  # another one may have been faster


def _renewed(root: Path, plan: JobPlan, units: Sequence[Unit]) -> JobPlan:
    """The plan, cut anew where something was added to the source: a unit that is as it was keeps its receipt."""
    keys = tuple(unit.key for unit in units)
    if keys == plan.units:
        return plan
    plan = plan.model_copy(update={"units": keys, "at_most": tuple(unit.at_most for unit in units)})
    write_shared(root, key_of(plan.job, PLAN_FILE), plan.model_dump_json(indent=1) + "\n")
    return plan


def job_folder(root: Path, job: str) -> Path:
    """Where a job's files lie here."""
    return root / JOBS / job


def key_of(job: str, name: str) -> str:
    """Path of one of a job's files within the collection."""
    return f"{JOBS}/{job}/{name}"


def read_plan(root: Path, job: str | None = None) -> JobPlan:
    """The plan of a job; of the only one there is, where none is named.

    Raises:
        InvalidInputError: there is none, or more than one and none is named, or the file is damaged.
    """
    if job is None:
        jobs = [key.split("/")[1] for key in list_shared(root, JOBS) if key.endswith(f"/{PLAN_FILE}")]
        if len(jobs) != 1:
            told = (
                f"has {len(jobs)} planned builds, {', '.join(jobs)}: name one with --job"
                if jobs
                else "has no planned build, or it is published already; make one: `wildsat index plan`"
            )
            raise InvalidInputError(f"{root} {told}", "job")
        job = jobs[0]
    key = key_of(job, PLAN_FILE)
    try:
        return JobPlan.model_validate_json(read_shared(root, key) or b"")
    except (OSError, ValidationError) as err:
        raise InvalidInputError(f"{root / key} can't be read as a plan: {err}", "job") from err


def as_planned(plan: JobPlan, source: Source) -> Source:
    """The source with the scenes that it had when the plan was made."""
    return source if plan.scenes is None or not isinstance(source, Pinnable) else source.pinned(plan.scenes)


def planned_units(plan: JobPlan, source: Source) -> Sequence[Unit]:
    """The plan's units as the source gives them now.

    Raises:
        SourceError: it is cut in another way now.
    """
    units = list(units_of(source))
    if tuple(unit.key for unit in units) != plan.units:
        raise SourceError(
            f"the plan of {plan.created_at:%Y-%m-%d %H:%M} has {len(plan.units)} units, the source now gives other "
            f"{len(units)}: it was changed, or workers don't see the same files. Plan again with --restart"
        )
    return units


def check_inputs(plan: JobPlan, source: Source) -> None:
    """Refuse to mix what was read before and after a change.

    Raises:
        SourceError: a file that the plan was made for is not what it was.
    """
    _check_state(plan, inputs_of(source))


def _check_state(plan: JobPlan, now: InputState) -> None:
    check_since(InputState.from_json(plan.inputs), now, "the build was planned", "plan again with --restart")


def check_inputs_meanwhile(plan: JobPlan, source: Source) -> None:
    """Refuse to publish what was read from a file that was replaced while it was read.

    Raises:
        SourceError: it was, or that can't be known.
    """
    check_meanwhile(InputState.from_json(plan.inputs), source, "begin anew with --restart")


def check_model(plan: JobPlan, model: ModelRef) -> None:
    """Refuse a worker whose model is another one.

    Raises:
        ModelMismatchError: naming both.
    """
    if model != plan.model:
        raise ModelMismatchError(
            f"the build was planned with {plan.model.beside(model)}, this worker has {model.beside(plan.model)}"
        )


def forget(root: Path, job: str) -> None:
    """Remove the plan and receipts of a job; its segments, if they are in no generation, are left to `gc`."""
    plan = key_of(job, PLAN_FILE)  # first: without it nobody takes the rest for a job
    remove_shared(root, [plan, *list_shared(root, f"{JOBS}/{job}")])
    shutil.rmtree(job_folder(root, job), ignore_errors=True)


def order_json(kind: str, fields: dict[str, Any], addresses: Iterable[str] = ()) -> dict[str, Any]:
    """What was typed, as JSON: paths are told apart from texts.

    Of an address that is signed, or has a password, the plan keeps how it may be shown, and a hash that tells it again.
    Whoever can read the folder can't read the imagery by it; and most signatures end sooner than a long build, which
    goes on with an address that is signed anew.

    Args:
        kind: of source.
        fields: the options by name.
        addresses: those that may be addresses.
    """
    signed = signed_of(fields, addresses)
    told = {
        name: _known_by(value) if name in signed else {"path": str(value)} if isinstance(value, Path) else value
        for name, value in fields.items()
    }
    return dict(json.loads(json.dumps({"kind": kind, "options": told})))


def order_fields(order: dict[str, Any], signed: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The way back: kind and options.

    Args:
        order: as `order_json` made it.
        signed: addresses that the plan does not keep, by the name of the option.

    Raises:
        InvalidInputError: one of these is missing, or another address than was planned; or there was no command.
    """
    if "kind" not in order:
        told = "the build was begun by a program, not by a command: only that program goes on with it"
        raise InvalidInputError(told, "job")
    options = {name: _option(name, value, signed) for name, value in order["options"].items()}
    return order["kind"], options


def signed_of(fields: Mapping[str, Any], addresses: Iterable[str]) -> dict[str, str]:
    """Those of some options that hold what must not be kept in clear."""
    given = {name: fields[name] for name in addresses if isinstance(fields.get(name), str)}
    return {name: value for name, value in given.items() if without_secrets(value) != value}


def _known_by(address: str) -> dict[str, str]:
    same = hashlib.sha256(same_when_signed_anew(address).encode("utf-8", "surrogateescape")).hexdigest()
    return {"shown": without_secrets(address), "sha256": same}


def _option(name: str, value: Any, signed: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON, then of any kind
    if not isinstance(value, dict):
        return value
    if "path" in value:
        return Path(value["path"])
    option = name.replace("_", "-")
    if name not in signed:
        raise InvalidInputError(
            f"the build was planned with a signed address in --{option} ({value['shown']}), which is not kept: give it "
            f"again, as it is signed now, in the environment variable WILDSAT_SIGNED or with --signed {option}=ADDRESS",
            "signed",
        )
    if _known_by(signed[name])["sha256"] != value["sha256"]:
        raise InvalidInputError(
            f"--signed {option} is another address than the one that was planned, {value['shown']}", "signed"
        )
    return signed[name]
