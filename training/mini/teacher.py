"""The place teacher and the text head, trained together: which text fits which place, knowing the place's climate.

The text head ships. The teacher does not: it shows the image encoder and the position encoder where to go.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.losses import LogitScale
from training.mini.model import TEXT_HIDDEN
from training.mini.reading import Reader
from training.small_models import TEXT_DIM, TEXT_FEATURES
from training.soft_losses import alignment
from training.steps import Course, annealed, device_of, take_steps
from wildsat_core.models.heads import ResidualHead

FIRST_SCALE, HIGHEST_SCALE = 14.0, 60.0
FACT_NOISE = 0.05
ANCHOR_WEIGHT = 2.0  # of staying in the space of the weights that a run goes on from


class PlaceTeacher(nn.Module):
    """Facts of a place (B, F) to (B, D) of length 1."""

    def __init__(self, features: int, dim: int = TEXT_DIM, width: int = 384, depth: int = 3) -> None:
        """Build with random weights."""
        super().__init__()
        self.input = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, width)
            )
            for _ in range(depth)
        )
        self.output = nn.Linear(width, dim)

    def forward(self, facts: Tensor) -> Tensor:
        """Encode standardised facts, (N, F), to vectors (N, D)."""
        x = self.input(facts)
        for block in self.blocks:
            x = x + block(x)
        return F.normalize(self.output(F.gelu(x)), dim=-1)


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a run goes on from: a trained text head, and the place vectors of the tiles, (N, D) of length 1."""

    text_head: ResidualHead
    places: NDArray[np.float32]


class TeacherRun(nn.Module):
    """A teacher, the text head beside it, and the scale of their similarities.

    Args:
        features: length of a place's facts.
        anchor: what the run goes on from; None begins with random weights.
    """

    def __init__(self, features: int, anchor: Anchor | None = None) -> None:
        """Build, with the anchor's text head where there is one."""
        super().__init__()
        self.teacher = PlaceTeacher(features)
        self.text_head = ResidualHead(TEXT_FEATURES, TEXT_DIM, TEXT_HIDDEN)
        self.scale = LogitScale(FIRST_SCALE, learned=True, highest=HIGHEST_SCALE)
        if anchor is not None:
            self.text_head.load_state_dict(anchor.text_head.state_dict())


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """Steps, sentences and tiles a step, rate."""

    steps: int = 450
    sentences: int = 384
    tiles: int = 2500
    rate: float = 1.5e-3
    seed: int = 0

    def course(self) -> Course:
        """The run's length and optimiser."""
        optimiser = annealed(self.steps, self.rate, 0.1, weight_decay=1e-2)
        return Course("teacher", self.steps, optimiser, self.seed, log_every=50)


def train_teacher(
    run: TeacherRun,
    facts: NDArray[np.float32],
    reader: Reader,
    settings: TeacherSettings,
    anchor: Anchor | None = None,
    folder: Path | None = None,
) -> None:
    """Train teacher and text head with exact soft positives, in place.

    Args:
        run: with random weights, or with the anchor's text head.
        facts: (N, F) the teacher's input for every tile.
        reader: draws sentences and tiles.
        settings: length and size of the run.
        anchor: what the run goes on from; its place vectors are not left far behind.
        folder: for checkpoints to go on from.

    Raises:
        TrainingError: the loss is not finite.
    """
    device = device_of(run)
    inputs = torch.from_numpy(facts).to(device)

    def loss_at(_step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        read = reader.read(run.text_head, rng)
        place = inputs[read.tiles]
        places = run.teacher(place + torch.randn_like(place) * FACT_NOISE)
        logits = read.texts @ places.T * run.scale()  # (S, D) @ (D, N)
        parts = {"texts": alignment(logits, read.truth), "wordings": read.apart}
        if anchor is not None:
            known = torch.from_numpy(anchor.places[read.tiles]).to(device)
            parts["anchor"] = ANCHOR_WEIGHT * (1 - (places * known).sum(1)).mean()
        return parts

    take_steps(run, loss_at, settings.course(), folder)


@torch.inference_mode()
def teach(teacher: PlaceTeacher, facts: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) the teacher's vectors of places."""
    inputs = torch.from_numpy(facts).to(device_of(teacher))
    return torch.cat([teacher(part) for part in torch.split(inputs, 4096)]).cpu().numpy()
