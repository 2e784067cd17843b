"""Countries: a small stitched world written here, read as the atlas is, and the table that comes along."""

import json
import subprocess
import sys
from pathlib import Path

import iso3166
import numpy as np
import pyarrow.parquet as pq
import pytest

from wildsat_core.countries import FILE, Countries, country_of, load_countries
from wildsat_core.data.make_countries import ATLAS, countries_table, read_topojson

ROOT = Path(__file__).parents[2]


def ring(*positions):
    """A closed arc of whole degrees, as steps."""
    closed = np.array([*positions, positions[0]])
    return np.vstack([closed[:1], np.diff(closed, axis=0)]).tolist()


@pytest.fixture
def world(tmp_path):
    """Four countries: a square with a hole, one across the antimeridian, one around the South Pole, one disputed."""
    arcs = [
        ring((-104, 30), (-92, 30), (-92, 38), (-104, 38)),  # 0: square around 33.5 N, 98 W
        ring((-99, 33), (-97, 33), (-97, 34), (-99, 34)),  # 1: its hole, which is another country
        ring((176, -20), (-178, -20), (-178, -15), (176, -15)),  # 2: as the file has it, stepping across 180
        ring((-180, -70), (-90, -70), (0, -70), (90, -70)),  # 3: around the pole
        ring((20, 40), (22, 40), (22, 42), (20, 42)),  # 4
    ]
    shapes = [
        ("840", "Square", [[0], [1]]),
        ("484", "Hole", [[~1]]),  # the hole's arc, the other way around
        ("242", "Dateline", [[2]]),
        ("010", "Polar", [[3]]),
        (None, "Kosovo", [[4]]),
    ]
    geometries = [
        {"type": "Polygon", "arcs": a, "properties": {"name": n}, **({"id": i} if i else {})} for i, n, a in shapes
    ]
    topology = {
        "type": "Topology",
        "transform": {"scale": [1, 1], "translate": [0, 0]},
        "arcs": arcs,
        "objects": {"countries": {"type": "GeometryCollection", "geometries": geometries}},
    }
    path = tmp_path / "countries-50m.json"
    path.write_text(json.dumps(topology))
    return Countries(read_topojson(path))


def test_a_place_in_a_hole_belongs_to_the_country_that_fills_it(world):
    assert world.code_at([[-98, 33.5], [-101, 33.5], [-110, 33.5]]) == ["MEX", "USA", None]


def test_a_country_across_the_antimeridian_is_found_on_both_sides_and_not_around_the_globe(world):
    places = [[179, -17], [-179, -17], [180, -17], [-180, -17], [0, -17], [170, -17]]
    assert world.code_at(places) == ["FJI", "FJI", "FJI", "FJI", None, None]


def test_the_pole_belongs_to_the_country_around_it(world):
    assert world.code_at([[0, -90], [123, -89], [-179, -71], [45, -69]]) == ["ATA", "ATA", "ATA", None]


def test_a_country_without_a_number_in_the_file_gets_its_code_by_name(world):
    assert world.code_at([[21, 41]]) == ["XKX"]
    assert world.name_of("XKX") == "Kosovo"
    assert world.name_of("ZZZ") is None


def test_a_place_at_sea_takes_the_nearest_country_within_the_distance_only(world):
    place = [[-91.5, 34.0]]  # 46 km east of the square
    assert world.code_at(place) == [None]
    assert world.code_at(place, within_km=40) == [None]
    assert world.code_at(place, within_km=50) == ["USA"]


def test_no_places_give_no_codes(world):
    assert world.code_at(np.empty((0, 2))) == []


@pytest.mark.skipif(not (ROOT / ATLAS).is_file(), reason="world-atlas is not installed: python -m app.assets")
def test_the_table_is_what_the_atlas_and_the_codes_give():
    made = countries_table(read_topojson(ROOT / ATLAS))
    kept = pq.read_table(FILE)
    assert kept.slice(0, len(made)).equals(made)
    assert set(kept["code"].to_pylist()) - set(made["code"].to_pylist()) == {"GIB", "TUV", "UMI"}, "of a finer atlas"
    assert json.loads(kept.schema.metadata[b"geo"])["primary_column"] == "geometry"


def test_names_are_those_of_codes_in_iso_3166():
    names = load_countries().names
    assert set(names) <= {country.alpha3 for country in iso3166.countries}
    assert list(names.values()) == sorted(names.values())
    assert names["BRA"] == "Brazil"


def test_real_outlines_know_well_known_places():
    places = {
        (-98.0, 33.5): "USA",
        (-60.0, -3.0): "BRA",
        (178.0, -17.8): "FJI",
        (-179.5, 66.5): "RUS",
        (0.0, -90.0): "ATA",
        (28.3, -29.5): "LSO",  # an enclave: a hole of South Africa
        (-5.35, 36.14): "GIB",  # too small for 1 : 50 million
        (-30.0, 30.0): None,
    }
    found = load_countries().code_at(list(places))
    assert dict(zip(places, found, strict=True)) == places
    assert country_of(-60.0, -3.0) == ("BRA", "Brazil")
    small = [[179.2, -8.52], [7.4246, 43.7384], [113.55, 22.2]]
    assert load_countries().code_at(small, within_km=5) == ["TUV", "MCO", "MAC"]


def test_real_outlines_cover_the_known_share_of_the_globe():
    rng = np.random.default_rng(5)
    places = np.column_stack([rng.uniform(-180, 180, 20_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))])
    share = sum(code is not None for code in load_countries().code_at(places)) / len(places)
    assert share == pytest.approx(0.29, abs=0.01)  # land is 29 % of the Earth


def test_many_threads_ask_at_once():
    """In a process of its own: where outlines are asked without turns, it ends by a segmentation fault."""
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from wildsat_core.countries import load_countries

sys.setswitchinterval(1e-5)
countries, rng = load_countries(), np.random.default_rng(1)
places = [np.column_stack([rng.uniform(-180, 180, 40), rng.uniform(-60, 80, 40)]) for _ in range(60)]
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda some: countries.code_at(some, 200.0), places))
assert found == [countries.code_at(some, 200.0) for some in places]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
