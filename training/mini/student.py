"""Teaches the position encoder what the place teacher knows, so that longitude and latitude suffice afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.soft_losses import follow_teacher
from training.steps import Course, annealed, device_of, take_steps
from wildsat_core.location.position import PositionEncoder

SHARPNESS = 30.0
COSINE_WEIGHT = 4.0
MEMORY = 1024
MOVE_DEG = 0.15  # inputs move a little, so that the map between the training places stays smooth


@dataclass(frozen=True, slots=True)
class StudentSettings:
    """Steps, places a step, rate."""

    steps: int = 2000
    places: int = 1024
    rate: float = 2e-3
    seed: int = 0

    def course(self) -> Course:
        """The run's length and optimiser."""
        return Course("positions", self.steps, annealed(self.steps, self.rate, 0.1, weight_decay=1e-3), self.seed)


def train_student(
    encoder: PositionEncoder,
    lon_lat: NDArray[np.float64],
    taught: NDArray[np.float32],
    settings: StudentSettings,
    folder: Path | None = None,
) -> None:
    """Distil the teacher into the encoder, in place.

    Args:
        encoder: with random or earlier weights.
        lon_lat: (N, 2) degrees.
        taught: (N, D) the teacher's vectors there, of length 1.
        settings: length and size of the run.
        folder: for checkpoints to go on from.

    Raises:
        TrainingError: the loss is not finite.
    """
    device = device_of(encoder)
    places, vectors = (torch.from_numpy(each).to(device) for each in (lon_lat.astype(np.float32), taught))
    scale = torch.tensor(SHARPNESS, device=device)

    def loss_at(_step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        rows = rng.choice(len(places), min(settings.places, len(places)), replace=False)
        others = rng.choice(len(places), min(MEMORY, len(places)), replace=False)
        found = F.normalize(encoder(_moved(places[rows])), dim=-1)
        return {
            "cosine": COSINE_WEIGHT * (1 - (found * vectors[rows]).sum(1).mean()),
            "likeness": follow_teacher(found, vectors[rows], vectors[others], scale, SHARPNESS),
        }

    take_steps(encoder, loss_at, settings.course(), folder)


def _moved(lon_lat: torch.Tensor) -> torch.Tensor:
    """Positions moved by up to MOVE_DEG of arc; longitude by more towards the poles."""
    move = (torch.rand_like(lon_lat) * 2 - 1) * MOVE_DEG
    lat = (lon_lat[:, 1] + move[:, 1]).clamp(-90, 90)
    lon = lon_lat[:, 0] + move[:, 0] / torch.deg2rad(lat).cos().clamp(min=0.05)
    return torch.stack([lon, lat], 1)
