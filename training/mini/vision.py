"""The image encoder: taught by the place teacher, the texts, facts of the land, and other pictures of the place."""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.earth.squares import KM_PER_DEG
from training.mini.sampling import SentenceSampler
from training.mini.views import Views, distort
from training.soft_losses import follow_teacher, texts_to_tiles, tiles_to_texts, two_views
from wildsat_core.errors import TrainingError
from wildsat_core.models.model import WildSATModel
from wildsat_core.preprocess import preprocess

log = logging.getLogger(__name__)

FIRST_SCALE, HIGHEST_SCALE = 20.0, 60.0
TEACHER_SHARPNESS = 30.0
SAME_PLACE_KM = 300.0  # pictures of places nearer than this may overlap
AVERAGE_OVER = 400  # steps that the running average of the weights looks back
LARGEST_GRADIENT = 5.0


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
    """The model that ships, and what helps to train it: linear read-outs of facts and facets, and learned scales."""

    def __init__(self, model: WildSATModel, facts: int, facets: int) -> None:
        """Put read-outs on the backbone's features."""
        super().__init__()
        self.model = model
        self.facts = nn.Linear(model.config.feature_size, facts)
        self.facets = nn.Linear(model.config.feature_size, facets)
        self.log_scales = nn.Parameter(torch.full((3,), float(np.log(FIRST_SCALE))))  # text, location, image

    def scales(self) -> Tensor:
        return self.log_scales.exp().clamp(max=HIGHEST_SCALE)


class VisionTrainer:
    """Trains a student on views; `run` gives the model with its weights averaged over the last steps."""

    def __init__(
        self,
        student: VisionStudent,
        views: Views,
        targets: VisionTargets,
        sampler: SentenceSampler,
        rows: NDArray[np.int64],
        *,
        settings: VisionSettings,
    ) -> None:
        """Prepare the optimiser.

        Args:
            student: with random or earlier weights.
            views: pictures.
            targets: what to find in them.
            sampler: draws sentences and knows what they are true of.
            rows: training tiles.
            settings: length, size and weights.
        """
        self.student, self.views, self.targets, self.sampler = student, views, targets, sampler
        self.rows, self.settings = rows, settings
        self.average = copy.deepcopy(student.model).eval()
        scales = [student.log_scales]
        weights = [p for name, p in student.named_parameters() if name != "log_scales"]
        self.optimiser = torch.optim.AdamW(
            [{"params": weights, "weight_decay": settings.weight_decay}, {"params": scales, "weight_decay": 0.0}],
            lr=settings.rate,
        )
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.rng = np.random.default_rng(settings.seed)
        self.text_vectors = torch.from_numpy(targets.texts)
        self.memory = torch.from_numpy(targets.places[0].copy())  # the last picture's vector of every tile

    def run(self) -> WildSATModel:
        """All steps; the averaged model, ready to embed.

        Raises:
            TrainingError: the loss is not finite.
        """
        steps, began = self.settings.steps, time.monotonic()
        for step in range(steps):
            self._set_rate(step)
            parts = self.step()
            loss = torch.stack(list(parts.values())).sum()
            if not torch.isfinite(loss):
                raise TrainingError(f"the image encoder's loss is {loss.item()} at step {step}; lower the rate")
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.student.parameters(), LARGEST_GRADIENT)
            self.optimiser.step()
            self._update_average(step)
            if step % 100 == 0 or step == steps - 1:
                shown = " ".join(f"{name} {value.item():.3f}" for name, value in parts.items())
                log.info("vision step %d/%d %.0f s %s", step + 1, steps, time.monotonic() - began, shown)
        return self.average

    def step(self) -> dict[str, Tensor]:
        """Weighted losses of one batch, by name."""
        tiles = self.rng.choice(self.rows, self.settings.places, replace=False)
        view = np.stack([self.rng.choice(len(self.views.tables), 2, replace=False) for _ in tiles])  # (B, 2)
        both, seen = np.concatenate([tiles, tiles]), np.concatenate([view[:, 0], view[:, 1]])  # (2B,)
        pixels = distort(np.stack([self.views.pixels[n, v] for n, v in zip(both, seen, strict=True)]), self.generator)
        return self._losses(self._features(pixels), both, seen)

    def _features(self, pixels: Tensor) -> Tensor:
        model = self.student.model
        ready = preprocess(pixels, model.config.preprocessing).contiguous(memory_format=torch.channels_last)
        features: Tensor = model.backbone(ready)
        return features

    def _losses(self, features: Tensor, tiles: NDArray[np.int64], seen: NDArray[np.int64]) -> dict[str, Tensor]:
        settings, student = self.settings, self.student
        vectors = student.model.project_features(features)
        text_scale, location_scale, image_scale = student.scales()
        place = torch.from_numpy(self.targets.places[seen, tiles])
        facts = torch.from_numpy(self.targets.facts[seen, tiles])
        facets = torch.from_numpy(self.targets.facets[seen, tiles])
        others = self.rng.choice(self.rows, min(settings.memory, len(self.rows)), replace=False)
        half = len(tiles) // 2
        first, second = vectors["image"][:half], vectors["image"][half:]
        candidates = torch.cat([place, torch.from_numpy(self.targets.places[0, others])])
        losses = {
            "place": settings.place_weight * (1 - (vectors["text"] * place).sum(1)).mean(),
            "facts": settings.fact_weight * F.smooth_l1_loss(student.facts(features), facts),
            "facets": settings.facet_weight * F.binary_cross_entropy_with_logits(student.facets(features), facets),
            "text": settings.text_weight * self._text_loss(vectors["text"], tiles, others, text_scale),
            "location": settings.location_weight
            * follow_teacher(vectors["text"], place, candidates, location_scale, TEACHER_SHARPNESS),
            "image": settings.image_weight * two_views(first, second, image_scale, self._near(tiles[:half])),
        }
        self.memory[tiles] = vectors["text"].detach()
        return losses

    def _text_loss(self, vectors: Tensor, tiles: NDArray[np.int64], others: NDArray[np.int64], scale: Tensor) -> Tensor:
        """Sentences against the batch and remembered tiles; the batch against sentences."""
        others = others[~np.isin(others, tiles)]
        sentences = self.sampler.sentences(self.settings.sentences)
        truth = torch.from_numpy(self.sampler.truth(sentences, np.concatenate([tiles, others])))
        candidates = torch.cat([vectors, self.memory[others]])
        logits = self.text_vectors[sentences] @ candidates.T * scale  # (S, D) @ (D, 2B + M)
        batch = slice(0, len(tiles))
        backward = tiles_to_texts(logits[:, batch], truth[:, batch], truth.sum(1))
        return 0.5 * texts_to_tiles(logits, truth) + 0.5 * backward

    def _near(self, tiles: NDArray[np.int64]) -> Tensor:
        table = self.views.tables[0]
        lat, lon = np.radians(table.lat[tiles]), np.radians(table.lon[tiles])
        xyz = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
        return torch.from_numpy(xyz @ xyz.T > np.cos(np.radians(SAME_PLACE_KM / KM_PER_DEG)))

    def _set_rate(self, step: int) -> None:
        done = step / self.settings.steps
        rate = self.settings.rate * min(1.0, done / 0.05 + 0.02) * (0.5 + 0.5 * float(np.cos(np.pi * done)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        keep = min(1 - 1 / AVERAGE_OVER, (step + 1) / (step + 10))
        live = self.student.model.state_dict()
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(live[name], 1 - keep)
            else:
                value.copy_(live[name])
