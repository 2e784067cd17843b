"""Parquet files as people make them: columns by other names, places in other forms, rows that are no tiles."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from rasterio.warp import transform

from indexer.pipeline.options import BuildOptions
from indexer.vectors.build import build_from_vectors
from indexer.vectors.files import GivenVectors, VectorFiles
from indexer.vectors.rows import RowReader
from wildsat_core.collection import open_collection
from wildsat_core.errors import SourceError
from wildsat_core.ids import is_tile_id
from wildsat_core.types import ModelRef, SpaceSpec, Tile

GIVEN = GivenVectors(
    "embedding", "image", SpaceSpec(3, "inner_product"), ModelRef("clay", "", "", "vectors made elsewhere")
)
BOX = shapely.box(10, 48, 10.5, 48.25)
POINT = {"x": 10.25, "y": 48.125}
RING = [{"x": x, "y": y} for x, y in BOX.exterior.coords]


def tiles_of(table, path="v.parquet"):
    return list(RowReader.of(path, table.schema).tiles(table))


def only(**columns):
    [tile] = tiles_of(pa.table({"id": ["a"]} | {name: [value] for name, value in columns.items()}))
    assert isinstance(tile, Tile), tile
    return tile


@pytest.mark.parametrize("name", ["tile_id", "unique_id", "id", "item_id", "Item ID", "scene_id"])
def test_ids_are_found_by_their_usual_names(name):
    [tile] = tiles_of(pa.table({name: ["a"], "lon": [1.0], "lat": [2.0]}))
    assert tile.tile_id == "a"


@pytest.mark.parametrize(
    "columns",
    [
        {"lon": 10.25, "lat": 48.125},
        {"longitude": 10.25, "latitude": 48.125},
        {"Longitude": 10.25, "Latitude": 48.125},
        {"centre_lon": 10.25, "centre_lat": 48.125},
        {"lng": "10.25", "lat": "48.125"},
        {"x": 10.25, "y": 48.125},
        {"geometry": shapely.to_wkb(shapely.Point(10.25, 48.125))},
        {"geometry": "POINT (10.25 48.125)"},
        {"geometry": "SRID=4326;POINT (10.25 48.125)"},
        {"wkt": "POINT Z (10.25 48.125 7)"},
        # As PostGIS writes it into text.
        {"geom": shapely.to_wkb(shapely.set_srid(shapely.Point(10.25, 48.125), 4326), include_srid=True, hex=True)},
        {"geometry": '{"type": "Point", "coordinates": [10.25, 48.125]}'},
        {"geometry": POINT},
        {"geometry": [10.25, 48.125]},
        {"bbox": [10.25, 48.125, 10.25, 48.125]},
    ],
)
def test_a_point_in_any_form_is_a_square_around_it(columns):
    tile = only(**columns)
    assert tile.lon_lat == (pytest.approx(10.25), pytest.approx(48.125))
    assert (tile.bbox.north - tile.bbox.south) * 111.195 == pytest.approx(2.56, rel=1e-3)
    assert tile.footprint_wkb is None


@pytest.mark.parametrize(
    "columns",
    [
        {"bbox": {"xmin": 10.0, "ymin": 48.0, "xmax": 10.5, "ymax": 48.25}},
        {"bbox": {"west": 10.0, "south": 48.0, "east": 10.5, "north": 48.25}},
        {"bounds": {"minx": 10.0, "miny": 48.0, "maxx": 10.5, "maxy": 48.25}},
        {"bbox": [10.0, 48.0, 10.5, 48.25]},
        {"bbox": [10.0, 48.0, -5.0, 10.5, 48.25, 5.0]},
        {"west": 10.0, "south": 48.0, "east": 10.5, "north": 48.25},
        {"min_lon": 10.0, "min_lat": 48.0, "max_lon": 10.5, "max_lat": 48.25},
        {"geometry": shapely.to_wkb(BOX)},
        {"footprint": shapely.to_wkt(BOX)},
        {"geom": shapely.to_geojson(BOX)},
        {"geometry": [RING]},
        {"geometry": [[RING]]},
        {"geometry": [[list(position) for position in BOX.exterior.coords]]},
        {"geometry": None, "bbox": [10.0, 48.0, 10.5, 48.25]},
    ],
)
def test_a_box_in_any_form_is_the_tile(columns):
    tile = only(**columns)
    assert tile.bbox.as_tuple() == (10, 48, 10.5, 48.25)
    assert tile.footprint_wkb is None


def test_an_outline_is_kept_and_one_across_180_degrees_is_understood():
    triangle = shapely.Polygon([(10, 40), (11, 40), (10, 41)])
    assert shapely.from_wkb(only(geometry=shapely.to_wkt(triangle)).footprint_wkb).equals(triangle)
    over = only(geometry="POLYGON ((179 1, -179 1, -179 2, 179 2, 179 1))")
    assert over.bbox.as_tuple() == (179, 1, -179, 2)


@pytest.mark.parametrize("code", ["EPSG:32632", "EPSG:3857", "EPSG:4301", "EPSG:3413"])
@pytest.mark.parametrize("told", ["geoparquet", "geoarrow"])
def test_geometries_in_other_systems_are_transformed(code, told):
    lon, lat = (138.5, 36.5) if code == "EPSG:4301" else (9.5, 71.0)
    [x], [y] = transform("EPSG:4326", code, [lon], [lat])
    points = [shapely.to_wkb(shapely.Point(x, y)), shapely.to_wkb(shapely.Point(x, y)), None, b"no wkb"]
    crs = pyproj.CRS(code).to_json_dict()
    about = {"version": "1.1.0", "primary_column": "where", "columns": {"where": {"encoding": "WKB", "crs": crs}}}
    field, metadata = pa.field("where", pa.binary()), {b"geo": json.dumps(about).encode()}
    if told == "geoarrow":
        extension = {b"ARROW:extension:name": b"geoarrow.wkb", b"ARROW:extension:metadata": json.dumps({"crs": crs})}
        field, metadata = pa.field("geometry", pa.binary(), metadata=extension), {}
    schema = pa.schema([("id", pa.string()), field], metadata=metadata)
    first, second, none, damaged = tiles_of(
        pa.Table.from_arrays([pa.array(list("abcd")), pa.array(points)], schema=schema)
    )
    assert first.lon_lat == second.lon_lat == (pytest.approx(lon, abs=1e-5), pytest.approx(lat, abs=1e-5))
    assert none.endswith("it has no place")
    assert "can't be read" in damaged


def test_geometries_that_name_their_own_system_are_transformed():
    (x, x2), (y, y2) = transform("EPSG:4326", "EPSG:32632", [9.0, 9.1], [48.0, 48.1])
    square = shapely.set_srid(shapely.box(x, y, x2, y2), 32632)
    forms = [shapely.to_wkb(square, include_srid=True, hex=True), f"SRID=32632;{square.wkt}", f"srid=1;{square.wkt}"]
    *good, bad = tiles_of(pa.table({"id": ["a", "b", "c"], "geometry": forms}))
    for tile in good:
        assert tile.bbox.as_tuple() == pytest.approx((9.0, 48.0, 9.1, 48.1), abs=2e-3)
    assert "EPSG:1, is not known" in bad
    [tile] = tiles_of(pa.table({"id": ["a"], "geometry": [shapely.to_wkb(square, include_srid=True)]}))
    assert tile.bbox == good[0].bbox


def test_a_time_that_no_calendar_has_is_one_bad_row():
    times = pa.array([2**62, 0], pa.timestamp("us"))
    bad, good = tiles_of(pa.table({"id": ["a", "b"], "lon": [1.0] * 2, "lat": [2.0] * 2, "datetime": times}))
    assert "its datetime can't be read" in bad
    assert good.captured_on == dt.date(1970, 1, 1)


def test_a_place_that_its_system_does_not_have_is_a_bad_row_and_its_neighbours_are_not():
    about = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": "EPSG:32632"}}}
    geometry = [shapely.to_wkb(shapely.Point(x, y)) for x, y in ((500_000, 5e6), (1e30, 1e30), (500_000, 5e6))]
    table = pa.table({"id": ["a", "b", "c"], "geometry": geometry}).replace_schema_metadata({"geo": json.dumps(about)})
    first, wrong, third = tiles_of(table)
    assert first.lon_lat == third.lon_lat == (pytest.approx(9), pytest.approx(45.15, abs=0.05))
    assert "no place of its coordinate system" in wrong


def test_an_unknown_system_is_refused():
    about = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": {"type": "Nonsense"}}}}
    table = pa.table({"id": ["a"], "geometry": [b""]}).replace_schema_metadata({"geo": json.dumps(about)})
    with pytest.raises(SourceError, match="can't be understood"):
        tiles_of(table)
    with pytest.raises(SourceError, match="account of its geometries is damaged"):
        tiles_of(table.replace_schema_metadata({"geo": "{"}))


BAD = {
    "lon 180.1": {"lon": 180.1},
    "lat 91": {"lat": 91.0},
    "no lon": {"lon": None},
    "nan": {"lat": float("nan")},
    "inf": {"lon": float("inf")},
    "cloud in per cent": {"cloud_cover": 55.0},
    "cloud inf": {"cloud_cover": float("inf")},
    "a day of another kind": {"date": "31.7.2023"},
    "gsd inf": {"gsd_m": float("inf")},
    "gsd beyond float32": {"gsd_m": 1e39},
    "gsd below 0": {"gsd_m": -1.0},
    "no id": {"id": None},
    "empty id": {"id": " "},
    "no vector": {"embedding": None},
    "a short vector": {"embedding": [1.0]},
}
GOOD = {
    "id": "x",
    "lon": 1.0,
    "lat": 2.0,
    "cloud_cover": 0.1,
    "date": "2023-07-31",
    "gsd_m": 10.0,
    "embedding": [1.0] * 3,
}


@pytest.fixture(scope="module")
def file_of_good_and_bad(tmp_path_factory):
    rows = [{**GOOD, "id": f"good-{i}"} for i in range(20)]
    rows += [{**GOOD, "id": f"bad-{i}"} | change for i, change in enumerate(BAD.values())]
    rows += [{**GOOD, "id": "null", "embedding": [1.0, None, 1.0]}, {**GOOD, "id": "vast", "embedding": [1e30] * 3}]
    path = tmp_path_factory.mktemp("rows") / "mixed.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_bad_rows_are_left_out_counted_and_named(file_of_good_and_bad, tmp_path, caplog):
    files = VectorFiles(file_of_good_and_bad, GIVEN)
    report = build_from_vectors(files, tmp_path / "c", BuildOptions(), {})
    assert (report.added, report.left_out["bad row"], report.left_out["no vector"]) == (20, len(BAD), 2)
    assert "row 21" in report.text()
    assert caplog.text.count("bad-") >= len(BAD) - 2
    assert len(report.as_dict()["left_out_names"]["bad row"]) == 5
    collection = open_collection(tmp_path / "c")
    assert set(collection.tiles.column("tile_id").to_pylist()) == {f"good-{i}" for i in range(20)}


def test_more_bad_rows_than_are_allowed_end_the_build_unpublished_and_more_can_be_allowed(
    file_of_good_and_bad, tmp_path
):
    files = VectorFiles(file_of_good_and_bad, GIVEN)
    with pytest.raises(
        SourceError, match=r"15 of 37 can't be indexed, more than --max-bad 0.4 allows.*\n  bad row: .*row 21"
    ):
        build_from_vectors(files, tmp_path / "c", BuildOptions(max_bad=0.4), {})
    assert not (tmp_path / "c" / "CURRENT").exists()
    assert build_from_vectors(files, tmp_path / "c", BuildOptions(max_bad=0.41), {}).generation == 1


def test_odd_ids_become_ones_that_can_be_served_and_the_name_is_kept(tmp_path):
    odd = ["", "a/b", "with space", "森林", "a?b", "x" * 300]
    table = pa.table({"id": odd, "lon": [1.0] * 6, "lat": [1.0] * 6, "embedding": [[1.0, 2.0, 3.0]] * 6})
    pq.write_table(table, tmp_path / "v.parquet")
    report = build_from_vectors(VectorFiles(tmp_path / "v.parquet", GIVEN), tmp_path / "c", BuildOptions(), {})
    assert (report.added, report.left_out["bad row"]) == (5, 1)
    tiles = [open_collection(tmp_path / "c").tile(row) for row in range(5)]
    assert all(is_tile_id(tile.tile_id) for tile in tiles)
    assert {tile.href for tile in tiles} == set(odd[1:])


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2023, 8, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        "2023-07-31T23:00:00Z",
        "2023-08-01T01:00:00+02:00",
        dt.date(2023, 7, 31),
    ],
)
def test_times_become_utc_days(value):
    assert only(lon=1.0, lat=1.0, datetime=value).captured_on == dt.date(2023, 7, 31)


def test_a_signed_address_of_a_row_is_kept_without_what_signs_it():
    assert only(lon=1.0, lat=1.0, href="https://u:p@a.example/b.tif?sig=x").href == "https://a.example/b.tif"


def test_a_file_without_ids_or_places_says_what_it_has():
    with pytest.raises(SourceError, match=r"no column of ids \(tile_id.*it has: lon, lat"):
        tiles_of(pa.table({"lon": [1.0], "lat": [1.0]}))
    with pytest.raises(SourceError, match=r"does not say where its rows are.*it has: id, lon"):
        tiles_of(pa.table({"id": ["a"], "lon": [1.0]}))


def test_a_vector_file_may_begin_with_rows_that_lack_theirs(tmp_path):
    vectors = [None, None, np.ones(3).tolist()]
    table = pa.table({"id": ["a", "b", "c"], "lon": [1.0] * 3, "lat": [1.0] * 3, "embedding": vectors})
    pq.write_table(table, tmp_path / "v.parquet")
    files = VectorFiles(tmp_path / "v.parquet", GIVEN)
    assert build_from_vectors(files, tmp_path / "c", BuildOptions(max_bad=0.7), {}).added == 1
