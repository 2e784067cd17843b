"""The image encoder: it learns to name kinds of ground, and to know a place again under another sky and stretch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from training.sentinel.scenes import FINE, ROUGH, WIDE, SceneMaker, SceneStyle
from training.small_models import read_features
from training.steps import Course, annealed, device_of, take_steps
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.precision import lay_out_channels_last

log = logging.getLogger(__name__)

FIRST_SCALE = 12.0
READ_OUT_SCENES = 2_000_000  # numbers of scenes from here on are not those of training
READ_OUT_BATCHES, READ_OUT_STEPS = 24, 300


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the run: each of `steps` steps sees two pictures, of a style, of each of `places` places."""

    name: str
    style: SceneStyle
    steps: int
    places: int
    rate: float


@dataclass(frozen=True, slots=True)
class VisionSettings:
    """The stages of the run, in their order, and what they have in common."""

    stages: tuple[Stage, ...] = (
        Stage("rough", ROUGH, 8000, 256, 2e-3),
        Stage("fine", FINE, 2000, 256, 1.2e-3),
        Stage("wide", WIDE, 900, 64, 8e-4),
    )
    weight_decay: float = 0.03
    smoothing: float = 0.05
    image_weight: float = 0.2
    seed: int = 0

    @property
    def trains(self) -> bool:
        """Whether any stage has a step."""
        return any(stage.steps for stage in self.stages)

    def resized(self, steps: Sequence[int], places: int | None = None) -> VisionSettings:
        """The same with other steps of the stages, and as many places in each step if that is given."""
        stages = zip(self.stages, steps, strict=True)
        return replace(
            self,
            stages=tuple(replace(stage, steps=count, places=places or stage.places) for stage, count in stages),
        )

    def course(self, stage: Stage) -> Course:
        """Length and optimiser of a stage."""
        optimiser = annealed(stage.steps, stage.rate, weight_decay=self.weight_decay, clip=5.0, ema=0.998)
        log_every, checkpoint_every = max(50, stage.steps // 40), max(150, stage.steps // 10)
        return Course(f"{stage.name} vision", stage.steps, optimiser, self.seed, log_every, checkpoint_every)


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
    model: WildSATModel,
    chips: Chips,
    world: list[WorldChip],
    settings: VisionSettings,
    folder: Path,
    *,
    trained: bool = False,
) -> VisionStudent:
    """Train backbone and image head in place on the model's device, stage by stage.

    Args:
        model: of random weights, or of those of an earlier run.
        chips: EuroSAT's, to train on.
        world: those from elsewhere.
        settings: stages; those without a step are left out.
        folder: keeps checkpoints of every stage to go on from.
        trained: whether the model was trained before; its read-out of kinds, which no model keeps, is then made first.
    """
    torch.manual_seed(settings.seed)
    student = VisionStudent(model).to(model.device)
    lay_out_channels_last(student)

    def loss_at(scenes: SceneMaker, places: int, step: int, _rng: np.random.Generator) -> dict[str, Tensor]:
        batch = scenes.batch(places, step)
        features = student.features(torch.cat([batch.first, batch.second]))
        truth = batch.truth.flatten(0, 1)
        named = F.cross_entropy(student.kinds(features), truth, label_smoothing=settings.smoothing)
        images = F.normalize(student.image_head(features), dim=-1)
        first, second = images.chunk(2)
        match = symmetric_loss(first, second, student.scale())
        return {"kinds": named, "image": settings.image_weight * match.loss}

    for stage in settings.stages:
        if not stage.steps:
            continue
        scenes = SceneMaker(chips, world, settings.seed, stage.style, model.device)
        if trained:
            _fit_read_out(student, scenes, stage.places)
            trained = False
        take_steps(student, partial(loss_at, scenes, stage.places), settings.course(stage), folder / stage.name)
    return student.eval()


def _fit_read_out(student: VisionStudent, scenes: SceneMaker, places: int) -> None:
    """Fit the read-out of kinds to the features as they are, so that its first steps do not shake the network."""
    student.eval()
    read, told = [], []
    with torch.no_grad():
        for number in range(READ_OUT_BATCHES):
            batch = scenes.batch(places, READ_OUT_SCENES + number)
            read.append(student.features(torch.cat([batch.first, batch.second])))
            told.append(batch.truth.flatten(0, 1))
    features, truth = torch.cat(read), torch.cat(told)
    optimiser = torch.optim.AdamW(student.kinds.parameters(), 1e-2, weight_decay=1e-2)
    for _ in range(READ_OUT_STEPS):
        optimiser.zero_grad()
        loss = F.cross_entropy(student.kinds(features), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    log.info("read-out of kinds fitted to %d pictures, loss %.3f", len(features), loss.item())


@torch.inference_mode()
def accuracy(student: VisionStudent, chips: Chips, stretch: Stretch, batch: int = 256) -> float:
    """Share of chips whose kind the linear read-out names right: what the network can do with labels."""
    right, device = 0, device_of(student)
    for start in range(0, len(chips), batch):
        pictures = as_pictures(chips.pixels[start : start + batch], stretch, device)
        named = student.kinds(student.features(pictures)).argmax(1).cpu().numpy()
        right += int((named == chips.kinds[start : start + batch]).sum())
    return right / len(chips)
