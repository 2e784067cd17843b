"""The image encoder: taught by the place teacher, the texts, facts of the land, and other pictures of the place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.earth.squares import KM_PER_DEG
from training.losses import LogitScale
from training.mini.sampling import SentenceSampler
from training.mini.views import Views, distort
from training.small_models import read_features
from training.soft_losses import follow_teacher, texts_to_tiles, tiles_to_texts, two_views
from training.steps import Course, annealed, take_steps
from wildsat_core.geo import unit_vectors
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.precision import lay_out_channels_last

FIRST_SCALE, HIGHEST_SCALE = 20.0, 60.0
TEACHER_SHARPNESS = 30.0
SAME_PLACE_KM = 300.0  # pictures of places nearer than this may overlap
AVERAGE_OVER = 400  # steps that the running mean of the weights looks back


@dataclass(frozen=True, slots=True)
class VisionSettings:
    """Length, size and weights of the run; each step sees two pictures of each of `places` places."""

    steps: int = 3000
    places: int = 96
    sentences: int = 192
    memory: int = 1024
    rate: float = 1e-3
    weight_decay: float = 0.03
    place_weight: float = 4.0
    fact_weight: float = 0.5
    facet_weight: float = 8.0
    text_weight: float = 1.0
    location_weight: float = 0.5
    image_weight: float = 0.5
    seed: int = 0

    def course(self) -> Course:
        """The run's length and optimiser."""
        optimiser = annealed(self.steps, self.rate, weight_decay=self.weight_decay, clip=5.0, ema=1 - 1 / AVERAGE_OVER)
        return Course("vision", self.steps, optimiser, self.seed)


@dataclass(frozen=True, slots=True)
class VisionTargets:
    """What the image encoder is to find, for every view v of every tile n.

    Attributes:
        places: (V, N, D) the teacher's vectors of the very squares seen.
        facts: (V, N, F) standardised climate and terrain of the squares.
        facets: (V, N, P) share of the land for which each habitat, climate or terrain facet is true.
        texts: (S, D) vectors of the bank's sentences, from the frozen text head.
    """

    places: NDArray[np.float32]
    facts: NDArray[np.float32]
    facets: NDArray[np.float32]
    texts: NDArray[np.float32]


class VisionStudent(nn.Module):
    """The model that ships, and what helps to train it: linear read-outs of facts and facets, and learned scales.

    Attributes:
        remembered: (N, D) each tile's vector in the text space as of the last picture seen of it.
    """

    remembered: Tensor

    def __init__(self, model: WildSATModel, targets: VisionTargets) -> None:
        """Put read-outs on the backbone's features; what is remembered begins as the teacher's vectors."""
        super().__init__()
        self.model = model
        self.facts = nn.Linear(model.config.feature_size, targets.facts.shape[2])
        self.facets = nn.Linear(model.config.feature_size, targets.facets.shape[2])
        self.text_scale, self.location_scale, self.image_scale = (
            LogitScale(FIRST_SCALE, learned=True, highest=HIGHEST_SCALE) for _ in range(3)
        )
        self.register_buffer("remembered", torch.from_numpy(targets.places[0].copy()))
        lay_out_channels_last(self)


def train_vision(
    student: VisionStudent,
    views: Views,
    targets: VisionTargets,
    sampler: SentenceSampler,
    rows: NDArray[np.int64],
    *,
    settings: VisionSettings,
    folder: Path | None = None,
) -> WildSATModel:
    """Train the student's model in place; it ends with the mean of its weights over the last steps, ready to embed.

    Args:
        student: with random or earlier weights.
        views: pictures.
        targets: what to find in them.
        sampler: draws sentences and knows what they are true of.
        rows: (R,) training tiles.
        settings: length, size and weights.
        folder: for checkpoints to go on from.

    Raises:
        TrainingError: the loss is not finite.
    """
    losses = VisionLosses(student, views, targets, sampler, rows, settings)
    take_steps(student, losses.at, settings.course(), folder)
    return student.model


@dataclass(frozen=True, slots=True)
class VisionLosses:
    """What a student does not know yet, of pictures drawn by chance; arguments as those of `train_vision`."""

    student: VisionStudent
    views: Views
    targets: VisionTargets
    sampler: SentenceSampler
    rows: NDArray[np.int64]
    settings: VisionSettings

    def at(self, _step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Weighted losses of one batch, by name; the vectors found are remembered."""
        tiles = rng.choice(self.rows, self.settings.places, replace=False)
        view = np.stack([rng.choice(len(self.views.tables), 2, replace=False) for _ in tiles])  # (B, 2)
        both, seen = np.concatenate([tiles, tiles]), np.concatenate([view[:, 0], view[:, 1]])  # (2B,)
        model = self.student.model
        pixels = distort(np.stack([self.views.pixels[n, v] for n, v in zip(both, seen, strict=True)]), model.device)
        return self._losses(read_features(model.backbone, pixels, model.config.preprocessing), both, seen, rng)

    def _losses(
        self, features: Tensor, tiles: NDArray[np.int64], seen: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        settings, student = self.settings, self.student
        vectors = student.model.project_features(features)
        place, facts, facets = (
            self._sent(each[seen, tiles]) for each in (self.targets.places, self.targets.facts, self.targets.facets)
        )
        others = rng.choice(self.rows, min(settings.memory, len(self.rows)), replace=False)
        half = len(tiles) // 2
        first, second = vectors["image"][:half], vectors["image"][half:]
        candidates = torch.cat([place, self._sent(self.targets.places[0, others])])
        losses = {
            "place": settings.place_weight * (1 - (vectors["text"] * place).sum(1)).mean(),
            "facts": settings.fact_weight * F.smooth_l1_loss(student.facts(features), facts),
            "facets": settings.facet_weight * F.binary_cross_entropy_with_logits(student.facets(features), facets),
            "text": settings.text_weight * self._text_loss(vectors["text"], tiles, others, rng),
            "location": settings.location_weight
            * follow_teacher(vectors["text"], place, candidates, student.location_scale(), TEACHER_SHARPNESS),
            "image": settings.image_weight * two_views(first, second, student.image_scale(), self._near(tiles[:half])),
        }
        student.remembered[tiles] = vectors["text"].detach()
        return losses

    def _text_loss(
        self, vectors: Tensor, tiles: NDArray[np.int64], others: NDArray[np.int64], rng: np.random.Generator
    ) -> Tensor:
        """Sentences against the batch and remembered tiles; the batch against sentences."""
        others = others[~np.isin(others, tiles)]
        sentences = self.sampler.sentences(self.settings.sentences, rng)
        truth = self._sent(self.sampler.truth(sentences, np.concatenate([tiles, others])))
        candidates = torch.cat([vectors, self.student.remembered[others]])
        texts = self._sent(self.targets.texts[sentences])
        logits = texts @ candidates.T * self.student.text_scale()  # (S, D) @ (D, 2B + M)
        batch = slice(0, len(tiles))
        backward = tiles_to_texts(logits[:, batch], truth[:, batch], truth.sum(1))
        return 0.5 * texts_to_tiles(logits, truth) + 0.5 * backward

    def _near(self, tiles: NDArray[np.int64]) -> Tensor:
        table = self.views.tables[0]
        xyz = unit_vectors(table.lon[tiles], table.lat[tiles])
        return self._sent(xyz @ xyz.T > np.cos(np.radians(SAME_PLACE_KM / KM_PER_DEG)))

    def _sent(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self.student.model.device)
