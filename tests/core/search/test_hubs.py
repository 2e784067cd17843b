"""Tests of search/hubs.py and search/habitats.py: no tile answers everything, names agree with search."""

import numpy as np
import pytest

from tests.core.search.fakes import DIM, REF, SPACES, FakeModel, random_tile, unit
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.moments import Moments
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.habitats import HabitatNames
from wildsat_core.search.hubs import mean_background, without_background
from wildsat_core.search.phrases import read_phrases
from wildsat_core.search.query import Query, TextTerm

ASKED = [f"habitat {i}" for i in range(60)]


def with_a_bias(vectors):
    """Texts that all lean one way, as a trained text head's do."""
    biased = vectors + np.eye(DIM, dtype=np.float32)[0] * 1.2
    return biased / np.linalg.norm(biased, axis=1, keepdims=True)


class BiasedModel(FakeModel):
    def embed_texts(self, texts):
        return with_a_bias(super().embed_texts(texts))


@pytest.fixture
def hub(tmp_path):
    """A collection whose first tile lies where all texts lean."""
    rng = np.random.default_rng(3)
    tiles = [random_tile(rng, i) for i in range(200)]
    vectors = {space: unit(rng, 200) for space in SPACES}
    for some in vectors.values():
        some[0] = np.eye(DIM)[0]
    with CollectionWriter(tmp_path / "hub", "hub", REF, SPACES) as out:
        out.add(tiles, vectors)
        out.publish()
    return open_collection(tmp_path / "hub")


def times_among_the_first(engine, tile_id):
    results = [engine.search(Query((TextTerm(text),), k=10)) for text in ASKED]
    return sum(tile_id in [hit.tile.tile_id for hit in result.hits] for result in results)


def test_a_tile_that_answers_everything_no_longer_comes_first(hub):
    engine = SearchEngine(hub, BiasedModel())
    corrected = times_among_the_first(engine, "tile-0")
    engine.background = {}
    plain = times_among_the_first(engine, "tile-0")
    assert plain > 0.7 * len(ASKED)
    assert corrected < 0.3 * len(ASKED)


def test_the_background_is_the_mean_of_standardised_scores():
    rng = np.random.default_rng(0)
    tiles, texts, query = unit(rng, 300), unit(rng, 20), unit(rng, 1)[0]
    moments = Moments.of(tiles)

    def standardised(text):
        scores = tiles.astype(np.float64) @ text
        return scores / scores.std()

    expected = standardised(query) - np.mean([standardised(text) for text in texts], axis=0)
    background = mean_background(texts, {"text": moments, "image": moments})
    assert list(background) == ["text"]
    np.testing.assert_allclose(tiles @ without_background(query, background["text"], moments), expected, atol=1e-4)


def test_a_tile_is_called_what_finds_it(hub):
    engine = SearchEngine(hub, FakeModel())
    phrases = read_phrases()
    names = HabitatNames(engine, phrases)
    for phrase in phrases[:8]:
        best = engine.search(Query((TextTerm(phrase),), k=1)).hits[0]
        named = {one.phrase: one.score for one in names.of(best.row, len(phrases))}
        assert named[phrase] == pytest.approx(best.score, abs=1e-4)
        assert list(named.values()) == sorted(named.values(), reverse=True)
