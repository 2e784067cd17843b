"""Judged tiles: the fit is the ridge logistic regression, and it finds a planted direction."""

import numpy as np
import pytest

from tests.core.search.fakes import DIM, REF, SPACES, FakeModel, random_tile, unit
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.feedback import _ridge_logistic
from wildsat_core.search.query import Query, TextTerm

N = 300


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Half of the tiles lie along the first axis of the image space, the others do not."""
    folder = tmp_path_factory.mktemp("feedback") / "planted"
    rng = np.random.default_rng(5)
    vectors = {space: unit(rng, N) for space in SPACES}
    vectors["image"][: N // 2, 0] += 2.0
    vectors["image"] /= np.linalg.norm(vectors["image"], axis=1, keepdims=True)
    with CollectionWriter(folder, "planted", REF, SPACES) as out:
        out.add([random_tile(rng, i) for i in range(N)], vectors)
        out.publish()
    return SearchEngine(open_collection(folder), FakeModel())


def planted(result):
    return np.mean([int(hit.tile.tile_id.split("-")[1]) < N // 2 for hit in result.hits])


def test_more_labels_find_more_of_the_planted_half(engine):
    shares = []
    for n in (3, 8, 20):
        liked, disliked = (tuple(f"tile-{i}" for i in range(start, start + n)) for start in (0, 200))
        shares.append(planted(engine.search(Query(liked=liked, disliked=disliked, k=50))))
    assert shares == sorted(shares)
    assert shares[0] > 0.6  # half of all tiles would be .5
    assert shares[-1] >= 0.95


def test_likes_alone_define_something(engine):
    liked = tuple(f"tile-{i}" for i in range(20))
    assert planted(engine.search(Query(liked=liked, k=50))) >= 0.9


def test_the_same_labels_give_the_same_answer(engine):
    query = Query((TextTerm("a"),), liked=tuple(f"tile-{i}" for i in range(5)), k=20)
    assert [h.row for h in engine.search(query).hits] == [h.row for h in engine.search(query).hits]


def test_shares_of_a_fitted_query_add_up(engine):
    query = Query((TextTerm("a"),), liked=tuple(f"tile-{i}" for i in range(5)), k=5, explain=True)
    for hit in engine.search(query).hits:
        assert sum(s.value for s in hit.shares) == pytest.approx(hit.score, abs=1e-4)
        assert {s.term for s in hit.shares} == {"a", "judged"}


def test_newton_reaches_the_minimum_of_the_ridge_logistic_loss():
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((20, DIM)), rng.uniform(0.2, 1, 20)
    labels = (x[:, 0] + 0.5 * rng.standard_normal(20) > 0).astype(float)
    w = _ridge_logistic(x, labels, weights)

    def loss(v, bias):
        z = x @ v + bias
        return (weights * (np.logaddexp(0, z) - labels * z)).sum() + 0.5 * v @ v

    bias = min(np.linspace(-3, 3, 6001), key=lambda b: loss(w, b))
    for _ in range(50):
        step = rng.standard_normal(DIM) * 1e-2
        assert loss(w + step, bias) >= loss(w, bias) - 1e-5


def test_suggested_tiles_are_those_the_query_is_least_sure_of(engine):
    liked, disliked = ("tile-0", "tile-1", "tile-2"), ("tile-200", "tile-201")
    query = Query(liked=liked, disliked=disliked)
    rows = engine.suggest(query, 5)
    names = {engine.collection.tile(row).tile_id for row in rows}
    assert len(rows) == 5
    assert not names & {*liked, *disliked}
    scores = engine.scores(engine.plan(query))
    middle = engine.uncertainty(query)
    others = np.setdiff1d(np.arange(N), [*rows, *(engine.collection.row_of(t) for t in (*liked, *disliked))])
    assert np.abs(scores[rows] - middle).max() <= np.abs(scores[others] - middle).min() + 1e-6
