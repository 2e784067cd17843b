"""Tests of training/evaluation/retrieval.py and collection_tiles.py, with a model that reads minds."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from training.earth.squares import TileTable, held_out
from training.evaluation.collection_tiles import embed_collection
from training.evaluation.measures import precision_at
from training.evaluation.queries import BenchmarkQuery, read_nonsense, read_queries
from training.evaluation.retrieval import (
    Evaluated,
    best_blend,
    no_match_rates,
    paraphrase_overlap,
    queries_report,
    rank_all,
    rank_held_out,
    summaries,
)
from wildsat_core.errors import ModelMismatchError
from wildsat_core.text.familiarity import Familiarity

N = 400


class FakeModel:
    """Even queries are about axis 0, odd ones about axis 1; nonsense has an embedding of its own."""

    def __init__(self, default_blend=0.5):
        self.config = SimpleNamespace(default_blend=default_blend, no_match={}, name="fake")
        self.weights_sha256 = "a" * 64

    def embed_texts(self, texts):
        return np.stack([np.eye(2)[len(text) % 2] for text in texts]).astype(np.float32)

    def encode_texts(self, texts):
        nonsense = read_nonsense()
        return np.stack([np.eye(3)[2 if text in nonsense else len(text) % 2] for text in texts]).astype(np.float32)


@pytest.fixture
def evaluated():
    """The place space knows everything, the text space nothing."""
    rng = np.random.default_rng(0)
    kind = rng.integers(2, size=N)
    queries = [BenchmarkQuery("ab" * (i + 1) + "c" * (i % 2), "habitat", "", i < 4) for i in range(8)]
    noise = rng.normal(size=(N, 2))
    return Evaluated(
        model=FakeModel(),
        tiles=TileTable(rng.uniform(-180, 180, N), rng.uniform(-60, 70, N), np.full(N, 200.0)),
        pixels=rng.integers(0, 256, (N, 3, 4, 4)).astype(np.uint8),
        text=(noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32),
        place=np.eye(2, dtype=np.float32)[kind],
        queries=queries,
        truth=np.stack([kind == len(query.text) % 2 for query in queries]),
    )


def test_summaries_are_means_over_halves_and_kinds(evaluated):
    scores = evaluated.scores([query.text for query in evaluated.queries], 1.0)
    found = summaries(scores, evaluated.truth, evaluated.queries)
    assert found["all"]["p20"] == 1.0
    assert found["all"]["queries"] == 8
    assert found["held"]["queries"] == found["tuning"]["queries"] == 4
    assert found["kind habitat"]["chance"] == pytest.approx(evaluated.truth.mean(), abs=1e-3)


def test_rankings_tell_a_space_that_knows_from_one_that_does_not(evaluated):
    found = rank_all(evaluated)
    assert set(found) == {"blend 0", "blend 0.5", "blend 1", "colour"}
    assert found["blend 1"]["all"]["p20"] == 1.0
    assert found["blend 0"]["all"]["p20"] < 0.8
    assert found["colour"]["all"]["p20"] < 0.8


def test_the_best_blend_leans_to_the_picture_where_it_costs_nothing(evaluated):
    swapped = Evaluated(**{**_fields(evaluated), "text": evaluated.place, "place": evaluated.text})
    assert best_blend(swapped) == 0.0
    lowest = best_blend(evaluated)
    texts = [query.text for query in evaluated.queries]
    assert 0 < lowest < 1
    tuning = np.asarray([not query.held for query in evaluated.queries])
    found = precision_at(evaluated.scores(texts, lowest), evaluated.truth, 20)[tuning].mean()
    below = precision_at(evaluated.scores(texts, lowest - 0.05), evaluated.truth, 20)[tuning].mean()
    assert found >= 0.99
    assert below < 0.99


def test_held_out_figures_use_only_the_tiles_of_the_blocks(evaluated):
    unseen = held_out(evaluated.tiles.lon, evaluated.tiles.lat)
    assert 0 < unseen.sum() < N
    perfect_there = np.where(unseen[:, None], evaluated.place, -evaluated.place)
    found = rank_held_out(Evaluated(**{**_fields(evaluated), "text": perfect_there}))
    assert found["image only"]["all"]["p20"] == 1.0


def test_equal_vectors_overlap_wholly():
    texts_alike = FakeModel(default_blend=0.0)
    texts_alike.embed_texts = lambda texts: np.tile(np.eye(2)[0], (len(texts), 1))
    line = np.stack([np.cos(np.linspace(0, 1, N)), np.sin(np.linspace(0, 1, N))], 1)
    evaluated = SimpleNamespace(model=texts_alike, scores=lambda texts, blend: texts_alike.embed_texts(texts) @ line.T)
    assert paraphrase_overlap(evaluated)["mean"] == 1.0


def test_no_match_rates_count_both_kinds_of_error(evaluated, tmp_path):
    settings = Familiarity(np.eye(3)[:2], nearest=1, threshold=0.5).save(tmp_path)
    evaluated.model.config.no_match = settings
    found = no_match_rates(evaluated, tmp_path)
    assert found["nonsense_flagged"] == 1.0
    assert found["real_flagged"] == 0.0


def test_queries_are_reported_worst_first(evaluated):
    rows = queries_report(evaluated)
    assert [row["p20"] for row in rows] == sorted(row["p20"] for row in rows)
    assert {row["p20_place"] for row in rows} == {1.0}


def collection(sha, six_cells):
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 30)).save(picture, "WEBP", lossless=True)
    tiles = SimpleNamespace(
        live=np.asarray([True, False, True, True]),
        lon=np.asarray([-60.0, 0.0, 10.0, 0.0]),
        lat=np.asarray([-3.0, 0.0, 24.0, 89.0]),
        south=np.asarray([-4.0, -1.0, 23.0, 88.0]),
        north=np.asarray([-2.0, 1.0, 25.0, 90.0]),
    )
    return SimpleNamespace(
        name="demo",
        tiles=tiles,
        manifest=SimpleNamespace(model=SimpleNamespace(name="fake", weights_sha256=sha)),
        vectors=lambda space, rows: np.stack([rows + 1.0, rows * 0.0], 1).astype(np.float32),
        thumbnail=lambda row: picture.getvalue() if row == 0 else None,
    )


def test_a_collections_live_tiles_are_judged_with_their_stored_vectors(six_cells):
    found = embed_collection(FakeModel(), collection("a" * 64, six_cells), six_cells)
    assert found.tiles.lon.tolist() == [-60.0, 10.0]  # without the deleted tile and the one at the pole
    np.testing.assert_allclose(found.text, [[1, 0], [1, 0]])
    assert found.pixels[0, :, 0, 0].tolist() == [10, 200, 30]
    assert found.pixels[1].max() == 0
    rainforest = [i for i, query in enumerate(read_queries()) if "impenetrable wet jungle" in query.text]
    assert found.truth[rainforest[0]].tolist() == [True, False]


def test_a_collection_of_another_model_is_refused_naming_both(six_cells):
    with pytest.raises(ModelMismatchError, match=r"b{12}.*a{12}"):
        embed_collection(FakeModel(), collection("b" * 64, six_cells), six_cells)


def _fields(evaluated):
    return {name: getattr(evaluated, name) for name in Evaluated.__slots__}
