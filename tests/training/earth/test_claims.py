"""Tests of training/earth/claims.py."""

import numpy as np
import pytest

from training.earth.cells import ZONES
from training.earth.claims import Predicates
from training.earth.vocabulary import Vocabulary
from wildsat_core.errors import InvalidInputError


@pytest.fixture
def predicates(six_cells):
    return Predicates(six_cells, lambda name: six_cells.lat > 0, lambda name: six_cells.lon > 100)


def latitudes(cells, mask):
    return sorted(round(float(lat)) for lat in cells.lat[mask])


def test_zones_and_numbers_combine(predicates, six_cells):
    assert latitudes(six_cells, predicates.mask("zone('Af') & (rain > 2500)")) == [-17, -17]
    assert latitudes(six_cells, predicates.mask("(elev > 3000) | ~(coast > 10)")) == [-17, -17, 30]


def test_a_box_may_cross_the_antimeridian(predicates, six_cells):
    assert latitudes(six_cells, predicates.mask("box(179, -20, -179, -10)")) == [-17, -17]


def test_several_boxes_are_joined(predicates, six_cells):
    assert latitudes(six_cells, predicates.mask("box(-62, -5, -58, -1, 128, 60, 131, 64)")) == [-3, 62]


def test_facets_and_places_are_looked_up_by_name(predicates, six_cells):
    assert latitudes(six_cells, predicates.mask("facet('north') & place('east')")) == [62]


def test_half_years_of_rain_turn_round_south_of_the_equator(six_cells):
    rain = np.zeros_like(six_cells.rain_mm)
    rain[6] = 100.0  # July alone
    import dataclasses

    wet_july = dataclasses.replace(six_cells, rain_mm=rain)
    predicates = Predicates(wet_july, lambda name: wet_july.lat > 0, lambda name: wet_july.lat > 0)
    np.testing.assert_array_equal(predicates.mask("summer_rain > 0"), wet_july.lat > 0)
    np.testing.assert_array_equal(predicates.mask("winter_rain > 0"), wet_july.lat < 0)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("rain >", "rain >"),
        ("rain + 1", "truth value"),
        ("height > 3", "height"),
        ("zone('Zz')", "Zz"),
        ("box(1, 2, 3)", "got 3"),
        ("__import__('os')", "__import__"),
        ("(1).__class__ > 0", "__class__"),
        ("[c for c in 'a']", "for"),
    ],
)
def test_what_is_not_a_predicate_is_refused_and_shown(predicates, text, seen):
    with pytest.raises(InvalidInputError, match=seen.replace("(", r"\(")):
        predicates.mask(text)


def test_there_are_31_zones():
    assert len(set(ZONES)) == 31


def test_land_cover_is_a_number_like_any_other(six_cells):
    predicates = Vocabulary(six_cells).predicates
    np.testing.assert_array_equal(predicates.mask("barren > 0.5"), np.round(six_cells.lat) == 24)
    np.testing.assert_array_equal(predicates.mask("trees > 0.5"), six_cells.cover[[1, 2, 3, 4, 5]].sum(0) > 0.5)


def test_near_is_a_great_circle_and_a_country_its_outline(six_cells):
    predicates = Vocabulary(six_cells).predicates
    near = predicates.mask("near(180, -16.7, 60)")
    np.testing.assert_array_equal(near, np.abs(six_cells.lon) > 179)
    np.testing.assert_array_equal(predicates.mask("country('BRA')"), np.abs(six_cells.lat + 3.1) < 0.5)
