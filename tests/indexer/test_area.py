"""`wildsat area` against a catalogue and cloud-optimised GeoTIFFs on loopback, of real chips where there are any."""

import datetime as dt
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil
import typer
from rasterio.warp import transform_bounds
from typer.testing import CliRunner

from indexer import area as areas
from indexer.commands.area import area, first_day, last_day
from indexer.pipeline.listing import Chooser
from indexer.sources import signing
from indexer.sources.catalogues import Catalogue, find_catalogue, read_catalogues
from indexer.sources.protocol import UnreachableError
from indexer.sources.stac_api import RETRIES
from tests.indexer.conftest import write_raster
from wildsat_core.collection import open_collection
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import find_spec
from wildsat_core.models.spec import rgb

WEST, NORTH, SIDE_PX = 592_000, 3_707_000, 256  # UTM 14 N, near 33.5 N, 98 W
CHIPS = {"farms": "patch_322265", "dunes": "patch_759128", "clouds": "patch_511198"}


def chip(name):
    """(3, 256, 256) true colour of a real chip, or of a made one where there are none."""
    data = os.environ.get("WILDSAT_DATA")
    if data is None:
        return np.random.default_rng(len(name)).integers(40, 200, (3, SIDE_PX, SIDE_PX), dtype=np.uint8)
    with rasterio.open(Path(data) / "sentinel2" / f"{CHIPS[name]}.tif") as raster:
        return np.clip(raster.read([4, 3, 2]) / 3558 * 255, 1, 255).astype(np.uint8)


def add_scene(server, name, day, cloud, pixels, east_px=0, asset="visual"):
    """A scene of four by four chips' ground; its file is a COG."""
    west = WEST + east_px * 10
    path, tiled = server.folder / f"{name}.tif", np.tile(pixels, (1, 2, 2))
    write_raster(path, tiled, "EPSG:32614", west, NORTH, 10, nodata=0)
    rasterio.shutil.copy(path, path.with_suffix(".cog"), driver="COG", blocksize=256, compress="deflate")
    path.with_suffix(".cog").replace(path)
    bounds = transform_bounds("EPSG:32614", "EPSG:4326", west, NORTH - 5120, west + 5120, NORTH)
    w, s, e, n = bounds
    server.items.append(
        {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "sentinel-2-l2a", "links": [],
            "bbox": list(bounds),
            "geometry": {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]},
            "properties": {"datetime": f"{day}T10:00:00Z", "eo:cloud_cover": cloud},
            "assets": {asset: {"href": f"{server.url}/{name}.tif"}},
        }
    )  # fmt: skip
    return bounds


@pytest.fixture
def catalogue(server, tmp_path):
    """Two clear neighbours of different days; over the first a cloudy scene, and one that lacks its picture."""
    west = add_scene(server, "farms", "2024-07-05", 2.0, chip("farms"))
    east = add_scene(server, "dunes", "2024-06-20", 5.0, chip("dunes"), east_px=512)
    add_scene(server, "clouds", "2024-08-01", 25.0, chip("clouds"))
    add_scene(server, "lacking", "2024-07-20", 0.0, chip("farms"), asset="thumbnail")
    add_scene(server, "later", "2025-07-20", 0.0, chip("farms"))
    file = tmp_path / "catalogues.yaml"
    file.write_text(f"here: {{api: '{server.url}', title: A catalogue on loopback}}\n")
    return file, (west[0], max(west[1], east[1]), east[2], min(west[3], east[3]))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model of the shape and scale of wildsat-s2."""
    small = {"widths": [8, 16], "blocks": [1, 1], "features": 16}
    spec = replace(find_spec("wildsat-mini"), architecture="wildsat:compact", architecture_args=small, feature_size=16)
    config = replace(spec, preprocessing=rgb(None)).config(name="untrained").model_copy(update={"gsd_m": (10.0, 60.0)})
    folder = tmp_path_factory.mktemp("model")
    WildSATModel(config).save(folder)
    return folder


def run(*arguments, typed=None):
    app = typer.Typer()
    app.command()(area)
    return CliRunner().invoke(app, [str(a) for a in arguments], input=typed)


def asked(catalogue, model, tmp_path, *more):
    file, box = catalogue
    return [
        "--bbox", ",".join(f"{edge:.5f}" for edge in box), "--from", "2024-06", "--to", "2024-09", "--name", "place",
        "--catalogue", "here", "--catalogues", file, "--model", model, "--tile-km", 0.64, "--workers", 0,
        "--collections", tmp_path / "collections", "--no-serve", *more,
    ]  # fmt: skip


def test_an_area_becomes_a_collection_of_the_clearest_scenes(catalogue, model, tmp_path):
    done = run(*asked(catalogue, model, tmp_path, "--yes"))
    assert done.exit_code == 0, done.output
    assert "Looking for scenes of" in done.output
    assert "2 scenes of 2024-06-20 to 2024-07-05" in done.output
    collection = open_collection(tmp_path / "collections" / "place")
    tiles = [collection.tile(row) for row in range(len(collection))]
    assert {tile.href for tile in tiles} == {"farms", "dunes"}
    assert 80 <= len(tiles) <= 130
    assert collection.ground_scale.gsd_m == (10.0, 10.0)
    assert collection.manifest.provenance["title"].endswith(", 2024-06 to 2024-09")
    assert "Copernicus Sentinel data 2024" in collection.manifest.provenance["attribution"]
    again = run(*asked(catalogue, model, tmp_path, "--yes"))
    assert "0 tiles added" in again.output


def test_nothing_is_read_before_it_was_agreed_to(catalogue, model, tmp_path):
    for more, typed in ((["--dry-run"], None), ([], "n\n")):
        done = run(*asked(catalogue, model, tmp_path, *more), typed=typed)
        assert done.exit_code == 0, done.output
        assert "MiB to read" in done.output
        assert "tiles to index" in done.output
        assert not (tmp_path / "collections").exists()
    assert "Read and index them now?" in done.output


def test_a_scene_without_its_picture_is_named_once_before_the_question(catalogue, model, tmp_path, caplog):
    file, _ = catalogue
    done = run(*asked(catalogue, model, tmp_path, "--dry-run"))
    assert [record.message for record in caplog.records] == [
        "left out: scene lacking of the catalogue: it has no asset visual or TCI_10m; it has thumbnail"
    ]
    assert "left out: 1 scene not understood\n" in done.output
    one = run(*asked((file, (-98.0, 33.48, -97.99, 33.49)), model, tmp_path, "--dry-run"))
    assert "\n1 scene of 2024-07-05, " in one.output


def test_an_outline_cuts_its_tiles_out(catalogue, model, tmp_path):
    _, (west, south, east, north) = catalogue
    middle = (west + east) / 2
    ring = [[west, south], [middle, south], [middle, north], [west, north], [west, south]]
    outline = tmp_path / "my-valley.geojson"
    outline.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    arguments = asked(catalogue, model, tmp_path, "--yes", "--geojson", outline)
    del arguments[:2]
    arguments.remove("--name")
    arguments.remove("place")
    done = run(*arguments)
    assert done.exit_code == 0
    collection = open_collection(tmp_path / "collections" / "my-valley")
    told = re.search(r"1 scene of 2024-07-05, (\d+) tiles, about 0\.\d MiB to read\n(\d+) tiles to index", done.output)
    assert told
    assert len(collection) <= int(told[1]) == int(told[2]) < 80  # of some 120 in the box
    assert {collection.tile(row).href for row in range(len(collection))} == {"farms"}


def test_without_a_network_one_sentence_says_so(model, tmp_path):
    file = tmp_path / "catalogues.yaml"
    file.write_text("here: {api: 'http://127.0.0.1:9', title: The far catalogue}\n")
    done = run(*asked((file, (10, 50, 10.1, 50.1)), model, tmp_path))
    assert isinstance(done.exception, SourceError)
    assert str(done.exception).startswith("The far catalogue is out of reach: is there a network here?")
    assert "\n" not in str(done.exception)


def test_a_busy_catalogue_is_not_taken_for_no_network(catalogue, server, model, tmp_path, monkeypatch):
    monkeypatch.setitem(RETRIES, "backoff_factor", 0)
    server.failures["GET"] = [503] * 6
    done = run(*asked(catalogue, model, tmp_path))
    assert str(done.exception) == (
        "A catalogue on loopback is too busy to be searched now; give the same command again later"
    )
    assert areas.is_busy(done.exception)
    assert not areas.is_offline(done.exception)


def test_a_time_without_scenes_is_told(catalogue, model, tmp_path):
    file, box = catalogue
    arguments = asked((file, box), model, tmp_path)
    arguments[arguments.index("--from") + 1] = arguments[arguments.index("--to") + 1] = "2020-01"
    done = run(*arguments)
    assert isinstance(done.exception, SourceError)
    assert "has no scene of 2020-01-01 to 2020-01-31 there with at most 30% cloud" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name one area"),
        (["--bbox", "1,2,3,4", "Serengeti"], "name one area"),
        (["Botswana"], "'Botswana' is a whole country; give a box with --bbox"),
        (["Nowhere at all"], "'Nowhere at all' is not a place that is known here; give"),
        (["Okavango Detla"], "is not a place that is known here (did you mean 'Okavango Delta'?); give"),
        (["Serengetti"], "(did you mean 'Serengeti'?)"),
        (["Sahara"], "Sahara is too large: "),
        (
            ["--bbox", "0,0,20,20", "--tile-km", "0.64"],
            "tiles of 0.64 km, and at most 300,000 are read at once",
        ),
        (["--geojson", "none.geojson"], "area file none.geojson can't be read: No such file or directory"),
        (["--bbox", "1,2,3,4", "--catalogue", "nowhere"], "no catalogue is called 'nowhere'; there are earth-search"),
        (["--bbox", "1,2,3,4", "--name", "No Such Name"], "collection name 'No Such Name' must be"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    done = run(*arguments, "--from", "2024-06", "--to", "2024-07")
    assert isinstance(done.exception, InvalidInputError)
    assert message in str(done.exception)


@pytest.mark.parametrize("name", ["Okavango Delta", "the okavango delta", "Okavango"])
def test_a_place_is_found_by_its_name(server, tmp_path, name):
    file = tmp_path / "catalogues.yaml"
    file.write_text(f"here: {{api: '{server.url}'}}\n")
    done = run(name, "--from", "2024-06", "--to", "2024-09", "--catalogue", "here", "--catalogues", file)
    assert "Looking for scenes of Okavango Delta in" in done.output
    assert "has no scene of 2024-06-01 to 2024-09-30 there" in str(done.exception)
    west, south, east, north = zip(*(search["bbox"] for search in server.searches), strict=True)
    assert (min(west), min(south), max(east), max(north)) == pytest.approx((22, -20.6, 24, -18.3), abs=0.05)


def test_months_and_days_are_understood():
    assert (first_day("2024-02"), last_day("2024-02")) == (dt.date(2024, 2, 1), dt.date(2024, 2, 29))
    assert first_day("2024-02-07") == last_day("2024-02-07") == dt.date(2024, 2, 7)
    for wrong in ("2024-13", "june", "2024", "2024-02-30"):
        with pytest.raises(InvalidInputError, match=r"--to must look like 2024-06 or 2024-06-30"):
            last_day(wrong)


@pytest.mark.parametrize(("failures", "waits"), [(1, [5.0]), (3, [5.0, 10.0, 20.0])])
def test_a_server_that_stops_answering_is_waited_for(monkeypatch, failures, waits):
    left, waited = [None] * failures, []

    def build(*_):
        if left:
            left.pop()
            raise SourceError("8 tiles in a row could not be fetched") from UnreachableError("503")
        return "report"

    monkeypatch.setattr(areas, "build_collection", build)
    assert areas.build_area(None, None, None, None, {}, None, wait=waited.append) == "report"
    assert waited == waits


def test_progress_of_another_attempt_goes_on_from_where_the_one_before_it_ended(monkeypatch):
    steps = iter([[100, 60], [90, 30], [40, 100, 60]])

    def build(source, model, root, options, told, on_progress):
        mine = next(steps)
        for count in mine:
            on_progress(count)
        if sum(mine) < 200:
            raise UnreachableError("gone")

    shown = []
    monkeypatch.setattr(areas, "build_collection", build)
    areas.build_area(None, None, None, None, {}, shown.append, wait=lambda _: None)
    assert shown == [100, 60, 40]


def test_what_waiting_does_not_mend_is_not_waited_for(monkeypatch):
    def build(*_):
        raise SourceError("no tile was indexed; left out: 3 cloudy")

    monkeypatch.setattr(areas, "build_collection", build)
    with pytest.raises(SourceError, match="no tile was indexed"):
        areas.build_area(None, None, None, None, {}, None, wait=pytest.fail)


def test_the_programs_own_catalogues_need_no_key():
    known = read_catalogues()
    assert list(known) == ["earth-search", "planetary-computer"]
    assert all(entry.api.startswith("https://") for entry in known.values())


@pytest.mark.parametrize("text", ["[1, 2]", "here: {address: x}", "here: 3", "a: b: c"])
def test_settings_of_another_shape_are_refused(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInputError, match="must list catalogues by name"):
        find_catalogue("here", file)


def test_settings_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="can't be read"):
        find_catalogue("here", tmp_path / "none.yaml")


def test_blobs_are_signed_with_a_token_of_their_container_that_is_asked_for_once(server, tmp_path, monkeypatch):
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    folder = server.folder / "tokens" / "account"
    folder.mkdir(parents=True)
    (folder / "container").write_text(json.dumps({"token": "se=1&sig=2", "msft:expiry": until.isoformat()}))
    file = tmp_path / "catalogues.yaml"
    file.write_text(f"planetary-computer: {{api: 'x', tokens: '{server.url}/tokens'}}\n")
    monkeypatch.setenv("WILDSAT_CATALOGUES", str(file))
    monkeypatch.setattr(signing, "_tokens", {})
    for name in ("a.tif", "b.tif"):
        href = f"https://account.blob.core.windows.net/container/{name}"
        assert signing.planetary_computer(href) == f"{href}?se=1&sig=2"
    assert server.full_reads == ["/tokens/account/container"]
    assert signing.planetary_computer("https://elsewhere.example/a.tif") == "https://elsewhere.example/a.tif"
    with pytest.raises(UnreachableError, match="no token from"):
        signing.planetary_computer("https://other.blob.core.windows.net/container/a.tif")


def test_a_catalogue_without_a_title_is_named_by_its_address():
    source = type("Empty", (), {"candidates": lambda self: iter(()), "since": 1, "until": 2, "max_cloud": 0.3})()
    with pytest.raises(SourceError, match="http://x has no scene"):
        areas.look(source, Catalogue("http://x"), Chooser(lambda _: set()))
