"""What stands on the image encoder's features: one shared space for tiles, texts and positions, trained in one go.

The backbone is fixed by now, so tiles are features read once, and thousands of steps take minutes. Its text head only
shapes the space: the one that ships is fitted to it afterwards, by `training.sentinel.text_head`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.earth.chips import Chips
from training.earth.stretches import STRETCHES, as_pictures
from training.losses import LogitScale
from training.sentinel.drawing import EvenDrawer
from training.sentinel.points import Points
from training.sentinel.scenes import SceneMaker
from training.sentinel.texts import Sentences
from training.sentinel.vision import VisionStudent
from training.small_models import TEXT_DIM, TEXT_FEATURES
from training.soft_losses import alignment
from training.steps import Course, annealed, device_of, take_steps
from wildsat_core.errors import TrainingError
from wildsat_core.models.heads import ResidualHead
from wildsat_core.models.model import WildSATModel

FIRST_SCALE = 14.0
TEXT_HIDDEN = 1024
TEXT_NOISE, FEATURE_NOISE = 0.02, 0.05
MOST_MIXED = 0.4  # share of a second sentence of the same claim in a sentence's embedding
PARAPHRASE_WEIGHT = 2.0
UNSEEN_SCENES = 1_000_000  # numbers of scenes from here on are not those of the encoder's training
MOVE_DEG = 0.03  # positions move a little, so that the map between them stays smooth


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """Length and size of the run; `scenes` pictures are made for it beside one of each chip."""

    steps: int = 900
    sentences: int = 128
    tiles: int = 384
    points: int = 512
    scenes: int = 8_192
    rate: float = 1.5e-3
    weight_decay: float = 0.02
    place_weight: float = 1.0
    seed: int = 0

    def course(self) -> Course:
        """The run's length and optimiser."""
        optimiser = annealed(self.steps, self.rate, weight_decay=self.weight_decay, clip=5.0)
        return Course("heads", self.steps, optimiser, self.seed)


@dataclass(frozen=True, slots=True)
class TileFeatures:
    """Features (N, F) of pictures, and the share of each kind in them, (N, K)."""

    features: Tensor
    truth: Tensor


class HeadsStudent(nn.Module):
    """The tile head of the text space, a passing text head, the position encoder, and their scales."""

    def __init__(self, model: WildSATModel) -> None:
        """Take the parts from a model."""
        super().__init__()
        if model.location is None:
            raise TrainingError(f"{model.config.name!r} has no location encoder")
        self.tiles = model.tile_heads["text"]
        self.texts = ResidualHead(TEXT_FEATURES, TEXT_DIM, TEXT_HIDDEN)
        self.places = model.location
        self.scales = nn.ModuleList(LogitScale(FIRST_SCALE, learned=True) for _ in range(2))


@torch.inference_mode()
def read_features(student: VisionStudent, chips: Chips, scenes: SceneMaker, count: int) -> TileFeatures:
    """Features of `count` scenes, drawn otherwise than in the encoder's training, and of each chip in some stretch."""
    features: list[Tensor] = []
    truth: list[Tensor] = []
    places = 64
    for number in range(count // (2 * places)):
        batch = scenes.batch(places, UNSEEN_SCENES + number)
        features += [student.features(batch.first), student.features(batch.second)]
        truth += batch.truth.unbind()
    device = device_of(student)
    named = torch.from_numpy(chips.kinds).to(device)
    stretches, kinds = list(STRETCHES.values()), F.one_hot(named, student.kinds.out_features).float()
    for number, start in enumerate(range(0, len(chips), 256)):
        rows = slice(start, start + 256)
        shown = as_pictures(chips.pixels[rows], stretches[number % len(stretches)], device)
        features.append(student.features(shown))
        truth.append(kinds[rows])
    return TileFeatures(torch.cat(features).cpu(), torch.cat(truth).cpu())


def train_heads(
    model: WildSATModel,
    tiles: TileFeatures,
    sentences: tuple[Sentences, NDArray[np.float32]],
    points: tuple[Points, NDArray[np.float32]],
    settings: HeadSettings,
    folder: Path | None = None,
) -> None:
    """Train the tile head of the text space and the position encoder in place.

    Args:
        model: with its trained backbone.
        tiles: features and truth of pictures.
        sentences: about kinds of ground, and their embeddings (S, 384).
        points: positions with sentences about them, and the embeddings of those.
        settings: length and size of the run.
        folder: keeps checkpoints to go on from.
    """
    torch.manual_seed(settings.seed)
    student = HeadsStudent(model).to(model.device)
    tiles = TileFeatures(tiles.features.to(model.device), tiles.truth.to(model.device))
    said, about = _Drawer(*sentences, model.device), _Drawer(*points, model.device)

    def loss_at(_step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        return {
            **_tile_losses(student, tiles, said, rng, settings),
            **_point_losses(student, points[0], about, rng, settings),
        }

    take_steps(student, loss_at, settings.course(), folder)


class _Drawer:
    """Draws sentences evenly over claims, each with another of the same claim."""

    def __init__(self, sentences: Sentences | Points, embeddings: NDArray[np.float32], device: torch.device) -> None:
        claims = sentences.claims if sentences.claims.ndim == 2 else np.stack([sentences.claims] * 2, 1)
        _, claim = np.unique(claims, axis=0, return_inverse=True)
        self._groups = int(claim.max()) + 1
        self._drawer = EvenDrawer(claim.reshape(-1), self._groups)
        self._embeddings, self.claims, self._device = torch.from_numpy(embeddings).to(device), claims[:, 0], device

    def draw(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Rows of sentences, their embeddings mixed a little with another of the claim, and that other's, (S, 384)."""
        claims = rng.integers(self._groups, size=count)
        rows, others = (self._drawer.draw(claims, rng) for _ in range(2))
        first, second = (self._embeddings[torch.from_numpy(chosen).to(self._device)] for chosen in (rows, others))
        share = torch.from_numpy(rng.uniform(0, MOST_MIXED, (count, 1)).astype(np.float32)).to(self._device)
        return rows, _noisy(first * (1 - share) + second * share), _noisy(second)


def _noisy(embeddings: Tensor) -> Tensor:
    unit = F.normalize(embeddings, dim=-1)
    return F.normalize(unit + TEXT_NOISE * torch.randn_like(unit), dim=-1)


def _read_texts(student: HeadsStudent, mixed: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of length 1 of sentences, and how far from them those that say the same are."""
    texts, same = (F.normalize(student.texts(embeddings), dim=-1) for embeddings in (mixed, others))
    return texts, PARAPHRASE_WEIGHT * (1 - (texts * same).sum(1)).mean()


def _tile_losses(
    student: HeadsStudent, tiles: TileFeatures, said: _Drawer, rng: np.random.Generator, settings: HeadSettings
) -> dict[str, Tensor]:
    rows, mixed, others = said.draw(settings.sentences, rng)
    texts, apart = _read_texts(student, mixed, others)
    device = tiles.features.device
    chosen = torch.from_numpy(rng.integers(len(tiles.features), size=settings.tiles)).to(device)
    features = tiles.features[chosen]
    vectors = F.normalize(student.tiles(features + FEATURE_NOISE * torch.randn_like(features)), dim=-1)
    truth = tiles.truth[chosen][:, torch.from_numpy(said.claims[rows]).to(device)].T  # (S, N)
    logits = texts @ vectors.T * student.scales[0]()  # (S, D) @ (D, N)
    return {"tiles": alignment(logits, truth), "wordings": apart}


def _point_losses(
    student: HeadsStudent, points: Points, about: _Drawer, rng: np.random.Generator, settings: HeadSettings
) -> dict[str, Tensor]:
    rows, mixed, others = about.draw(settings.sentences, rng)
    texts, apart = _read_texts(student, mixed, others)
    chosen = rng.integers(len(points.lon_lat), size=settings.points)
    moved = points.lon_lat[chosen] + rng.uniform(-MOVE_DEG, MOVE_DEG, (settings.points, 2))
    vectors = F.normalize(student.places(torch.from_numpy(moved.astype(np.float32)).to(mixed.device)), dim=-1)
    logits = texts @ vectors.T * student.scales[1]()  # (S, D) @ (D, N)
    loss = alignment(logits, torch.from_numpy(points.true_of(rows, chosen)).to(logits.device))
    return {"places": settings.place_weight * loss, "said otherwise": settings.place_weight * apart}
