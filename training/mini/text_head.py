"""The last touch on the text head: tuned against the very place vectors that are searched, which stay fixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.mini.reading import Reader
from training.soft_losses import alignment
from training.steps import Course, annealed, device_of, take_steps
from wildsat_core.models.heads import ResidualHead

PICTURE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class TextHeadSettings:
    """Steps, sentences and tiles a step, rate, and the scale of similarities."""

    steps: int = 1500
    sentences: int = 384
    tiles: int = 3000
    rate: float = 1e-3
    scale: float = 20.0
    seed: int = 7

    def course(self) -> Course:
        """The run's length and optimiser."""
        return Course("text head", self.steps, annealed(self.steps, self.rate, 0.1, weight_decay=1e-2), self.seed)


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the image encoder makes of the tiles' pictures.

    Attributes:
        vectors: (N, D) of length 1, in the text space.
        known: (N,) true for tiles that the encoder learned from; others stay unseen.
    """

    vectors: NDArray[np.float32]
    known: NDArray[np.bool_]


def tune_text_head(
    head: ResidualHead,
    places: NDArray[np.float32],
    reader: Reader,
    settings: TextHeadSettings,
    pictures: Pictures | None = None,
    folder: Path | None = None,
) -> None:
    """Tune the head, in place.

    Args:
        head: as the teacher's run left it.
        places: (N, D) of length 1: the vectors of the training tiles as the shipped position encoder gives them.
        reader: draws sentences and tiles.
        settings: length and size of the run.
        pictures: what the image encoder makes of the tiles, where there is one.
        folder: for checkpoints to go on from.

    Raises:
        TrainingError: the loss is not finite.
    """
    device = device_of(head)
    fixed = torch.from_numpy(places).to(device)

    def loss_at(_step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        read = reader.read(head, rng)

        def told(vectors: Tensor, truth: Tensor) -> Tensor:
            return alignment(read.texts @ vectors.T * settings.scale, truth)  # (S, D) @ (D, N)

        parts = {"places": told(fixed[read.tiles], read.truth), "wordings": read.apart}
        if pictures is not None:
            shown = np.flatnonzero(pictures.known[read.tiles])
            seen = torch.from_numpy(pictures.vectors[read.tiles[shown]]).to(device)
            parts["pictures"] = PICTURE_WEIGHT * told(seen, read.truth[:, shown])
        return parts

    take_steps(head, loss_at, settings.course(), folder)
