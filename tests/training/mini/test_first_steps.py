"""The first step of each part of wildsat-mini's training gives a loss and gradients that are known.

Every draw of chance is a fixed wave here, so the values hang on what is made small and on nothing else.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from training.earth.squares import TileTable
from training.mini.bank import FULL, Bank
from training.mini.reading import Reader
from training.mini.sampling import SentenceSampler
from training.mini.student import StudentSettings, train_student
from training.mini.teacher import Anchor, TeacherRun, TeacherSettings, train_teacher
from training.mini.text_head import TextHeadSettings, tune_text_head
from training.mini.views import Views
from training.mini.vision import VisionSettings, VisionStudent, VisionTargets, train_vision
from training.small_models import TEXT_DIM, TEXT_FEATURES
from wildsat_core.location.position import PositionEncoder
from wildsat_core.models.config import HeadConfig, ModelConfig
from wildsat_core.models.heads import ResidualHead
from wildsat_core.models.model import WildSATModel
from wildsat_core.preprocess import Preprocessing

TILES, SENTENCES = 12, 8
WET = np.arange(TILES) % 2 == 0
ROWS = np.arange(TILES)


def wave(*shape, generator=None, device=None):  # as torch.randn is called
    shape = shape[0] if shape and not isinstance(shape[0], int) else shape
    return torch.sin(torch.arange(int(np.prod(shape)), dtype=torch.float32) * 1.7 + 0.3).reshape(shape).to(device)


def unit(*shape):
    found = wave(*shape).numpy()
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


class Chance:
    """Draws the first of everything, and numbers evenly: upwards, then downwards."""

    def __init__(self):
        self.upwards = False

    def choice(self, among, count, *, replace):
        assert not replace
        return np.arange(among)[:count] if np.ndim(among) == 0 else among[:count]

    def random(self, count):
        self.upwards = not self.upwards
        drawn = (np.arange(count) + 0.5) / count
        return drawn if self.upwards else drawn[::-1]


@pytest.fixture(autouse=True)
def no_chance(monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda *_: Chance())
    monkeypatch.setattr(torch, "randn", wave)
    monkeypatch.setattr(torch, "rand", lambda *shape, **where: wave(*shape, **where) / 2 + 0.5)
    monkeypatch.setattr(torch, "randn_like", lambda like: wave(*like.shape, device=like.device))
    monkeypatch.setattr(torch, "rand_like", lambda like: wave(*like.shape, device=like.device) / 2 + 0.5)
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, *_, **__: x)


@torch.no_grad()
def filled(module):
    """A module whose weights are waves: those of one axis around 1."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.copy_(wave(*parameter.shape) / parameter[0].numel() ** 0.5)
        elif parameter.ndim == 1:
            parameter.copy_(1 + wave(*parameter.shape) / 4)
    return module


def first_step(monkeypatch, module, train):
    """The loss of a run's first step, and the norm of the module's gradients."""
    seen, backward = [], torch.Tensor.backward

    def watched(loss):
        backward(loss)
        norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
        seen.append((loss.item(), norm.item()))

    monkeypatch.setattr(torch.Tensor, "backward", watched)
    train()
    return seen[0]


def reader():
    shares = np.stack([WET, ~WET]).astype(np.uint8) * FULL
    bank = Bank([f"text {i}" for i in range(SENTENCES)], ["atom"] * SENTENCES, np.arange(SENTENCES) % 2, shares)
    return Reader(unit(SENTENCES, TEXT_FEATURES).astype(np.float16), SentenceSampler(bank, ROWS), ROWS, 8, 8)


def the_teachers(anchored):
    facts = np.stack([WET, ~WET, np.ones(TILES)], 1).astype(np.float32)
    anchor = Anchor(ResidualHead(TEXT_FEATURES, TEXT_DIM, 2048), unit(TILES, TEXT_DIM)) if anchored else None
    run = filled(TeacherRun(3, anchor))
    return run, lambda: train_teacher(run, facts, reader(), TeacherSettings(steps=1), anchor)


def the_position_encoders():
    encoder = filled(PositionEncoder(dim=6, waves=32, width=32, depth=1))
    for buffer in encoder.buffers():
        buffer.copy_(wave(*buffer.shape) * 3)
    lon_lat = np.stack([np.linspace(-170, 170, TILES), np.linspace(-60, 60, TILES)], 1)
    settings = StudentSettings(steps=1, places=8)
    return encoder, lambda: train_student(encoder, lon_lat, unit(TILES, 6), settings)


def the_text_heads():
    head, read = filled(ResidualHead(TEXT_FEATURES, 6, 16)), reader()
    settings = TextHeadSettings(steps=1, sentences=8)
    return head, lambda: tune_text_head(head, read.embeddings, unit(SENTENCES, 6), read.sampler, settings)


def the_image_encoders():
    head = HeadConfig(in_features=8, out_features=4)
    config = ModelConfig(
        name="tiny",
        architecture="timm:resnet10t",
        architecture_args={"channels": [4, 4, 8, 8], "stem_width": 8},
        feature_size=8,
        preprocessing=Preprocessing(input_px=16, normalisation="standard", mean=(0.5,) * 3, std=(0.2,) * 3),
        tile_heads={"text": head, "image": head},
    )
    kinds, spread = unit(2, 4), np.repeat(WET[None, :, None], 3, 0).astype(np.float32)
    places = np.repeat(np.where(WET[:, None], kinds[0], kinds[1])[None], 3, 0)
    targets = VisionTargets(places, spread, spread, kinds[np.arange(SENTENCES) % 2])
    pixels = (wave(TILES, 3, 16, 16, 3).numpy() + 1) * 100 + WET[:, None, None, None, None] * 40
    table = TileTable(np.linspace(-170, 170, TILES), np.zeros(TILES), np.full(TILES, 200.0))
    student = filled(VisionStudent(WildSATModel(config), targets))
    settings = VisionSettings(steps=1, places=8, sentences=6, memory=12)
    views = Views(pixels.astype(np.uint8), (table,) * 3)
    run = (student, views, targets, reader().sampler, ROWS)
    return student, lambda: train_vision(*run, settings=settings)


PARTS = {
    "teacher": (lambda: the_teachers(anchored=False), (5.834764, 21.330671)),
    "anchored teacher": (lambda: the_teachers(anchored=True), (7.830524, 21.334429)),
    "position encoder": (the_position_encoders, (19.938599, 97.111549)),
    "text head": (the_text_heads, (1.042529, 0.129474)),
    "image encoder": (the_image_encoders, (19.643475, 244.761322)),
}


@pytest.mark.parametrize(("part", "known"), PARTS.values(), ids=PARTS)
def test_the_first_step(monkeypatch, part, known):
    module, train = part()
    assert first_step(monkeypatch, module, train) == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize("part", [part for part, _ in PARTS.values()], ids=PARTS)
def test_all_of_a_step_is_on_the_modules_device(monkeypatch, part):
    """torch's `meta` device holds no numbers, and like a GPU refuses to compute with what lies on the CPU."""

    def step(module, loss_at, *_):
        torch.stack(list(loss_at(0, np.random.default_rng(0)).values())).sum().backward()

    def compared(logits, truth, *_):  # how many are true would be a number
        return (logits - truth).square().mean()

    for name in ("soft_losses.texts_to_tiles", "soft_losses.tiles_to_texts"):
        monkeypatch.setattr(f"training.{name}", compared)
    for name in ("texts_to_tiles", "tiles_to_texts"):
        monkeypatch.setattr(f"training.mini.vision.{name}", compared)
    for name in ("teacher", "student", "text_head", "vision"):
        monkeypatch.setattr(f"training.mini.{name}.take_steps", step)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no such device
    module, train = part()
    module.to("meta")
    train()
    assert {p.grad.device.type for p in module.parameters() if p.grad is not None} == {"meta"}
