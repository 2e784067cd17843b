"""Tests of training/evaluation/retrieval.py and collection_tiles.py, with a model that reads minds."""

import gc
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from training.earth.mosaics import Mosaic
from training.earth.squares import TileTable, held_out
from training.evaluation import retrieval
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
from training.evaluation.searchable import searchable
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.errors import InvalidInputError, ModelMismatchError
from wildsat_core.models.config import HeadConfig, ModelConfig
from wildsat_core.models.model import WildSATModel
from wildsat_core.preprocess import Preprocessing
from wildsat_core.search.query import Query, TextTerm
from wildsat_core.text.familiarity import Familiarity
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile

N = 400
SPACES = {"text": SpaceSpec(2, "cosine"), "place": SpaceSpec(2, "cosine")}


class FakeModel:
    """Even queries are about axis 0, odd ones about axis 1; nonsense has an embedding of its own."""

    spaces = SPACES
    weights_sha256 = "a" * 64
    ref = ModelRef("fake", weights_sha256, "fake", "rgb")

    def __init__(self, default_blend=0.5):
        self.config = SimpleNamespace(default_blend=default_blend, no_match={}, name="fake")
        self.default_blend = default_blend

    def typical_texts(self):
        return np.empty((0, 0), np.float32)

    def embed_texts(self, texts):
        return np.stack([np.eye(2)[len(text) % 2] for text in texts]).astype(np.float32)

    def encode_texts(self, texts):
        nonsense = read_nonsense()
        return np.stack([np.eye(3)[2 if text in nonsense else len(text) % 2] for text in texts]).astype(np.float32)

    def are_unfamiliar(self, texts):
        return [False for _ in texts]


KIND = np.random.default_rng(0).integers(2, size=N)
KNOWING = np.eye(2, dtype=np.float32)[KIND]


def noise():
    drawn = np.random.default_rng(1).normal(size=(N, 2))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def evaluate(text, place):
    """The benchmark's material with these vectors; queries of odd length are about kind 1."""
    rng = np.random.default_rng(2)
    queries = [BenchmarkQuery("ab" * (i + 1) + "c" * (i % 2), "habitat", "", i < 4) for i in range(8)]
    tiles = TileTable(rng.uniform(-180, 180, N), rng.uniform(-60, 70, N), np.full(N, 200.0))
    engine, rows = searchable(FakeModel(), tiles, {"text": text, "place": place})
    return Evaluated(
        model=engine.model,
        engine=engine,
        rows=rows,
        tiles=tiles,
        pixels=rng.integers(0, 256, (N, 3, 4, 4)).astype(np.uint8),
        place=place,
        queries=queries,
        truth=np.stack([len(query.text) % 2 == KIND for query in queries]),
    )


@pytest.fixture
def evaluated():
    """The place space knows everything, the text space nothing."""
    return evaluate(noise(), KNOWING)


@pytest.mark.parametrize("blend", [0.0, 0.4, 1.0])
def test_the_ranking_is_that_of_the_search(evaluated, blend):
    texts = [query.text for query in evaluated.queries[:3]]
    scores = evaluated.scores(texts, blend)
    for text, ranked in zip(texts, scores, strict=True):
        found = evaluated.engine.search(Query((TextTerm(text),), blend=blend, k=50)).hits
        tiles = [int(hit.tile.tile_id) for hit in found]
        np.testing.assert_allclose(ranked[tiles], [hit.score for hit in found], atol=1e-5)
        assert min(ranked[tiles]) >= np.sort(ranked)[-50] - 1e-5
    lon, lat = zip(*(hit.tile.lon_lat for hit in found), strict=True)
    np.testing.assert_allclose(evaluated.tiles.lon_lat[tiles], np.stack([lon, lat], 1), atol=1e-5)


def test_the_collection_goes_when_nothing_searches_it_any_more():
    made = evaluate(noise(), KNOWING)
    root = made.engine.collection.root
    assert root.is_dir()
    del made
    gc.collect()
    assert not root.parent.exists()


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
    assert best_blend([evaluate(KNOWING, noise())]) == 0.0
    lowest = best_blend([evaluated])
    texts = [query.text for query in evaluated.queries]
    assert 0 < lowest < 1
    tuning = np.asarray([not query.held for query in evaluated.queries])
    found = precision_at(evaluated.scores(texts, lowest), evaluated.truth, 20)[tuning].mean()
    below = precision_at(evaluated.scores(texts, lowest - 0.05), evaluated.truth, 20)[tuning].mean()
    assert found >= 0.998
    assert below < 0.998


def test_the_best_blend_is_chosen_for_all_lists_together(evaluated):
    pictures_know = evaluate(KNOWING, noise())
    assert best_blend([pictures_know]) == 0.0 < best_blend([pictures_know, evaluated])


def test_held_out_figures_use_only_the_tiles_of_the_blocks(evaluated):
    unseen = held_out(evaluated.tiles.lon, evaluated.tiles.lat)
    assert 0 < unseen.sum() < N
    found = rank_held_out(evaluate(np.where(unseen[:, None], KNOWING, -KNOWING), KNOWING))
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


@pytest.fixture
def collection(tmp_path):
    """Three tiles, one of them deleted, and one nearer to the pole than facts are told for."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 30)).save(picture, "WEBP", lossless=True)
    boxes = {
        "jungle": BBox(-61, -4, -59, -2),
        "gone": BBox(-1, -1, 1, 1),
        "desert": BBox(9, 23, 11, 25),
        "pole": BBox(-9, 88, 9, 90),
    }
    tiles = [Tile(name, box, 10.0, "test") for name, box in boxes.items()]
    vectors = {space: np.eye(2, dtype=np.float32)[[0, 0, 1, 1]] for space in SPACES}
    with CollectionWriter(tmp_path / "demo", "demo", FakeModel.ref, SPACES) as writer:
        writer.add(tiles, vectors, [picture.getvalue(), None, None, None])
        writer.publish()
    rows = open_collection(tmp_path / "demo").tiles.rows_of(["gone"])
    delete_tiles(tmp_path / "demo", rows, generation=1)
    return open_collection(tmp_path / "demo")


def test_a_collections_live_tiles_are_judged_as_they_are_searched(collection, six_cells, monkeypatch):
    # one cell of land each, so that the rest of a tile counts as sea
    monkeypatch.setattr("training.evaluation.queries.LEAST_LAND_SHOWN", 0.0)
    found = embed_collection(FakeModel(), collection, six_cells)
    at = {collection.tile(int(row)).tile_id: i for i, row in enumerate(found.rows)}
    assert set(at) == {"jungle", "desert"}  # without the deleted tile and the one at the pole
    assert found.tiles.lon[at["desert"]] == pytest.approx(10.0)
    np.testing.assert_allclose(found.place[at["jungle"]], [1, 0])
    assert found.pixels[at["jungle"], :, 0, 0].tolist() == [10, 200, 30]
    assert found.pixels[at["desert"]].max() == 0
    (even,) = found.scores(["ab"], 0.5)
    assert even[at["jungle"]] > even[at["desert"]]
    rainforest = [i for i, query in enumerate(read_queries()) if "impenetrable wet jungle" in query.text]
    assert found.truth[rainforest[0], [at["jungle"], at["desert"]]].tolist() == [True, False]


def test_a_collection_of_another_model_is_refused_naming_both(collection, six_cells):
    other = FakeModel()
    other.ref = ModelRef("other", "b" * 64, "fake", "rgb")
    with pytest.raises(ModelMismatchError, match=r"a{12}.*b{12}"):
        embed_collection(other, collection, six_cells)


class Words:
    """Texts to numbers without a language model."""

    name, dim = "fake", 4

    def encode(self, texts):
        return np.stack([np.random.default_rng(len(text)).normal(size=4) for text in texts]).astype(np.float32)


@pytest.mark.parametrize(("input_px", "shown_px"), [(None, 64), (32, 32)])
def test_a_model_without_a_place_space_is_asked_by_picture_alone(monkeypatch, input_px, shown_px):
    """Converted rows have no place space, and some take pictures at their own size."""
    picture = np.random.default_rng(0).integers(0, 256, (180, 360, 3), dtype=np.uint8)
    tiles = TileTable(np.linspace(-150, 150, 40), np.linspace(-60, 60, 40), np.full(40, 2000.0))
    monkeypatch.setattr(retrieval, "load_bmng", lambda: Mosaic.from_picture("test", picture, depth=1))
    monkeypatch.setattr(retrieval, "land_tiles", lambda *_: tiles)
    monkeypatch.setattr(retrieval, "read_queries", lambda: read_queries()[:6])
    truth = np.random.default_rng(1).random((6, 40)) < 0.5
    monkeypatch.setattr(retrieval, "relevance", lambda *_: truth)
    head = HeadConfig(in_features=128, out_features=8)
    config = ModelConfig(
        name="row", architecture="timm:test_resnet", feature_size=128, tile_heads={"text": head, "image": head},
        preprocessing=Preprocessing(input_px, ("blue", "green", "red")), metric="inner_product",
        text_encoder="fake", text_head=HeadConfig(in_features=4, out_features=8),
    )  # fmt: skip
    features = WildSATModel(config, Words()).backbone(torch.zeros(2, 3, 32, 32)).shape[1]
    heads = {space: HeadConfig(in_features=features, out_features=8) for space in ("text", "image")}
    model = WildSATModel(config.model_copy(update={"feature_size": features, "tile_heads": heads}), Words())
    model.weights_sha256 = "b" * 64
    sides = []
    embed = model.embed_pixels
    monkeypatch.setattr(model, "embed_pixels", lambda pixels: sides.append(pixels.shape[-1]) or embed(pixels))
    found = retrieval.embed_benchmark(model.eval(), cells=None)
    assert sides == [input_px or 224]
    assert found.pixels.shape == (40, 3, shown_px, shown_px)
    assert found.place is None
    assert list(rank_all(found)) == ["blend 0", "colour"]
    assert "p20_place" not in queries_report(found)[0]
    with pytest.raises(InvalidInputError, match="row has no text space"):
        retrieval.embed_benchmark(WildSATModel(config.model_copy(update={"text_head": None})), cells=None)
