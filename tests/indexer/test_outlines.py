import numpy as np
import pytest
import shapely

from indexer.sources.outlines import outline_on_globe


def polygon(*ring):
    return {"type": "Polygon", "coordinates": [[*map(list, ring), list(ring[0])]]}


def box_ring(west, south, east, north):
    return (west, south), (east, south), (east, north), (west, north)


OVER_180 = shapely.union_all([shapely.box(179.97, 10, 180, 11), shapely.box(-180, 10, -179.96, 11)])


@pytest.mark.parametrize(
    "ring",
    [
        box_ring(179.97, 10, 180.04, 11),  # goes on beyond 180
        box_ring(-180.03, 10, -179.96, 11),  # begins before -180
        box_ring(179.97, 10, -179.96, 11),  # at its word, a ring round the globe
        box_ring(-179.96, 10, 179.97, 11),
        ((179.97, 10), (180, 10), (-180, 10), (-179.96, 10), (-179.96, 11), (-180, 11), (180, 11), (179.97, 11)),
        box_ring(539.97, 10, 540.04, 11),
    ],
)
def test_every_way_to_write_an_outline_over_180_degrees_means_the_same(ring):
    outline = outline_on_globe(polygon(*ring))
    assert outline.symmetric_difference(OVER_180).area < 1e-6
    assert outline.bounds[0] >= -180
    assert outline.bounds[2] <= 180


def test_an_outline_that_is_cut_at_180_already_stays():
    parts = [shapely.geometry.mapping(part) for part in OVER_180.geoms]
    given = {"type": "MultiPolygon", "coordinates": [part["coordinates"] for part in parts]}
    assert outline_on_globe(given).equals(OVER_180)


def test_an_outline_elsewhere_stays_with_its_hole():
    shape = shapely.box(0, 0, 10, 10).difference(shapely.box(4, 4, 6, 6))
    assert outline_on_globe(shapely.geometry.mapping(shape)).equals(shape)


def test_a_hole_is_kept_across_180_degrees():
    outer, hole = (
        [[175, 0], [-175, 0], [-175, 10], [175, 10], [175, 0]],
        [[179, 4], [-179, 4], [-179, 6], [179, 6], [179, 4]],
    )
    outline = outline_on_globe({"type": "Polygon", "coordinates": [outer, hole]})
    assert outline.area == pytest.approx(10 * 10 - 2 * 2)


def test_an_outline_that_crosses_itself_keeps_both_its_sides():
    outline = outline_on_globe(polygon((0, 0), (2, 2), (2, 0), (0, 2)))
    assert outline.is_valid
    assert outline.area == pytest.approx(2)


def test_the_whole_globe_stays_the_whole_globe():
    assert outline_on_globe(polygon(*box_ring(-180, -90, 180, 90))).area == pytest.approx(360 * 180)
    with_middle = [(-180, -90), (0, -90), (180, -90), (180, 90), (0, 90), (-180, 90)]
    assert outline_on_globe(polygon(*with_middle)).area == pytest.approx(360 * 180)


def test_a_ring_round_a_pole_holds_the_pole():
    ring = [(lon, -80) for lon in range(-180, 180, 30)]
    outline = outline_on_globe(polygon(*ring))
    assert outline.area == pytest.approx(360 * 10)
    assert outline.contains(shapely.Point(17, -89))


def test_heights_are_left_out():
    ring = [[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 1, 5], [0, 0, 5]]
    assert outline_on_globe({"type": "Polygon", "coordinates": [ring]}).equals(shapely.box(0, 0, 1, 1))


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": [0, 0]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [np.nan, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 95], [1, 95], [1, 99], [0, 95]]]},
        {"type": "Polygon", "coordinates": [[["a", 0], [1, 0], [1, 1], ["a", 0]]]},
    ],
)
def test_what_is_no_outline_is_refused(geometry):
    with pytest.raises((KeyError, TypeError, ValueError)):
        outline_on_globe(geometry)
