"""Sentinel-2 through the real pystac-client and GDAL, against a catalogue and files on loopback."""

import datetime as dt

import numpy as np
import pytest
import rasterio

from indexer.cluster.build import build_collection
from indexer.pipeline import reading as reader
from indexer.pipeline.options import BuildOptions
from indexer.sources import remote
from indexer.sources.dataset import open_dataset
from indexer.sources.grid import KilometreGrid
from indexer.sources.pixels import Stretch
from indexer.sources.scenes import _outline_of_box, reflectance_offset, search_scenes
from indexer.sources.sentinel2 import Sentinel2Source
from tests.indexer.stac_server import SIDE, scene
from wildsat_core.collection import open_collection
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import BBox

GRID = KilometreGrid(2.56, 2.56)
YEAR = {"since": dt.date(2021, 1, 1), "until": dt.date(2023, 12, 31)}


@pytest.fixture
def catalogue(server):
    """Three scenes of one place; the clearest is not the newest. More than a page of them."""
    area = scene(server, "cloudy", "2021-06-01", 80.0, 900)
    scene(server, "clear", "2022-06-01", 1.0, 1200, applied=True)
    scene(server, "newest", "2023-06-01", 12.0, 1500, applied=True)
    scene(server, "elsewhen", "2019-06-01", 0.0, 1800)
    return server, area


def dates(source):
    return {c.tile.captured_on.isoformat() for c in source.candidates()}


def test_each_cell_is_cut_from_the_scene_that_the_rule_picks(catalogue):
    server, area = catalogue
    assert dates(Sentinel2Source(server.url, area, **YEAR, grid=GRID)) == {"2023-06-01"}
    assert dates(Sentinel2Source(server.url, area, **YEAR, grid=GRID, pick="least-cloudy")) == {"2022-06-01"}
    every = Sentinel2Source(server.url, area, **YEAR, grid=GRID, pick="all")
    assert dates(every) == {"2022-06-01", "2023-06-01"}  # the cloudy one is beyond the limit
    assert dates(Sentinel2Source(server.url, area, **YEAR, grid=GRID, pick="all", max_cloud=1)) == {
        "2021-06-01",
        "2022-06-01",
        "2023-06-01",
    }
    assert len(server.searches) == 4 * 2  # the three scenes come in two pages


def test_a_scene_with_as_much_cloud_as_is_allowed_is_taken(catalogue):
    server, area = catalogue
    for max_cloud, expected in ((0.12, {"2022-06-01", "2023-06-01"}), (0.119, {"2022-06-01"}), (0.0, set())):
        source = Sentinel2Source(server.url, area, **YEAR, grid=GRID, pick="all", max_cloud=max_cloud)
        assert dates(source) == expected


def test_tiles_know_their_place_date_cloud_and_scene(catalogue):
    server, area = catalogue
    tiles = [c.tile for c in Sentinel2Source(server.url, area, **YEAR, grid=GRID).candidates()]
    assert 9 <= len(tiles) <= 20
    first = tiles[0]
    assert first.tile_id.startswith("s2-2.56x2.56km-r")
    assert first.tile_id.endswith("-20230601")
    assert (first.href, first.cloud_cover, first.gsd_m) == ("newest", pytest.approx(0.12), pytest.approx(10))
    assert len({t.tile_id for t in tiles}) == len(tiles)


def test_pixels_come_by_range_requests_from_the_right_ground(catalogue):
    server, area = catalogue
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID, assets="bands")
    inside = [c for c in source.candidates() if source.read(c).missing == 0]
    assert len(inside) >= 4
    reading = source.read(inside[0])
    assert reading.pixels.shape == (3, 256, 256)
    assert reading.pixels.dtype == np.uint16
    for band, add in enumerate((0, 100, 200)):
        assert 1500 + add <= reading.pixels[band].mean() <= 1520 + add
    assert server.ranges
    assert not server.full_reads


def test_the_visual_asset_is_read_as_it_is(catalogue):
    server, area = catalogue
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID)
    reading = source.read(list(source.candidates())[5])
    assert reading.pixels.dtype == np.uint8
    assert 75 <= reading.pixels[0].mean() <= 96


def test_the_offset_of_newer_baselines_is_taken_back(server):
    area = scene(server, "old", "2021-06-01", 0.0, 1500, baseline="03.01")
    scene(server, "new", "2022-06-01", 0.0, 2500, baseline="04.00")
    scene(server, "done", "2023-06-01", 0.0, 1500, baseline="05.09", applied=True)
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID, assets="bands", pick="all")
    means = {}
    for candidate in source.candidates():
        reading = source.read(candidate)
        if reading.missing == 0:
            means[candidate.tile.captured_on.year] = reading.pixels[0].mean()
    assert means == {year: pytest.approx(1509.5, abs=2) for year in (2021, 2022, 2023)}


def test_a_stretch_brings_reflectance_to_eight_bits(catalogue):
    server, area = catalogue
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID, assets="bands", stretch=Stretch(0, 3000))
    candidate = next(c for c in source.candidates() if source.read(c).missing == 0)
    reading = source.read(candidate)
    assert reading.pixels.dtype == np.uint8
    assert reading.pixels[0].mean() == pytest.approx(1509.5 / 3000 * 255, abs=1)


def test_a_scene_that_covers_a_cell_whole_goes_before_a_newer_one_that_does_not(server):
    area = scene(server, "whole", "2021-06-01", 0.0, 1500)
    scene(server, "strip", "2023-06-01", 0.0, 1500, columns=SIDE // 2)
    tiles = {c.tile.lon_lat[0]: c.tile.href for c in Sentinel2Source(server.url, area, **YEAR, grid=GRID).candidates()}
    assert tiles[min(tiles)] in ("strip", "whole")
    assert tiles[max(tiles)] == "whole"
    assert set(tiles.values()) == {"strip", "whole"}


def test_an_index_of_a_catalogue_can_be_built_and_goes_on_without_reading_again(catalogue, model, tmp_path):
    server, area = catalogue
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID)
    options = BuildOptions(batch_tiles=8, workers=1)
    report = build_collection(source, model, tmp_path / "oklahoma", options, {})
    collection = open_collection(tmp_path / "oklahoma")
    assert report.added == len(collection) >= 9
    assert collection.tiles.dates_spanned() == (dt.date(2023, 6, 1), dt.date(2023, 6, 1))
    assert "Copernicus Sentinel data 2021-2023" in collection.manifest.provenance["attribution"]
    before = len(server.ranges)
    again = build_collection(source, model, tmp_path / "oklahoma", BuildOptions(workers=0), {})
    assert again.added == 0
    assert again.left_out["already indexed"] == report.added
    assert sum("visual" in path for path, *_ in server.ranges[before:]) <= again.left_out["no data"] * 20


def test_addresses_are_signed_in_the_reader(catalogue):
    server, area = catalogue
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID, signer="tests.indexer.test_sentinel2:sign")
    source.read(list(source.candidates())[5])
    assert any("token=secret" in path for path, *_ in server.ranges)


def sign(href):
    return f"{href}?token=secret"


def test_a_file_that_is_gone_is_an_error_of_its_tile(catalogue):
    server, area = catalogue
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID)
    candidates = list(source.candidates())
    (server.folder / "newest-visual.tif").unlink()
    with pytest.raises(SourceError, match="newest"):
        source.read(candidates[0])


def test_a_catalogue_that_does_not_answer_is_named():
    source = Sentinel2Source("http://127.0.0.1:9", BBox(0, 0, 1, 1), **YEAR, grid=GRID)
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9 can't be searched"):
        list(source.candidates())


def test_an_area_across_the_antimeridian_is_searched_in_two_boxes(server):
    list(Sentinel2Source(server.url, BBox(179, -18, -179, -17), **YEAR, grid=GRID).candidates())
    assert [s["bbox"] for s in server.searches] == [[179, -18, 180, -17], [-180, -18, -179, -17]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pick": "best"}, "pick"),
        ({"max_cloud": 30}, "max-cloud"),
        ({"since": dt.date(2024, 1, 1)}, "after"),
        ({"stretch": Stretch(0, 3000)}, "no stretch"),
        ({"assets": "bands", "bands": ("red", "b10")}, "no band b10"),
        ({"signer": "nowhere:sign"}, "signer"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    settings = {"api": "http://127.0.0.1:9", "area": BBox(0, 0, 1, 1), **YEAR, "grid": GRID}
    with pytest.raises(InvalidInputError, match=message):
        Sentinel2Source(**(settings | changes))


def test_where_no_baseline_is_told_the_assets_say_the_offset():
    asset = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    assert reflectance_offset({}, [asset]) == -1000
    assert reflectance_offset({}, [{}]) is None
    assert reflectance_offset({"s2:processing_baseline": "02.14"}, [asset]) == 0


@pytest.mark.parametrize(
    ("baseline", "offset"),
    [("04.00", -1000), ("N0400", -1000), ("0511", -1000), ("N0301", 0), ("3.01", 0), ("unknown", None), (None, None)],
)
def test_a_baseline_is_read_in_all_its_spellings(baseline, offset):
    assert reflectance_offset({"s2:processing_baseline": baseline}, [{}]) == offset


def test_an_untold_baseline_is_decided_by_the_date_and_said(server, caplog):
    area = scene(server, "old", "2021-06-01", 0.0, 1500)
    scene(server, "new", "2022-06-01", 0.0, 2500)
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID, assets="bands", pick="all")
    readings = [source.read(c) for c in source.candidates()]
    means = [reading.pixels[0].mean() for reading in readings if reading.missing == 0]
    assert means == [pytest.approx(1509.5, abs=2)] * len(means)
    assert "2 of 2 scenes don't tell their processing baseline: reflectance of 2022-01-25" in caplog.text
    caplog.clear()
    list(Sentinel2Source(server.url, area, **YEAR, grid=GRID).candidates())  # true colour has no offset
    assert not caplog.text


def test_scenes_that_cannot_be_understood_are_counted_and_the_others_found(catalogue, model, tmp_path, caplog):
    server, area = catalogue
    good = server.items[2]
    server.items += [
        {**good, "id": "nowhere", "geometry": {"type": "Point", "coordinates": [-98, 33.5]}},
        {**good, "id": "bare", "assets": {}},
        {**good, "id": "empty", "assets": None},
        {**good, "id": "dateless", "properties": {**good["properties"], "datetime": "2023-06"}},
        {**good, "id": "timeless", "properties": {**good["properties"], "datetime": "2023-06-31T10:00:00Z"}},
    ]
    report = build_collection(
        Sentinel2Source(server.url, area, **YEAR, grid=GRID), model, tmp_path / "some", BuildOptions(workers=0), {}
    )
    assert report.added >= 9
    assert report.left_out["scene not understood"] == 5
    for problem in (
        "nowhere of the catalogue: its geometry is a Point, not a polygon",
        "empty of the catalogue: it has no properties, or no assets",
        "dateless of the catalogue: a day must look like 2023-07-31",
        "no asset visual or TCI_10m",
        "timeless",
    ):
        assert problem in caplog.text


@pytest.mark.parametrize("heights", [False, True])
def test_a_scene_without_a_geometry_lies_where_its_bbox_is(catalogue, heights):
    server, area = catalogue
    west, south, east, north = area.as_tuple()
    about = {"id": 7, "geometry": None, "bbox": [west, south, 0, east, north, 9] if heights else [*area.as_tuple()]}
    item = {**server.items[2], **about}
    expected = list(Sentinel2Source(server.url, area, **YEAR, grid=GRID).candidates())
    assert _outline_of_box(item["bbox"])["coordinates"][0][2] == (east, north)
    server.items = [{**item, "bbox": [*area.as_tuple()]}]  # by which the catalogue itself searches
    found = list(Sentinel2Source(server.url, area, **YEAR, grid=GRID).candidates())
    assert [c.tile.bbox for c in found] == [c.tile.bbox for c in expected]
    assert {c.tile.href for c in found} == {"7"}


def test_a_scene_whose_cloud_is_unknown_is_the_last_choice_and_its_tiles_say_nothing_of_it(catalogue):
    server, area = catalogue
    for item in server.items:
        item["properties"]["eo:cloud_cover"] = None
    server.items[1]["properties"]["eo:cloud_cover"] = 20.0
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID, pick="least-cloudy")
    assert {c.tile.captured_on.year for c in source.candidates()} == {2022}
    del server.items[1]
    assert {c.tile.cloud_cover for c in source.candidates()} == {None}


def test_items_are_not_kept_while_a_catalogue_is_searched(catalogue):
    server, area = catalogue
    found = search_scenes(server.url, "sentinel-2-l2a", area, **YEAR, max_cloud=1, assets=[["visual"]])
    assert next(found).scene_id == "cloudy"
    assert len(server.searches) == 1  # the second page has not been asked for
    assert [s.scene_id for s in found] == ["clear", "newest"]


def test_a_busy_catalogue_and_file_server_are_asked_again(catalogue):
    server, area = catalogue
    server.failures = {"GET": [503], "POST": [429, 502]}
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID)
    candidates = list(source.candidates())
    assert {c.tile.captured_on.year for c in candidates} == {2023}
    server.failures["GET"] = [503]
    assert source.read(candidates[5]).missing < 1
    assert server.failures == {"GET": [], "POST": []}


def test_a_cloud_optimised_geotiff_is_read_in_parts(server):
    area = scene(server, "cog", "2023-06-01", 0.0, 1500, cog=True)
    with rasterio.open(server.folder / "cog-visual.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    source = Sentinel2Source(server.url, area, **YEAR, grid=KilometreGrid(0.64, 2.56))
    whole = next(reading for reading in map(source.read, source.candidates()) if reading.missing == 0)
    assert whole.pixels.shape == (3, 64, 64)
    assert whole.pixels[0].mean() == pytest.approx(85, abs=3)
    fetched = sum(last - first + 1 for path, first, last in server.ranges if "visual" in path)
    assert fetched < 0.6 * (server.folder / "cog-visual.tif").stat().st_size
    assert not server.full_reads


def test_a_file_server_that_is_gone_ends_the_build_and_the_same_command_goes_on(
    catalogue, model, tmp_path, monkeypatch
):
    server, area = catalogue
    monkeypatch.setattr(remote, "PATIENCE_S", (0.0,))
    source = Sentinel2Source(server.url, area, **YEAR, grid=GRID)
    options = BuildOptions(workers=0, batch_tiles=1)
    monkeypatch.setattr(reader, "CHUNK_TILES", 2)
    monkeypatch.setattr(reader, "MOST_UNREACHABLE", 2)
    read = Sentinel2Source.read
    left = iter(range(6))

    def die_after_six(self, candidate):
        if next(left, None) is None:
            server.failures["GET"] = [503] * 99
        return read(self, candidate)

    with monkeypatch.context() as dying:
        dying.setattr(Sentinel2Source, "read", die_after_six)
        with pytest.raises(SourceError, match=r"2 tiles in a row could not be fetched.*give the same command again"):
            build_collection(source, model, tmp_path / "halting", options, {})
    assert not (tmp_path / "halting" / "CURRENT").exists()
    server.failures["GET"] = []
    open_dataset.cache_clear()
    report = build_collection(source, model, tmp_path / "halting", options, {})
    assert report.adopted >= 1
    assert report.adopted + report.added == len(open_collection(tmp_path / "halting")) >= 9


@pytest.fixture
def watched(catalogue, monkeypatch):
    """A source, what is read of it (tile, scene), and after how many tiles it stops a build."""
    server, area = catalogue
    read, asked, stops = Sentinel2Source.read, [], []

    def noted(self, candidate):
        tried = candidate.tile.tile_id, candidate.locator[0].scene_id
        if len({tile_id for tile_id, _ in [*asked, tried]}) in stops:
            raise KeyboardInterrupt
        asked.append(tried)
        return read(self, candidate)

    monkeypatch.setattr(Sentinel2Source, "read", noted)
    monkeypatch.setattr(reader, "CHUNK_TILES", 1)
    return Sentinel2Source(server.url, area, **YEAR, grid=GRID), asked, stops


ONE_BY_ONE = BuildOptions(workers=0, batch_tiles=1)


@pytest.mark.parametrize("missing", [False, True])
def test_a_build_that_goes_on_reads_nothing_twice_that_is_certain_and_counts_each_tile_once(
    catalogue, watched, model, tmp_path, missing
):
    server, _ = catalogue
    source, asked, stops = watched
    if missing:
        (server.folder / "newest-visual.tif").unlink()
    told = []
    whole = build_collection(source, model, tmp_path / "whole", ONE_BY_ONE, {}, told.append)
    count = source.count()
    assert sum(told) == len({tile_id for tile_id, _ in asked}) == count
    assert whole.added + whole.left_out["no data"] == count > whole.added  # cells at the edge show nothing

    asked.clear()
    stops.append(count - 2)
    with pytest.raises(KeyboardInterrupt):
        build_collection(source, model, tmp_path / "halting", ONE_BY_ONE, {})
    stops.clear()
    before = {tile_id for tile_id, _ in asked}
    asked.clear()
    told.clear()
    report = build_collection(source, model, tmp_path / "halting", ONE_BY_ONE, {}, told.append)
    twice = before & {tile_id for tile_id, _ in asked}
    # What one scene does not show, another that could not be read may show by now.
    assert len(twice) == (len(before) - report.adopted if missing else 0)
    assert 0 < report.adopted < len(before)
    assert sum(told) == count
    assert (report.added + report.adopted, report.left_out.as_dict()) == (whole.added, whole.left_out.as_dict())
    tiles = [open_collection(tmp_path / name).tiles for name in ("whole", "halting")]
    assert sorted(tiles[0].column("tile_id").to_pylist()) == sorted(tiles[1].column("tile_id").to_pylist())


def test_the_same_command_asks_again_for_a_missing_scene_and_for_no_other(catalogue, watched, model, tmp_path):
    server, _ = catalogue
    source, asked, _ = watched
    path = server.folder / "newest-visual.tif"
    there = path.read_bytes()
    path.unlink()
    first = build_collection(source, model, tmp_path / "place", ONE_BY_ONE, {})
    indexed = {cell_of(tile_id) for tile_id in open_collection(tmp_path / "place").tiles.column("tile_id").to_pylist()}
    asked.clear()
    told = []
    again = build_collection(source, model, tmp_path / "place", ONE_BY_ONE, {}, told.append)
    assert {scene_id for tile_id, scene_id in asked if cell_of(tile_id) in indexed} == {"newest"}
    assert (again.added, again.left_out["already indexed"], again.left_out["id given twice"]) == (0, first.added, 0)
    assert sum(told) == source.count()
    path.write_bytes(there)
    open_dataset.cache_clear()
    assert build_collection(source, model, tmp_path / "place", ONE_BY_ONE, {}).added == first.added


def cell_of(tile_id):
    return tile_id.rpartition("-")[0]
