"""CQL2 on tiles: each operation against rows worked out by hand, nulls, and what is refused."""

import datetime as dt
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.properties import PROPERTIES, PropertyFilter, queryables
from wildsat_core.search.properties.comparing import Pattern
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile

DAY = dt.date
TILES = [
    Tile("amazon", BBox(-61, -4, -60, -3), 10.0, "s2", captured_on=DAY(2024, 7, 1), cloud_cover=0.1, country="BRA",
         land_share=1.0),
    Tile("sahara", BBox(10, 24, 11, 25), 10.0, "s2", captured_on=DAY(2024, 1, 15), cloud_cover=0.0, country="DZA"),
    Tile("fiji", BBox(179.5, -18, -179.5, -17), 0.6, "aerial", "", DAY(2023, 7, 9), 0.3, "FJI", 0.25),
    Tile("sea", BBox(0, 0, 1, 1), 500.0, "s2"),
]  # fmt: skip


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    root = tmp_path_factory.mktemp("collections") / "toy"
    with CollectionWriter(root, "toy", ModelRef("m", "", "", ""), {"text": SpaceSpec(2, "cosine")}) as writer:
        writer.add(TILES, {"text": np.tile(np.float32([0.6, 0.8]), (len(TILES), 1))})
        writer.publish()
    return open_collection(root)


def passing(collection, expression, language=None) -> set[str]:
    rows = PropertyFilter.read(expression, language).passing(collection, np.arange(len(TILES)))
    return {collection.tile(row).tile_id for row in rows}


ALL = {"amazon", "sahara", "fiji", "sea"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id = 'sea'", {"sea"}),
        ("tile_id <> 'sea'", ALL - {"sea"}),
        ("gsd < 10", {"fiji"}),
        ("gsd <= 10", ALL - {"sea"}),
        ("gsd > 10", {"sea"}),
        ("gsd >= 10", ALL - {"fiji"}),
        ("gsd = 0.6", {"fiji"}),
        ("10 < gsd", {"sea"}),
        ("eo:cloud_cover = 30", {"fiji"}),
        ("wildsat:land_share < 0.5", {"fiji"}),
        ("land_share >= 0.9", {"amazon"}),
        ("cloud_cover <= 0.1", {"amazon", "sahara"}),
        ("\"wildsat:country\" = 'BRA'", {"amazon"}),
        ("country IN ('BRA', 'FJI')", {"amazon", "fiji"}),
        ("country NOT IN ('BRA', 'FJI')", {"sahara"}),
        ("country_name = 'Brazil'", {"amazon"}),
        ("CASEI(country) = CASEI('bra')", {"amazon"}),
        ("ACCENTI(source) = ACCENTI('äerial')", {"fiji"}),
        ("source LIKE 'a%l'", {"fiji"}),
        ("id LIKE '_a%'", {"sahara"}),
        ("CASEI(id) LIKE CASEI('A%')", {"amazon"}),
        ("id NOT LIKE 's%'", {"amazon", "fiji"}),
        ("gsd BETWEEN 5 AND 10", {"amazon", "sahara"}),
        ("gsd NOT BETWEEN 5 AND 10", {"fiji", "sea"}),
        ("datetime BETWEEN TIMESTAMP('2024-01-01T00:00:00Z') AND TIMESTAMP('2024-06-01T00:00:00Z')", {"sahara"}),
        ("datetime >= DATE('2024-01-15')", {"amazon", "sahara"}),
        ("datetime > TIMESTAMP('2024-01-15T00:00:00Z')", {"amazon"}),
        ("datetime >= '2024-01-15'", {"amazon", "sahara"}),
        ("datetime = TIMESTAMP('2024-01-15T02:00:00+02:00')", {"sahara"}),
        ("country IS NULL", {"sea"}),
        ("country IS NOT NULL", ALL - {"sea"}),
        ("datetime IS NULL", {"sea"}),
        ("geometry IS NULL", set()),
        ("5 IS NULL OR 'x' IS NULL OR TRUE IS NULL", set()),
        ("TRUE", ALL),
        ("FALSE OR gsd < 1", {"fiji"}),
        ("TRUE AND NOT FALSE", ALL),
        ("datetime = datetime", ALL - {"sea"}),
        ("start_datetime < TIMESTAMP('1970-01-02T00:00:00Z')", {"sea"}),
        # A comparison with null is neither true nor false.
        ("NOT country = 'BRA'", {"sahara", "fiji"}),
        ("country = 'BRA' OR gsd > 100", {"amazon", "sea"}),
        ("NOT (country = 'BRA' AND gsd < 100)", {"sahara", "fiji", "sea"}),
        ("NOT (country = 'BRA' OR gsd < 100)", set()),
        ("T_AFTER(datetime, DATE('2024-01-14'))", {"amazon", "sahara"}),
        ("T_AFTER(datetime, DATE('2024-01-15'))", {"amazon"}),
        ("T_BEFORE(datetime, TIMESTAMP('2024-01-01T00:00:00Z'))", {"fiji"}),
        ("T_DURING(datetime, INTERVAL('2024-01-01', '2024-02-01'))", {"sahara"}),
        ("T_INTERSECTS(datetime, INTERVAL('..', '2024-01-15'))", {"sahara", "fiji"}),
        ("T_DISJOINT(datetime, INTERVAL('2024-01-01T00:00:00Z', '..'))", {"fiji"}),
        ("T_EQUALS(datetime, TIMESTAMP('2024-01-15T00:00:00Z'))", {"sahara"}),
        ("T_CONTAINS(INTERVAL('2024-01-01', '2024-02-01'), datetime)", {"sahara"}),
        ("T_INTERSECTS(INTERVAL(start_datetime, end_datetime), DATE('2000-01-01'))", {"sea"}),
        ("S_INTERSECTS(geometry, POINT(-60.5 -3.5))", {"amazon"}),
        ("S_INTERSECTS(geometry, BBOX(-62, -5, 0, 1))", {"amazon", "sea"}),
        ("S_INTERSECTS(geometry, BBOX(179, -20, -179, -10))", {"fiji"}),
        ("S_INTERSECTS(geometry, LINESTRING(-179.9 -17.5, -179.8 -17.5))", {"fiji"}),
        ("S_DISJOINT(geometry, BBOX(-62, -5, 0, 1))", {"sahara", "fiji"}),
        ("S_WITHIN(geometry, POLYGON((9 23, 12 23, 12 26, 9 26, 9 23)))", {"sahara"}),
        ("S_CONTAINS(geometry, POINT(10.5 24.5))", {"sahara"}),
        ("S_WITHIN(POINT(10.5 24.5), geometry)", {"sahara"}),
        ("S_TOUCHES(geometry, BBOX(1, 0, 2, 1))", {"sea"}),
        ("S_EQUALS(geometry, BBOX(0, 0, 1, 1))", {"sea"}),
        ("S_OVERLAPS(geometry, BBOX(0.5, 0.5, 2, 2))", {"sea"}),
        ("S_CROSSES(geometry, LINESTRING(0.5 0.5, 3 3))", {"sea"}),
        ("NOT S_INTERSECTS(geometry, POINT(0.5 0.5)) AND gsd > 1", {"amazon", "sahara"}),
    ],
)
def test_text_finds_what_it_says_and_json_the_same(collection, text, expected):
    assert passing(collection, text) == expected
    read = PropertyFilter.read(text, "cql2-text")
    if isinstance(read.expression, dict):
        again = PropertyFilter.read(read.text, "cql2-json")
        assert again == read
        assert passing(collection, read.expression) == expected


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "not CQL2"),
        ("gsd >", "not CQL2"),
        ("gsd", "a condition is wanted"),
        ("colour = 1", "no property 'colour'.*eo:cloud_cover"),
        ("gsd = 'x'", "number and text can't be compared"),
        ("country = 1", "can't be compared"),
        ("datetime > 'yesterday'", "no time or day"),
        ("datetime > DATE('2024-13-01')", "no time or day"),
        ("datetime = country", "a time can't be compared"),
        ("gsd LIKE 'a%'", "can't be compared"),
        ("country BETWEEN 'A' AND 'B'", "BETWEEN"),
        ("gsd IN (1, 'a')", "can't be compared"),
        ("gsd + 1 = 2", "is wanted, got"),
        ("f(gsd) = 2", "is wanted, got"),
        ("f(gsd)", "'f' is not known"),
        ("S_INTERSECTS(geometry, geometry)", "on one side"),
        ("S_INTERSECTS(id, POINT(0 0))", "on one side"),
        ("S_INTERSECTS(geometry, POINT(200 0))", "longitudes"),
        ("S_INTERSECTS(geometry, BBOX(0, 5, 1, 1))", "south"),
        ("T_AFTER(gsd, DATE('2024-01-01'))", "a time is wanted"),
        ("A_EQUALS(gsd, (1, 2))", "is not known"),
        ("NOT " * 50 + "TRUE", "nested deeper"),
        (" OR ".join(["gsd = 1"] * 200), "more than 500"),
        (" OR ".join(["S_INTERSECTS(geometry, POINT(0 0))"] * 5), "comparisons of geometries"),
        ("id = '" + "x" * 20_000 + "'", "characters"),
        ({"op": "=", "args": [{"property": "gsd"}]}, "takes 2 arguments|not CQL2"),
        ({"op": "and", "args": []}, "takes 1 or more|not CQL2"),
        ({"op": "isNull", "args": [{"op": "f", "args": []}]}, "is wanted|not CQL2"),
        ({"op": "in", "args": [{"property": "gsd"}, []]}, "a list of values|not CQL2"),
        ({"property": "gsd"}, "a condition is wanted"),
        ({"op": "="}, "not CQL2"),
        ({"op": "=", "args": {}}, "not CQL2"),
        ({"op": 5, "args": []}, "not CQL2"),
        ({}, "not CQL2"),
        ('{"op":', "not JSON"),
        ("[1]", "not CQL2"),
        ("id = '\ud800'", "not CQL2"),
    ],
)
def test_what_tiles_can_not_answer_is_refused_with_its_reason(wrong, said):
    with pytest.raises(InvalidInputError, match=said) as refused:
        PropertyFilter.read(wrong)
    assert refused.value.parameter == "filter"


def test_json_of_any_depth_is_refused_in_time():
    deep: object = True
    for _ in range(100_000):
        deep = {"op": "not", "args": [deep]}
    with pytest.raises(InvalidInputError, match="nested deeper"):
        PropertyFilter.read(deep)
    while isinstance(deep, dict):  # taken apart here, since the interpreter would do so recursively
        deep = deep["args"].pop()


def test_the_language_must_be_one_of_two():
    with pytest.raises(InvalidInputError, match="cql2-text or cql2-json") as refused:
        PropertyFilter.read("gsd = 1", "ecql")
    assert refused.value.parameter == "filter-lang"
    with pytest.raises(InvalidInputError, match="must be text"):
        PropertyFilter.read({"op": "=", "args": [{"property": "gsd"}, 1]}, "cql2-text")


def test_everything_that_may_be_asked_is_described():
    assert set(queryables()) == {*PROPERTIES, "geometry"}
    json.dumps(queryables())


@given(st.text("ab%_\\", max_size=8), st.text("ab%_\\", max_size=8))
@settings(max_examples=300, deadline=None)
def test_like_is_what_the_standard_says(pattern, text):
    def fits(p: str, t: str) -> bool:  # by definition
        if not p:
            return not t
        if p[0] == "\\" and len(p) > 1:
            return t[:1] == p[1] and fits(p[2:], t[1:])
        if p[0] == "%":
            return any(fits(p[1:], t[i:]) for i in range(len(t) + 1))
        return bool(t) and (p[0] == "_" or p[0] == t[0]) and fits(p[1:], t[1:])

    assert Pattern(pattern).fits(text) == fits(pattern, text)


def test_a_pattern_of_many_wildcards_takes_no_time():
    started = time.monotonic()
    for _ in range(100):
        assert not Pattern("%a" * 50 + "%b").fits("a" * 128)
    assert time.monotonic() - started < 2


@given(st.recursive(
    st.sampled_from(["gsd < 10", "gsd >= 10", "country = 'BRA'", "country IS NULL", "eo:cloud_cover > 5", "TRUE"]),
    lambda inner: st.one_of(
        inner.map(lambda a: f"NOT ({a})"),
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    ), max_leaves=6))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_logic_is_that_of_three_values(collection, text):
    sqlite = pytest.importorskip("sqlite3")
    table = sqlite.connect(":memory:")
    table.execute('CREATE TABLE tiles (id TEXT, gsd REAL, country TEXT, "eo:cloud_cover" REAL)')
    table.executemany(
        "INSERT INTO tiles VALUES (?, ?, ?, ?)",
        [(t.tile_id, t.gsd_m, t.country, None if t.cloud_cover is None else 100 * t.cloud_cover) for t in TILES],
    )
    by_sql = table.execute(
        f"SELECT id FROM tiles WHERE {text.replace('eo:cloud_cover', chr(34) + 'eo:cloud_cover' + chr(34))}"
    )
    assert passing(collection, text) == {row[0] for row in by_sql}
    table.close()
