"""However many shards, one answer: to the last bit, for every kind of query and every feature of the engine."""

import datetime as dt
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from tests.core.search.fakes import REF, SPACES, FakeModel, random_tile, unit
from wildsat_core.area import Area
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.errors import InvalidInputError
from wildsat_core.region import Region
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.floor import find_lowest, histogram, ordered
from wildsat_core.search.layout import Layout
from wildsat_core.search.properties import PropertyFilter
from wildsat_core.search.query import (
    Circle,
    Filters,
    ImageTerm,
    PlaceTerm,
    Query,
    SpeciesTerm,
    TextTerm,
    TileTerm,
    VectorTerm,
)
from wildsat_core.types import BBox

N, SEGMENT_ROWS = 600, 67
SHARDS = (1, 2, 3, 7)
WORDS = ("mangrove coast", "dunes", "a bowl of ramen", "ice", "steppe", "rain")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("shards") / "random", np.random.default_rng(5)
    tiles, vectors = [random_tile(rng, i) for i in range(N)], {space: unit(rng, N) for space in SPACES}
    for rows in vectors.values():
        rows[1::9] = rows[::9][: len(rows[1::9])]  # equal scores are put in the order of rows
    with CollectionWriter(root, "random", REF, SPACES, segment_rows=SEGMENT_ROWS) as out:
        for first in range(0, N, SEGMENT_ROWS):
            part = slice(first, first + SEGMENT_ROWS)
            pictures = [f"picture {i}".encode() for i in range(N)[part]]
            out.add(tiles[part], {space: rows[part] for space, rows in vectors.items()}, pictures)
        out.publish()
    delete_tiles(root, rng.choice(N, 40, replace=False), generation=1)
    return root


def engines(folder, **settings):
    collection = open_collection(folder)
    return [SearchEngine(collection, FakeModel(), shards=count, **settings) for count in SHARDS]


@pytest.fixture(scope="module", params=["float32", "int8", "sampled and prefixed"])
def all_engines(folder, request):
    """The same collection in 1, 2, 3 and 7 shards, for each way to scan."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "sampled and prefixed":
            patch.setattr("wildsat_core.search.distribution.ALL_SORTED", 100)
            patch.setattr("wildsat_core.search.shard.SAMPLE_ROWS", 150)
            patch.setattr("wildsat_core.search.prefix.PREFIX_DIMS", 4)
            patch.setattr("wildsat_core.search.prefix.WORTH", 1.0)
        yield engines(folder, **({} if request.param == "float32" else {"exact_scan_rows": 10}))


def random_filters(rng):
    def maybe(share, make):
        return make() if rng.random() < share else None

    west, south = rng.uniform(-180, 100), rng.uniform(-90, 20)
    box = BBox(west, south, west + 80, south + 70)
    ring = [[-60, -40], [70, -50], [90, 60], [-30, 50], [-60, -40]]
    return Filters(
        bbox=maybe(0.2, lambda: box),
        area=maybe(0.15, lambda: Area.from_geojson({"type": "Polygon", "coordinates": [ring]})),
        circle=maybe(0.1, lambda: Circle(float(west), float(south), 6000.0)),
        countries=frozenset(rng.choice(["BRA", "FJI", "NOR", "PER"], 2)) if rng.random() < 0.2 else frozenset(),
        not_countries=frozenset(["BRA"]) if rng.random() < 0.1 else frozenset(),
        ranges=(Region("r", (box,)),) if rng.random() < 0.15 else (),
        date_from=maybe(0.2, lambda: dt.date(2021, 1, 1)),
        months=frozenset({1, 2, 3, 11}) if rng.random() < 0.1 else frozenset(),
        max_cloud=maybe(0.2, lambda: 0.6),
        min_land=maybe(0.1, lambda: 0.25),
        show_land=maybe(0.3, lambda: float(rng.choice([0.0, 0.5, 0.9]))),
        tile_ids=maybe(0.1, lambda: frozenset(f"tile-{i}" for i in rng.integers(0, N, 200))),
        where=maybe(0.1, lambda: PropertyFilter.read("cloud_cover < 0.7 OR country = 'FJI'")),
        min_percentile=maybe(0.25, lambda: float(rng.choice([0.0, 12.5, 50.0, 90.0, 99.9]))),
    )


def random_query(rng, live):
    kinds = [
        lambda w: TextTerm(str(rng.choice(WORDS)), weight=w),
        lambda w: SpeciesTerm("lion", ("savanna", "grassland"), weight=w),
        lambda w: TileTerm(str(rng.choice(live)), weight=w),
        lambda w: PlaceTerm(float(rng.uniform(-180, 180)), float(rng.uniform(-80, 80)), weight=w),
        lambda w: ImageTerm(rng.integers(0, 255, (3, 4, 4), np.uint8), weight=w),
        lambda w: VectorTerm("image", unit(rng, 1)[0], weight=w),
    ]
    weights = rng.choice([1.0, 1.0, 2.0, -0.5], rng.integers(0, 4))
    judged = [str(name) for name in rng.choice(live, 14, replace=False)] if rng.random() < 0.3 else []
    few = judged[: int(rng.integers(2, 14))]
    return Query(
        tuple(kinds[rng.integers(len(kinds))](float(weight)) for weight in weights),
        random_filters(rng),
        blend=None if rng.random() < 0.5 else float(rng.choice([0.0, 0.3, 1.0])),
        k=int(rng.choice([1, 5, 20, 100, 1000])),
        offset=int(rng.choice([0, 0, 3, 150])),
        spacing_km=float(rng.choice([0, 0, 0, 300, 2500])),
        overlapping=bool(rng.random() < 0.7),
        max_per_country=int(rng.integers(1, 20)) if rng.random() < 0.2 else None,
        liked=tuple(few[::2]),
        disliked=tuple(few[1::2]),
        explain=bool(rng.random() < 0.3),
    )


def told(engine, query):
    """Everything that the engine says of a query; an error is an answer, too."""
    try:
        result = replace(engine.search(query), timings_ms={})
    except InvalidInputError as err:
        return str(err)
    said = [result, engine.passing(query.filters).tolist()]
    if query.ranks:
        field = engine.heat(query)
        said += [field.grid(*at).tobytes() for at in ((4, 8, 7), (5, 17, 14))]
    if query.liked or query.disliked:
        said += [engine.uncertainty(query), engine.suggest(query, 7)]
    return said


def test_mixed_queries_are_answered_as_by_one_shard(all_engines):
    rng = np.random.default_rng(11)
    live = [tile.tile_id for tile in all_engines[0].tiles_at(np.flatnonzero(all_engines[0].collection.tiles.live))]
    one, *more = all_engines
    found = 0
    for _ in range(15):
        query = random_query(rng, live)
        expected = told(one, query)
        found += not isinstance(expected, str) and len(expected[0].hits)
        for engine in more:
            assert told(engine, query) == expected, (query, len(engine.shards.shards))
    assert found > 200


def test_the_world_is_painted_the_same(all_engines):
    query = Query((TextTerm("dunes"),), Filters(min_percentile=30.0))
    worlds = [engine.heat(query).grid(0, 0, 0) for engine in (all_engines[0], all_engines[2])]
    np.testing.assert_array_equal(*worlds)
    assert (~np.isnan(worlds[0])).any()


def test_a_ranking_for_an_export_is_the_same(all_engines):
    one, *more = all_engines
    query = Query((TextTerm("dunes"),), Filters(min_percentile=20.0))
    expected = one.rank(query, 400)
    table = one.table(expected.rows)
    for engine in more:
        ranking = engine.rank(query, 400)
        for name in ("rows", "scores", "percentiles"):
            np.testing.assert_array_equal(getattr(ranking, name), getattr(expected, name))
        assert (ranking.matched, ranking.backend) == (expected.matched, expected.backend)
        assert engine.table(ranking.rows).to_pylist() == table.to_pylist()
        assert engine.table(ranking.rows[:0]).num_rows == 0


def test_tiles_pictures_and_facts_are_the_same(all_engines):
    one, *more = all_engines
    rows = np.flatnonzero(one.collection.tiles.live)[::-3]
    for engine in more:
        tiles = engine.tiles_at(rows)
        assert tiles == one.tiles_at(rows)
        for tile in tiles[::40]:
            assert engine.row_of(tile.tile_id) == one.row_of(tile.tile_id)
            assert engine.tile(tile.tile_id) == tile
            assert engine.thumbnail(tile.tile_id) == f"picture {tile.tile_id.removeprefix('tile-')}".encode()
        np.testing.assert_array_equal(engine.vectors("text", rows), one.vectors("text", rows))
        facts = ("spatial_extent", "temporal_extent", "ground_scale", "tile_side_km", "_fit_levels")
        assert [getattr(engine, fact) for fact in facts] == [getattr(one, fact) for fact in facts]


def test_pages_are_the_same(all_engines):
    one, *more = all_engines
    for filters in (Filters(), Filters(max_cloud=0.4)):
        for engine in more:
            assert engine.count(filters) == one.count(filters)
            after, seen = None, 0
            while True:
                skip = 5 if after is None else 0
                page, expected = (each.page(filters, 90, after=after, skip=skip) for each in (engine, one))
                assert page.rows.tolist() == expected.rows.tolist()
                assert page.following == expected.following
                after, seen = page.following, seen + len(page.rows)
                if after is None:
                    break
            assert seen == one.count(filters) - 5


def test_a_new_generation_leaves_segments_where_they_are(folder, tmp_path):
    manifest = open_collection(folder).manifest
    before = Layout.of(manifest.model_copy(update={"segments": manifest.segments[:-2]}), 3)
    after = Layout.of(manifest, 3, before)
    assert before.homes.items() <= after.homes.items()
    assert sorted(i for some in after.shards for i in some) == list(range(len(manifest.segments)))
    rows = [sum(manifest.segments[i].rows for i in some) for some in after.shards]
    assert max(rows) - min(rows) <= SEGMENT_ROWS


def test_more_shards_than_segments_and_none_at_all(folder):
    collection = open_collection(folder)
    some, one = (SearchEngine(collection, FakeModel(), shards=count) for count in (20, 1))
    query = Query((TextTerm("dunes"),), explain=True)
    assert replace(some.search(query), timings_ms={}) == replace(one.search(query), timings_ms={})
    with pytest.raises(InvalidInputError, match="at least one shard"):
        SearchEngine(collection, FakeModel(), shards=0)


def test_the_lowest_is_found_by_histograms_whatever_the_scores():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.standard_normal(500), [0.0, -0.0, 1e-42, -1e-42, 3e38, -3e38], np.full(9, 0.25)])
    scores = rng.permutation(scores.astype(np.float32))
    parts = np.array_split(scores, [3, 100, 101])
    for lower in (1, 2, 7, 250, len(scores) - 1, len(scores)):
        found = find_lowest(lower, lambda known: sum(histogram(ordered(part), known) for part in parts))
        assert found == np.sort(scores)[lower - 1]


def test_a_search_waits_for_its_shards_twice(folder, monkeypatch):
    engine = SearchEngine(open_collection(folder), FakeModel(), shards=3)
    engine.search(Query(terms=(TextTerm("ice"),), k=5))  # what is asked once of a generation is known now
    events, begin = [], engine.shards._begin

    def noted(shard, *rest):
        events.append("asked")
        answer = begin(shard, *rest)
        return lambda: events.append("waited") or answer()

    monkeypatch.setattr(engine.shards, "_begin", noted)
    found = engine.search(Query(terms=(TextTerm("mangrove coast"), TextTerm("dunes", weight=-0.5)), k=20))
    assert len(found.hits) == 20
    assert [event for event, _ in groupby(events)] == ["asked", "waited"] * 2  # the best, then their tiles and ranks
