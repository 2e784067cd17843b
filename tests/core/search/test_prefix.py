"""The prefix pass changes nothing but the time: whatever is asked, the hits are those of the exact scan."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.search.fakes import DEVICES, FakeModel, random_tile
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.plan import Part, Plan
from wildsat_core.search.prefix import MOST_LEFT, PREFIX_DIMS, PrefixScan, Rotation, Rotations, best_by_bounds
from wildsat_core.search.query import Filters, Query, TextTerm, TileTerm, VectorTerm
from wildsat_core.search.scan import score_rows
from wildsat_core.types import BBox, SpaceSpec

N, DIM = 4000, 96
SPECTRUM = (0.9 ** np.arange(DIM)).astype(np.float32)  # as steep as a trained model's
PREFIX = "exact scan after a prefix pass"
# How the prefixes are made and looked at, and what an answer says of it.
WAYS = {"int8": ({"exact_scan_rows": 0}, PREFIX)} | {
    device: ({"device": device}, f"exact scan on {device} after a prefix pass") for device in DEVICES
}


def mixed(seed, rows, spectrum=SPECTRUM):
    """Unit vectors whose spread falls from direction to direction, which are none of the axes."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((DIM, DIM)))[0]
    vectors = ((rng.standard_normal((rows, DIM)) * spectrum) @ turn).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Model(FakeModel):
    """Texts become directions that have the tiles' spectrum, as a trained text head's do."""

    def embed_texts(self, texts):
        return np.concatenate([mixed(sum(map(ord, text)), 1) for text in texts])

    def typical_texts(self):
        return mixed(5, 400)


def fill(root, first, rows, seed=1, make=mixed, per_segment=1500):
    rng = np.random.default_rng(seed)
    spaces = {space: SpaceSpec(DIM, "cosine") for space in ("text", "place", "image")}
    with CollectionWriter(root, root.name, Model.ref, spaces, segment_rows=per_segment) as out:
        for start in range(0, rows, per_segment):
            count = min(per_segment, rows - start)
            tiles = [random_tile(rng, first + start + i) for i in range(count)]
            out.add(tiles, {space: make(seed + start + i, count) for i, space in enumerate(spaces)})
        out.publish()
    return open_collection(root)


@pytest.fixture(scope="module", autouse=True)
def _as_with_many_tiles():
    """Below 262,144 tiles all scores are wanted for percentiles; here a thousand are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wildsat_core.search.distribution.ALL_SORTED", 1000)
        yield


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("prefix") / "steep", 0, N)


FAR = np.linalg.qr(np.random.default_rng(7).standard_normal((DIM, DIM)))[0][0].astype(np.float32)  # like no question
QUERIES = [
    Query((TextTerm("dunes"),), k=20),
    Query((TextTerm("dunes"),), k=1),
    Query((TextTerm("dunes"), TextTerm("ice", weight=-0.7)), k=50, offset=30),
    Query((TextTerm("dunes"), TileTerm("tile-5")), k=20, explain=True),
    Query((TileTerm("tile-17"),), k=20),
    Query((TextTerm("dunes"),), Filters(bbox=BBox(-170, -90, 170, 90)), k=20),
    Query((TextTerm("dunes"),), k=20, spacing_km=1500.0),
    Query((TextTerm("dunes"),), k=20, max_per_country=2),
    Query((VectorTerm("text", FAR),), k=20),
    Query((VectorTerm("place", -FAR * 1e4),), k=20),
    Query(liked=("tile-1", "tile-2"), disliked=("tile-3",), k=10),
    Query((TextTerm("dunes"),), k=1000),
]


@pytest.fixture(scope="module")
def exact(collection):
    return SearchEngine(collection, Model(), exact_scan_rows=10**9)


@pytest.fixture(scope="module", params=WAYS)
def quick(request, collection):
    told, backend = WAYS[request.param]
    engine = SearchEngine(collection, Model(), **told)
    assert engine.search(QUERIES[0]).backend == backend
    return engine


@pytest.mark.parametrize("query", QUERIES)
def test_hits_are_those_of_the_exact_scan(exact, quick, query):
    exact, quick = exact.search(query), quick.search(query)
    assert exact.backend == "exact scan"
    assert "after a prefix pass" in quick.backend
    assert [h.row for h in quick.hits] == [h.row for h in exact.hits]
    np.testing.assert_allclose([h.score for h in quick.hits], [h.score for h in exact.hits], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose([h.percentile for h in quick.hits], [h.percentile for h in exact.hits], atol=0.5)


def test_the_best_of_all_have_the_percentiles_of_their_ranks(quick):
    hits = quick.search(QUERIES[0]).hits
    np.testing.assert_allclose([hit.percentile for hit in hits], [100 * (1 - hit.rank / N) for hit in hits], atol=1e-9)


def test_most_rows_are_ruled_out_and_round_vectors_have_no_prefix(collection, tmp_path):
    steep = PrefixScan(collection, Rotations(collection, lambda _: mixed(5, 400), np.arange(0, N, 2)))
    assert steep.prepare("text")
    plan = SearchEngine(collection, Model()).plan(Query((TextTerm("dunes"),), blend=0.0))
    [(bounds, slack)] = steep.bounds([plan])
    exact = score_rows(collection, plan.slopes, np.arange(N)) + np.float32(plan.constant)
    assert (bounds + slack >= np.sort(exact)[-20]).mean() < 0.05
    round_ = fill(tmp_path / "round", 0, 1500, make=lambda seed, rows: mixed(seed, rows, np.ones(DIM)))
    assert Rotations(round_, lambda _: mixed(5, 400, np.ones(DIM)), np.arange(1500)).of("text") is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(-6, 6), st.floats(-1, 2), st.booleans())
def test_no_score_is_above_its_bound(seed, scale, decay, outlier):
    """Rows and questions of any spectrum and size, like those the rotation was made for or not."""
    rng = np.random.default_rng(seed)
    spectrum = 10.0 ** (scale - decay * np.arange(DIM) / 20)
    vectors = (rng.standard_normal((300, DIM)) * spectrum).clip(-6e4, 6e4).astype(np.float16).astype(np.float32)
    if outlier:
        vectors[7] *= 30.0  # beyond what the sample told of the tiles' reach
    rotation = Rotation.between(vectors[100:], rng.standard_normal((50, DIM)))
    slopes = rng.standard_normal((3, DIM)).astype(np.float32) * np.float32(10.0 ** rng.uniform(-3, 3))
    scan = _scan_of(vectors, rotation)
    plans = [Plan((Part("", "text", slope, 1.0, float(rng.normal()), 1.0),)) for slope in slopes]
    for plan, (bounds, slack) in zip(plans, scan.bounds(plans), strict=True):
        exact = vectors.astype(np.float64) @ plan.slopes["text"].astype(np.float64) + plan.constant
        assert (bounds.astype(np.float64) + slack >= exact).all()


def _scan_of(vectors, rotation):
    from wildsat_core.search.prefix import _Prefixes

    class Segment:
        id = "only"

    class Some:
        name = "some"
        tiles = range(len(vectors))
        manifest = type("Manifest", (), {"segments": [Segment]})

    scan = PrefixScan(Some, {"text": rotation})
    scan._segments["only", "text"] = [_Prefixes.of(vectors, rotation)]
    return scan


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 900), st.integers(1, 60), st.floats(0, 0.5), st.integers(0, 1000), st.integers(1, 900))
def test_the_best_by_bounds_are_the_best(rows, count, slack, seed, most):
    rng = np.random.default_rng(seed)
    true = np.round(rng.standard_normal(rows), 1).astype(np.float32)  # with ties
    bounds = (true + rng.uniform(-slack, 1, rows)).astype(np.float32)
    asked = []

    def exact(at):
        asked.append(len(at))
        assert (np.diff(at) > 0).all()
        return true[at]

    found = best_by_bounds(bounds, slack + 1e-6, count, exact, most)
    assert all(number <= most for number in asked)
    if found is not None:
        left, scores = found
        np.testing.assert_array_equal(scores, true[left])
        best = np.lexsort((np.arange(rows), -true))[:count]
        assert set(best) <= set(left)
    elif most >= rows:
        pytest.fail("given up though all may be scored")


def test_loose_bounds_of_a_few_rows_do_not_hide_what_the_best_reach():
    """More rows than four times the hits have the highest bounds and low scores; what the best reach is found still."""
    rows, count, loose = 2**18, 20, 120
    true = np.random.default_rng(0).random(rows).astype(np.float32)
    true[: loose + count] = np.repeat([-5, 9], [loose, count])
    bounds = true.copy()
    bounds[:loose] = 10
    left, scores = best_by_bounds(bounds, 1e-6, count, lambda at: true[at], rows // MOST_LEFT)
    np.testing.assert_array_equal(left, np.arange(loose + count))
    np.testing.assert_array_equal(scores, true[: loose + count])


def test_too_many_left_means_one_pass_over_all(exact, quick, monkeypatch):
    for module in ("prefix", "device_prefix"):
        monkeypatch.setattr(f"wildsat_core.search.{module}.MOST_LEFT", N)
    for query in QUERIES[:9]:
        assert [h.row for h in quick.search(query).hits] == [h.row for h in exact.search(query).hits]


def test_later_generations_keep_the_rotation_and_the_prefixes_of_segments_that_stay(tmp_path):
    root = tmp_path / "grows"
    before = SearchEngine(fill(root, 0, 3000), Model(), exact_scan_rows=0)
    before.warm()
    grown = fill(root, 3000, 1500, seed=4)
    delete_tiles(root, np.arange(7), generation=grown.generation)
    after = open_collection(root)
    taken = SearchEngine(after, Model(), exact_scan_rows=0, previous=before)
    old, new = before.shards.shards[0]._scorer._prefixes, taken.shards.shards[0]._scorer._prefixes
    taken.warm()
    assert new._rotations.of("text") is old._rotations.of("text") is not None
    assert all(new._segments[key] is old._segments[key] for key in old._segments)
    exact = SearchEngine(after, Model(), exact_scan_rows=10**9)
    for query in (QUERIES[0], replace(QUERIES[2], k=200)):
        assert [h.row for h in taken.search(query).hits] == [h.row for h in exact.search(query).hits]


def test_vectors_of_few_dimensions_have_no_prefix(collection):
    assert PREFIX_DIMS < DIM
    assert Rotations(collection, lambda _: np.empty((0, 0), np.float32), np.arange(N)).of("text") is None
