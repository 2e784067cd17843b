import datetime as dt
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from indexer.cluster.build import build_collection
from indexer.cluster.units import units_of
from indexer.pipeline import embedding
from indexer.pipeline.estimate import estimate_build
from indexer.pipeline.job import job_of
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import ReadOptions
from indexer.sources import Candidate, Reading
from indexer.sources.grid import KilometreGrid
from indexer.sources.protocol import LeftOut, Partition, UnreachableError
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.sources.satlas import SatlasSource
from indexer.sources.sentinel2 import Sentinel2Source
from indexer.sources.xyz import XyzSource
from tests.indexer.conftest import write_raster
from wildsat_core.collection import open_collection
from wildsat_core.collection.maintain import verify
from wildsat_core.countries import Countries, Country
from wildsat_core.errors import CompilationError, InvalidInputError, ModelMismatchError, SourceError
from wildsat_core.land import LandMask
from wildsat_core.models.model import WildSATModel
from wildsat_core.types import BBox, Tile

GRID = KilometreGrid(size_km=1500, step_km=1500)
QUICK = BuildOptions(batch_tiles=16, workers=0, segment_tiles=64)

KEPT = "jobs/*/kept/*/segments/[!.]*/segment.json"  # of a unit that was interrupted


def quick(**changes):
    return BuildOptions(**({"batch_tiles": 16, "workers": 0, "segment_tiles": 64} | changes))


@pytest.fixture
def source(globe):
    return RasterSource(str(globe), GRID, tile_px=32)


def ids_of(collection):
    return collection.tiles.column("tile_id").to_pylist()


def test_every_tile_is_found_again_with_its_own_vectors_and_thumbnail(source, model, tmp_path):
    report = build_collection(source, model, tmp_path / "earth", QUICK, {"title": "Earth"})
    collection = open_collection(tmp_path / "earth")
    candidates = list(source.candidates())
    assert report.added == len(collection) == len(candidates) == source.count()
    assert sum(report.left_out.values()) == 0
    for candidate in candidates[::40]:
        row = collection.row_of(candidate.tile.tile_id)
        assert collection.tile(row).bbox == candidate.tile.bbox
        expected = model.embed_pixels(source.read(candidate).pixels[None])
        expected["place"] = model.embed_places([candidate.tile.lon_lat])["place"]
        for space, vectors in expected.items():
            stored = collection.vectors(space, np.array([row]))
            assert np.abs(stored - vectors).max() < 2e-3, space  # half precision
        with Image.open(io.BytesIO(collection.thumbnail(row))) as picture:
            assert (picture.format, picture.size) == ("WEBP", (128, 128))
    assert verify(tmp_path / "earth") == []
    assert collection.manifest.provenance["title"] == "Earth"
    assert collection.manifest.provenance["grid"] == "1500x1500km"


def test_the_same_build_again_changes_nothing(source, model, tmp_path):
    first = build_collection(source, model, tmp_path / "earth", QUICK, {})
    again = build_collection(source, model, tmp_path / "earth", QUICK, {})
    assert (again.added, again.generation) == (0, first.generation)
    assert again.left_out["already indexed"] == first.added


def test_worker_processes_give_the_same_collection(source, model, tmp_path):
    build_collection(source, model, tmp_path / "alone", QUICK, {})
    build_collection(source, model, tmp_path / "helped", quick(workers=2), {})
    alone, helped = open_collection(tmp_path / "alone"), open_collection(tmp_path / "helped")
    assert [s.id for s in alone.manifest.segments] == [s.id for s in helped.manifest.segments]


def test_a_build_goes_on_after_an_error_and_ends_as_if_nothing_had_happened(source, model, tmp_path, monkeypatch):
    build_collection(source, model, tmp_path / "whole", QUICK, {})
    calls = []
    embed = WildSATModel.begin_embedding

    def fail_late(self, *arguments):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return embed(self, *arguments)

    monkeypatch.setattr(WildSATModel, "begin_embedding", fail_late)
    with pytest.raises(KeyboardInterrupt):
        build_collection(source, model, tmp_path / "halting", QUICK, {})
    assert not (tmp_path / "halting" / "CURRENT").exists()
    report = build_collection(source, model, tmp_path / "halting", QUICK, {})
    whole, halting = open_collection(tmp_path / "whole"), open_collection(tmp_path / "halting")
    assert report.adopted == 9 * 16  # an interruption, unlike a kill, loses nothing that was embedded
    assert sorted(ids_of(whole)) == sorted(ids_of(halting))


@pytest.mark.parametrize(
    "changes",
    [
        {"tile_px": 48},
        {"nodata": 7.0},
        {"area": BBox(-90, -90, 90, 90)},
        {"extent": BBox(-180, -80, 180, 80)},
        {"scene": "other"},
        {"captured_on": dt.date(2023, 7, 1)},
        {"band_indexes": (3, 2, 1)},
    ],
)
def test_another_order_does_not_take_over_what_an_interrupted_one_left(source, model, changes):
    def job(a_source, **options):
        return job_of(a_source, model.ref, quick(**options))

    assert job(replace(source, **changes)) != job(source) == job(replace(source))
    assert job(source, min_land=0.5) != job(source)
    assert job(source, workers=3, segment_tiles=9) == job(source)


def test_areas_tell_builds_apart_and_secrets_do_not(tmp_path, model):
    here, there = BBox(0, 0, 1, 1), BBox(1, 0, 2, 1)
    days = (dt.date(2023, 1, 1), dt.date(2023, 12, 31))

    def jobs(make):
        return len({job_of(source, model.ref, QUICK) for source in make})

    assert jobs(XyzSource("http://h/{z}/{x}/{y}", 2, area, hosts=("h",)) for area in (here, there)) == 2
    assert jobs(SatlasSource(str(tmp_path), area=area) for area in (here, there)) == 2
    signers = (None, "os.path:basename")
    assert jobs(Sentinel2Source("http://h", here, *days, GRID, signer=s) for s in signers) == 1


KILLED_BUILD = """
import sys, time
from indexer.sources.grid import KilometreGrid
from indexer.cluster.build import build_collection
from indexer.pipeline.job import job_of
from indexer.pipeline.options import BuildOptions
from indexer.sources import Candidate, Reading
from indexer.sources.raster import RasterSource
from wildsat_core.models.model import WildSATModel
from pathlib import Path

if __name__ == "__main__":
    globe, folder, root, slow = sys.argv[1:]
    embed = WildSATModel.begin_embedding
    def slowly(self, *arguments):
        time.sleep(float(slow))
        return embed(self, *arguments)
    WildSATModel.begin_embedding = slowly
    source = RasterSource(globe, KilometreGrid(1500, 1500), tile_px=32)
    options = BuildOptions(batch_tiles=16, workers=1, segment_tiles=64)
    build_collection(source, WildSATModel.open(folder), Path(root), options, {})
"""


def test_a_killed_build_loses_at_most_a_segment_and_ends_as_the_same_collection(
    source, model, model_folder, globe, tmp_path
):
    script, root = tmp_path / "build.py", tmp_path / "killed"
    script.write_text(KILLED_BUILD)
    command = [sys.executable, str(script), str(globe), str(model_folder), str(root)]
    process = subprocess.Popen(
        [*command, "0.15"], env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    # A whole segment, not one that is still written aside under a name with a dot.
    while not list(root.glob(KEPT)) and time.monotonic() < deadline:
        time.sleep(0.02)
    readers = [
        Path("/proc") / pid for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]
    assert readers
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 120
    while (
        left := [r for r in readers if r.exists() and "zombie" not in (r / "status").read_text()]
    ) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left  # they would wait for work, and keep their memory, for ever
    saved = len(list(root.glob(KEPT)))
    assert saved >= 1
    assert not (root / "CURRENT").exists()  # nothing half built can be opened
    report = build_collection(source, model, root, QUICK, {})
    assert report.adopted == 64 * saved
    build_collection(source, model, tmp_path / "whole", QUICK, {})
    whole, killed = open_collection(tmp_path / "whole"), open_collection(root)
    assert {s.id for s in whole.manifest.segments} == {s.id for s in killed.manifest.segments}


def test_a_killed_replacement_goes_on_after_its_last_whole_segment(source, model, model_folder, globe, tmp_path):
    root, script = tmp_path / "again", tmp_path / "build.py"
    first = build_collection(source, model, root, QUICK, {})
    script.write_text(KILLED_BUILD.replace("segment_tiles=64)", "segment_tiles=64, on_known='replace')"))
    command = [sys.executable, str(script), str(globe), str(model_folder), str(root), "0.15"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not list(root.glob(KEPT)) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    saved = len(list(root.glob(KEPT)))
    assert saved >= 1
    assert open_collection(root).generation == 1
    report = build_collection(source, model, root, quick(on_known="replace"), {})
    assert (report.adopted, report.added) == (64 * saved, first.added - 64 * saved)
    assert report.left_out["already indexed"] == 0
    collection = open_collection(root)
    assert (len(collection), collection.manifest.rows) == (first.added, 2 * first.added)


def test_tiles_that_show_nothing_are_left_out_and_counted(model, tmp_path):
    values = np.random.default_rng(0).integers(1, 255, (3, 32, 160)).astype(np.uint8)
    values[:, :, 32:64] = 0
    values[:, :, 64:96] = np.array([30, 60, 90], np.uint8)[:, None, None]
    values[:, :20, 96:128] = 200
    path = write_raster(tmp_path / "five.tif", values, "EPSG:4326", -98.5, 34, 0.01)
    source = RasterSource(str(path), PixelGrid(32, 32), nodata=200)
    report = build_collection(source, model, tmp_path / "five", QUICK, {})
    assert report.added == 2
    assert {k: n for k, n in report.left_out.items() if n} == {"all zero": 1, "one colour": 1, "no data": 1}
    saved = json.loads((tmp_path / "five" / "build-report.json").read_text())
    assert saved["left_out"] == {"all zero": 1, "one colour": 1, "no data": 1}
    assert "2 tiles added" in report.text()


def test_sea_is_left_out_and_coasts_get_the_country_that_they_show(source, model, tmp_path):
    import shapely

    countries = Countries([Country("EAS", "East", shapely.box(3, -90, 180, 90))])
    options = quick(land=LandMask.from_countries(countries), min_land=0.05, countries=countries)
    report = build_collection(source, model, tmp_path / "east", options, {})
    collection = open_collection(tmp_path / "east")
    assert report.left_out["sea"] + report.added == source.count()
    assert 0.45 < report.added / source.count() < 0.6
    west_centres = collection.tiles.lon < 3
    assert west_centres.any()  # coasts, whose centre is at sea
    assert collection.tiles.countries == ("EAS",)
    assert (collection.tiles.country >= 0).all()
    boxes = [collection.tile(row).bbox for row in range(len(collection.tiles))]
    assert collection.tiles.land_share == pytest.approx(options.land.share(boxes), abs=1e-4)
    assert 0.05 <= collection.tiles.land_share.min() < 0.9 < collection.tiles.land_share.max()


def test_a_source_that_names_the_country_is_believed():
    import shapely

    ours = Countries([Country("EAS", "East", shapely.box(0, -90, 180, 90))])
    tiles = [Tile(code or "none", BBox(10, 1, 11, 2), 10.0, "test", country=code) for code in ("KEN", None)]
    kept = Chooser(lambda _: set(), countries=ours).pick([Candidate(tile) for tile in tiles], Counter())
    assert [c.tile.country for c in kept] == ["KEN", "EAS"]


def test_a_dry_run_counts_measures_and_writes_nothing(source, model, tmp_path):
    estimate = estimate_build(source, model, QUICK, Chooser(lambda _: set()))
    assert estimate.tiles == source.count()
    assert estimate.sampled > 10
    assert estimate.seconds > 0
    build_collection(source, model, tmp_path / "earth", QUICK, {})
    on_disk = sum(p.stat().st_size for p in (tmp_path / "earth" / "segments").rglob("*") if p.is_file())
    assert 0.3 < estimate.bytes_on_disk / on_disk < 2
    assert f"{estimate.tiles:,} tiles" in estimate.text()


def test_bands_that_the_model_does_not_take_are_refused(globe, model, tmp_path):
    source = RasterSource(str(globe), GRID, bands=("b05", "green", "blue"))
    with pytest.raises(InvalidInputError, match=r"takes the bands red, green, blue.*gives b05"):
        build_collection(source, model, tmp_path / "earth", QUICK, {})
    assert not (tmp_path / "earth").exists()


def test_sixteen_bits_without_a_stretch_are_refused(model, tmp_path):
    values = np.random.default_rng(0).integers(1, 9999, (3, 32, 32)).astype(np.uint16)
    path = write_raster(tmp_path / "deep.tif", values, "EPSG:4326", 10, 50, 0.01)
    with pytest.raises(InvalidInputError, match="--stretch"):
        build_collection(RasterSource(str(path), PixelGrid(32, 32)), model, tmp_path / "deep", QUICK, {})


def test_another_model_is_refused_and_the_collection_stays(source, model, tmp_path):
    build_collection(source, model, tmp_path / "earth", QUICK, {})
    other = WildSATModel(model.config.model_copy(update={"name": "other"}))
    other.weights_sha256 = "0123456789abcdef" * 4
    made, adding = model.weights_sha256[:12], "0123456789ab"
    named = rf"made by {model.config.name} \(weights {made}\), you are adding with other \(weights {adding}\);"
    with pytest.raises(ModelMismatchError, match=named):
        build_collection(source, other, tmp_path / "earth", QUICK, {})
    assert len(open_collection(tmp_path / "earth")) == source.count()


def test_progress_reaches_the_number_of_candidates(source, model, tmp_path):
    done = Counter()
    build_collection(source, model, tmp_path / "earth", QUICK, {}, lambda n: done.update(tiles=n))
    assert done["tiles"] == source.count()


@dataclass(frozen=True)
class Odd:
    """Twelve tiles of different sizes; reading the fourth fails in a way that is chosen."""

    fail: str = ""
    down: bool = field(default=True, repr=False)
    name: str = "odd"
    bands: tuple[str, ...] = ("red", "green", "blue")

    def count(self):
        return 12

    def partitions(self):
        return (Partition(f"from-{first}", 4, range(first, first + 4)) for first in (0, 4, 8))

    def candidates(self, partition=None):
        numbers = range(12) if partition is None else partition.locator
        return (Candidate(Tile(f"odd-{i}", BBox(i, 0, i + 1, 1), 10.0, "odd"), i) for i in numbers)

    def read(self, candidate):
        if candidate.locator == 3 and self.fail == "error":
            raise SourceError("the fourth is damaged")
        if candidate.locator == 3 and self.fail == "death":
            os._exit(9)
        if candidate.locator >= 4 and self.fail == "network" and self.down:
            raise UnreachableError("no answer")
        side = 16 + candidate.locator
        return Reading(np.random.default_rng(side).integers(1, 255, (3, side, side)).astype(np.uint8))

    def provenance(self):
        return {"source": self.name}


def test_a_tile_that_cannot_be_read_is_counted_and_the_build_goes_on(model, tmp_path, caplog):
    report = build_collection(Odd("error"), model, tmp_path / "odd", QUICK, {})
    assert (report.added, report.left_out["unreadable"]) == (11, 1)
    assert "odd-3: the fourth is damaged" in caplog.text


def test_a_source_out_of_reach_ends_the_build_and_keeps_what_was_embedded(model, tmp_path, monkeypatch):
    monkeypatch.setattr("indexer.pipeline.reading.CHUNK_TILES", 4)
    monkeypatch.setattr("indexer.pipeline.reading.MOST_UNREACHABLE", 3)
    some = quick(batch_tiles=1)
    with pytest.raises(SourceError, match=r"3 tiles in a row could not be fetched; the last: no answer"):
        build_collection(Odd("network"), model, tmp_path / "odd", some, {})
    report = build_collection(Odd("network", down=False), model, tmp_path / "odd", some, {})
    assert (report.adopted, report.added) == (4, 8)


@dataclass(frozen=True)
class Listing(Odd):
    """The same; what is listed begins with two that can't become tiles, and ends with the first tile again."""

    def candidates(self, partition=None):
        listed = list(super().candidates(partition))
        return iter((LeftOut("bad row", "no place"), LeftOut("bad row", "nor here"), *listed, listed[0]))


def test_a_build_that_goes_on_counts_what_is_no_tile_as_little_as_one_without_a_stop(model, tmp_path, monkeypatch):
    monkeypatch.setattr("indexer.cluster.plan.units_of", partial(units_of, most=4))
    monkeypatch.setattr("indexer.pipeline.reading.CHUNK_TILES", 1)
    some, told = quick(batch_tiles=1), []
    whole = build_collection(Listing(), model, tmp_path / "whole", some, {}, told.append)
    assert sum(told) == 12 + 3
    monkeypatch.setattr(Odd, "read", stopped_at(Odd.read, 9))
    with pytest.raises(KeyboardInterrupt):
        build_collection(Listing(), model, tmp_path / "odd", some, {})
    told.clear()
    report = build_collection(Listing(), model, tmp_path / "odd", some, {}, told.append)
    assert told[0] == 10, "two whole units"
    assert sum(told) == 12 + 3
    assert report.adopted == 8 + 1
    assert report.left_out == whole.left_out
    assert report.left_out.as_dict() == {"bad row": 6, "id given twice": 3}


def stopped_at(read, number):
    """Interrupts the build once, when it comes to a tile."""
    stops = [KeyboardInterrupt]

    def stopping(self, candidate):
        if candidate.locator == number and stops:
            raise stops.pop()
        return read(self, candidate)

    return stopping


def test_a_reading_process_that_dies_ends_the_build_with_advice(model, tmp_path):
    with pytest.raises(SourceError, match="try fewer with --workers"):
        build_collection(Odd("death"), model, tmp_path / "odd", quick(workers=1), {})


def test_the_encoder_keeps_its_threads_or_takes_those_it_is_given(model, tmp_path):
    before = torch.get_num_threads()
    try:
        build_collection(Odd(), model, tmp_path / "odd", QUICK, {})
        assert torch.get_num_threads() == before
        build_collection(Odd(), model, tmp_path / "odd", quick(threads=before + 1), {})
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("compiled", "after_s", "sizes"), [(True, 60.0, [16]), (False, 0.0, []), (None, 0.0, [16]), (None, 60.0, [])]
)
def test_the_model_is_compiled_once_when_asked_or_when_it_has_paid(
    source, model, tmp_path, monkeypatch, compiled, after_s, sizes
):
    found = []
    monkeypatch.setattr("indexer.pipeline.encoding.COMPILE_AFTER_S", after_s)
    monkeypatch.setattr(WildSATModel, "compile_for", lambda _, pixels: found.append(len(pixels)) or time.sleep(0.02))
    report = build_collection(source, model, tmp_path / "globe", quick(compiled=compiled), {})
    assert found == sizes
    assert ("compile" in report.text()) == (report.stage_s["compile"] > 0) == bool(sizes)


def test_a_build_goes_on_where_the_model_can_not_be_compiled_unless_that_was_asked_for(
    source, model, tmp_path, monkeypatch
):
    def fail(*_):
        raise CompilationError("no compiler")

    monkeypatch.setattr("indexer.pipeline.encoding.COMPILE_AFTER_S", 0.0)
    monkeypatch.setattr(WildSATModel, "compile_for", fail)
    assert build_collection(source, model, tmp_path / "globe", quick(), {}).added
    with pytest.raises(CompilationError, match="no compiler"):
        build_collection(source, model, tmp_path / "asked", quick(compiled=True), {})


def test_pictures_of_many_sizes_do_not_pile_up(model, tmp_path, monkeypatch):
    sizes = []
    embed = WildSATModel.begin_embedding
    monkeypatch.setattr(
        WildSATModel, "begin_embedding", lambda self, p, *places: sizes.append(len(p)) or embed(self, p, *places)
    )
    monkeypatch.setattr(embedding, "MOST_WAITING", 1)
    report = build_collection(Odd(), model, tmp_path / "odd", quick(batch_tiles=4), {})
    assert report.added == sum(sizes) == 12
    assert len(sizes) == 12  # from the fourth on, one goes for each that comes


def test_thumbnails_can_be_left_out(source, model, tmp_path):
    build_collection(source, model, tmp_path / "bare", quick(read=ReadOptions(thumbnail_px=None)), {})
    assert open_collection(tmp_path / "bare").thumbnail(0) is None
