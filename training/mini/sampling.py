"""Which sentences a training step reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.mini.bank import FULL, Bank

KIND_WEIGHTS = {
    "word": 0.24,
    "field": 0.6,
    "pair": 0.12,
    "composed": 0.12,
    "combined": 0.17,
    "atom": 0.18,
    "attribute": 0.05,
    "use": 0.04,
    "in_place": 0.12,
    "place": 0.05,
    "flagship": 0.09,
    "ecoregion": 0.04,
    "mammal": 0.03,
    "bird": 0.02,
    "family": 0.03,
}
TRUE_SHARE = 0.3


class SentenceSampler:
    """Draws sentences by kind, among those that are true of at least one training tile.

    Args:
        bank: the text bank.
        tiles: rows of the training tiles.
    """

    def __init__(self, bank: Bank, tiles: NDArray[np.int64]) -> None:
        """Work out the chance of each sentence."""
        useful = np.asarray((bank.shares[:, tiles] > TRUE_SHARE * FULL).any(1))[bank.predicate]
        kinds = np.asarray(bank.kinds)
        chance = np.zeros(len(kinds))
        for kind, weight in KIND_WEIGHTS.items():
            rows = (kinds == kind) & useful
            chance[rows] = weight / max(rows.sum(), 1)
        self._bank = bank
        self._cumulative = np.cumsum(chance / chance.sum())
        self._by_predicate = np.argsort(bank.predicate, kind="stable")
        self._count = np.bincount(bank.predicate, minlength=len(bank.shares))
        self._first = np.cumsum(self._count) - self._count

    def sentences(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) rows of sentences, with repetition."""
        drawn = np.searchsorted(self._cumulative, rng.random(count))
        return np.minimum(drawn, len(self._cumulative) - 1)

    def paraphrases(self, sentences: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """For each sentence another of the same predicate, or itself where there is no other, (S,)."""
        predicate = self._bank.predicate[sentences]
        pick = (rng.random(len(sentences)) * self._count[predicate]).astype(np.int64)
        return np.asarray(self._by_predicate[self._first[predicate] + pick])

    def truth(self, sentences: NDArray[np.int64], tiles: NDArray[np.int64]) -> NDArray[np.float32]:
        """(S, N) share of each tile's land that each sentence is true of."""
        rows = np.asarray(self._bank.shares[self._bank.predicate[sentences]])
        return np.asarray(rows[:, tiles], dtype=np.float32) / np.float32(FULL)
