"""`wildsat index plan | work | status | commit`: a build in units, shared by processes, machines or a Ray cluster."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from indexer.cluster.build import UnitEngine, build_collection
from indexer.cluster.commit import commit_job
from indexer.cluster.plan import JobPlan, forget, key_of, make_plan, order_fields, order_json, read_plan, signed_of
from indexer.cluster.ray_engine import RayOptions, run_on_ray
from indexer.cluster.receipts import FAILED, Receipt, receipts_of, unit_names
from indexer.cluster.work import Worker, run_units, share_of
from indexer.commands.build import PICTURE_ORDERS, Build, Engine
from indexer.commands.by_source import by_source
from indexer.commands.options import Wait
from indexer.commands.progress import progress_bar
from indexer.commands.roots import CollectionsFolder, StoreAddress, folder_of
from indexer.commands.sources import PICTURES
from indexer.pipeline.encoding import check_bands
from indexer.pipeline.estimate import estimate_build
from indexer.pipeline.job import job_of
from indexer.pipeline.options import Progress
from indexer.pipeline.report import BuildReport
from wildsat_core.collection.mirror import mirror_of
from wildsat_core.collection.shared import list_shared, read_shared
from wildsat_core.collection.writer import check_collection_name
from wildsat_core.errors import InvalidInputError, WildsatError

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the collection.")]
Job = Annotated[str | None, typer.Option("--job", metavar="ID", help="Which build.", show_default="the only one")]
Signed = Annotated[
    list[str] | None,
    typer.Option(
        "--signed",
        envvar="WILDSAT_SIGNED",
        metavar="OPTION=ADDRESS",
        help="Of a build planned with a signed address: that address, like input=https://…?sig=…",
    ),
]
AllowFailed = Annotated[bool, typer.Option("--allow-failed", help="Publish although units are missing.")]


def planned(order: Build) -> JobPlan:
    """Pin the build, or go on with the plan that the same command made."""
    order = order.sized()
    source = order.source()
    model = order.loaded(source)
    check_bands(model, source)
    job = job_of(source, model.ref, order.picture_options())
    if order.restart:
        forget(order.root, job)
    return make_plan(order.root, job, source, model.ref, _told(order, model.config.name))


def run_plan(order: Build) -> None:
    """Pin the build, and say how many units it has."""
    order = order.at_hand(ids_alone=True)
    made = planned(order)
    typer.echo(
        f"{order.name}: job {made.job}, {_units(len(made.units))} of at most {max(made.at_most):,} tiles, "
        f"{sum(made.at_most):,} at most in all\n"
        f"next: `wildsat index work {order.name}`, with --units i/n in each of n workers, or with --engine ray"
    )


plan = by_source(
    PICTURE_ORDERS,
    run_plan,
    """Cut a build into units that several workers share, and write the plan into the collection's folder.

    Takes what `build` takes. Then start `wildsat index work NAME` wherever the folder and the imagery can be seen, and
    `wildsat index commit NAME` when all is done.

    For example: wildsat index plan raster alps --input alps.tif --tile-km 2.56 --stretch 0,3000
    """,
)


def work(
    name: Name,
    units: Annotated[
        str | None,
        typer.Option("--units", metavar="I/N", help="Share I of N, I from 0.", show_default="all that is left"),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="local: in this process; ray: by actors of a cluster.")] = Engine.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Ray cluster: auto, host:port.", show_default="one started here"),
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Ray actors.", show_default="one a GPU, or a processor")
    ] = None,
    gpus: Annotated[float, typer.Option(min=0, metavar="SHARE", help="GPU that each actor has.")] = 0.0,
    unit_timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="A unit that takes longer goes to another actor.")
    ] = 3600.0,
    job: Job = None,
    signed: Signed = None,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Do units of a planned build: those of one share, or all that nobody has done.

    A unit that is done is passed over, so the same command goes on after an interruption. Ends with 1 if a unit failed.
    """
    collections = folder_of(name, collections, store, ids_alone=True)
    root = collections / check_collection_name(name)
    made = read_plan(root, job)
    ray = RayOptions(address, actors, gpus, unit_timeout) if engine is Engine.RAY else None
    if do_units(root, made, share_of(len(made.units), units), ray, signed_addresses(signed)):
        raise typer.Exit(1)


def run_in_units(order: Build) -> None:
    """Plan, have all units done, here or by Ray's actors, and publish."""
    order = order.sized()
    source = order.source()
    model = order.loaded(source)
    options = order.picture_options()
    if order.dry_run:
        typer.echo(estimate_build(source, model, options, order.chooser(options)).text())
        return
    with progress_bar("tiles", source.count(), Console(stderr=True)) as advance:
        report = build_collection(
            source,
            model,
            order.root,
            options,
            order.facts,
            advance,
            engine=_on_ray(order, model) if order.engine is Engine.RAY else None,
            order=_told(order, model.config.name),
            allow_failed=order.allow_failed,
        )
    typer.echo(report.text(), err=True)
    if order.map_tiles:
        paint(folder_of(order.name, order.collections, order.store) / order.name, order.wait)


def paint(root: Path, wait_s: float = 0.0) -> None:
    """Paint the map tiles of a collection's thumbnails, unless they are painted already; `wait_s` for other writers."""
    from indexer.pipeline.tile_imagery import is_painted, publish_tile_imagery

    if not is_painted(root):
        typer.echo(f"painted {publish_tile_imagery(root, wait_s=wait_s):,} map tiles", err=True)


def _on_ray(order: Build, model: "WildSATModel") -> UnitEngine:
    ray = RayOptions(order.address, gpus=float(model.device.type == "cuda"))
    signed = signed_of(vars(order), address_options(order))

    def run(made: JobPlan, left: Sequence[int], on_progress: Progress) -> Mapping[str, str]:
        start = partial(worker_of, _Place.of(order.root), made, signed, in_actor=True)
        return run_on_ray(order.root, made, left, start, ray, on_progress)

    return run


def do_units(
    root: Path, made: JobPlan, units: Sequence[int], ray: RayOptions | None, signed: Mapping[str, str]
) -> Mapping[str, str]:
    """Do those of some units that nobody has done, here or on Ray; gives why some failed, by name."""
    order_of(made, root.parent, signed)  # what is missing is told before anything starts
    done = receipts_of(root, made)
    left = [number for number in units if number not in done]
    start = partial(worker_of, _Place.of(root), made, signed, in_actor=ray is not None)
    with progress_bar("tiles", sum(made.at_most[number] for number in left), Console(stderr=True)) as advance:

        def on_done(receipt: Receipt) -> None:
            advance(made.at_most[receipt.unit] - receipt.listed)  # there were no more after all

        if ray is not None:
            failed = run_on_ray(root, made, left, start, ray, advance, on_done)
        else:
            failed = _run_here(start, left, advance, on_done)
    for one in failed:
        typer.echo(f"unit {one} failed", err=True)
    typer.echo(f"{root.name}: {_units(len(left) - len(failed))} done, {len(failed)} failed", err=True)
    return failed


def _run_here(
    start: Callable[[], Worker], left: Sequence[int], on_progress: Progress, on_done: Callable[[Receipt], None]
) -> dict[str, str]:
    if not left:
        return {}
    with closing(start()) as worker:
        return run_units(worker, left, on_progress, on_done)


def status(
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    job: Job = None,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Say how far a planned build is: units done, tiles, who did them, and what failed."""
    collections = folder_of(name, collections, store, ids_alone=True)
    root = collections / check_collection_name(name)
    facts = progress_of(root, read_plan(root, job))
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    typer.echo(
        f"{name}: job {facts['job']}, {facts['done']:,} of {_units(facts['units'])} done, {facts['tiles']:,} tiles, "
        f"{facts['worked_s']:.0f} s of work"
    )
    for worker, count in facts["workers"].items():
        typer.echo(f"  {worker}: {_units(count)}")
    for failed, why in facts["failed"].items():
        typer.echo(f"  failed: {failed}: {why}")


def _units(count: int) -> str:
    return f"{count:,} unit" if count == 1 else f"{count:,} units"


def progress_of(root: Path, made: JobPlan) -> dict[str, Any]:
    """The same as JSON values."""
    done = receipts_of(root, made)
    names = unit_names(made)
    workers: dict[str, int] = {}
    for receipt in done.values():
        workers[receipt.worker] = workers.get(receipt.worker, 0) + 1
    missing = {name for number, name in enumerate(names) if number not in done}
    notes = {PurePosixPath(key).stem: key for key in list_shared(root, key_of(made.job, FAILED))}
    told = {name: (read_shared(root, key) or b"").decode() for name, key in notes.items() if name in missing}
    return {
        "job": made.job,
        "units": len(names),
        "done": len(done),
        "tiles": sum(receipt.tiles for receipt in done.values()),
        "worked_s": round(sum(receipt.elapsed_s for receipt in done.values()), 2),
        "workers": dict(sorted(workers.items())),
        "failed": {name: why.strip()[-400:] for name, why in told.items()},
    }


def commit(
    name: Name,
    allow_failed: AllowFailed = False,
    wait: Wait = 0.0,
    job: Job = None,
    signed: Signed = None,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Publish what the units of a planned build wrote, as one generation."""
    copies = folder_of(name, collections, store, ids_alone=True)
    root = copies / check_collection_name(name)
    made = read_plan(root, job)
    order = order_of(made, copies, signed_addresses(signed))
    report = publish(order, made, allow_failed=allow_failed, wait_s=wait)
    typer.echo(report.text(), err=True)
    if order.map_tiles:
        paint(folder_of(name, collections, store) / name, wait)


def publish(order: Build, made: JobPlan, *, allow_failed: bool, wait_s: float) -> BuildReport:
    """One generation of what the units wrote, with what the source says of itself."""
    source = order.source()
    return commit_job(
        order.root,
        made,
        order.loaded(source).spaces,
        source,
        order.facts,
        on_known="replace" if order.replace else "skip",
        max_bad=order.max_bad,
        allow_failed=allow_failed,
        wait_s=wait_s,
    )


@dataclass(frozen=True)
class _Place:
    """Where a collection is, for processes on other machines: of one in a store each has a copy of its own."""

    folder: Path
    name: str
    store: str | None

    @classmethod
    def of(cls, root: Path) -> "_Place":
        mirror = mirror_of(root)
        return cls(root.absolute().parent, root.name, mirror.store.address if mirror else None)


def worker_of(place: _Place, made: JobPlan, signed: Mapping[str, str], *, in_actor: bool = False) -> Worker:
    """What a process needs for the units of a plan, from the plan and the addresses that it does not keep.

    Unless a number is asked for, an actor that embeds on its one processor has no other processes that read: there is
    an actor for each processor already.
    """
    root = folder_of(place.name, place.folder, place.store, ids_alone=True) / place.name
    order = order_of(made, root.parent, signed)
    source = order.source()
    model, options = order.loaded(source), order.picture_options()
    if in_actor and order.workers is None and model.device.type == "cpu":
        options = replace(options, workers=0)
    return Worker.start(root, made, source, model, options)


def order_of(made: JobPlan, collections: Path, signed: Mapping[str, str]) -> Build:
    """The command that was planned, for a collection that lies in this folder here.

    Raises:
        InvalidInputError: a signed address of it is missing, or another one.
    """
    kind, options = order_fields(made.order, signed)
    try:
        return PICTURE_ORDERS[kind](**{**options, "collections": collections, "store": None})  # type: ignore[no-any-return]
    except (KeyError, TypeError) as err:
        raise WildsatError(f"the plan of job {made.job} is of another version of this program: {err}") from err


def _told(order: Build, model: str) -> dict[str, Any]:
    """The command as JSON, with the model that was chosen in place of the rule that chose it."""
    fields = {field.name: getattr(order, field.name) for field in dataclasses.fields(order)}
    model_asked = fields["model"] or model
    chosen = {**fields, "model": model_asked if model_asked != "auto" else model}
    return order_json(_kind_of(order), chosen, address_options(order))


def address_options(order: Build) -> list[str]:
    """Options that say where the imagery is, which may be addresses that are signed."""
    return [field.name for field in dataclasses.fields(PICTURES[_kind_of(order)])]


def signed_addresses(given: Sequence[str] | None) -> dict[str, str]:
    """Addresses by option, from OPTION=ADDRESS.

    Raises:
        InvalidInputError: one is not of this form; it is not shown, since it may be secret.
    """
    parts = [one.partition("=") for one in given or ()]
    if any(not (name.removeprefix("--").isidentifier() and equals and address) for name, equals, address in parts):
        raise InvalidInputError("--signed must be OPTION=ADDRESS, like input=https://…?sig=…", "signed")
    return {name.removeprefix("--"): address for name, _, address in parts}


def _kind_of(order: Build) -> str:
    return next(kind for kind, made in PICTURE_ORDERS.items() if isinstance(order, made))
