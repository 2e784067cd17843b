"""Boxes, distances and the curve, at the places where such code breaks."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import (
    EARTH_RADIUS_KM,
    bbox_geometry,
    check_lon_lat,
    curve_key,
    great_circle_km,
    parse_bbox,
    square_bbox,
    unit_vectors,
    wrap_lon,
)
from wildsat_core.types import BBox

lons, lats = st.floats(-180, 180), st.floats(-90, 90)


@pytest.mark.parametrize("value", ["-98.5,33,-97.5,34", [-98.5, 33, -97.5, 34], (-98.5, 33.0, -97.5, 34.0)])
def test_a_box_is_read_west_south_east_north(value):
    assert parse_bbox(value) == BBox(west=-98.5, south=33.0, east=-97.5, north=34.0)


@pytest.mark.parametrize(
    "value",
    ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,nan", "0,0,0,inf", "-181,0,0,1", "0,-91,1,0", "0,5,1,4", [None] * 4],
)
def test_what_is_no_box_is_refused(value):
    with pytest.raises(InvalidInputError) as caught:
        parse_bbox(value)
    assert caught.value.parameter == "bbox"


def test_a_box_over_fiji_crosses_and_is_cut_in_two():
    fiji = BBox(177.0, -19.0, -178.0, -16.0)
    assert fiji.crosses_antimeridian
    assert fiji.width_deg == 5.0
    assert fiji.centre == (179.5, -17.5)
    geometry = bbox_geometry(fiji)
    assert geometry["type"] == "MultiPolygon"
    xs = [[p[0] for p in polygon[0]] for polygon in geometry["coordinates"]]
    assert [(min(x), max(x)) for x in xs] == [(177.0, 180.0), (-180.0, -178.0)]


def test_distances_that_are_known():
    quarter = np.pi / 2 * EARTH_RADIUS_KM
    assert great_circle_km(0, 0, 90, 0) == pytest.approx(quarter)
    assert great_circle_km(-30, 90, 120, 90) == pytest.approx(0, abs=1e-6)
    assert great_circle_km(179.9, 0, -179.9, 0) == pytest.approx(0.2 / 360 * 4 * quarter)
    assert great_circle_km(10, 20, -170, -20) == pytest.approx(2 * quarter)
    assert great_circle_km(-98.0, 33.5, -98.0, 33.5 + 1e-7) == pytest.approx(1.112e-5, rel=1e-3)


@given(lons, lats, lons, lats)
def test_distance_agrees_with_the_angle_between_unit_vectors(lon_a, lat_a, lon_b, lat_b):
    a, b = unit_vectors(lon_a, lat_a), unit_vectors(lon_b, lat_b)
    angle = 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))
    assert great_circle_km(lon_a, lat_a, lon_b, lat_b) == pytest.approx(angle * EARTH_RADIUS_KM, abs=1e-4)


@given(lons, lats, st.floats(0.01, 3000))
def test_a_square_holds_its_centre_and_has_its_size(lon, lat, side_km):
    box = square_bbox(lon, lat, side_km)
    east = box.west + box.width_deg
    assert any(box.west - 1e-9 <= lon + turn <= east + 1e-9 for turn in (-360, 0, 360))
    assert box.south <= lat <= box.north
    if abs(lat) < 60 and side_km < 500:
        assert great_circle_km(lon, box.south, lon, box.north) == pytest.approx(side_km, rel=1e-6)
        assert great_circle_km(box.west, lat, east, lat) == pytest.approx(side_km, rel=0.01)


@given(st.floats(-1e4, 1e4))
def test_longitudes_wrap_into_one_turn(lon):
    assert -180 <= wrap_lon(lon) <= 180
    assert np.cos(np.radians(wrap_lon(lon))) == pytest.approx(np.cos(np.radians(lon)), abs=1e-9)


def test_the_curve_visits_every_cell_and_steps_to_a_neighbour():
    side = 32
    centres = (np.arange(side) + 0.5) / side
    cells = list(itertools.product(range(side), range(side)))
    lon = np.array([centres[x] * 360 - 180 for x, _ in cells])
    lat = np.array([centres[y] * 180 - 90 for _, y in cells])
    keys = curve_key(lon, lat)
    assert len(set(keys.tolist())) == side * side
    path = np.array(cells)[np.argsort(keys)]
    assert (np.abs(np.diff(path, axis=0)).sum(axis=1) == 1).all()


@pytest.mark.parametrize(("lon", "lat"), [(181, 0), (-180.1, 0), (0, 90.1), (float("nan"), 0), (0, float("inf"))])
def test_positions_off_the_globe_are_refused(lon, lat):
    with pytest.raises(InvalidInputError, match="must lie in"):
        check_lon_lat(lon, lat)
