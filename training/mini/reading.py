"""What a step of teacher and text head reads: sentences in two wordings, tiles, and which is true of which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.mini.sampling import SentenceSampler
from training.steps import device_of
from wildsat_core.models.heads import ResidualHead

TEXT_NOISE = 0.01
# Texts that say the same thing go to the same place: their vectors are drawn together, and mixtures of two of them are
# read as a third.
PARAPHRASE_WEIGHT = 2.0
MOST_MIXED = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """S sentences and N tiles.

    Attributes:
        texts: (S, D) vectors of length 1.
        apart: how far from them those of their paraphrases are, weighted.
        tiles: (N,) rows.
        truth: (S, N) share of each tile's land that each sentence is true of.
    """

    texts: Tensor
    apart: Tensor
    tiles: NDArray[np.int64]
    truth: Tensor


@dataclass(frozen=True, slots=True)
class Reader:
    """Draws sentences and tiles.

    Attributes:
        embeddings: (S, 384) of the bank's sentences, length 1.
        sampler: draws sentences and knows what they are true of.
        rows: training tiles.
        sentences, tiles: how many a step reads.
    """

    embeddings: NDArray[np.float16]
    sampler: SentenceSampler
    rows: NDArray[np.int64]
    sentences: int
    tiles: int

    def read(self, head: ResidualHead, rng: np.random.Generator) -> Reading:
        """Each sentence mixed a little with a paraphrase, and the paraphrase, through a text head."""
        rows = self.sampler.sentences(self.sentences, rng)
        tiles = rng.choice(self.rows, min(self.tiles, len(self.rows)), replace=False)
        others = self.sampler.paraphrases(rows, rng)
        device = device_of(head)
        first, second = (
            torch.from_numpy(self.embeddings[some].astype(np.float32)).to(device) for some in (rows, others)
        )
        texts, same = read_mixed(head, first, second), read_mixed(head, second, second)
        apart = PARAPHRASE_WEIGHT * (1 - (texts * same).sum(1)).mean()
        return Reading(texts, apart, tiles, torch.from_numpy(self.sampler.truth(rows, tiles)).to(device))


def read_mixed(head: ResidualHead, text: Tensor, paraphrase: Tensor) -> Tensor:
    """(S, D) of length 1: embeddings (S, 384), mixed with those of paraphrases, and a little noise."""
    share = torch.rand(len(text), 1, device=text.device) * MOST_MIXED
    mixed = F.normalize(text * (1 - share) + paraphrase * share, dim=-1)
    return F.normalize(head(mixed + torch.randn_like(mixed) * TEXT_NOISE), dim=-1)
