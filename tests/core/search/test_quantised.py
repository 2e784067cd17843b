"""The int8 pass changes nothing but the time: same hits, same order, same scores."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.search.fakes import DEVICES, FakeModel, random_collection
from wildsat_core.collection import open_collection
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.search.distribution import Distribution
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.plan import Part, Plan
from wildsat_core.search.quantised import QuantisedScan, candidates
from wildsat_core.search.query import Filters, Query, TextTerm, TileTerm
from wildsat_core.search.scan import score_rows
from wildsat_core.types import BBox

N = 3000


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return random_collection(tmp_path_factory.mktemp("quantised") / "random", N, seed=11, segment_rows=1000)


QUERIES = [
    Query((TextTerm("dunes"),), k=20),
    Query((TextTerm("dunes"), TextTerm("ice", weight=-0.7), TileTerm("tile-5")), k=50, offset=30),
    Query((TextTerm("dunes"),), Filters(bbox=BBox(0, -90, 20, 90)), k=20),  # few rows: read just those
    Query((TextTerm("dunes"),), Filters(bbox=BBox(-170, -90, 170, 90)), k=20),  # many rows
    Query((TextTerm("dunes"),), k=20, spacing_km=1500.0),
    Query((TextTerm("dunes"),), k=1000),
    Query(liked=("tile-1", "tile-2"), disliked=("tile-3",), k=10),
]


@pytest.mark.parametrize("query", QUERIES)
def test_hits_are_those_of_the_exact_scan(collection, query):
    exact = SearchEngine(collection, FakeModel()).search(query)
    quick = SearchEngine(collection, FakeModel(), exact_scan_rows=0).search(query)
    few = bool(query.filters.bbox and query.filters.bbox.width_deg < 45)
    assert exact.backend == "exact scan"
    assert quick.backend == ("exact scan of the filtered rows" if few else "exact scan after an int8 pass")
    assert [h.row for h in quick.hits] == [h.row for h in exact.hits]
    np.testing.assert_allclose([h.score for h in quick.hits], [h.score for h in exact.hits], atol=1e-4)
    np.testing.assert_allclose([h.percentile for h in quick.hits], [h.percentile for h in exact.hits], atol=0.5)


@pytest.mark.parametrize("device", [None, *DEVICES])
def test_searches_at_once_get_what_each_would_get_alone(collection, device):
    queries = [Query((TextTerm(f"habitat {i}"),), k=5, blend=i % 3 / 2) for i in range(40)]
    alone = SearchEngine(collection, FakeModel(), exact_scan_rows=0, device=device)
    together = SearchEngine(collection, FakeModel(), exact_scan_rows=0, device=device)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(together.search, queries))
    for query, result in zip(queries, found, strict=True):
        assert [(h.row, h.score) for h in result.hits] == [(h.row, h.score) for h in alone.search(query).hits]


def test_a_tile_has_the_same_percentile_whatever_the_filter(collection):
    engine = SearchEngine(collection, FakeModel(), exact_scan_rows=0)
    everywhere, box = Query((TextTerm("dunes"),), k=1000), Filters(bbox=BBox(0, -90, 20, 90))
    among_all = {hit.row: hit.percentile for hit in engine.search(everywhere).hits}
    few = engine.search(replace(everywhere, filters=box))
    assert few.backend == "exact scan of the filtered rows"
    shared = [hit for hit in few.hits if hit.row in among_all]
    assert len(shared) > 20
    assert [hit.percentile for hit in shared] == [among_all[hit.row] for hit in shared]


def plan(*parts):
    return Plan(tuple(Part("", space, vector, 1.0, 0.5, 1.0) for space, vector in parts))


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("least", [0.04, 33.0, 90.0, 98.5, 99.99])
@pytest.mark.parametrize("box", [None, BBox(0, -90, 20, 90)])
def test_a_least_percentile_is_kept_to_the_tile(collection, monkeypatch, sampled, least, box):
    if sampled:  # as with many tiles
        monkeypatch.setattr("wildsat_core.search.distribution.ALL_SORTED", 100)
        monkeypatch.setattr("wildsat_core.search.shard.SAMPLE_ROWS", 300)
    engine = SearchEngine(collection, FakeModel(), exact_scan_rows=0)
    query = Query((TextTerm("dunes"), TextTerm("ice", weight=-0.7)), Filters(bbox=box, min_percentile=least), k=1000)
    scores = score_rows(collection, engine.plan(query).slopes, np.arange(N))
    lower = np.array([(scores < score).sum() for score in scores])
    passing = np.intersect1d(engine.passing(query.filters), np.flatnonzero(lower / N * 100 >= least))
    result = engine.search(query)
    assert result.matched == len(passing)
    assert {h.row for h in result.hits} == set(passing[np.argsort(-scores[passing])][:1000].tolist())
    assert all(least <= h.percentile < 100 for h in result.hits)
    painted = np.flatnonzero(~np.isnan(engine.percentiles(query)))
    np.testing.assert_array_equal(painted, passing)


def test_no_score_is_further_off_than_the_bound(collection):
    scan = QuantisedScan(collection, np.arange(0, N, 7))
    rows, plans = np.arange(N), [Plan(())]
    for seed in range(20):
        random = np.random.default_rng(seed)
        spaces = (("text",), ("place",), ("text", "image"))[seed % 3]
        plans.append(plan(*((s, (random.standard_normal(8) * 10.0 ** (seed - 10)).astype(np.float32)) for s in spaces)))
    for asked, (scores, bound) in zip(plans, scan.scores(plans), strict=True):
        exact = score_rows(collection, asked.slopes, rows) + np.float32(asked.constant)
        assert np.abs(scores - exact).max() <= bound
        # Alone or in company, and in the sample, a plan gets the same scores.
        np.testing.assert_array_equal(scan.scores([asked])[0][0], scores)
        np.testing.assert_allclose(scan.sample_scores(asked), exact[::7], atol=bound)


def test_copies_of_segments_that_stay_are_taken_over(tmp_path):
    root = tmp_path / "grows"
    first = random_collection(root, 600, segment_rows=200)
    delete_tiles(root, np.arange(5), generation=first.generation)
    after = open_collection(root)
    for device in (None, *DEVICES):
        before = SearchEngine(first, FakeModel(), exact_scan_rows=0, device=device)
        before.warm()
        taken = SearchEngine(after, FakeModel(), exact_scan_rows=0, device=device, previous=before)
        fresh = SearchEngine(after, FakeModel(), exact_scan_rows=0, device=device)
        found = [[(h.tile.tile_id, h.score) for h in engine.search(QUERIES[0]).hits] for engine in (taken, fresh)]
        assert found[0] == found[1]
    old = QuantisedScan(first, np.arange(0, 600, 3))
    old.prepare("text")
    new = QuantisedScan(after, np.arange(5, 600, 3), old)
    new.prepare("text")
    assert new._segments.keys() == old._segments.keys()
    assert all(new._segments[key] is blocks for key, blocks in old._segments.items())


def test_the_beginning_of_a_sample_is_taken_over_while_it_stays_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("wildsat_core.search.quantised._SAMPLE_BLOCK_ROWS", 16)
    root = tmp_path / "grows"
    first = random_collection(root, 200)
    grown = random_collection(root, 300)  # the same 200 and 100 more
    asked = plan(("text", np.random.default_rng(1).standard_normal(8).astype(np.float32)))
    old = QuantisedScan(first, np.arange(0, 200, 2))
    old.prepare_sample("text")
    # Whole blocks of 16: of 100 rows, of the 40 before a deleted one, of none.
    gone = np.setdiff1d(np.arange(0, 300, 2), [80])
    for rows, taken in ((np.arange(0, 300, 2), 6), (gone, 2), (np.arange(1, 300, 2), 0)):
        new = QuantisedScan(grown, rows, old)
        new.prepare_sample("text")
        assert (
            sum(one is other for one, other in zip(new._samples["text"], old._samples["text"], strict=False)) == taken
        )
        np.testing.assert_array_equal(new.sample_scores(asked), QuantisedScan(grown, rows).sample_scores(asked))
    stranger = QuantisedScan(random_collection(tmp_path / "other", 200, seed=5), np.arange(0, 200, 2), old)
    stranger.prepare_sample("text")
    assert not set(map(id, stranger._samples["text"])) & set(map(id, old._samples["text"]))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 600), st.integers(1, 700), st.floats(0, 0.5), st.floats(0, 1), st.integers(0, 1000))
def test_candidates_hold_every_row_that_could_be_among_the_best(rows, count, bound, share, seed):
    rng = np.random.default_rng(seed)
    true = rng.standard_normal(rows).astype(np.float32)
    approximate = (true + rng.uniform(-bound, bound, rows)).astype(np.float32)
    best = np.argsort(-true, kind="stable")[:count]
    bound = bound * 1.001 + 1e-6
    found = candidates(approximate, count, bound)
    assert set(best) <= set(found)


def test_percentiles_of_a_sample_agree_with_counting():
    scores = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
    distribution = Distribution.of(len(scores), [scores[:150_000:6], scores[150_000::6]])
    asked = np.quantile(scores, [0.0, 0.2, 0.5, 0.9, 0.97, 0.995, 0.99999, 1.0]).astype(np.float32)
    counted = np.array([(scores < s).mean() * 100 for s in asked])
    np.testing.assert_allclose(distribution.percentile(asked), counted, atol=0.2)
    assert (np.diff(distribution.percentile(np.sort(scores)[::97])) >= 0).all()


@pytest.mark.parametrize("filters", [Filters(), Filters(max_cloud=0.5)])
def test_percentiles_are_exact_where_all_of_very_many_tiles_are_scored(collection, monkeypatch, filters):
    monkeypatch.setattr("wildsat_core.search.distribution.ALL_SORTED", 100)
    monkeypatch.setattr("wildsat_core.search.shard.SAMPLE_ROWS", 40)
    monkeypatch.setattr("wildsat_core.search.prefix.WORTH", -1.0)
    engine = SearchEngine(collection, FakeModel(), exact_scan_rows=10)
    query = Query((TextTerm("dunes"),), filters, k=300)
    scores = engine.scores(engine.plan(query))
    for hit in engine.search(query).hits:
        assert hit.percentile == pytest.approx(100 * (scores < np.float32(hit.score)).mean(), abs=1e-9)
