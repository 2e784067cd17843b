"""Builds in units: equal whoever does them, done once however often they are run, published once."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from indexer.cluster import ray_engine
from indexer.cluster.build import build_collection
from indexer.cluster.commit import commit_job
from indexer.cluster.plan import job_folder, key_of, make_plan, read_plan
from indexer.cluster.ray_engine import RayOptions, connected, run_on_ray
from indexer.cluster.receipts import Receipt, put_receipt, receipts_of, unit_names
from indexer.cluster.units import units_of
from indexer.cluster.work import Worker, share_of
from indexer.pipeline.job import job_of
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.report import REPORT_FILE
from indexer.sources import Candidate, Reading
from indexer.sources.folder import FolderSource
from indexer.sources.protocol import Partition, UnreachableError
from indexer.sources.raster import PixelGrid, RasterSource
from tests.indexer.conftest import write_raster
from tests.indexer.test_pipeline import Odd
from wildsat_core.collection import open_collection
from wildsat_core.collection.garbage import collect_garbage
from wildsat_core.collection.lock import build_lock
from wildsat_core.collection.maintain import verify
from wildsat_core.collection.mirror import mirrored
from wildsat_core.errors import (
    CollectionLockedError,
    InvalidInputError,
    MissingExtraError,
    ModelMismatchError,
    SourceError,
    WildsatError,
)
from wildsat_core.models.model import WildSATModel
from wildsat_core.ray_cluster import join
from wildsat_core.types import BBox, Tile

OPTIONS = BuildOptions(batch_tiles=16, workers=0)
# Not imported to see: once it is, it no longer reads the environment that keeps it to loopback.
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs wildsat[ray]")


@pytest.fixture
def source(globe, monkeypatch):
    """The globe in partitions of at most 64 tiles, and units of at most 70."""
    monkeypatch.setattr("indexer.sources.raster.MOST_IN_PARTITION", 64)
    monkeypatch.setattr("indexer.cluster.plan.units_of", partial(units_of, most=70))
    return RasterSource(str(globe), PixelGrid(32, 32))


def planned(root, source, model):
    return make_plan(root, "job", source, model.ref, {"kind": "raster", "options": {}})


def committed(root, plan, source, model, **options):
    return commit_job(root, plan, model.spaces, source, {}, **options)


def contents(root):
    """All of a collection by id, and its segments."""
    collection = open_collection(root)
    rows = np.flatnonzero(collection.tiles.live)
    told = {}
    for row in rows:
        vectors = [collection.vectors(space, np.array([row])).tobytes() for space in sorted(collection.spaces)]
        tile = collection.tile(int(row))
        told[tile.tile_id] = (tile, vectors, collection.thumbnail(int(row)))
    return told


def test_units_hold_every_partition_once_in_order(source):
    units = list(units_of(source, 70))
    assert [unit.number for unit in units] == list(range(len(units)))
    assert len(units) > 2
    assert [part for unit in units for part in unit.partitions] == list(source.partitions())
    assert all(unit.at_most <= 70 for unit in units)
    assert len({unit.key for unit in units}) == len(units)
    assert [c.tile.tile_id for unit in units for c in unit.listed(source)] == [
        c.tile.tile_id for part in source.partitions() for c in source.candidates(part)
    ]


def test_whoever_does_the_units_the_collection_is_the_same(source, model, tmp_path):
    alone = tmp_path / "alone"
    plan = planned(alone, source, model)
    worker = Worker.start(alone, plan, source, model, OPTIONS)
    for number in range(len(plan.units)):
        worker.run_unit(number)
    report = committed(alone, plan, source, model)

    shared = tmp_path / "shared"
    plan = planned(shared, source, model)
    workers = [Worker.start(shared, plan, source, model, replace(OPTIONS, workers=i)) for i in (0, 1)]
    for i, worker in reversed(list(enumerate(workers))):  # in another order, one with reading processes
        for number in reversed(share_of(len(plan.units), f"{i}/2")):
            worker.run_unit(number)
    committed(shared, plan, source, model)
    segments = [[s.id for s in open_collection(root).manifest.segments] for root in (alone, shared)]
    assert segments[0] == segments[1]
    assert contents(alone) == contents(shared)
    assert verify(shared) == []

    built = build_collection(source, model, tmp_path / "built", replace(OPTIONS, workers=2), {})
    assert built.added == report.added == len(contents(alone)) == source.count()
    assert [s.id for s in open_collection(tmp_path / "built").manifest.segments] == segments[0]


@pytest.mark.parametrize("stops", [KeyboardInterrupt, UnreachableError])
def test_a_build_that_was_interrupted_goes_on_within_its_unit_to_the_same_segments(
    source, model, tmp_path, monkeypatch, stops
):
    whole, root = tmp_path / "whole", tmp_path / "halting"
    build_collection(source, model, whole, OPTIONS, {})
    units = list(units_of(source, 70))
    calls = []
    embed = WildSATModel.begin_embedding

    def stop(self, *arguments):
        calls.append(1)
        if len(calls) == 7:
            raise stops("now")
        return embed(self, *arguments)

    with monkeypatch.context() as stopping:
        stopping.setattr(WildSATModel, "begin_embedding", stop)
        with pytest.raises(stops):
            build_collection(source, model, root, OPTIONS, {})
    done = receipts_of(root, read_plan(root))
    assert done.keys() == {0}
    kept = 6 * 16 - units[0].at_most + (-units[0].at_most % 16)  # whole batches of the second unit
    told = []
    report = build_collection(source, model, root, OPTIONS, {}, told.append)
    assert (report.adopted, report.added) == (units[0].at_most + kept, source.count() - units[0].at_most - kept)
    assert sum(report.left_out.values()) == 0
    assert sum(told) == source.count()
    assert len(calls) == 7
    segments = [[s.id for s in open_collection(one).manifest.segments] for one in (whole, root)]
    assert segments[0] == segments[1]
    assert not list((root / "jobs").iterdir())


def test_a_unit_that_fails_is_named_the_others_are_done_and_the_same_build_tries_again(
    source, model, tmp_path, monkeypatch, caplog
):
    root, gather = tmp_path / "earth", Worker._gather

    def fail(worker, unit, *arguments):
        if unit.number == 1:
            raise SourceError("the second is damaged")
        gather(worker, unit, *arguments)

    names = [unit.name for unit in units_of(source, 70)]
    with monkeypatch.context() as failing:
        failing.setattr(Worker, "_gather", fail)
        with pytest.raises(SourceError, match=rf"1 of {len(names)} units failed, among them {names[1]}: the second is"):
            build_collection(source, model, root, OPTIONS, {})
        plan = read_plan(root)
        assert receipts_of(root, plan).keys() == set(range(len(names))) - {1}
        assert "is damaged" in (root / key_of(plan.job, f"failed/{names[1]}.txt")).read_text()
        assert not (root / "CURRENT").exists()
        part = build_collection(source, model, root, OPTIONS, {}, allow_failed=True)
    assert (part.generation, part.added, part.adopted) == (1, 0, source.count() - 64)
    report = build_collection(source, model, root, OPTIONS, {})
    assert (report.generation, report.added) == (2, 64)
    assert len(contents(root)) == source.count()


def test_the_same_build_twice_at_once_is_refused_or_waits(source, model, tmp_path):
    root = tmp_path / "earth"
    with ThreadPoolExecutor(1) as other:
        with build_lock(job_folder(root, job_of(source, model.ref, OPTIONS))):
            with pytest.raises(CollectionLockedError, match="does this very build"):
                build_collection(source, model, root, OPTIONS, {})
            waiting = other.submit(build_collection, source, model, root, replace(OPTIONS, wait_s=60), {})
        assert waiting.result().added == source.count()


def test_pictures_that_are_added_to_a_folder_between_a_kill_and_the_going_on_are_built_too(
    model, tmp_path, monkeypatch
):
    monkeypatch.setattr("indexer.sources.folder.MOST_IN_PARTITION", 3)
    monkeypatch.setattr("indexer.cluster.plan.units_of", partial(units_of, most=3))
    folder, root = tmp_path / "f", tmp_path / "c"
    folder.mkdir()

    def picture(name):
        values = np.random.default_rng(len(name)).integers(1, 255, (3, 32, 32)).astype(np.uint8)
        write_raster(folder / f"{name}.tif", values, "EPSG:4326", 10, 50, 0.001)

    for name in "bcdefghi":
        picture(name)
    source = FolderSource(str(folder))
    plan = make_plan(root, job_of(source, model.ref, OPTIONS), source, model.ref, {})
    Worker.start(root, plan, source, model, OPTIONS).run_unit(0)
    Worker.start(root, plan, source, model, OPTIONS).run_unit(1)
    picture("ea")  # moves what follows by one
    with pytest.raises(SourceError, match="gives other"):
        Worker.start(root, plan, source, model, OPTIONS)
    report = build_collection(source, model, root, OPTIONS, {})
    assert (report.adopted, report.added) == (3, 6)
    assert len(contents(root)) == 9
    assert verify(root) == []


def test_people_are_told_another_title_by_a_build_without_new_tiles(source, model, tmp_path):
    root = tmp_path / "earth"
    build_collection(source, model, root, OPTIONS, {"title": "Old"})
    assert build_collection(source, model, root, OPTIONS, {"title": "New"}).generation == 2
    manifest = open_collection(root).manifest
    assert (manifest.provenance["title"], manifest.rows) == ("New", source.count())
    assert build_collection(source, model, root, OPTIONS, {"title": "New"}).generation == 2


def test_a_unit_that_is_done_is_not_done_again(source, model, tmp_path, monkeypatch):
    plan = planned(tmp_path / "earth", source, model)
    worker = Worker.start(tmp_path / "earth", plan, source, model, OPTIONS)
    first = worker.run_unit(1)
    monkeypatch.setattr(Worker, "_gather", lambda *_: pytest.fail("done twice"))
    assert worker.run_unit(1) == first


def test_the_first_receipt_of_a_unit_counts(source, model, tmp_path):
    plan = planned(tmp_path / "earth", source, model)
    unit = next(iter(units_of(source, 70)))

    def receipt(worker):
        return Receipt(
            unit=0, key=unit.key, segment=None, tiles=0, left_out={}, names={}, stage_s={}, elapsed_s=1.0,
            device="cpu", worker=worker,
        )  # fmt: skip

    with ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(lambda i: put_receipt(tmp_path / "earth", plan.job, unit, receipt(f"w{i}")), range(24))
        )
    assert len({one.worker for one in found}) == 1
    assert receipts_of(tmp_path / "earth", plan)[0] == found[0]


def test_missing_units_are_named_and_published_without_only_when_allowed(source, model, tmp_path):
    root = tmp_path / "earth"
    plan = planned(root, source, model)
    worker = Worker.start(root, plan, source, model, OPTIONS)
    worker.run_unit(1)
    with pytest.raises(InvalidInputError, match=rf"{len(plan.units) - 1} of .* \(the first is {unit_names(plan)[0]}"):
        committed(root, plan, source, model)
    part = committed(root, plan, source, model, allow_failed=True)
    assert part.generation == 1
    missing = [name for number, name in enumerate(unit_names(plan)) if number != 1]
    assert part.missing_units == json.loads((root / REPORT_FILE).read_text())["missing_units"] == missing
    assert f"{len(missing)} units are missing: {missing[0]}, " in part.text()
    assert read_plan(root) == plan  # the rest can come later
    for number in range(len(plan.units)):
        worker.run_unit(number)
    assert committed(root, plan, source, model).generation == 2
    assert len(contents(root)) == source.count()
    assert not (root / "jobs" / plan.job).exists()
    assert verify(root) == []


def test_two_committers_publish_once(source, model, tmp_path):
    root = tmp_path / "earth"
    plan = planned(root, source, model)
    worker = Worker.start(root, plan, source, model, OPTIONS)
    for number in range(len(plan.units)):
        worker.run_unit(number)
    with ThreadPoolExecutor(2) as threads:
        results = [threads.submit(committed, root, plan, source, model, wait_s=30) for _ in range(2)]
    raised = [result.exception() for result in results]
    assert None in raised
    assert all(isinstance(err, WildsatError | None) for err in raised), raised
    assert len(contents(root)) == open_collection(root).manifest.rows == source.count()


def test_units_whose_segments_gc_took_are_done_again(source, model, tmp_path):
    root = tmp_path / "earth"
    plan = planned(root, source, model)
    worker = Worker.start(root, plan, source, model, OPTIONS)
    worker.run_unit(0)
    committed(root, plan, source, model, allow_failed=True)
    for number in range(len(plan.units)):
        worker.run_unit(number)
    assert collect_garbage(root, unfinished_s=-1)
    assert set(receipts_of(root, plan)) == {0}
    for number in range(len(plan.units)):
        worker.run_unit(number)
    committed(root, plan, source, model)
    assert len(contents(root)) == source.count()
    assert verify(root) == []


class Doubled(Odd):
    """Two partitions that give the same four ids with different pixels, and two of their own."""

    def partitions(self):
        return (Partition("first", 6, (0, range(6))), Partition("second", 6, (100, (*range(4), 6, 7))))

    def candidates(self, partition=None):
        for part in self.partitions() if partition is None else (partition,):
            start, numbers = part.locator
            for i in numbers:
                yield Candidate(Tile(f"odd-{i}", BBox(i, 0, i + 1, 1), 10.0, "odd"), start + i)

    def read(self, candidate):
        rng = np.random.default_rng(candidate.locator)
        return Reading(rng.integers(1, 255, (3, 16, 16)).astype(np.uint8))


@pytest.mark.parametrize("on_known", ["skip", "replace"])
def test_of_equal_ids_one_stays_whoever_wrote_them(model, tmp_path, monkeypatch, on_known):
    monkeypatch.setattr("indexer.cluster.plan.units_of", partial(units_of, most=6))
    source, root = Doubled(), tmp_path / "double"
    plan = planned(root, source, model)
    worker = Worker.start(root, plan, source, model, OPTIONS)
    worker.run_unit(1)
    worker.run_unit(0)
    report = committed(root, plan, source, model)
    assert (report.added, report.left_out["id given twice"]) == (8, 4)
    before = contents(root)
    kept = open_collection(root).manifest.segments[0]
    assert {before[f"odd-{i}"][0].tile_id for i in range(4)} <= set(before)
    assert open_collection(root).manifest.deleted.keys().isdisjoint({kept.id})  # of new ones the first stays
    # Planned on generation 0, published when all is live already.
    again = make_plan(root, "again", source, model.ref, {})
    again = again.model_copy(update={"generation": 1})
    worker = Worker.start(root, again, source, model, replace(OPTIONS, on_known="replace", batch_tiles=3))
    for number in range(2):
        worker.run_unit(number)
    committed(root, again, source, model, on_known=on_known)
    collection = open_collection(root)
    assert (len(collection), collection.manifest.rows) == (8, 24)
    live = {row // 12 for row in np.flatnonzero(collection.tiles.live)}
    assert live == ({0} if on_known == "skip" else {1})
    assert verify(root) == []


def test_workers_that_see_something_else_are_refused(source, model, tmp_path, globe):
    root, copy = tmp_path / "earth", shutil.copy(globe, tmp_path / "copy.tif")
    source = replace(source, path=str(copy))
    plan = planned(root, source, model)
    other = replace(model.ref, weights_sha256="0" * 64)
    with pytest.raises(ModelMismatchError, match="planned with"):
        Worker.start(root, plan.model_copy(update={"model": other}), source, model, OPTIONS)
    with pytest.raises(SourceError, match="gives other"):
        Worker.start(root, plan, replace(source, grid=PixelGrid(16, 16)), model, OPTIONS)
    os.utime(copy, (1, 1))
    with pytest.raises(SourceError, match="changed since the build was planned"):
        Worker.start(root, plan, source, model, OPTIONS)


@pytest.mark.parametrize("share", ["3/3", "a/2", "1", "1/0", "-1/2"])
def test_shares_that_are_none_are_refused(share):
    with pytest.raises(InvalidInputError, match="i/n"):
        share_of(10, share)


def test_shares_cover_all_units():
    assert sorted(n for i in range(3) for n in share_of(10, f"{i}/3")) == list(range(10)) == share_of(10, None)


def test_plan_work_status_commit_as_they_are_typed(type_in, globe, model_folder, tmp_path):
    options = ["--tile-km", 1500, "--tile-px", 32, "--model", model_folder, "--workers", 0, "--title", "Earth"]
    said = type_in("plan", "raster", "earth", "--input", globe, *options)
    assert "1 unit of at most" in said
    assert "index work earth" in said
    assert json.loads(type_in("status", "earth", "--json"))["done"] == 0
    with pytest.raises(InvalidInputError, match="1 of 1 units are not done"):
        type_in("commit", "earth")
    type_in("work", "earth", "--units", "0/2")
    facts = json.loads(type_in("status", "earth", "--json"))
    assert (facts["done"], facts["failed"]) == (1, {})
    assert facts["tiles"] > 100
    type_in("work", "earth")  # nothing is left
    type_in("commit", "earth")
    manifest = open_collection(tmp_path / "collections" / "earth").manifest
    assert (manifest.tiles, manifest.provenance["title"]) == (facts["tiles"], "Earth")
    with pytest.raises(InvalidInputError, match="no planned build, or it is published already"):
        type_in("work", "earth")


def start_globe(root, plan, globe, folder):
    """In an actor; the cut is that of the plan. The first one finds no imagery on its node."""
    import indexer.cluster.plan as planning
    import indexer.sources.raster as rasters

    rasters.MOST_IN_PARTITION = 64
    planning.units_of = partial(units_of, most=70)
    if not (begun := Path(root).parent / "begun").exists():
        begun.touch()
        raise SourceError("no imagery here")
    source = RasterSource(str(globe), PixelGrid(32, 32))
    return Killed(Worker.start(root, plan, source, WildSATModel.open(folder), OPTIONS), root)


def start_nowhere():
    """In an actor on a node that has no imagery."""
    raise SourceError("earth.tif is not there")


class Killed:
    """Dies once, at the third unit, after the work and before the receipt; fails always at the last but one.

    In the midst of the first unit it waits for a while.
    """

    def __init__(self, worker, root):
        self._worker, self._root = worker, Path(root)

    def run_unit(self, number, on_progress):
        with (self._root.parent / f"calls-{number}").open("a") as calls:
            calls.write("x")
        marker = self._root.parent / "killed"
        if number == 2 and not marker.exists():
            marker.touch()
            os._exit(9)
        if number == 3:
            raise SourceError("the fourth is out of reach")
        waits = [1.0] if number == 0 else []

        def dealt(more):
            on_progress(more)
            if more and waits:
                time.sleep(waits.pop())

        return self._worker.run_unit(number, dealt)


RAY = """
import sys
from pathlib import Path
from tests.indexer.test_cluster import ray_build
ray_build(*map(Path, sys.argv[1:]))
"""


def ray_build(root, globe, folder):
    import psutil

    import indexer.cluster.plan as planning
    import indexer.sources.raster as rasters

    rasters.MOST_IN_PARTITION = 64
    planning.units_of = partial(units_of, most=70)
    plan = read_plan(root)
    left = range(len(plan.units))
    done, steps = [], []
    ray_engine.LOOK_S = ray_engine.TELL_S = 0.1
    with connected(None):
        ours = {process.pid for process in psutil.Process().children(recursive=True)} | {psutil.Process().pid}
        ports = [c for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.pid in ours]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ray_engine, "MOST_FAILURES", 1)
            with pytest.raises(SourceError) as refused:
                run_on_ray(root, plan, left, start_nowhere, RayOptions(actors=1))
        start = partial(start_globe, root, plan, globe, folder)
        failed = run_on_ray(root, plan, left, start, RayOptions(actors=2), steps.append, done.append)
    told = {
        "listening": [c.laddr.ip for c in ports],
        "refused": str(refused.value),
        "failed": dict(failed),
        "done": sorted(receipt.unit for receipt in done),
        "steps": steps,
        "listed": sum(receipt.listed for receipt in done),
    }
    print(json.dumps(told))


def test_the_last_units_wait_for_whoever_is_free_first(tmp_path, source, model):
    plan = planned(tmp_path / "earth", source, model)
    run = ray_engine._Run(tmp_path / "earth", plan, deque(range(6)), 60.0, None, None, None)
    handle = SimpleNamespace(run_unit=SimpleNamespace(remote=lambda number: f"reference {number}"))
    first, second = run._actors = [ray_engine._Actor(handle, None), ray_engine._Actor(handle, "begins")]
    run._hand_out()
    assert list(first.running.values()) == [0, 1]
    second.beginning = None
    run._hand_out()
    assert list(second.running.values()) == [2, 3]
    first.running.clear()
    run._hand_out()
    assert list(first.running.values()) == [4]
    assert list(run._waiting) == [5]


@needs_ray
def test_a_unit_that_is_done_again_moves_the_bar_once(monkeypatch, tmp_path, source, model):
    import ray

    plan, steps = planned(tmp_path / "earth", source, model), []
    run = ray_engine._Run(tmp_path / "earth", plan, deque(), 60.0, None, steps.append, None)
    actor = ray_engine._Actor(None, None, running={"reference": 2})
    for said in ((2, 30), (2, 50), (1, 90), (2, 0), (2, 20), ray.exceptions.RayActorError(), (2, 64)):
        monkeypatch.setattr(ray, "get", lambda _, said=said: said if isinstance(said, tuple) else raised(said))
        actor.telling = "asked"
        run._heard(actor)
        assert actor.telling is None
    assert steps == [30, 20, 14]


def raised(error):
    raise error


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path, source, model):
    monkeypatch.setitem(sys.modules, "ray", None)
    plan = planned(tmp_path / "earth", source, model)
    with pytest.raises(MissingExtraError, match=r"needs the package .ray.*\[ray\]"):
        run_on_ray(tmp_path / "earth", plan, [0], start_nowhere, RayOptions())


@needs_ray
def test_an_address_without_a_ray_cluster_is_refused_at_once():
    """In a process of its own, as whoever imports Ray no longer reads what keeps it to loopback."""
    code = f"from {join.__module__} import join; join('127.0.0.1:1', 'a test')"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "UnreachableError: no Ray cluster can be joined at '127.0.0.1:1': [Errno 111]" in answer.stderr


@needs_ray
def test_on_ray_a_killed_actor_costs_its_units_and_a_bad_unit_is_named(source, model, model_folder, globe, tmp_path):
    """A real cluster on loopback, in a process of its own: it changes signals and threads of whoever starts it."""
    pytest.importorskip("psutil")
    alone, root = tmp_path / "alone", tmp_path / "shared"
    for one in (alone, root):
        plan = planned(one, source, model)
    assert len(plan.units) > 3
    worker = Worker.start(alone, plan, source, model, OPTIONS)
    for number in range(len(plan.units)):
        worker.run_unit(number)
    committed(alone, plan, source, model)
    start = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    answer = subprocess.run(
        [sys.executable, "-c", RAY, str(root), str(globe), str(model_folder)],
        env={**environment, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    told = json.loads(answer.stdout.splitlines()[-1])
    assert len(told["listening"]) >= 3  # on loopback alone
    assert all(ip.removeprefix("::ffff:").startswith("127.") or ip == "::1" for ip in told["listening"])
    names = unit_names(plan)
    assert told["refused"] == "no actor of the Ray cluster could begin: earth.tif is not there"
    assert told["failed"] == {names[3]: "the fourth is out of reach"}  # without the trace of our own errors
    assert told["done"] == [n for n in range(len(plan.units)) if n != 3]
    assert len(told["steps"]) > len(told["done"])  # progress is told in the midst of a unit, too
    assert sum(told["steps"]) == told["listed"]
    calls = {n: len((tmp_path / f"calls-{n}").read_text()) for n in range(len(plan.units))}
    assert (calls[2], calls[3]) == (2, 3)
    assert sum(count - 1 for n, count in calls.items() if n != 3) <= 2  # a killed worker repeats at most two units
    assert "out of reach" in (root / key_of(plan.job, f"failed/{names[3]}.txt")).read_text()
    Worker.start(root, plan, source, model, OPTIONS).run_unit(3)  # once it can be reached
    committed(root, plan, source, model)
    segments = [[s.id for s in open_collection(one).manifest.segments] for one in (alone, root)]
    assert segments[0] == segments[1]
    assert contents(alone) == contents(root)
    assert time.monotonic() - start < 240


@needs_ray
def test_build_on_ray_into_a_store_as_it_is_typed_gives_what_one_process_does(
    type_in, s3, globe, model_folder, tmp_path
):
    options = ["--tile-km", "1500", "--tile-px", "32", "--model", str(model_folder), "--workers", "0", "--threads", "1"]
    command = ["build", "raster", "earth", "--input", str(globe), *options]
    answer = subprocess.run(
        [sys.executable, "-c", "from wildsat_core.cli import main; main()", "index", *command, "--engine", "ray"],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "WILDSAT_STORE": s3, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "tiles added, generation 1" in answer.stderr
    mirror = mirrored(s3, "earth")
    mirror.pull()
    type_in(*command)
    local = tmp_path / "collections" / "earth"
    segments = [[s.id for s in open_collection(one).manifest.segments] for one in (mirror.root, local)]
    assert segments[0] == segments[1]
    assert contents(mirror.root) == contents(local)
    assert not mirror.objects("jobs/")
