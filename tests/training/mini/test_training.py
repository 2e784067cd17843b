"""Tests of training/mini/teacher.py, student.py and vision.py: a few steps on a world of two kinds of land."""

import numpy as np
import pytest
import torch

from training.earth.squares import TileTable
from training.mini import vision
from training.mini.bank import FULL, Bank
from training.mini.sampling import SentenceSampler
from training.mini.student import StudentSettings, train_student
from training.mini.teacher import TeacherRun, TeacherSettings, teach, train_teacher
from training.mini.text_head import TextHeadSettings, memory_rows, tune_text_head
from training.mini.views import Views
from training.mini.vision import VisionSettings, VisionStudent, VisionTargets, VisionTrainer
from training.small_models import TEXT_FEATURES, install_text_head, plain_text_head
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


def test_the_teacher_learns_which_text_fits_which_place(bank, embeddings, wet):
    rows = np.arange(TILES)
    sampler = SentenceSampler(bank, rows, np.random.default_rng(0))
    settings = TeacherSettings(steps=30, sentences=8, tiles=8)
    torch.manual_seed(0)
    run = train_teacher(TeacherRun(3), facts_of(wet), embeddings, sampler, rows, settings)
    places = teach(run.teacher, facts_of(wet))
    with torch.inference_mode():
        texts = torch.nn.functional.normalize(run.text_head(torch.from_numpy(embeddings.astype(np.float32))), dim=1)
    scores = texts.numpy() @ places.T
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, rtol=1e-5)
    assert scores[0, wet].min() > scores[0, ~wet].max()
    assert scores[1, ~wet].min() > scores[1, wet].max()


def test_the_same_seed_gives_the_same_teacher(bank, embeddings, wet):
    def train():
        sampler = SentenceSampler(bank, np.arange(TILES), np.random.default_rng(0))
        torch.manual_seed(0)
        settings = TeacherSettings(steps=3, tiles=8)
        return train_teacher(TeacherRun(3), facts_of(wet), embeddings, sampler, np.arange(TILES), settings)

    first, second = train(), train()
    torch.testing.assert_close(first.teacher.state_dict(), second.teacher.state_dict(), atol=0, rtol=0)


def test_a_loss_that_is_not_finite_stops_the_teacher(bank, embeddings, wet):
    sampler = SentenceSampler(bank, np.arange(TILES), np.random.default_rng(0))
    facts = np.full((TILES, 3), np.nan, np.float32)
    with pytest.raises(TrainingError, match="step 0"):
        train_teacher(TeacherRun(3), facts, embeddings, sampler, np.arange(TILES), TeacherSettings(steps=2))


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
def trainer(bank, wet):
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
    student = VisionStudent(WildSATModel(config), 1, 1)
    rows = np.arange(TILES)
    sampler = SentenceSampler(bank, rows, np.random.default_rng(0))
    settings = VisionSettings(steps=25, places=8, sentences=6, memory=6, rate=5e-3)
    return VisionTrainer(
        student, Views(pixels.astype(np.uint8), (table,) * 3), targets, sampler, rows, settings=settings
    )


def test_every_loss_of_the_image_encoder_is_finite_and_learned_scales_are_in_the_optimiser(trainer):
    losses = trainer.step()
    assert set(losses) == {"place", "facts", "facets", "text", "location", "image"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    optimised = {id(p) for group in trainer.optimiser.param_groups for p in group["params"]}
    assert {id(p) for p in trainer.student.parameters()} == optimised


def test_the_image_encoder_learns_to_tell_two_kinds_of_land_apart(trainer, wet):
    model = trainer.run()
    pixels = trainer.views.pixels[:, 0].transpose(0, 3, 1, 2)
    vectors = model.embed_pixels(pixels)["text"]
    wet_text = trainer.targets.texts[0]
    assert (vectors @ wet_text)[wet].mean() > (vectors @ wet_text)[~wet].mean() + 0.1


def test_pictures_and_sentences_are_compared_by_the_shares_of_the_bank(trainer, monkeypatch):
    shares = np.stack([np.linspace(0, FULL, TILES), np.linspace(FULL, 0, TILES)]).astype(np.uint8)
    predicate = np.arange(SENTENCES) % 2
    part = Bank([f"text {i}" for i in range(SENTENCES)], ["atom"] * SENTENCES, predicate, shares)
    trainer.sampler = SentenceSampler(part, np.arange(TILES), np.random.default_rng(0))
    monkeypatch.setattr(trainer.sampler, "sentences", lambda count: np.arange(SENTENCES))
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
    trainer._text_loss(vectors, tiles, others, torch.tensor(20.0))
    np.testing.assert_allclose(given["there"], shares[predicate][:, [3, 7, 3, 7, 0, 11]] / FULL, rtol=1e-6)
    np.testing.assert_allclose(given["back"], given["there"][:, :4])
    np.testing.assert_allclose(given["mass"], given["there"].sum(1))


def test_only_training_rows_are_seen(trainer):
    trainer.rows = np.arange(0, TILES, 2)
    trainer.settings = VisionSettings(places=4, sentences=4, memory=4)
    before = trainer.memory.clone()
    trainer.step()
    changed = (trainer.memory != before).any(1).numpy()
    assert changed.any()
    assert not changed[1::2].any()


def memory_model(slots):
    config = ModelConfig(
        name="tiny",
        architecture="timm:resnet10t",
        architecture_args={"channels": [4, 4, 8, 8], "stem_width": 8},
        feature_size=8,
        tile_heads={"text": HeadConfig(in_features=8, out_features=6)},
        text_head=HeadConfig(kind="memory", in_features=TEXT_FEATURES, out_features=6, hidden=16, slots=slots),
    )
    return WildSATModel(config)


def test_a_tuned_text_head_finds_fixed_places_and_is_installed_with_its_memory(bank, embeddings, wet):
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    kinds = rng.normal(size=(2, 6)).astype(np.float32)
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    places, rows = np.where(wet[:, None], kinds[0], kinds[1]), np.arange(TILES)
    head = ResidualHead(TEXT_FEATURES, 6, 16)
    sampler = SentenceSampler(bank, rows, np.random.default_rng(0))
    settings = TextHeadSettings(steps=40, sentences=8, tiles=8, rate=5e-3)
    tune_text_head(head, places, embeddings, sampler, rows, settings=settings)
    model = memory_model(slots=5).eval()
    install_text_head(model, head, embeddings.astype(np.float32))
    torch.testing.assert_close(plain_text_head(model).state_dict(), head.state_dict(), atol=0, rtol=0)
    with torch.inference_mode():
        texts = model.project_texts(torch.from_numpy(embeddings.astype(np.float32))).numpy()
    scores = texts @ places.T
    assert scores[0, wet].min() > scores[0, ~wet].max()
    assert scores[1, ~wet].min() > scores[1, wet].max()
    known = {tuple(np.round(row, 3)) for row in embeddings.astype(np.float32)}
    assert {tuple(np.round(row, 3)) for row in model.text_head.keys.numpy()} <= known


def test_a_memory_keeps_the_plainest_sentences_of_the_bank():
    kinds = ["composed", "atom", "bird", "word", "combined"]
    bank = Bank([f"text {i}" for i in range(5)], kinds, np.arange(5), np.zeros((5, TILES), np.uint8))
    assert set(memory_rows(bank, 2)) == {1, 3}
    assert len(set(memory_rows(bank, 4))) == 4
    assert set(memory_rows(bank, 9)) == set(range(5))


def test_a_memory_that_there_are_too_few_sentences_for_is_refused(embeddings):
    with pytest.raises(TrainingError, match=f"only {SENTENCES} sentences"):
        install_text_head(
            memory_model(slots=SENTENCES + 1), ResidualHead(TEXT_FEATURES, 6, 16), embeddings.astype(np.float32)
        )


def test_a_model_without_a_text_head_of_this_kind_is_refused(embeddings):
    model = memory_model(slots=5)
    model.config = model.config.model_copy(update={"text_head": None})
    with pytest.raises(TrainingError, match="'tiny' has no text head"):
        plain_text_head(model)
    model.text_head = ResidualHead(TEXT_FEATURES, 6, 16)
    with pytest.raises(TrainingError, match="a ResidualHead, not a MemoryHead"):
        install_text_head(model, ResidualHead(TEXT_FEATURES, 6, 16), embeddings.astype(np.float32))
