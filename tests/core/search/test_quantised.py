"""The int8 pass changes nothing but the time: same hits, same order, same scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.search.fakes import FakeModel, random_collection
from wildsat_core.search.distribution import Distribution
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.quantised import QuantisedSpace, candidates
from wildsat_core.search.query import Filters, Query, TextTerm, TileTerm
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


def test_no_score_is_further_off_than_the_bound(collection):
    space = QuantisedSpace.of(collection, "text")
    vectors = collection.vectors("text", np.arange(N))
    for seed in range(20):
        slope = np.random.default_rng(seed).standard_normal(vectors.shape[1]).astype(np.float32) * 10.0 ** (seed - 10)
        scores, bound = space.scores(slope)
        assert np.abs(scores.numpy() - vectors @ slope).max() <= bound


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 600), st.integers(1, 700), st.floats(0, 0.5), st.integers(0, 1000))
def test_candidates_hold_every_row_that_could_be_among_the_best(rows, count, bound, seed):
    rng = np.random.default_rng(seed)
    true = rng.standard_normal(rows).astype(np.float32)
    approximate = (true + rng.uniform(-bound, bound, rows)).astype(np.float32)
    best = np.argsort(-true, kind="stable")[:count]
    assert set(best) <= set(candidates(approximate, count, bound * 1.001 + 1e-6))


def test_percentiles_of_many_scores_agree_with_counting():
    scores = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
    distribution = Distribution.of(scores)
    asked = np.quantile(scores, [0.0, 0.2, 0.5, 0.9, 0.97, 0.995, 0.99999, 1.0]).astype(np.float32)
    counted = np.array([(scores < s).mean() * 100 for s in asked])
    found = distribution.percentile(asked)
    np.testing.assert_allclose(found, counted, atol=0.2)
    np.testing.assert_allclose(found[-3:], counted[-3:], atol=1e-9)  # the best hundredth is exact
    assert (np.diff(distribution.percentile(np.sort(scores)[::97])) >= 0).all()
