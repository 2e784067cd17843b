"""Imagery that is replaced between a kill and the going on, or while it is read, is not mixed with what was there."""

import io
import os
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import rasterio.shutil
from PIL import Image

from indexer.cluster.build import build_collection
from indexer.pipeline.cutting import CutFolder, cut_tiles
from indexer.pipeline.inputs import InputGuard, InputState
from indexer.pipeline.job import job_of
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import ReadOptions
from indexer.sources.dataset import open_dataset
from indexer.sources.folder import FolderSource
from indexer.sources.protocol import UnreachableError
from indexer.sources.raster import PixelGrid, RasterSource
from tests.indexer.conftest import write_raster
from wildsat_core.collection import open_collection
from wildsat_core.collection.store import Store, open_store
from wildsat_core.errors import SourceError
from wildsat_core.errors import UnreachableError as StoreError
from wildsat_core.types import ModelRef

OPTIONS = BuildOptions(batch_tiles=4, workers=0, segment_tiles=4, read=ReadOptions(thumbnail_px=32))


def raster(path, channel):
    """16 tiles of noise in one channel."""
    values = np.full((3, 128, 128), 20, np.uint8)
    values[channel] = np.random.default_rng(0).integers(120, 255, (128, 128))
    write_raster(path, values, "EPSG:4326", 10, 50, 0.001)
    return RasterSource(str(path), PixelGrid(32, 32))


class KilledError(Exception):
    pass


def kill(*_):
    raise KilledError


def interrupted(source, model, root, monkeypatch):
    """A build that ends after some segments."""
    with monkeypatch.context() as dying:
        dying.setattr("indexer.pipeline.report.BuildReport.check_not_empty", kill)
        with pytest.raises(KilledError):
            build_collection(source, model, root, OPTIONS, {})
    assert not (root / "CURRENT").exists()


def colours(root):
    collection = open_collection(root)
    found = set()
    for row in range(len(collection)):
        with Image.open(io.BytesIO(collection.thumbnail(row))) as picture:
            found.add(int(np.asarray(picture.convert("RGB")).mean(axis=(0, 1)).argmax()))
    return found


def test_a_raster_replaced_between_a_kill_and_the_going_on_is_told_and_can_begin_anew(model, tmp_path, monkeypatch):
    source, root = raster(tmp_path / "a.tif", 0), tmp_path / "c"
    interrupted(source, model, root, monkeypatch)
    raster(tmp_path / "a.tif", 2)
    os.utime(tmp_path / "a.tif", (1, 1))
    with pytest.raises(SourceError, match=r"a\.tif had [\d,]+ bytes, changed .*1970-01-01 00:00:01.*--restart"):
        build_collection(source, model, root, OPTIONS, {})
    assert not (root / "CURRENT").exists()
    open_dataset.cache_clear()  # as in a process of its own
    report = build_collection(source, model, root, replace(OPTIONS, restart=True), {})
    assert (report.added, report.adopted) == (16, 0)
    assert colours(root) == {2}
    assert not list((root / "jobs").iterdir())


def test_a_raster_that_stays_is_gone_on_with(model, tmp_path, monkeypatch):
    source, root = raster(tmp_path / "a.tif", 0), tmp_path / "c"
    interrupted(source, model, root, monkeypatch)
    assert build_collection(source, model, root, OPTIONS, {}).adopted == 16


def test_a_raster_replaced_while_it_is_read_is_not_published(model, tmp_path):
    source, root = raster(tmp_path / "a.tif", 0), tmp_path / "c"
    with pytest.raises(SourceError, match=r"changed while it was read.*Nothing was published.*--restart"):
        build_collection(source, model, root, OPTIONS, {}, lambda _: raster(tmp_path / "a.tif", 1))
    assert not (root / "CURRENT").exists()


def test_the_parts_of_a_vrt_are_inputs_too(tmp_path):
    raster(tmp_path / "a.tif", 0)
    rasterio.shutil.copy(str(tmp_path / "a.tif"), str(tmp_path / "of.vrt"), driver="VRT")
    source = RasterSource(str(tmp_path / "of.vrt"), PixelGrid(32, 32))
    before = InputState.of(source.inputs())
    assert len(before.marks) == 2
    os.utime(tmp_path / "a.tif", (1, 1))
    assert "1 of 2 files" in before.difference(InputState.of(source.inputs()))


@pytest.mark.parametrize("name", ["zip://{}!a.tif", "/vsizip/{}/a.tif", "/vsizip/{{{}}}/a.tif"])
def test_of_a_raster_in_an_archive_the_archive_is_the_input(name, tmp_path):
    raster(tmp_path / "a.tif", 0)
    archive = tmp_path / "of.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.write(tmp_path / "a.tif", "a.tif")
    source = RasterSource(name.format(archive), PixelGrid(32, 32))
    before = InputState.of(source.inputs())
    assert before.bytes == archive.stat().st_size
    os.utime(archive, (1, 1))
    assert before.difference(InputState.of(source.inputs()))


@pytest.mark.parametrize(("driver", "suffix"), [("ILWIS", "mpr"), ("MRF", "mrf"), ("Zarr", "zarr")])
def test_the_files_that_hold_the_numbers_of_a_raster_are_inputs(driver, suffix, tmp_path):
    write_raster(tmp_path / "plain.tif", np.full((1, 32, 32), 7, np.uint8), "EPSG:32614", 592_000, 3_707_000, 10)
    folder = tmp_path / "it"
    folder.mkdir()
    rasterio.shutil.copy(tmp_path / "plain.tif", folder / f"it.{suffix}", driver=driver)
    (folder / "other.tif").touch()
    source = RasterSource(str(folder / f"it.{suffix}"), PixelGrid(32, 32), bands=("any",))
    read = {str(file) for file in folder.rglob("*") if file.is_file() and not file.name.endswith(".aux.xml")}
    assert read - {str(folder / "other.tif")} <= set(source.inputs()) <= read | set(map(str, folder.rglob("*.aux.xml")))
    assert str(folder / "other.tif") not in set(source.inputs())


def test_pictures_added_to_a_folder_do_no_harm_and_changed_ones_are_told(model, tmp_path, monkeypatch):
    (tmp_path / "f").mkdir()
    for i in range(6):
        write_raster(tmp_path / "f" / f"{i}.tif", noise(i), "EPSG:4326", 10 + i, 50, 0.001)
    source, root = FolderSource(str(tmp_path / "f")), tmp_path / "c"
    interrupted(source, model, root, monkeypatch)
    write_raster(tmp_path / "f" / "9.tif", noise(9), "EPSG:4326", 30, 50, 0.001)
    with monkeypatch.context() as again:
        again.setattr("indexer.pipeline.report.BuildReport.check_not_empty", kill)
        with pytest.raises(KilledError):
            build_collection(source, model, root, OPTIONS, {})
    (tmp_path / "f" / "2.tif").unlink()
    with pytest.raises(SourceError, match=r"1 of 6 files .*were changed or taken away"):
        build_collection(source, model, root, OPTIONS, {})


def noise(seed):
    return np.random.default_rng(seed).integers(1, 255, (3, 32, 32)).astype(np.uint8)


def test_cutting_goes_on_with_the_same_imagery_only(tmp_path, monkeypatch):
    source, chooser, read = raster(tmp_path / "a.tif", 0), Chooser(lambda _: set()), ReadOptions(None)
    with monkeypatch.context() as dying:
        dying.setattr(CutFolder, "finish", kill)
        dying.setattr("indexer.pipeline.inputs.InputGuard.finish", kill)
        with pytest.raises(KilledError):
            cut_tiles(source, CutFolder(tmp_path / "out", source.bands, {}), chooser, read, 0)
    os.utime(tmp_path / "a.tif", (1, 1))
    with pytest.raises(SourceError, match="name a new folder with --out"):
        cut_tiles(source, CutFolder(tmp_path / "out", source.bands, {}), chooser, read, 0)


@pytest.fixture
def remote():
    """A file on loopback, with a settable ETag; only reading is allowed, as of addresses that are signed for it."""
    facts = {"ETag": '"one"', "Last-Modified": "Tue, 01 Aug 2023 00:00:00 GMT"}
    asked: list[tuple[str, str]] = []
    refusals: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append((self.path, self.headers.get("Range")))
            if refusals:
                self.send_response(refusals.pop())
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            for name, value in {**facts, "Content-Range": "bytes 0-0/77", "Content-Length": "1"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"x")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/a.tif", facts, asked, refusals
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_address_is_told_apart_by_its_etag_and_not_by_what_signs_it(remote):
    address, facts, asked, _ = remote
    before = InputState.of([f"{address}?sig=one"])
    assert (before.bytes, before.changed) == (77, "2023-08-01 00:00:00+00:00")
    assert asked[0][1] == "bytes=0-0"
    assert before.difference(InputState.of([f"{address}?sig=two"])) is None
    facts["ETag"] = '"two"'
    told = before.difference(InputState.of([f"{address}?sig=two"]))
    assert "a.tif had 77 bytes" in told
    assert "sig" not in told
    assert InputState.from_json(before.to_json()).difference(before) is None
    assert len(InputState.of(["/no/such/file"]).marks) == 0
    assert len(InputState.of([f"/vsicurl/{address}"]).marks) == 1


class Remote:
    """A source whose one input is an address."""

    def __init__(self, address):
        self.inputs = lambda: [address]


@pytest.mark.parametrize("status", [503, 429, 403])
def test_a_server_that_is_busy_at_a_going_on_is_not_taken_for_other_imagery(remote, status, tmp_path):
    address, facts, _, refusals = remote
    saved = tmp_path / "inputs.json"
    InputGuard(saved, Remote(address), "go on").begin(goes_on=False)
    if status != 403:  # it is asked again
        refusals += [status, status]
        InputGuard(saved, Remote(address), "go on").begin(goes_on=True)
    refusals += [status] * 9
    with pytest.raises(UnreachableError, match=f"its server answers {status}"):
        InputGuard(saved, Remote(address), "go on")
    refusals.clear()
    guard = InputGuard(saved, Remote(address), "go on")
    refusals += [status] * 9
    with pytest.raises(SourceError, match=r"can't be known: .* same command again"):
        guard.finish()
    refusals.clear()
    facts["ETag"] = '"two"'
    with pytest.raises(SourceError, match=r"was changed since .* or go on"):
        InputGuard(saved, Remote(address), "go on").begin(goes_on=True)


def test_a_server_that_does_not_answer_tells_nothing_of_its_imagery(monkeypatch):
    monkeypatch.setattr("indexer.sources.remote.PATIENCE_S", ())
    with pytest.raises(UnreachableError, match="does not answer"):
        InputState.of(["http://127.0.0.1:9/a.tif"])


def test_the_same_imagery_signed_anew_is_the_same_build():
    def job(text):
        return job_of(text, ModelRef("m", "", "", ""), BuildOptions())

    assert job("S('https://a/b.tif?sig=1&se=2')") == job("S('https://a/b.tif?sig=3&se=4')")
    assert job("S('https://a/b.tif?layer=1')") != job("S('https://a/b.tif?layer=2')")


@pytest.mark.parametrize("spelling", ["s3://{}/a.tif", "/vsis3/{}/a.tif"])
def test_an_object_in_a_store_is_told_apart_by_its_etag(s3, spelling, tmp_path, monkeypatch):
    bucket = s3.removeprefix("s3://").partition("/")[0]
    store, saved = open_store(f"s3://{bucket}"), tmp_path / "inputs.json"
    input_ = Remote(spelling.format(bucket))
    store.put("a.tif", b"one")
    InputGuard(saved, input_, "go on").begin(goes_on=False)
    InputGuard(saved, input_, "go on").begin(goes_on=True)
    store.put("a.tif", b"two")
    with pytest.raises(SourceError, match=r"a\.tif had 3 bytes, .* or go on"):
        InputGuard(saved, input_, "go on").begin(goes_on=True)
    monkeypatch.setattr(Store, "version", refuse)
    with pytest.raises(SourceError, match="began can't be known: no credentials"):
        InputGuard(saved, input_, "go on").begin(goes_on=True)


def test_what_a_store_does_not_tell_is_said_and_keeps_nobody_from_building(s3, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Store, "version", refuse)
    guard = InputGuard(tmp_path / "inputs.json", Remote(f"{s3}/a.tif"), "go on")
    guard.begin(goes_on=False)
    guard.finish()
    assert "can't be known: no credentials" in caplog.text


def refuse(*_):
    raise StoreError("no credentials")
