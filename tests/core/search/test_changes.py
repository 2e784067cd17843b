"""What changed: against brute force over all pairs of tiles, however many shards, and at the edges."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from tests.core.search.fakes import FakeModel, random_collection, revisited_collection
from wildsat_core.collection import open_collection
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.errors import InvalidInputError, LimitExceededError
from wildsat_core.geo import KM_PER_DEGREE, great_circle_km
from wildsat_core.search.changes import Period, rank_pairs
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.query import Circle, Filters, Query, TextTerm, TileTerm
from wildsat_core.search.same_place import Dated, Pairs, find_pairs
from wildsat_core.types import BBox

EVER = Period()
OLD, NEW = Period(None, dt.date(2020, 12, 31)), Period(dt.date(2020, 6, 1), None)
DUNES = Query((TextTerm("dunes"),), k=1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("changes") / "visits"
    revisited_collection(root, 300)
    delete_tiles(root, np.arange(0, 300, 9), generation=1)
    return root


@pytest.fixture(scope="module", params=["float32", "int8"])
def engines(folder, request):
    settings = {} if request.param == "float32" else {"exact_scan_rows": 10}
    return [SearchEngine(open_collection(folder), FakeModel(), shards=count, **settings) for count in (1, 3, 7)]


def same_places(tiles):
    """Which tiles show one place, each with each, as the documentation says it."""
    side = np.array([(tile.bbox.north - tile.bbox.south) * KM_PER_DEGREE for tile in tiles])
    lon, lat = np.array([tile.lon_lat for tile in tiles]).T
    shorter, longer = np.minimum.outer(side, side), np.maximum.outer(side, side)
    return (longer <= 1.25 * shorter) & (great_circle_km(lon[:, None], lat[:, None], lon, lat) <= shorter / 4)


def brute(engine, query, before, after, direction):
    """Ids of the pairs and their differences, from the definition."""
    rows = engine.passing(query.filters)
    tiles = {row: tile for row, tile in zip(rows.tolist(), engine.tiles_at(rows), strict=True) if tile.captured_on}
    scores = dict(zip(rows.tolist(), engine.shards.exact_at(rows, engine.plan(query)), strict=True))
    old, new = (
        [row for row, t in tiles.items() if (p.first or t.captured_on) <= t.captured_on <= (p.last or t.captured_on)]
        for p in (before, after)
    )
    names = list(tiles)
    like = {
        names[i]: [names[j] for j in np.flatnonzero(one)] for i, one in enumerate(same_places(list(tiles.values())))
    }
    first = [a for a in old if a == min(set(like[a]) & set(old), key=lambda r: (tiles[r].captured_on, r))]
    last = [b for b in new if b == min(set(like[b]) & set(new), key=lambda r: (-tiles[r].captured_on.toordinal(), r))]
    pairs = [(a, b) for a in first for b in last if b in like[a] and tiles[a].captured_on < tiles[b].captured_on]
    gain = {pair: scores[pair[1]] - scores[pair[0]] for pair in pairs}
    key = {"any": lambda p: -abs(gain[p]), "gain": lambda p: -gain[p], "loss": lambda p: gain[p]}[direction]
    ranked = sorted(sorted(pairs), key=key)
    return [(tiles[a].tile_id, tiles[b].tile_id, float(scores[b]) - float(scores[a])) for a, b in ranked]


def told(result):
    return [(one.before.tile.tile_id, one.after.tile.tile_id, one.difference) for one in result.changes]


@pytest.mark.parametrize(
    ("filters", "before", "after", "direction"),
    [
        (Filters(), EVER, EVER, "any"),
        (Filters(), OLD, NEW, "gain"),
        (Filters(max_cloud=0.7), OLD, NEW, "loss"),
        (Filters(date_from=dt.date(2019, 6, 1), months=frozenset(range(4, 10))), EVER, NEW, "any"),
        (Filters(bbox=BBox(170, -90, -170, 90)), EVER, EVER, "loss"),
        (Filters(circle=Circle(0, 0, 500)), OLD, EVER, "gain"),
    ],
)
def test_changes_are_those_of_brute_force_however_many_shards(engines, filters, before, after, direction):
    query = replace(DUNES, filters=filters)
    expected = brute(engines[0], query, before, after, direction)
    assert len(expected) > 3
    results = [replace(engine.changes(query, before, after, direction), timings_ms={}) for engine in engines]
    assert [told(result) for result in results] == [expected] * len(engines)
    assert results[0].matched == len(expected)
    assert results[1:] == results[:1] * 2, "to the last bit, percentiles and tiles among it"
    page = engines[1].changes(replace(query, k=2, offset=1), before, after, direction)
    assert (told(page), [change.rank for change in page.changes]) == (expected[1:3], [2, 3])


def test_each_half_of_a_change_is_scored_as_a_hit_is(engines):
    engine = engines[0]
    change = engine.changes(replace(DUNES, k=1), EVER, EVER).changes[0]
    for half in (change.before, change.after):
        hit = engine.search(replace(DUNES, filters=Filters(tile_ids=frozenset({half.tile.tile_id})))).hits[0]
        assert (hit.score, hit.percentile, hit.fit) == (half.score, half.percentile, half.fit)


class Rough:
    """Shards whose first pass is as far off as it says it may be."""

    def __init__(self, truth, bound):
        self.truth, self.bound = truth, bound

    def rough_at(self, rows, plan):
        off = np.where(np.arange(len(self.truth)) % 2, self.bound, -self.bound)
        return (self.truth + off).astype(np.float32)[rows], self.bound

    def exact_at(self, rows, plan):
        return self.truth[rows]


@pytest.mark.parametrize("direction", ["any", "gain", "loss"])
def test_what_a_rough_first_pass_hides_is_found(direction):
    rng = np.random.default_rng(1)
    truth = rng.standard_normal(400).astype(np.float32)
    pairs = Pairs(np.arange(200), np.arange(400)[:199:-1])  # the two of a pair are off in opposite ways
    gain = truth[pairs.after] - truth[pairs.before]
    key = {"any": np.abs(gain), "gain": gain, "loss": -gain}[direction]
    for count in (1, 5, 50):
        found, scores = rank_pairs(Rough(truth, 0.3), None, pairs, direction, count)
        assert found.tolist() == np.argsort(-key, kind="stable")[:count].tolist()
        np.testing.assert_array_equal(scores[:, 1] - scores[:, 0], gain[found])


def test_a_tile_can_be_the_question(engines):
    like = Query((TileTerm(engines[0].tiles_at([5])[0].tile_id),), k=1000)
    assert told(engines[2].changes(like, EVER, EVER)) == brute(engines[0], like, EVER, EVER, "any")


def test_pairs_are_found_at_any_size_and_anywhere():
    rng = np.random.default_rng(3)
    places = 3000
    side = 10.0 ** rng.uniform(-3, 2.5, places)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, places)))
    lat[:50], lon = 90.0, rng.uniform(-180, 180, places)
    lon[50:90] = rng.choice([-180.0, 180.0], 40)  # the same meridian

    def seen(day):
        return Dated(np.arange(places), lon, lat, side, np.full(places, np.datetime64(day)))

    old = seen("2020-01-01")
    shift = rng.uniform(0, 0.5, places) * side / KM_PER_DEGREE  # half are moved too far
    new = replace(seen("2021-01-01"), rows=np.arange(places) + places, lat=np.clip(lat - shift, -90, 90))
    pairs = find_pairs(old, new)
    found = set(zip(pairs.before.tolist(), (pairs.after - places).tolist(), strict=True))
    away = great_circle_km(lon, lat, new.lon, new.lat)
    moved_little = np.flatnonzero(away <= side / 4)
    alone = [i for i in moved_little.tolist() if i >= 50]  # those at the pole are one another's places
    assert {(i, i) for i in alone} <= found
    assert not {(i, i) for i in np.flatnonzero(away > side / 4).tolist()} & found


def test_a_place_seen_once_or_twice_on_one_day_has_not_changed():
    at = np.zeros(2)
    twice = Dated(np.arange(2), at, at, at + 1.0, np.array(["2020-01-01", "2020-01-01"], "datetime64[D]"))
    nothing = Dated(np.arange(0), at[:0], at[:0], at[:0], twice.days[:0])
    for before, after in ((twice, twice), (twice, nothing), (nothing, twice), (nothing, nothing)):
        assert find_pairs(before, after).before.tolist() == []


def test_what_has_no_days_can_not_change(tmp_path, engines, monkeypatch):
    collection = random_collection(tmp_path / "random", 30)
    undated = SearchEngine(collection, FakeModel())
    undated.shards.extent = replace(undated.shards.extent, days=None)
    with pytest.raises(InvalidInputError, match="days of the tiles of 'random' are not known"):
        undated.changes(DUNES, EVER, EVER)
    with pytest.raises(InvalidInputError, match="no day is left between 2021-01-01 and 2020-12-31"):
        engines[0].changes(replace(DUNES, filters=Filters(date_from=dt.date(2021, 1, 1))), OLD, NEW)
    monkeypatch.setattr("wildsat_core.search.changes.MAX_DATED", 10)
    with pytest.raises(LimitExceededError, match="at most 10 can be compared") as caught:
        engines[0].changes(replace(DUNES, filters=Filters(max_cloud=0.99)), EVER, EVER)
    assert caught.value.parameter == "before"
