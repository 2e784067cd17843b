"""The last touch on the text head: it learns, for every sentence, the vector that best finds the land it is true of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.mini.reading import read_mixed
from training.mini.sampling import SentenceSampler
from training.steps import Course, annealed, device_of, take_steps
from wildsat_core.models.heads import ResidualHead


@dataclass(frozen=True, slots=True)
class TextHeadSettings:
    """Steps, sentences a step, rate."""

    steps: int = 1500
    sentences: int = 512
    rate: float = 1.5e-3
    seed: int = 7

    def course(self) -> Course:
        """The run's length and optimiser."""
        return Course("text head", self.steps, annealed(self.steps, self.rate, 0.1, weight_decay=1e-2), self.seed)


def tune_text_head(
    head: ResidualHead,
    embeddings: NDArray[np.float16],
    best: NDArray[np.float32],
    sampler: SentenceSampler,
    settings: TextHeadSettings,
    folder: Path | None = None,
) -> None:
    """Tune the head, in place.

    Args:
        head: as the teacher's run left it.
        embeddings: (S, 384) of the bank's sentences, length 1.
        best: (S, D) of length 1: the vector that each sentence is to be given.
        sampler: draws sentences, and other wordings of what they say.
        settings: length and size of the run.
        folder: for checkpoints to go on from.

    Raises:
        TrainingError: the loss is not finite.
    """
    device = device_of(head)

    def sent(values: NDArray[np.float16] | NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device)

    def loss_at(_step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        rows = sampler.sentences(settings.sentences, rng)
        others = sampler.paraphrases(rows, rng)
        found = read_mixed(head, sent(embeddings[rows]), sent(embeddings[others]))
        return {"best": 1 - (found * sent(best[rows])).sum(1).mean()}

    take_steps(head, loss_at, settings.course(), folder)
