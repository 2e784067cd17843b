"""Areas from GeoJSON: what is read, what is refused and why."""

import json

import numpy as np
import pytest
import shapely

from wildsat_core import area as area_module
from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError, LimitExceededError

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}


def test_features_and_collections_are_read_as_their_union():
    other = {"type": "Polygon", "coordinates": [[[10, 0], [20, 0], [20, 10], [10, 10], [10, 0]]]}
    both = {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": g} for g in (SQUARE, other)]}
    assert Area.from_geojson(json.dumps(both)).geometry.area == pytest.approx(200)


def test_a_hole_is_outside():
    holed = {"type": "Polygon", "coordinates": [*SQUARE["coordinates"], [[2, 2], [2, 8], [8, 8], [8, 2], [2, 2]]]}
    hit = Area.from_geojson(holed).intersects(*(np.array(v) for v in ([4.0, 1.0], [4.0, 1.0], [5.0, 3.0], [5.0, 3.0])))
    assert list(hit) == [False, True]


def test_a_polygon_drawn_beyond_180_degrees_comes_back_cut():
    drawn = {"type": "Polygon", "coordinates": [[[175, -20], [185, -20], [185, -10], [175, -10], [175, -20]]]}
    area = Area.from_geojson(drawn)
    assert area.geometry.bounds == (-180.0, -20.0, 180.0, -10.0)
    assert area.geometry.area == pytest.approx(100)
    west, south, east, north = (
        np.array(v) for v in ([-179.0, 170.0, 179.0], [-15.0] * 3, [-178.0, 171.0, 181.0], [-14.0] * 3)
    )
    assert list(area.intersects(west, south, east, north)) == [True, False, True]


def test_an_edge_at_180_touches_an_edge_at_minus_180():
    east_edge = Area.from_geojson(
        {"type": "Polygon", "coordinates": [[[170, 0], [180, 0], [180, 5], [170, 5], [170, 0]]]}
    )
    assert east_edge.intersects(np.array([-180.0]), np.array([1.0]), np.array([-179.0]), np.array([2.0])).all()


def test_geojson_out_is_what_came_in():
    out = shapely.from_geojson(json.dumps(Area.from_geojson(SQUARE).to_geojson()))
    assert out.equals(shapely.from_geojson(json.dumps(SQUARE)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must be a GeoJSON object, got list"),
        ('{"type": "Point", "coordinates": [0, 0]}', "got 'Point'"),
        ('{"type": "Polygon"}', "well-formed"),
        ('{"type": "Polygon", "coordinates": 3}', "well-formed"),
        ('{"type": "Polygon", "coordinates": [[["a", 0], [1, 0], [1, 1], ["a", 0]]]}', "well-formed"),
        ('{"type": "Polygon", "coordinates": []}', "without any position"),
        ('{"type": "FeatureCollection", "features": []}', "no polygon"),
        ('{"type": "FeatureCollection"}', "no list of features"),
        ('{"type": "Feature", "geometry": null}', "got None"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}', "Self-intersection"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [0, 95], [1, 1], [0, 0]]]}', "latitudes"),
        ('{"type": "Polygon", "coordinates": [[[-180, 0], [190, 0], [0, 5], [-180, 0]]]}', "at most 360"),
    ],
)
def test_what_is_no_area_is_refused_with_the_reason(value, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        Area.from_geojson(value)
    assert caught.value.parameter == "area"


def test_a_ring_that_touches_itself_is_refused_with_the_place():
    ring = [[0, 0], [4, 0], [2, 2], [4, 4], [0, 4], [2, 2], [0, 0]]
    with pytest.raises(InvalidInputError, match=r"Ring Self-intersection\[2 2\]"):
        Area.from_geojson({"type": "Polygon", "coordinates": [ring]})


def test_too_many_vertices_are_refused_naming_the_limit(monkeypatch):
    monkeypatch.setattr(area_module, "MAX_VERTICES", 4)
    with pytest.raises(LimitExceededError, match="5 vertices, at most 4"):
        Area.from_geojson(SQUARE)


def test_a_file_that_can_not_be_read_is_refused_by_name(tmp_path):
    (tmp_path / "square.geojson").write_text(json.dumps(SQUARE))
    assert Area.from_file(tmp_path / "square.geojson").geometry.area == 100
    (tmp_path / "binary.geojson").write_bytes(b"\xff\xfe")
    for name in ("none.geojson", "binary.geojson"):
        with pytest.raises(InvalidInputError, match=name):
            Area.from_file(tmp_path / name)
