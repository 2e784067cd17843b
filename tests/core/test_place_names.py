"""Places in words: outlines decide, boxes name."""

from __future__ import annotations

import pytest

from wildsat_core.countries import load_countries
from wildsat_core.place_names import ocean, place_name

PLACES = {
    (55.5, -21.1): "Réunion, France",
    (93.8, 7.1): "Nicobar Islands, India",
    (18.0, 44.0): "Bosnia and Herzegovina",
    (-74.0, -4.0): "Northern Peru",
    (2.5, 47.0): "Central France",
    (-53.0, 4.0): "French Guiana, France",
    (-150.0, 65.0): "Alaska, United States",
    (110.0, 0.0): "Borneo, Indonesia",
    (145.4, -5.8): "Papua New Guinea",
    (-173.0, 66.4): "North-eastern Russia",
    (-179.5, 66.5): "North-eastern Russia",
    (178.0, -17.8): "Fiji",
    (-60.0, -80.0): "Western Antarctica",
    (16.0, 38.3): "South-eastern Italy",  # in the box of Sicily, and no part of it
    (14.3, 37.5): "Sicily, Italy",
    (102.0, 4.0): "Malay Peninsula, Malaysia",  # in the box of Sumatra, as the next is
    (103.82, 1.36): "Singapore",
    (102.0, 0.0): "Sumatra, Indonesia",
    (114.7, 4.5): "Borneo, Brunei",  # three countries share it
    (117.0, 5.5): "Borneo, Malaysia",
    (-68.5, -54.5): "Tierra del Fuego, Argentina",
    (73.5, 4.18): "Maldives",
    (12.46, 43.94): "San Marino",
    (1.55, 42.55): "Andorra",
    (9.55, 47.15): "Liechtenstein",
    (14.43, 35.9): "Malta",
    (166.93, -0.53): "Nauru",
    (45.15, -12.83): "Mayotte, France",
    (-61.0, 14.65): "Martinique, France",
    (-25.5, 37.78): "Azores, Portugal",
    (39.35, -6.1): "Zanzibar, Tanzania",
    (-59.55, 13.18): "Barbados",
    (20.9, 54.7): "Kaliningrad, Russia",
    (-75.0, -30.0): "South Pacific Ocean off Chile",
    (3.0, 3.0): "Gulf of Guinea",
    (165.0, 55.0): "Bering Sea",
    (178.0, -75.0): "Ross Sea",
    (-30.0, 30.0): "North Atlantic Ocean",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_called_what_people_call_it(place: tuple[float, float]) -> None:
    code = load_countries().code_at([place])[0]
    assert place_name(*place, code) == PLACES[place]


def test_a_coast_bears_its_country_and_an_unknown_code_is_none() -> None:
    assert place_name(55.9, -21.2, "FRA") == "Réunion, France", "in the water beside the island"
    assert place_name(3.0, 3.0, "ZZZ") == "Gulf of Guinea"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ((-40, 10), "North Atlantic Ocean"),
        ((75, -20), "Indian Ocean"),
        ((-85, -10), "South Pacific Ocean"),
        ((-160, 30), "North Pacific Ocean"),
        ((0, 85), "Arctic Ocean"),
        ((90, -65), "Southern Ocean"),
        ((180, 0), "North Pacific Ocean"),
    ],
)
def test_every_water_has_an_ocean(place: tuple[float, float], name: str) -> None:
    assert ocean(*place) == name


def test_no_country_is_shortened() -> None:
    names = load_countries().names
    assert [name for name in names.values() if "." in name.replace("U.S.", "")] == []
    assert (names["COD"], names["DOM"], names["ESH"]) == ("DR Congo", "Dominican Republic", "Western Sahara")
