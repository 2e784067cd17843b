"""Tests of training/mini/teacher.py, student.py and vision.py: a few steps on a world of two kinds of land."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.earth.squares import TileTable, grid_tiles, held_out
from training.mini import export, vision
from training.mini.bank import FULL, Bank
from training.mini.memory import Pictures, best_vectors, memory_rows, remembered
from training.mini.reading import Reader
from training.mini.recipe import Material, MiniSettings, _install, make_model, shown_tiles
from training.mini.sampling import SentenceSampler
from training.mini.student import StudentSettings, train_student
from training.mini.teacher import TeacherRun, TeacherSettings, teach, train_teacher
from training.mini.text_head import TextHeadSettings, tune_text_head
from training.mini.views import Views
from training.mini.vision import VisionLosses, VisionSettings, VisionStudent, VisionTargets, train_vision
from training.small_models import TEXT_FEATURES, install_text_head, plain_text_head
from training.steps import Course
from wildsat_core.errors import TrainingError
from wildsat_core.location.position import PositionEncoder
from wildsat_core.models.config import HeadConfig, ModelConfig
from wildsat_core.models.heads import ResidualHead
from wildsat_core.models.model import WildSATModel
from wildsat_core.preprocess import Preprocessing

TILES, SENTENCES = 12, 8


@pytest.fixture
def wet():
    return np.arange(TILES) % 2 == 0


@pytest.fixture
def bank(wet):
    shares = np.stack([wet, ~wet]).astype(np.uint8) * FULL
    predicate = np.arange(SENTENCES) % 2
    return Bank([f"text {i}" for i in range(SENTENCES)], ["atom"] * SENTENCES, predicate, shares)


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(2, TEXT_FEATURES))
    found = kinds[np.arange(SENTENCES) % 2] + 0.3 * rng.normal(size=(SENTENCES, TEXT_FEATURES))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def facts_of(wet):
    return np.stack([wet, ~wet, np.ones(TILES)], 1).astype(np.float32)


def reader(bank, embeddings, sentences=8, tiles=8):
    rows = np.arange(TILES)
    return Reader(embeddings, SentenceSampler(bank, rows), rows, sentences, tiles)


def test_the_teacher_learns_which_text_fits_which_place(bank, embeddings, wet):
    torch.manual_seed(0)
    run = TeacherRun(3)
    train_teacher(run, facts_of(wet), reader(bank, embeddings), TeacherSettings(steps=30))
    places = teach(run.teacher, facts_of(wet))
    with torch.inference_mode():
        texts = torch.nn.functional.normalize(run.text_head(torch.from_numpy(embeddings.astype(np.float32))), dim=1)
    scores = texts.numpy() @ places.T
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, rtol=1e-5)
    assert scores[0, wet].min() > scores[0, ~wet].max()
    assert scores[1, ~wet].min() > scores[1, wet].max()


def test_a_teacher_that_was_cut_off_ends_as_it_would_have_ended(bank, embeddings, wet, tmp_path, monkeypatch):
    monkeypatch.setattr(TeacherSettings, "course", lambda _: Course("teacher", 4, checkpoint_every=2))
    read, steps = Reader.read, iter(range(3))

    def train(folder=None):
        torch.manual_seed(0)
        run = TeacherRun(3)
        train_teacher(run, facts_of(wet), reader(bank, embeddings), TeacherSettings(), folder=folder)
        return run.state_dict()

    def read_thrice(*args):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return read(*args)

    whole = train()
    monkeypatch.setattr(Reader, "read", read_thrice)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    monkeypatch.setattr(Reader, "read", read)
    torch.testing.assert_close(train(tmp_path), whole, atol=0, rtol=0)


def test_a_loss_that_is_not_finite_stops_the_teacher(bank, embeddings):
    facts = np.full((TILES, 3), np.nan, np.float32)
    with pytest.raises(TrainingError, match="loss of teacher is not finite at step 0"):
        train_teacher(TeacherRun(3), facts, reader(bank, embeddings), TeacherSettings(steps=2))


def test_the_position_encoder_memorises_its_teacher():
    rng = np.random.default_rng(0)
    lon_lat = np.stack([rng.uniform(-180, 180, 40), rng.uniform(-60, 60, 40)], 1)
    taught = rng.normal(size=(40, 6))
    taught = (taught / np.linalg.norm(taught, axis=1, keepdims=True)).astype(np.float32)
    torch.manual_seed(0)
    encoder = PositionEncoder(dim=6, waves=32, width=32, depth=1)
    train_student(encoder, lon_lat, taught, StudentSettings(steps=150, places=40, rate=1e-2))
    with torch.inference_mode():
        found = torch.nn.functional.normalize(encoder(torch.from_numpy(lon_lat).float()), dim=1).numpy()
    assert (found * taught).sum(1).mean() > 0.9


@pytest.fixture
def losses(bank, wet):
    rng = np.random.default_rng(0)
    head = {"in_features": 8, "out_features": 4}
    config = ModelConfig(
        name="tiny",
        architecture="timm:resnet10t",
        architecture_args={"channels": [4, 4, 8, 8], "stem_width": 8},
        feature_size=8,
        preprocessing=Preprocessing(input_px=16, normalisation="standard", mean=(0.5,) * 3, std=(0.2,) * 3),
        tile_heads={"text": HeadConfig(**head), "image": HeadConfig(**head)},
    )
    kinds = rng.normal(size=(2, 4)).astype(np.float32)
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    pixels = np.where(wet[:, None, None, None, None], 200, 60) + rng.integers(0, 30, (TILES, 3, 16, 16, 3))
    table = TileTable(np.linspace(-170, 170, TILES), np.zeros(TILES), np.full(TILES, 200.0))
    targets = VisionTargets(
        places=np.repeat(np.where(wet[:, None], kinds[0], kinds[1])[None], 3, 0).astype(np.float32),
        facts=np.repeat(wet[None, :, None], 3, 0).astype(np.float32),
        facets=np.repeat(wet[None, :, None], 3, 0).astype(np.float32),
        texts=kinds[np.arange(SENTENCES) % 2],
    )
    torch.manual_seed(0)
    student = VisionStudent(WildSATModel(config), targets)
    rows = np.arange(TILES)
    settings = VisionSettings(steps=25, places=8, sentences=6, memory=6, rate=5e-3)
    views = Views(pixels.astype(np.uint8), (table,) * 3)
    return VisionLosses(student, views, targets, SentenceSampler(bank, rows), rows, settings)


def chance():
    return np.random.default_rng(0)


def test_every_loss_of_the_image_encoder_is_finite_and_reaches_what_it_trains(losses):
    found = losses.at(0, chance())
    assert set(found) == {"place", "facts", "facets", "text", "location", "image"}
    assert all(torch.isfinite(loss) for loss in found.values())
    sum(found.values()).backward()
    assert [name for name, p in losses.student.named_parameters() if p.grad is None] == []


def test_the_image_encoder_learns_to_tell_two_kinds_of_land_apart(losses, wet):
    model = train_vision(
        losses.student, losses.views, losses.targets, losses.sampler, losses.rows, settings=losses.settings
    )
    pixels = losses.views.pixels[:, 0].transpose(0, 3, 1, 2)
    vectors = model.embed_pixels(pixels)["text"]
    wet_text = losses.targets.texts[0]
    assert (vectors @ wet_text)[wet].mean() > (vectors @ wet_text)[~wet].mean() + 0.1


def test_pictures_and_sentences_are_compared_by_the_shares_of_the_bank(losses, monkeypatch):
    shares = np.stack([np.linspace(0, FULL, TILES), np.linspace(FULL, 0, TILES)]).astype(np.uint8)
    predicate = np.arange(SENTENCES) % 2
    part = Bank([f"text {i}" for i in range(SENTENCES)], ["atom"] * SENTENCES, predicate, shares)
    losses = replace(losses, sampler=SentenceSampler(part, np.arange(TILES)))
    monkeypatch.setattr(losses.sampler, "sentences", lambda count, rng: np.arange(SENTENCES))
    given = {}
    there, back = vision.texts_to_tiles, vision.tiles_to_texts
    monkeypatch.setattr(
        vision, "texts_to_tiles", lambda logits, truth: given.update(there=truth) or there(logits, truth)
    )
    monkeypatch.setattr(
        vision,
        "tiles_to_texts",
        lambda logits, truth, mass: given.update(back=truth, mass=mass) or back(logits, truth, mass),
    )
    tiles, others = np.asarray([3, 7, 3, 7]), np.asarray([7, 0, 11])
    vectors = torch.nn.functional.normalize(torch.ones(4, 4), dim=1)
    losses._text_loss(vectors, tiles, others, chance())
    np.testing.assert_allclose(given["there"], shares[predicate][:, [3, 7, 3, 7, 0, 11]] / FULL, rtol=1e-6)
    np.testing.assert_allclose(given["back"], given["there"][:, :4])
    np.testing.assert_allclose(given["mass"], given["there"].sum(1))


def test_only_training_rows_are_seen(losses):
    settings = VisionSettings(places=4, sentences=4, memory=4)
    losses = replace(losses, rows=np.arange(0, TILES, 2), settings=settings)
    before = losses.student.remembered.clone()
    losses.at(0, chance())
    changed = (losses.student.remembered != before).any(1).numpy()
    assert changed.any()
    assert not changed[1::2].any()


def memory_model():
    config = ModelConfig(
        name="tiny",
        architecture="timm:resnet10t",
        architecture_args={"channels": [4, 4, 8, 8], "stem_width": 8},
        feature_size=8,
        tile_heads={"text": HeadConfig(in_features=8, out_features=6)},
        text_head=HeadConfig(
            kind="memory",
            in_features=TEXT_FEATURES,
            out_features=6,
            hidden=16,
            slots=1,
            meanings=1,
            recall_features=8,
            recall_share=3,
            recall_sharpness=15,
        ),
    )
    return WildSATModel(config)


def test_a_tuned_text_head_finds_fixed_places_and_is_installed_with_its_memory(bank, embeddings, wet):
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    kinds = rng.normal(size=(2, 6)).astype(np.float32)
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    places = np.where(wet[:, None], kinds[0], kinds[1])
    head = ResidualHead(TEXT_FEATURES, 6, 16)
    sampler = SentenceSampler(bank, np.arange(TILES))
    tune_text_head(head, embeddings, kinds[bank.predicate], sampler, TextHeadSettings(steps=40, rate=5e-3))
    model = memory_model().eval()
    keys = embeddings.astype(np.float32)
    install_text_head(model, head, keys, bank.predicate, kinds)
    torch.testing.assert_close(plain_text_head(model).state_dict(), head.state_dict(), atol=0, rtol=0)
    with torch.inference_mode():
        texts = model.project_texts(torch.from_numpy(embeddings.astype(np.float32))).numpy()
    scores = texts @ places.T
    assert scores[0, wet].min() > scores[0, ~wet].max()
    assert scores[1, ~wet].min() > scores[1, wet].max()
    units = model.text_head.units.numpy()
    np.testing.assert_allclose(units @ units.T, keys @ keys.T, atol=0.02)
    assert model.text_head.meaning.tolist() == bank.predicate.tolist()
    torch.testing.assert_close(model.text_head.vectors, torch.from_numpy(kinds), atol=0.01, rtol=0)
    assert model.config.text_head.slots == SENTENCES  # as many as there are


def test_another_kind_of_model_is_no_start():
    with pytest.raises(TrainingError, match=r"wildsat-s2 is of another shape.*; start from a wildsat-mini"):
        make_model(None, MiniSettings(start="wildsat-s2"))


@pytest.mark.parametrize("hold_out", [False, True])
def test_only_the_image_encoder_is_kept_from_held_out_land(hold_out):
    tiles = grid_tiles(side_km=800, stride_km=800)
    shown = shown_tiles(tiles, hold_out)
    assert (shown == ~held_out(tiles.lon, tiles.lat)).all() if hold_out else shown.all()
    assert shown.any()


def test_a_memory_keeps_the_plainest_sentences_of_the_bank():
    kinds = ["composed", "atom", "bird", "word", "combined"]
    bank = Bank([f"text {i}" for i in range(5)], kinds, np.arange(5), np.zeros((5, TILES), np.uint8))
    assert set(memory_rows(bank, 2)) == {1, 3}
    assert len(set(memory_rows(bank, 4))) == 4
    assert set(memory_rows(bank, 9)) == set(range(5))


def test_of_the_plainest_sentences_the_shortest_are_kept():
    sentences = ["a long sentence", "two words", "one", "bird", "a"]
    bank = Bank(sentences, ["word", "atom", "place", "bird", "combined"], np.arange(5), np.zeros((5, TILES), np.uint8))
    assert memory_rows(bank, 4).tolist() == [2, 1, 0, 3]


def test_the_best_vector_tells_land_that_a_sentence_is_true_of_from_places_and_known_pictures(wet):
    rng = np.random.default_rng(0)
    dry = np.arange(TILES) % 3 == 0
    bank = Bank(["wet", "dry"], ["word"] * 2, np.arange(2), np.stack([wet, dry]).astype(np.uint8) * FULL)
    places = rng.normal(size=(TILES, 6)).astype(np.float32)
    places[:, 2] += 3 * wet  # only the places show what is wet, only the pictures what is dry
    pictures = rng.normal(size=(TILES, 6)).astype(np.float32)
    pictures[:, 4] += 30 * dry
    found = best_vectors(bank, np.arange(2), places, Pictures(pictures, np.ones(TILES, bool)))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert (places @ found[0])[wet].min() > (places @ found[0])[~wet].max()
    assert (pictures @ found[1])[dry].min() > (pictures @ found[1])[~dry].max()
    # Pictures that the image encoder never learned from say nothing.
    unknown = Pictures(np.full((TILES, 6), np.nan, np.float32), np.zeros(TILES, bool))
    assert np.isfinite(best_vectors(bank, np.arange(2), places, unknown)).all()


def test_a_memory_turns_the_best_vectors_a_little_to_what_the_head_itself_makes_of_their_texts():
    best, own = np.eye(6, dtype=np.float32)[[0, 1]], np.eye(6, dtype=np.float32)[[2, 1, 3]]
    found = remembered(best, own, np.asarray([0, 1, 0]))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    assert found[0, 0] > 3 * found[0, 2] > 0
    np.testing.assert_allclose(found[0, 2], found[0, 3])
    np.testing.assert_allclose(found[1], best[1])


def test_a_memory_is_filled_with_what_finds_the_land_and_what_the_trained_head_makes_of_the_texts(bank, embeddings):
    torch.manual_seed(0)
    head = ResidualHead(TEXT_FEATURES, 6, 16)  # as new, with dropout: what is remembered is made without
    model, best = memory_model(), np.eye(6, dtype=np.float32)[[4, 2]]
    _install(model, head, Material(None, None, bank, embeddings, None, ""), best[bank.predicate])
    order = memory_rows(bank, SENTENCES)
    keys = embeddings[order].astype(np.float32)
    with torch.inference_mode():
        own = torch.nn.functional.normalize(head.eval()(torch.from_numpy(keys)), dim=1).numpy()
    assert model.text_head.meaning.tolist() == bank.predicate[order].tolist()
    units = model.text_head.units.numpy()
    np.testing.assert_allclose(units @ units.T, keys @ keys.T, atol=0.02)
    np.testing.assert_allclose(model.text_head.vectors, remembered(best, own, bank.predicate[order]), atol=0.01)


def test_nonsense_is_told_by_texts_that_are_no_figures_of_speech(bank, embeddings, monkeypatch, tmp_path):
    monkeypatch.setattr(export, "best_blend", lambda asked: 0.5)
    kinds = ["field", "word"] * (SENTENCES // 2)
    export.export_model(memory_model(), (), replace(bank, kinds=kinds), embeddings, tmp_path / "model")
    known = load_file(tmp_path / "model" / "familiarity.safetensors")["known"].numpy()
    assert sorted(map(bytes, known)) == sorted(map(bytes, embeddings[1::2]))


def test_a_model_without_a_text_head_of_this_kind_is_refused(embeddings):
    model = memory_model()
    model.config = model.config.model_copy(update={"text_head": None})
    with pytest.raises(TrainingError, match="'tiny' has no text head"):
        plain_text_head(model)
    model.text_head = ResidualHead(TEXT_FEATURES, 6, 16)
    with pytest.raises(TrainingError, match="a ResidualHead, not a MemoryHead"):
        install_text_head(model, model.text_head, embeddings.astype(np.float32), np.zeros(SENTENCES, int), np.eye(6))
