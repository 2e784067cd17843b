"""Rasters read over HTTP: signed addresses, servers that are busy, gone or refuse."""

import datetime as dt
import email.utils
import gzip
import io
import json
import logging
import ssl
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import env
from rasterio.env import get_gdal_config

from indexer.cluster.build import build_collection
from indexer.pipeline.job import job_of
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import ReadOptions, read_chunk
from indexer.sources import remote
from indexer.sources.dataset import open_dataset
from indexer.sources.grid import KilometreGrid
from indexer.sources.protocol import NotAPictureError, UnreachableError
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.sources.stac_api import RETRIES
from tests.indexer.conftest import write_raster
from tests.indexer.stac_server import StacServer
from wildsat_core.addresses import keep_secrets_out_of_logs, without_secrets
from wildsat_core.collection import open_collection
from wildsat_core.errors import InvalidInputError

SIGNATURES = (
    "?sig=SECRET&se=2030-01-01T00%3A00%3A00Z&sp=r",  # Azure
    "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=SECRET%2Fus&X-Amz-Signature=SECRET&X-Amz-Expires=60",  # S3
    "?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=SECRET",  # Google
    "?Expires=1900000000&Signature=SECRET&Key-Pair-Id=SECRET",  # CloudFront
    "?token=SECRET",
    "?map=SECRET,1;x|y",
)


@pytest.fixture
def server(tmp_path):
    open_dataset.cache_clear()
    (tmp_path / "files").mkdir()
    with StacServer(tmp_path / "files") as running:
        pixels = np.random.default_rng(0).integers(1, 255, (3, 512, 512)).astype(np.uint8)
        write_raster(running.folder / "a.tif", pixels, "EPSG:32614", 592_000, 3_707_000, 10, tiled=True)
        yield running
    open_dataset.cache_clear()


def raster(server, query="", **options):
    return RasterSource(f"{server.url}/a.tif{query}", PixelGrid(128, 128), **options)


def last_pixels(source):
    return source.read(list(source.candidates())[-1]).pixels


def first_pixels(source):
    return source.read(next(iter(source.candidates()))).pixels


def test_a_plan_keeps_no_signature_and_work_goes_on_with_a_new_one(
    server, model_folder, type_in, tmp_path, monkeypatch
):
    """What is typed is a signed address with a user; every file of the collection is looked at after each step."""
    address = server.url.replace("//", "//user:PASSWORD@") + "/a.tif"
    options = ["--tile-px", 128, "--model", model_folder, "--workers", 0, "--title", "See https://example.org/?page=2"]
    root = tmp_path / "collections" / "signed"

    def kept():
        return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())

    type_in("plan", "raster", "signed", "--input", f"{address}?sig=SECRET", *options)
    assert b"127.0.0.1" in kept()
    assert b"page=2" in kept()  # what is told to searchers is no secret
    assert not any(secret in kept() for secret in (b"SECRET", b"PASSWORD", b"user"))
    with pytest.raises(InvalidInputError, match=r"signed address in --input \(http://127.*a\.tif\?….*WILDSAT_SIGNED"):
        type_in("work", "signed")
    with pytest.raises(InvalidInputError, match="another address than the one that was planned"):
        type_in("work", "signed", "--signed", f"input={address.replace('a.tif', 'b.tif')}?sig=LATER")
    with pytest.raises(InvalidInputError, match="must be OPTION=ADDRESS") as told:
        type_in("work", "signed", "--signed", f"{address}?sig=SECRET")
    assert "SECRET" not in str(told.value)
    monkeypatch.setenv("WILDSAT_SIGNED", f"input={address}?sig=LATER")
    type_in("work", "signed")
    assert json.loads(type_in("status", "signed", "--json"))["tiles"] == 16
    assert {path for path, *_ in server.ranges} >= {"/a.tif?sig=LATER"}
    assert not any(secret in kept() for secret in (b"SECRET", b"LATER", b"PASSWORD"))
    type_in("commit", "signed")
    assert len(open_collection(root)) == 16
    assert not any(secret in kept() for secret in (b"SECRET", b"LATER", b"PASSWORD"))


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("query", SIGNATURES)
def test_a_signed_raster_is_read_and_its_secret_kept(server, query, heads, model, tmp_path, caplog):
    server.heads = heads
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        source = raster(server, query)
        report = build_collection(source, model, tmp_path / "c", BuildOptions(workers=0), {})
    finally:
        logging.getLogger().removeHandler(handler)
    assert report.added == 16
    collection = open_collection(tmp_path / "c")
    assert {(tile.href, tile.tile_id[:8]) for tile in map(collection.tile, range(16))} == {("a.tif", "a-128px-")}
    kept = b"".join(path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file())
    assert b"SECRET" not in kept
    assert "SECRET" not in stream.getvalue()
    assert {path for path, *_ in server.ranges} == {f"/a.tif{query}"}  # no file beside it is asked for


@pytest.mark.parametrize("query", [*SIGNATURES, "", "?other=1"])
def test_a_new_token_is_the_same_build_and_another_question_is_not(server, query, model):
    jobs = [job_of(raster(server, text), model.ref, BuildOptions()) for text in (query, query.replace("SECRET", "NEW"))]
    assert (jobs[0] == jobs[1]) == ("map=" not in query)


def test_nothing_beside_a_remote_raster_is_asked_for(server):
    (server.folder / "a.tif.msk").write_bytes((server.folder / "a.tif").read_bytes())
    assert first_pixels(raster(server)).all()
    assert {path for path, *_ in server.ranges} == {"/a.tif"}
    assert len(server.ranges) <= 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("when", ["opening", "reading"])
def test_a_busy_server_is_asked_again_when_it_says(server, status, when, monkeypatch):
    slept = []
    monkeypatch.setattr(remote.time, "sleep", slept.append)
    # GDAL may hold the interpreter's lock while it asks, and the server is of this process: silence must end soon.
    monkeypatch.setitem(remote._GDAL_HTTP, "GDAL_HTTP_LOW_SPEED_TIME", "2")
    server.retry_after = "7"
    if when == "opening":
        server.failures["GET"] = [status] * 5
    source = raster(server, "?x=1")
    if when == "reading":
        server.failures["GET"] = [status] * 6
    whole = last_pixels(RasterSource(str(server.folder / "a.tif"), PixelGrid(128, 128)))
    assert np.array_equal(last_pixels(source), whole)
    assert not server.failures["GET"]
    assert set(slept) - {0.0} == {7.0}


def test_a_server_that_stays_busy_is_given_up(server, monkeypatch):
    monkeypatch.setattr(remote, "PATIENCE_S", (0.0, 0.0))
    server.failures["GET"] = [503] * 99
    with pytest.raises(UnreachableError, match=r"/a.tif can't be read: its server answers 503") as told:
        raster(server, "?token=SECRET")
    assert "SECRET" not in str(told.value)
    server.failures["GET"] = []
    assert first_pixels(raster(server, "?token=SECRET")).any()  # what failed once is not missing ever after


@pytest.mark.parametrize(
    ("status", "kind"), [(401, UnreachableError), (403, UnreachableError), (410, NotAPictureError)]
)
def test_a_server_that_refuses_is_not_asked_again(server, status, kind):
    server.failures["GET"] = [status] * 9
    with pytest.raises(kind, match=f"answers {status}"):
        raster(server, "?x=1")
    assert len(server.failures["GET"]) >= 5


def test_what_is_not_there_or_no_raster_is_no_picture(server):
    (server.folder / "b.tif").write_bytes(b"no raster at all" * 99)
    for name, words in (("none.tif", "answers 404"), ("b.tif", "can't be opened as a raster")):
        with pytest.raises(NotAPictureError, match=words):
            RasterSource(f"{server.url}/{name}", PixelGrid(128, 128))


def test_a_server_that_gives_files_only_whole_is_read_all_the_same(server):
    server.parts = False
    here = RasterSource(str(server.folder / "a.tif"), PixelGrid(128, 128))
    assert np.array_equal(last_pixels(raster(server, "?x=1")), last_pixels(here))


def test_a_server_that_knows_nothing_by_head_is_read_by_get(server):
    server.heads, server.refusal = False, 404
    assert first_pixels(raster(server)).any()


@pytest.mark.parametrize(
    ("data", "told", "words"),
    [
        (
            b"<html>Log in</html>",
            {"Content-Type": "text/html; charset=utf-8"},
            "answers with a web page, perhaps one to",
        ),
        (gzip.compress(b"II*", mtime=0), {"Content-Encoding": "gzip"}, r"sends it packed \(Content-Encoding: gzip\)"),
        (b"", {}, "answers 416: the file is empty"),
    ],
)
def test_what_is_no_raster_by_its_servers_own_words_is_said_at_once(server, data, told, words):
    (server.folder / "a.tif").write_bytes(data)
    server.told = told
    with pytest.raises(UnreachableError, match=f"a.tif can't be read: its server {words}"):
        raster(server)
    assert len(server.ranges) + len(server.full_reads) <= 4


def test_nobody_answers(server, monkeypatch):
    monkeypatch.setattr(remote, "PATIENCE_S", (0.0,))
    with pytest.raises(UnreachableError, match="does not answer"):
        RasterSource("http://127.0.0.1:9/a.tif?sig=SECRET", KilometreGrid(1, 1))


def test_a_server_that_asks_to_be_left_alone_for_long_is(server, monkeypatch):
    monkeypatch.setattr(remote.time, "sleep", lambda _: pytest.fail("nobody waits that long"))
    server.failures["GET"] = [429] * 9
    server.retry_after = "99999999"
    with pytest.raises(UnreachableError, match="answers 429 and asks to be left alone for 99,999,999 seconds"):
        raster(server, "?x=1")
    assert RETRIES["retry_after_max"] == remote.LONGEST_WAIT_S


def test_a_server_that_sends_too_slowly_is_not_the_files_fault(server, monkeypatch):
    monkeypatch.setattr(remote, "_SLOW_S", 0.0)

    def action():
        raise OSError("Operation too slow")

    with pytest.raises(UnreachableError, match=r"a\.tif can't be read: its server sends it too slowly"):
        remote.patiently(f"{server.url}/a.tif?sig=SECRET", action)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("3", 3.0), (" 4 ", 4.0), ("9999", 60.0), ("", 0.5), ("soon", 0.5), ("-1", 0.5), ("1.5", 0.5)],
)
def test_a_wait_is_as_long_as_asked_within_reason(asked, seconds):
    assert remote.asked_wait_s(asked, 0.5) == seconds


def test_a_wait_may_be_asked_for_by_a_date():
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=20)
    assert 18 <= remote.asked_wait_s(email.utils.format_datetime(until, usegmt=True), 0.5) <= 20
    assert remote.asked_wait_s("Wed, 21 Oct 2015 07:28:00 GMT", 0.5) == 0


@pytest.mark.parametrize(
    "text",
    [
        "a.tif?token=SECRET, band 1: IReadBlock failed",
        "'/vsicurl/http://h/a.tif?k=SECRET' not recognized",
        "TIFFOpen:a.tif?x=1&sv=SECRET: cannot",
    ],
)
def test_what_libraries_say_of_a_signed_file_has_no_secret(text):
    assert "SECRET" not in without_secrets(text)
    assert without_secrets("is it a.tif? yes, b=1") == "is it a.tif? yes, b=1"


def test_gdals_own_log_has_no_secret(server, caplog):
    keep_secrets_out_of_logs()
    source = raster(server, "?token=SECRET")
    assert first_pixels(source).any()
    server.failures["GET"] = [403] * 9
    with caplog.at_level(logging.DEBUG), pytest.raises(UnreachableError):
        last_pixels(source)
    assert "a.tif" in caplog.text
    assert "SECRET" not in caplog.text


def test_gdals_options_are_set_once_for_files_of_one_kind_and_are_gone_after():
    here, there = "/data/a.tif", "https://example.org/a.tif?x=1"

    def told():
        return {name: get_gdal_config(name) for name in ("GDAL_HTTP_MAX_RETRY", "CPL_VSIL_CURL_USE_HEAD")}

    with remote.gdal_environment(here):
        of_here = told()
        with remote.gdal_environment(there):
            of_there = told()
        assert told() == of_here
    none = told()
    assert len({str(options) for options in (of_here, of_there, none)}) == 3
    with remote.gdal_options_kept():
        assert told() == none
        for path, options in [(here, of_here), (here, of_here), (there, of_there), (here, of_here)]:
            with remote.gdal_environment(path):
                assert told() == options
                with remote.gdal_environment(there if path == here else here):
                    assert told() != options
                assert told() == options
            assert told() == options
    assert told() == none


def test_reading_many_tiles_sets_options_once(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    write_raster(path, np.ones((3, 64, 64), np.uint8), "EPSG:32614", 600_000, 3_700_000, 10)
    source, made = RasterSource(str(path), PixelGrid(16, 16)), []
    candidates = list(source.candidates())
    monkeypatch.setattr(rasterio, "Env", lambda **options: made.append(options) or env.Env(**options))
    assert read_chunk(source, ReadOptions(), candidates).left_out["one colour"] == 16
    assert len(made) == 1


def test_certificates_are_read_once_however_often_a_server_is_asked(server, monkeypatch):
    remote._certificates.cache_clear()
    made, context = [], ssl.create_default_context()
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: made.append(context) or context)
    assert [remote.ask(f"{server.url}/{name}").status for name in ("a.tif", "none.tif", "none.tif")] == [206, 404, 404]
    assert len(made) == 1
    remote._certificates.cache_clear()


def test_no_other_module_sets_gdals_options():
    """Those that are kept from one file to the next could not be taken back from under an environment of another."""
    modules = Path(remote.__file__).parents[1].rglob("*.py")
    assert [path.name for path in modules if "rasterio.Env(" in path.read_text(encoding="utf-8")] == ["remote.py"]
