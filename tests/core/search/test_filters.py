"""Filters against brute force: recall is 1.0 and nothing else passes, across the antimeridian and at the poles."""

import datetime as dt

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.affinity import translate

from tests.core.search.fakes import REF, SPACES, FakeModel, random_collection, unit
from wildsat_core.area import Area
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.errors import LimitExceededError
from wildsat_core.geo import bbox_geometry, great_circle_km
from wildsat_core.search import shard
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.filters import BlockBoxes, passing_rows
from wildsat_core.search.query import LAND_SHOWN, Circle, Filters, Query, TextTerm
from wildsat_core.types import BBox, Tile

N = 400


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return random_collection(tmp_path_factory.mktemp("filters") / "random", N, segment_rows=90)


@pytest.fixture(scope="module")
def blocks(collection):
    return BlockBoxes.of(collection, block_rows=16)


def outline(tile):
    """The tile on an endless strip: drawn at its place and one turn to either side."""
    if tile.footprint_wkb:
        shape = shapely.from_wkb(tile.footprint_wkb)
    else:
        west, south, _, north = tile.bbox.as_tuple()
        shape = shapely.box(west, south, west + tile.bbox.width_deg, north)
    return shapely.union_all([translate(shape, xoff=turn) for turn in (-360, 0, 360)])


def expected(collection, test):
    return [row for row in range(N) if test(collection.tile(row))]


def found(collection, blocks, filters):
    rows = passing_rows(collection, blocks, filters)
    return list(range(N)) if rows is None else list(rows)


lon = st.one_of(st.floats(-180, 180, width=32), st.sampled_from([-180.0, 180.0, 0.0]))
lat = st.one_of(st.floats(-90, 90, width=32), st.sampled_from([-90.0, 90.0]))
SETTINGS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SETTINGS
@given(west=lon, east=lon, lats=st.tuples(lat, lat))
def test_boxes_agree_with_brute_force(collection, blocks, west, east, lats):
    box = BBox(west, min(lats), east, max(lats))
    area = shapely.box(box.west, box.south, box.west + box.width_deg, box.north)
    # A box of no width or height is a line or a point; shapely draws it as an invalid polygon.
    if box.width_deg == 0 or box.south == box.north:
        area = shapely.LineString([(box.west, box.south), (box.west + box.width_deg, box.north)])
    want = expected(collection, lambda tile: shapely.intersects(area, outline(tile)))
    got = found(collection, blocks, Filters(bbox=box))
    boxes_only = [r for r in set(want) ^ set(got) if collection.tiles.is_box[r]]
    assert boxes_only == []
    if area.geom_type == "Polygon":
        assert got == want


@SETTINGS
@given(
    centre=st.tuples(lon, st.floats(-80, 80, width=32)),
    radius=st.floats(0.5, 40),
    hole=st.floats(0.1, 0.9),
    corners=st.integers(3, 9),
)
def test_polygons_with_holes_agree_with_brute_force(collection, blocks, centre, radius, hole, corners):
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = np.stack([centre[0] + radius * np.cos(angles), np.clip(centre[1] + radius * np.sin(angles), -90, 90)], 1)
    inner = (ring - centre) * hole + centre
    polygon = shapely.Polygon(ring, [inner])
    if not polygon.is_valid or polygon.area == 0:
        return
    area = Area.from_geojson(shapely.to_geojson(polygon))
    want = expected(collection, lambda tile: shapely.intersects(polygon, outline(tile)))
    got = found(collection, blocks, Filters(area=area))
    # Cutting at 180 degrees may move a point by a rounding error: tiles at such a distance may fall to either side.
    near = [r for r in set(want) ^ set(got) if shapely.distance(polygon.boundary, outline(collection.tile(r))) > 1e-9]
    assert near == []


@SETTINGS
@given(lon, lat, st.floats(1, 20000))
def test_circles_agree_with_brute_force(collection, blocks, lon, lat, radius):
    want = expected(collection, lambda t: great_circle_km(lon, lat, *t.lon_lat) <= radius)
    assert found(collection, blocks, Filters(circle=Circle(lon, lat, radius))) == want


@SETTINGS
@given(
    countries=st.frozensets(st.sampled_from(["BRA", "FJI", "NOR", "XXX"]), max_size=3),
    start=st.none() | st.dates(dt.date(2019, 6, 1), dt.date(2021, 1, 1)),
    days=st.none() | st.integers(0, 700),
    months=st.frozensets(st.integers(1, 12), max_size=4),
    cloud=st.none() | st.floats(0, 1),
    ids=st.none() | st.frozensets(st.integers(0, N + 20).map(lambda i: f"tile-{i}"), max_size=30),
)
def test_columns_agree_with_brute_force(collection, blocks, countries, start, days, months, cloud, ids):
    end = (start or dt.date(2020, 1, 1)) + dt.timedelta(days) if days is not None else None

    def test(tile):
        day = tile.captured_on
        return (
            (not countries or tile.country in countries)
            and (start is None or (day is not None and day >= start))
            and (end is None or (day is not None and day <= end))
            and (not months or (day is not None and day.month in months))
            and (cloud is None or (tile.cloud_cover is not None and tile.cloud_cover <= np.float32(cloud)))
            and (ids is None or tile.tile_id in ids)
        )

    filters = Filters(countries=countries, date_from=start, date_to=end, months=months, max_cloud=cloud, tile_ids=ids)
    assert found(collection, blocks, filters) == expected(collection, test)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.7])
def test_a_tile_with_as_much_cloud_as_is_allowed_passes(tmp_path, share):
    rng = np.random.default_rng(0)
    tiles = [
        Tile(f"t{i}", BBox(0, 0, 1, 1), 10.0, "test", cloud_cover=cloud)
        for i, cloud in enumerate((share, np.nextafter(np.float32(share), np.float32(-1)).clip(0), share + 0.01, None))
    ]
    with CollectionWriter(tmp_path / "cloudy", "cloudy", REF, SPACES) as out:
        out.add(tiles, {space: unit(rng, len(tiles)) for space in SPACES})
        out.publish()
    collection = open_collection(tmp_path / "cloudy")
    rows = passing_rows(collection, BlockBoxes.of(collection), Filters(max_cloud=share))
    assert {collection.tile(row).tile_id for row in rows} == {"t0", "t1"}


@pytest.mark.parametrize("least", [0.0, 0.1, 0.25, 1.0])
def test_least_land_agrees_with_brute_force(collection, blocks, least):
    want = expected(collection, lambda t: t.land_share is not None and t.land_share >= np.float32(least))
    assert found(collection, blocks, Filters(min_land=least)) == want


def test_tiles_that_show_sea_pass_only_where_too_few_others_do(collection, blocks):
    shows = expected(collection, lambda t: t.land_share is None or t.land_share >= LAND_SHOWN)
    share = len(shows) / N
    assert 0 < share < 1
    assert found(collection, blocks, Filters(show_land=0.0)) == shows
    engine = SearchEngine(collection, FakeModel())
    sea = frozenset(f"tile-{i}" for i in range(N) if i % 6 in (1, 2))
    for land, ids, passing in (
        (0.0, None, shows),
        (share - 0.01, None, shows),
        (share + 0.01, None, list(range(N))),
        (0.0, sea, expected(collection, lambda t: t.tile_id in sea)),
        (0.0, sea | {"tile-5"}, expected(collection, lambda t: t.tile_id == "tile-5")),
    ):
        assert engine.passing(Filters(show_land=land, tile_ids=ids)).tolist() == passing


def test_a_multipolygon_over_fiji_finds_tiles_on_both_sides(collection, blocks):
    box = BBox(170.0, -60.0, -170.0, 60.0)
    area = Area.from_geojson(bbox_geometry(box))
    assert found(collection, blocks, Filters(area=area)) == found(collection, blocks, Filters(bbox=box))


@pytest.mark.parametrize(("edge", "inwards"), [(180.0, -5.0), (-180.0, 5.0)])
def test_an_outline_that_ends_at_180_degrees_touches_what_begins_there(tmp_path, edge, inwards):
    outline = shapely.Polygon([(edge, 0), (edge + inwards, 1), (edge, 2)])
    tile = Tile("edge", BBox(*outline.bounds), 10.0, "test", footprint_wkb=shapely.to_wkb(outline))
    rng = np.random.default_rng(0)
    with CollectionWriter(tmp_path / "edge", "edge", REF, SPACES) as out:
        out.add([tile], {space: unit(rng, 1) for space in SPACES})
        out.publish()
    collection = open_collection(tmp_path / "edge")
    blocks = BlockBoxes.of(collection)
    west, east = sorted((-edge, -edge - inwards))
    beyond = BBox(west, 0.0, east, 3.0)
    for filters in (Filters(bbox=beyond), Filters(area=Area.from_geojson(bbox_geometry(beyond)))):
        assert list(passing_rows(collection, blocks, filters)) == [0]


def test_no_filter_passes_everything(collection, blocks):
    assert passing_rows(collection, blocks, Filters()) is None


def test_what_passes_is_tested_once_for_many_questions(collection, blocks, monkeypatch):
    tested = []
    monkeypatch.setattr(shard, "passing_rows", lambda *args: tested.append(args[2]) or passing_rows(*args))
    engine = SearchEngine(collection, FakeModel())
    africa, other = Filters(bbox=BBox(-20, -35, 50, 35)), Filters(bbox=BBox(-20, -35, 50, 36))
    for text in ("mangroves", "dunes", "a lake"):
        query = Query((TextTerm(text),), africa, k=5)
        engine.search(query)
        engine.heat(query)
    assert tested == [africa]
    assert engine.passing(other).tolist() == found(collection, blocks, other)
    assert tested == [africa, other]


def test_an_area_that_takes_too_long_to_compare_is_refused(tmp_path, monkeypatch):
    collection = random_collection(tmp_path / "random", 50)
    area = Area.from_geojson({"type": "Polygon", "coordinates": [[[-90, -80], [90, -80], [90, 80], [-90, -80]]]})
    engine = SearchEngine(collection, FakeModel())
    monkeypatch.setattr("wildsat_core.search.filters._AREA_ROWS", 7)
    with monkeypatch.context() as hurried:
        hurried.setattr("wildsat_core.search.filters.AREA_S", -1.0)
        with pytest.raises(
            LimitExceededError, match=r"longer than -1 s to compare with \d+ tiles.*simplify it"
        ) as told:
            engine.passing(Filters(area=area))
        assert told.value.parameter == "area"
    assert len(engine.passing(Filters(area=area))) == 4
