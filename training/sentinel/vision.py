"""The image encoder: it learns to name kinds of ground, and to know a place again under another sky and stretch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.earth.chips import Chips, WorldChip
from training.earth.kinds import KINDS
from training.earth.stretches import Stretch, as_pictures
from training.losses import LogitScale, symmetric_loss
from training.sentinel.scenes import FINE, ROUGH, SceneMaker
from training.setup import lay_out_channels_last
from training.small_models import read_features
from training.steps import Course, annealed, device_of, take_steps
from wildsat_core.models.model import WildSATModel

log = logging.getLogger(__name__)

FIRST_SCALE = 12.0


@dataclass(frozen=True, slots=True)
class VisionSettings:
    """Length, size and weights of the run; each step sees two pictures of each of `places` places."""

    steps: int = 2000
    fine_steps: int = 700
    places: int = 64
    rate: float = 2e-3
    fine_rate: float = 1.2e-3
    weight_decay: float = 0.03
    smoothing: float = 0.05
    image_weight: float = 0.2
    seed: int = 0

    def course(self, *, fine: bool) -> Course:
        """Length and optimiser of the rough or the fine part."""
        name, steps, rate = (
            ("fine vision", self.fine_steps, self.fine_rate) if fine else ("vision", self.steps, self.rate)
        )
        optimiser = annealed(steps, rate, weight_decay=self.weight_decay, clip=5.0, ema=0.998)
        log_every, checkpoint_every = max(50, steps // 40), max(150, steps // 10)
        return Course(name, steps, optimiser, self.seed, log_every, checkpoint_every)


class VisionStudent(nn.Module):
    """The model's backbone and image head, and the linear read-out of kinds that helps to train them."""

    def __init__(self, model: WildSATModel) -> None:
        """Put a read-out on the backbone's features."""
        super().__init__()
        self.preprocessing = model.config.preprocessing
        self.backbone, self.image_head = model.backbone, model.tile_heads["image"]
        self.kinds = nn.Linear(model.config.feature_size, len(KINDS))
        self.scale = LogitScale(FIRST_SCALE, learned=True)

    def features(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 255] to features (B, F)."""
        return read_features(self.backbone, pictures, self.preprocessing)


def train_vision(
    model: WildSATModel, chips: Chips, world: list[WorldChip], settings: VisionSettings, folder: Path
) -> VisionStudent:
    """Train backbone and image head in place on the model's device, on rough pictures, then on finer ones.

    The folder keeps checkpoints of both parts to go on from.
    """
    torch.manual_seed(settings.seed)
    student = VisionStudent(model).to(model.device)
    lay_out_channels_last(student)

    def loss_at(scenes: SceneMaker, step: int, _rng: np.random.Generator) -> dict[str, Tensor]:
        batch = scenes.batch(settings.places, step)
        features = student.features(torch.cat([batch.first, batch.second]))
        named = F.cross_entropy(student.kinds(features), batch.truth.repeat(2, 1), label_smoothing=settings.smoothing)
        images = F.normalize(student.image_head(features), dim=-1)
        first, second = images.chunk(2)
        match = symmetric_loss(first, second, student.scale())
        return {"kinds": named, "image": settings.image_weight * match.loss}

    for name, style in (("rough", ROUGH), ("fine", FINE)):
        scenes = SceneMaker(chips, world, settings.seed, style, model.device)
        take_steps(student, partial(loss_at, scenes), settings.course(fine=style is FINE), folder / name)
    return student


@torch.inference_mode()
def accuracy(student: VisionStudent, chips: Chips, stretch: Stretch, batch: int = 256) -> float:
    """Share of chips whose kind the linear read-out names right: what the network can do with labels."""
    right, device = 0, device_of(student)
    for start in range(0, len(chips), batch):
        pictures = as_pictures(chips.pixels[start : start + batch], stretch, device)
        named = student.kinds(student.features(pictures)).argmax(1).cpu().numpy()
        right += int((named == chips.kinds[start : start + batch]).sum())
    return right / len(chips)
