"""Catalogues as the world makes them: odd outlines and addresses, gaps, offsets, pages without an end."""

import copy
import datetime as dt
import io
import itertools
import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio.shutil

from indexer.cluster.build import build_collection
from indexer.cluster.commit import commit_job
from indexer.cluster.plan import make_plan
from indexer.cluster.work import Worker
from indexer.pipeline.inputs import InputGuard
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import ReadOptions, read_chunk
from indexer.sources.grid import KilometreGrid
from indexer.sources.mosaics import filled_from, median_of
from indexer.sources.protocol import LeftOut, NotAPictureError, UnreachableError
from indexer.sources.scene_reader import OffsetInDoubtError
from indexer.sources.scenes import reflectance_offset, search_scenes
from indexer.sources.sentinel2 import Sentinel2Source
from indexer.sources.stac_api import _pages, _until_nothing_new
from tests.indexer.conftest import write_raster
from tests.indexer.stac_server import NORTH, SIDE, WEST, scene, send_json
from wildsat_core.collection import open_collection
from wildsat_core.countries import load_countries
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import BBox

GRID = KilometreGrid(2.56, 2.56)
AREA = BBox(-98.0, 33.4, -97.9, 33.5)
YEAR = {"since": dt.date(2021, 1, 1), "until": dt.date(2023, 12, 31)}


def source(server, area, **options):
    return Sentinel2Source(server.url, area, **YEAR, grid=GRID, **options)


def read(one, candidates=None):
    return read_chunk(one, ReadOptions(None), list(one.candidates()) if candidates is None else candidates)


def listed(one):
    return [c for c in one.candidates() if not isinstance(c, LeftOut)]


def over_180(server):
    """A scene of UTM zone 1 whose raster crosses 180 degrees."""
    area = scene(server, "fiji", "2023-06-01", 0.0, 1500)
    rng = np.random.default_rng(0).integers(1, 255, (3, SIDE, SIDE)).astype(np.uint8)
    # 180 degrees is about 177,000 m west of the central meridian there.
    write_raster(server.folder / "fiji-visual.tif", rng, "EPSG:32701", 176_000, 8_000_000, 10, nodata=0, tiled=True)
    return area


@pytest.mark.parametrize(
    "ring",
    [
        [-180.1, -179.9],
        [179.9, 180.1],
        [179.9, -179.9],
        [-179.9, 179.9],
    ],
)
def test_a_scene_across_180_degrees_covers_its_cells_however_its_outline_is_written(server, ring):
    over_180(server)
    south, north = -18.2, -18.0
    [item] = server.items
    west, east = ring
    item["geometry"]["coordinates"] = [[[west, south], [east, south], [east, north], [west, north], [west, south]]]
    item["bbox"] = [-180, south, 180, north]
    found = listed(source(server, BBox(179.9, south, -179.9, north)))
    assert len(found) > 40
    assert {c.tile.href for c in found} == {"fiji"}
    # A scene elsewhere at the same latitude keeps its own cells.
    older = copy.deepcopy(item)
    older["id"], older["properties"]["datetime"] = "older", "2022-06-01T10:00:00Z"
    older["geometry"]["coordinates"] = [[[20, south], [20.2, south], [20.2, north], [20, north], [20, south]]]
    server.items.append(older)
    elsewhere = listed(source(server, BBox(20.05, south + 0.05, 20.15, north - 0.05)))
    assert {c.tile.href for c in elsewhere} == {"older"}


def test_a_second_scene_is_tried_where_the_first_has_no_data(server, model, tmp_path):
    area = scene(server, "whole", "2022-06-01", 0.0, 1500)
    scene(server, "hollow", "2023-06-01", 0.0, 1500)
    values = np.random.default_rng(0).integers(1, 255, (3, SIDE, SIDE)).astype(np.uint8)
    values[:, :, : SIDE // 2] = 0  # although its outline says that all is there
    write_raster(server.folder / "hollow-visual.tif", values, "EPSG:32614", WEST, NORTH, 10, nodata=0, tiled=True)
    one = source(server, area)
    options = BuildOptions(workers=0, countries=load_countries())
    report = build_collection(one, model, tmp_path / "c", options, {})
    collection = open_collection(tmp_path / "c")
    tiles = [collection.tile(row) for row in range(len(collection))]
    assert {tile.href for tile in tiles} == {"whole", "hollow"}
    assert {tile.country for tile in tiles} == {"USA"}
    assert all(tile.tile_id.endswith(f"{tile.captured_on:%Y%m%d}") for tile in tiles)
    hollow_middle = area.centre[0]
    assert all(tile.lon_lat[0] < hollow_middle + 0.02 for tile in tiles if tile.href == "whole")
    # Given again, the same command finds the same.
    again = build_collection(one, model, tmp_path / "c", BuildOptions(workers=0), {})
    assert (again.added, again.generation) == (0, report.generation)


def test_a_second_scene_is_tried_where_the_first_is_gone_or_damaged(server):
    area = scene(server, "old", "2022-06-01", 0.0, 1500)
    scene(server, "gone", "2023-06-01", 0.0, 1500)
    (server.folder / "gone-visual.tif").unlink()
    assert {tile.href for tile in read(source(server, area)).tiles} == {"old"}


def strips(server, *values):
    """Scenes of which each has data in its own third only, the newest last."""
    area = None
    for i, value in enumerate(values):
        box = scene(server, f"s{i}", f"{2021 + i}-06-01", 10.0 * (len(values) - i), 1500)
        area = area or box
        pixels = np.random.default_rng(i).integers(value, value + 9, (3, SIDE, SIDE)).astype(np.uint8)
        pixels[:, :, : i * SIDE // 3] = 0
        pixels[:, :, (i + 1) * SIDE // 3 :] = 0
        write_raster(server.folder / f"s{i}-visual.tif", pixels, "EPSG:32614", WEST, NORTH, 10, nodata=0, tiled=True)
    return area


@pytest.mark.parametrize("mosaic", ["newest", "clearest", "median"])
def test_a_mosaic_fills_the_gaps_of_a_scene_from_others(server, mosaic):
    area = strips(server, 40, 120, 200)
    alone = read(source(server, area, max_cloud=1.0))
    chunk = read(source(server, area, mosaic=mosaic, max_cloud=1.0))
    assert len(chunk.tiles) > len(alone.tiles)
    assert all(f"-{mosaic}-20210101-20231231" in tile.tile_id for tile in chunk.tiles)
    mixed = [tile for tile in chunk.tiles if " " in tile.href]
    single = [tile for tile in chunk.tiles if " " not in tile.href]
    assert mixed
    assert single
    assert all(tile.captured_on is None and tile.cloud_cover is None for tile in mixed)
    assert all(tile.captured_on is not None and tile.cloud_cover is not None for tile in single)


def test_a_mosaic_takes_the_newest_or_the_clearest_first_or_the_median(server):
    area = scene(server, "old", "2021-06-01", 1.0, 900)
    scene(server, "mid", "2022-06-01", 20.0, 1200)
    scene(server, "new", "2023-06-01", 10.0, 1800)
    means = {}
    for mosaic in ("newest", "clearest", "median"):
        chunk = read(source(server, area, mosaic=mosaic, assets="bands", offset=0))
        means[mosaic] = round(float(np.median([np.median(pixels[0]) for pixels in chunk.pixels])), -2)
    assert means == {"newest": 1800, "clearest": 900, "median": 1200}


def classify(server, name, left, right):
    """Give a scene a classification at 20 m: one class in its left half, another in its right one."""
    classes = np.full((1, SIDE // 2, SIDE // 2), left, np.uint8)
    classes[..., SIDE // 4 :] = right
    write_raster(server.folder / f"{name}-scl.tif", classes, "EPSG:32614", WEST, NORTH, 20, nodata=0, tiled=True)
    item = next(item for item in server.items if item["id"] == name)
    item["assets"]["scl"] = {"href": f"{server.url}/{name}-scl.tif"}


@pytest.mark.parametrize("cloud", [3, 8, 9, 10])
@pytest.mark.parametrize("mosaic", ["newest", "clearest", "median"])
def test_a_mosaic_takes_what_is_clear_by_the_scene_classification(server, mosaic, cloud):
    area = scene(server, "first", "2023-06-01", 1.0, 900)
    scene(server, "second", "2022-06-01", 10.0, 1800)
    classify(server, "first", left=cloud, right=4)
    classify(server, "second", left=5, right=cloud)
    one = source(server, area, mosaic=mosaic, assets="bands", offset=0)
    tiles = listed(one)
    west, east = (pick(tiles, key=lambda c: c.tile.lon_lat[0]) for pick in (min, max))
    shown = [(round(float(np.median(r.pixels[0])), -2), r.tile.href) for r in map(one.read, (west, east))]
    if mosaic == "newest":
        assert shown == [(900, "first"), (900, "first")]
    else:
        both = "first second" if mosaic == "median" else None
        assert shown == [(1800, both or "second"), (900, both or "first")]


def test_where_all_is_cloud_the_best_scene_is_taken_and_a_lost_classification_does_no_harm(server, caplog):
    area = scene(server, "first", "2023-06-01", 1.0, 900)
    scene(server, "second", "2022-06-01", 10.0, 1800)
    for name in ("first", "second"):
        classify(server, name, left=9, right=9)
    one = source(server, area, mosaic="clearest", assets="bands", offset=0)
    assert {r.tile.href for r in map(one.read, listed(one))} == {"first"}
    server.items[0]["assets"]["scl"]["href"] = f"{server.url}/gone.tif"
    assert {r.tile.href for r in map(one.read, listed(one))} == {"first"}
    assert "clouds can't be told from ground" in caplog.text


def test_layers_are_filled_and_their_median_is_taken_where_there_is_data():
    first, second, third = (np.full((2, 1, 3), value, np.uint16) for value in (10, 20, 40))
    masks = [np.array([[True, False, False]]), np.array([[True, True, False]]), np.array([[True, True, False]])]
    layers = list(zip((first, second, third), masks, strict=True))
    values, valid, which = filled_from(layers)
    assert which.tolist() == [[0, 1, 0]]
    assert (values[0].tolist(), valid.tolist()) == ([[10, 20, 10]], [[True, True, False]])
    values, valid = median_of(layers)
    assert (values[1].tolist(), valid.tolist(), values.dtype) == ([[20, 30, 0]], [[True, True, False]], np.uint16)
    assert first.max() == 10  # what was given stays


def search(server, area, at=""):
    keys = {"assets": [["red"], ["green", "B03"]], "common_names": ["red", "green"]}
    return list(search_scenes(f"{server.url}{at}", "sentinel-2-l2a", area, **YEAR, max_cloud=1, **keys))


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ({"href": "../files/red.tif"}, "{url}/a/files/red.tif"),
        ({"href": "/files/red.tif"}, "{url}/files/red.tif"),
        ({"href": "s3://bucket/red.tif"}, "s3://bucket/red.tif"),
        ({"href": "HTTPS://store.example/red.tif"}, "https://store.example/red.tif"),
        ({"href": "ftp://x/red.tif", "alternate": {"https": {"href": "https://y/red.tif"}}}, "https://y/red.tif"),
        ({"href": "file:///etc/passwd"}, None),
        ({"href": "/vsicurl/http://x/red.tif"}, "{url}/vsicurl/http://x/red.tif"),
        ({"href": "C:\\red.tif"}, None),
        ({"href": ""}, None),
        ({}, None),
    ],
)
def test_addresses_are_those_of_the_catalogue_and_never_a_file_here(server, asset, expected):
    area = scene(server, "one", "2023-06-01", 0.0, 1500)
    [item] = server.items
    item["links"] = [{"rel": "self", "href": f"{server.url}/a/items/one"}]
    item["assets"] = {"red": asset, "green": {"href": "https://z/green.tif"}}
    [found] = search(server, area)
    if expected is None:
        assert found.reason == "scene not understood"
        assert "no address that may be read" in found.what
    else:
        assert found.assets[0].hrefs == (expected.format(url=server.url),)


def test_the_next_address_of_a_file_is_tried_where_the_first_does_not_answer(server):
    area = scene(server, "one", "2023-06-01", 0.0, 1500)
    [item] = server.items
    there = item["assets"]["visual"]["href"]
    item["assets"]["visual"] = {"href": f"{server.url}/gone.tif", "alternate": {"there": {"href": there}}}
    assert len(read(source(server, area)).tiles) >= 9


@pytest.mark.parametrize("version", ["1.1", "eo"])
def test_bands_are_found_by_what_assets_say_of_them(server, version):
    area = scene(server, "one", "2023-06-01", 0.0, 1500)
    [item] = server.items
    words = {"1.1": ("bands", "eo:common_name"), "eo": ("eo:bands", "common_name")}[version]

    def about(*names):
        return {words[0]: [{"name": f"x-{name}", words[1]: name} for name in names]}

    item["assets"] = {
        "small": {"href": "https://z/small.tif", "roles": ["thumbnail"], **about("red")},
        "stack": {"href": "https://z/stack.tif", **about("blue", "green", "red")},
        "alone": {"href": "https://z/red.tif", **about("red")},
    }
    [found] = search(server, area)
    assert [(asset.hrefs, asset.band) for asset in found.assets] == [
        (("https://z/red.tif",), 1),
        (("https://z/stack.tif",), 2),
    ]


def light(server, name="one", **changes):
    """An item over `AREA` of which no file is there."""
    west, south, east, north = AREA.as_tuple()
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = {
        "id": name,
        "collection": "sentinel-2-l2a",
        "bbox": [*AREA.as_tuple()],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2023-06-01T10:00:00Z", "eo:cloud_cover": 5.0},
        "assets": {key: {"href": f"https://z/{key}.tif"} for key in ("red", "green")},
        "links": [],
    }
    return item | changes


def found_of(server, *items):
    server._search = lambda handler, _: send_json(handler, {"features": items})  # whatever is asked for
    return search(server, AREA)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"links": [None, "x", {"rel": "self"}, {"href": "y"}]}, {}),
        ({"links": None}, {}),
        ({"properties": {"datetime": None, "start_datetime": "2022-12-01T00:00:00+02:00"}}, {"day": "2022-11-30"}),
        ({"properties": {"datetime": None, "end_datetime": "2023-06-02"}}, {"day": "2023-06-02"}),
        ({"properties": {"datetime": "2023-06-01T23:30:00-05:00", "eo:cloud_cover": -1}}, {"day": "2023-06-02"}),
        ({"properties": {"datetime": "2023-06-01", "eo:cloud_cover": float("nan")}}, {"cloud": None}),
        ({"properties": {"datetime": "2023-06-01", "eo:cloud_cover": 101}}, {"cloud": None}),
        ({"assets": {key: {"href": f"https://z/{key}.tif", "raster:bands": [None]} for key in ("red", "green")}}, {}),
        (
            {"assets": {key: {"href": f"https://z/{key}.tif"} for key in ("RED", "Green")}},
            {"file": "https://z/RED.tif"},
        ),
        (
            {"assets": {"red": {"href": "https://z/a b#ä.tif"}, "B03": {"href": "x"}}},
            {"file": "https://z/a%20b#%C3%A4.tif"},
        ),
    ],
)
def test_an_item_is_understood_however_it_is_written(server, change, expected):
    [found] = found_of(server, light(server, **change))
    seen = {"day": str(found.date), "cloud": found.cloud_cover, "file": found.assets[0].hrefs[0]}
    assert {key: seen[key] for key in expected} == expected


def test_a_geometry_collection_is_the_polygons_in_it(server):
    item = light(server)
    parts = [{"type": "Point", "coordinates": [0, 0]}, item["geometry"]]
    [found] = found_of(server, light(server, geometry={"type": "GeometryCollection", "geometries": parts}))
    assert found.footprint.bounds == pytest.approx(AREA.as_tuple())
    [left] = found_of(server, light(server, geometry={"type": "GeometryCollection", "geometries": parts[:1]}))
    assert "its geometry is a GeometryCollection, not a polygon" in left.what


def test_what_was_not_asked_for_is_passed_over(server):
    late = {"datetime": "2029-01-01T00:00:00Z"}
    others = [light(server, collection="landsat"), light(server, "late", properties=late)]
    assert [scene.scene_id for scene in found_of(server, *others, light(server))] == ["one"]


def next_pages(*links):
    """A catalogue whose pages have a scene and this link each, where None is one without a scene; what it was asked."""
    pages = [
        {"features": [] if link is None else [{"id": i}], "links": [link or EMPTY]} for i, link in enumerate(links)
    ]
    asked = []

    class Server:
        def request(self, url, method=None, headers=None, parameters=None):
            asked.append((url, method, parameters))
            number = len(asked) - 1
            return json.dumps(pages[number] if number < len(pages) else {"features": [{"id": "last"}]})

    return Server(), asked


EMPTY = {"rel": "next", "href": "https://h/empty", "method": "POST"}
QUERY = {"limit": 100}


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ({"href": "https://h/b?page=2"}, ("https://h/b?page=2", "GET", {})),
        ({"href": "search?page=2"}, ("https://h/a/search?page=2", "GET", {})),
        ({"href": "/s", "method": "post", "body": {"t": 1}}, ("https://h/s", "POST", {"t": 1})),
        ({"href": "/s", "method": "POST", "body": {"t": 1}, "merge": True}, ("https://h/s", "POST", QUERY | {"t": 1})),
        ({"href": "/s", "method": "POST", "body": '{"t": 1}'}, ("https://h/s", "POST", {"t": 1})),
        ({"href": "/s?t=1", "method": "POST"}, ("https://h/s?t=1", "POST", QUERY)),
    ],
)
def test_the_next_page_is_asked_for_as_its_link_says(link, expected):
    io, asked = next_pages({"rel": "next", **link})
    start = SimpleNamespace(url="https://h/a/search", method="POST", get_parameters=lambda: QUERY)
    assert len(list(_pages(io, start))) == 2
    assert asked == [("https://h/a/search", "POST", QUERY), expected]


def test_an_empty_page_is_not_the_last_and_a_link_to_nowhere_is(caplog):
    start = SimpleNamespace(url="https://h/a", method="POST", get_parameters=lambda: QUERY)
    there = {"rel": "next", "href": "https://h/b", "method": "POST"}
    items = list(_until_nothing_new(_pages(next_pages(there, None, None, there)[0], start), "https://h"))
    assert [item["id"] for item in items] == [0, 3, "last"]
    for nowhere in ({"rel": "next", "href": None}, {"href": "https://h/b"}, "next"):
        assert len(list(_pages(next_pages(nowhere)[0], start))) == 1
    assert not caplog.text


def test_a_catalogue_that_makes_up_scenes_ends(monkeypatch):
    monkeypatch.setattr("indexer.sources.stac_api.MOST_ITEMS", 50)
    pages = ({"features": [{"id": f"{i}"}]} for i in itertools.count())
    with pytest.raises(SourceError, match="gives more than 50 scenes and does not end"):
        list(_until_nothing_new(pages, "https://h"))


@pytest.mark.parametrize("about", [{"conformsTo": None}, {"method": "GET"}, {"address": "/search"}])
def test_an_api_is_searched_that_tells_little_of_itself(server, about):
    landing = server._landing()
    landing["conformsTo"] = about.get("conformsTo", landing["conformsTo"]) or []
    landing["links"][-1]["method"] = about.get("method", "POST")
    server._landing = lambda: landing
    server._search = lambda handler, _: send_json(handler, {"features": [light(server)]})
    if "method" in about:
        (server.folder / "search").write_text(json.dumps({"features": [light(server)]}))
    [found] = search(server, AREA, about.get("address", ""))
    assert found.scene_id == "one"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"links": []}, "has no link to a search"),
        ({"type": "FeatureCollection"}, "its server does not answer as a STAC API does"),
        ("<html>", "does not answer as a STAC API does"),
    ],
)
def test_what_is_no_stac_api_is_said(server, changes, message):
    landing = server._landing()
    server._landing = lambda: landing | changes if isinstance(changes, dict) else changes
    with pytest.raises(SourceError, match=message):
        search(server, AREA)
    with pytest.raises(SourceError, match=r"items\.json is no address of a STAC API, as"):
        list(search_scenes("items.json", "c", AREA, **YEAR, max_cloud=1, assets=[["red"]]))


def test_a_catalogue_cannot_name_files_of_this_machine_by_a_virtual_raster(server):
    area = scene(server, "one", "2023-06-01", 0.0, 1500)
    rasterio.shutil.copy(server.folder / "one-visual.tif", server.folder / "of.vrt", driver="VRT")
    text = (server.folder / "of.vrt").read_text().replace('relativeToVRT="1">', f'relativeToVRT="0">{server.folder}/')
    (server.folder / "of.vrt").write_text(text)
    server.items[0]["assets"]["visual"]["href"] = f"{server.url}/of.vrt"
    one = source(server, area)
    with pytest.raises(NotAPictureError, match=r"of\.vrt is a VRT, which is not read from there"):
        one.read(next(one.candidates()))


def test_a_page_that_comes_again_and_again_ends_the_search(server, caplog):
    area = scene(server, "a", "2023-06-01", 0.0, 1500)
    for name in ("b", "c"):
        scene(server, name, "2022-06-01", 0.0, 1500)
    server.endless = True
    assert {found.scene_id for found in search(server, area)} == {"a", "b", "c"}
    assert len(server.searches) <= 6
    assert "goes on giving pages without new scenes" in caplog.text


@pytest.mark.parametrize(
    ("properties", "asset", "offset"),
    [
        ({"sentinel:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, {}, 0),
        ({"sentinel:boa_offset_applied": False, "s2:processing_baseline": "05.09"}, {}, -1000),
        ({}, {"raster:offset": -0.1, "raster:scale": 0.0001}, -1000),
        ({}, {"bands": [{"name": "B04", "raster:offset": -0.1, "raster:scale": 0.0001}]}, -1000),
        ({}, {"raster:bands": [{"offset": -0.1, "scale": 0.0001}]}, -1000),
        ({}, {"raster:bands": [{"offset": 0, "scale": 0.0001}]}, 0),
        ({"s2:processing_baseline": "05.09"}, {"raster:bands": [{"offset": 0, "scale": 0.0001}]}, 0),
        ({"s2:processing_baseline": "05.09"}, {"raster:bands": [{"scale": 0.0001}]}, -1000),
    ],
)
def test_the_offset_is_read_wherever_it_is_told(properties, asset, offset):
    assert reflectance_offset(properties, [asset]) == offset


def test_an_offset_that_was_taken_off_already_is_noticed_and_a_word_decides(server):
    area = scene(server, "dark", "2023-06-01", 0.0, 200, baseline="05.09")  # as if 1000 had been subtracted
    one = source(server, area, assets="bands")
    first = next(one.candidates())
    with pytest.raises(OffsetInDoubtError, match=r"dark: .*1000 is to be taken off.*--offset 0"):
        one.read(first)
    assert read(one).left_out["offset in doubt"] >= 9
    told = source(server, area, assets="bands", offset=0)
    assert {round(float(np.median(pixels[0])), -1) for pixels in read(told).pixels} == {210}


def broken_signer(_):
    raise RuntimeError("the token service says 429, https://t.example/?sig=SECRET")


def test_a_signer_that_raises_is_an_error_of_its_tile_and_tells_no_secret(server):
    area = scene(server, "one", "2023-06-01", 0.0, 1500)
    one = source(server, area, signer="tests.indexer.test_stac:broken_signer")
    with pytest.raises(UnreachableError, match=r"signer .*broken_signer failed for http.*RuntimeError") as told:
        one.read(next(one.candidates()))
    assert "SECRET" not in str(told.value)


def test_no_secret_of_a_signed_catalogue_reaches_a_collection_a_report_or_the_log(server, model, tmp_path):
    area = scene(server, "one", "2023-06-01", 0.0, 1500)
    server.items[0]["assets"]["visual"]["href"] += "?sig=SECRET"
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    one = Sentinel2Source(server.url, area, **YEAR, grid=GRID)
    try:
        build_collection(one, model, tmp_path / "c", BuildOptions(workers=0), {})
        (server.folder / "one-visual.tif").unlink()
    finally:
        logging.getLogger().removeHandler(handler)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file())
    assert b"SECRET" not in kept
    assert "SECRET" not in stream.getvalue()


def test_partitions_list_what_one_pass_over_all_lists(server, monkeypatch):
    area = scene(server, "a", "2022-06-01", 0.0, 1500)
    scene(server, "b", "2023-06-01", 0.0, 1500, columns=SIDE // 2)
    monkeypatch.setattr("indexer.sources.sentinel2.MOST_IN_PARTITION", 4)
    for options in ({}, {"mosaic": "newest"}):
        one = source(server, area, **options)
        partitions = list(one.partitions())
        assert len(partitions) >= 3
        assert len({partition.key for partition in partitions}) == len(partitions)
        parts = [listed_of(one, partition) for partition in partitions]
        assert all(len(part) <= partition.at_most <= 4 for part, partition in zip(parts, partitions, strict=True))
        assert [c for part in parts for c in part] == listed(one)


def listed_of(one, partition):
    return [c for c in one.candidates(partition) if not isinstance(c, LeftOut)]


def test_tiles_of_one_scene_follow_one_another(server):
    area = scene(server, "a", "2022-06-01", 0.0, 1500)
    scene(server, "b", "2023-06-01", 0.0, 1500, columns=SIDE // 2)
    for pick in ("newest", "all"):
        one = replace(source(server, area, pick=pick), since=dt.date(2022, 1, 1))
        names = [c.tile.href for c in listed(one)]
        assert sum(a != b for a, b in itertools.pairwise(names)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mosaic": "best"}, "mosaic must be one of"),
        ({"mosaic": "newest", "pick": "all"}, "--pick has no part"),
        ({"offset": 0}, "no offset"),
    ],
)
def test_settings_of_mosaics_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        Sentinel2Source("http://127.0.0.1:9", BBox(0, 0, 1, 1), **YEAR, grid=GRID, **changes)


def test_a_plan_keeps_the_scenes_that_the_catalogue_had(server, model, tmp_path):
    area = scene(server, "old", "2022-06-01", 0.0, 1500)
    one = source(server, area)
    plan = make_plan(tmp_path / "c", "job", one, model.ref, {})
    assert plan.scenes == ("old",)
    scene(server, "new", "2023-06-01", 0.0, 1500)  # which would be picked
    assert {c.tile.href for c in listed(one)} == {"new"}
    worker = Worker.start(tmp_path / "c", plan, one, model, BuildOptions(workers=0))
    for number in range(len(plan.units)):
        worker.run_unit(number)
    commit_job(tmp_path / "c", plan, model.spaces, one, {})
    collection = open_collection(tmp_path / "c")
    assert {collection.tile(row).href for row in range(len(collection))} == {"old"}


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("properties", {"updated": "2024-01-01T00:00:00Z"}),
        ("visual", {"file:checksum": "1220ab"}),
        ("visual", {"href": "http://127.0.0.1:1/other.tif"}),
    ],
)
def test_a_scene_that_the_catalogue_replaced_between_a_kill_and_the_going_on_is_told(server, tmp_path, part, change):
    area = scene(server, "one", "2023-06-01", 1.0, 1500)
    visual = server.items[0]["assets"]["visual"]
    InputGuard(tmp_path / "inputs.json", source(server, area), "go on").begin(goes_on=False)
    visual["href"] += "?sig=another"
    scene(server, "two", "2023-07-01", 1.0, 1500)
    InputGuard(tmp_path / "inputs.json", source(server, area), "go on").begin(goes_on=True)
    (visual if part == "visual" else server.items[0]["properties"]).update(change)
    with pytest.raises(SourceError, match=r"1 of 1 files or scenes \(the first is one\) were changed .* or go on"):
        InputGuard(tmp_path / "inputs.json", source(server, area), "go on").begin(goes_on=True)
