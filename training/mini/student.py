"""Teaches the position encoder what the place teacher knows, so that longitude and latitude suffice afterwards."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.soft_losses import follow_teacher
from wildsat_core.errors import TrainingError
from wildsat_core.location.position import PositionEncoder

log = logging.getLogger(__name__)

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


def train_student(
    encoder: PositionEncoder,
    lon_lat: NDArray[np.float64],
    taught: NDArray[np.float32],
    settings: StudentSettings,
) -> PositionEncoder:
    """Distil the teacher into the encoder, in place.

    Args:
        encoder: with random or earlier weights.
        lon_lat: (N, 2) degrees.
        taught: (N, D) the teacher's vectors there, of length 1.
        settings: length and size of the run.

    Raises:
        TrainingError: the loss is not finite.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    places, vectors = torch.from_numpy(lon_lat.astype(np.float32)), torch.from_numpy(taught)
    scale = torch.tensor(SHARPNESS)
    optimiser = torch.optim.AdamW([*encoder.parameters()], lr=settings.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=settings.steps, pct_start=0.1)
    for step in range(settings.steps):
        rows = rng.choice(len(places), min(settings.places, len(places)), replace=False)
        others = rng.choice(len(places), min(MEMORY, len(places)), replace=False)
        found = F.normalize(encoder(_moved(places[rows])), dim=-1)
        cosine = (found * vectors[rows]).sum(1).mean()
        loss = COSINE_WEIGHT * (1 - cosine)
        loss = loss + follow_teacher(found, vectors[rows], vectors[others], scale, SHARPNESS)
        if not torch.isfinite(loss):
            raise TrainingError(f"the position encoder's loss is {loss.item()} at step {step}; lower the rate")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == settings.steps - 1:
            log.info("student step %d/%d loss %.3f cosine %.4f", step + 1, settings.steps, loss.item(), cosine.item())
    return encoder.eval()


def _moved(lon_lat: torch.Tensor) -> torch.Tensor:
    """Positions moved by up to MOVE_DEG of arc; longitude by more towards the poles."""
    move = (torch.rand_like(lon_lat) * 2 - 1) * MOVE_DEG
    lat = (lon_lat[:, 1] + move[:, 1]).clamp(-90, 90)
    lon = lon_lat[:, 0] + move[:, 0] / torch.deg2rad(lat).cos().clamp(min=0.05)
    return torch.stack([lon, lat], 1)
