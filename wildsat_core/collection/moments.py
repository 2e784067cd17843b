"""Mean and spread of the scores of any query over all tiles, without scanning them.

For a query q the scores are q . v, so their mean is q . mean(v) and their variance q' Cov(v) q: the first two
moments of the vectors are all that is needed to bring two spaces to a common scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_BLOCK_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum (D,) and sum of outer products (D, D) of a set of vectors, float64."""

    count: int
    total: npt.NDArray[np.float64]
    outer: npt.NDArray[np.float64]

    @classmethod
    def of(cls, vectors: npt.NDArray[np.floating]) -> Moments:
        """Moments of (N, D) vectors, read in blocks."""
        dim = vectors.shape[1]
        total, outer = np.zeros(dim), np.zeros((dim, dim))
        for start in range(0, len(vectors), _BLOCK_ROWS):
            block = np.asarray(vectors[start : start + _BLOCK_ROWS], np.float32)
            total += block.sum(axis=0, dtype=np.float64)
            outer += block.T @ block  # float32 products, summed in float64 block by block
        return cls(len(vectors), total, outer)

    @classmethod
    def zero(cls, dim: int) -> Moments:
        return cls(0, np.zeros(dim), np.zeros((dim, dim)))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.count - other.count, self.total - other.total, self.outer - other.outer)

    def score_mean(self, query: npt.NDArray[np.floating]) -> float:
        """Mean of query . v over the vectors, for a query (D,); 0 when there are none."""
        return float(query.astype(np.float64) @ self.total / self.count) if self.count else 0.0

    def score_std(self, query: npt.NDArray[np.floating]) -> float:
        """Standard deviation of query . v over the vectors, for a query (D,); at least 1e-6 so that it can divide."""
        if not self.count:
            return 1.0
        q = query.astype(np.float64)
        variance = float(q @ self.outer @ q) / self.count - self.score_mean(query) ** 2
        return float(np.sqrt(max(variance, 1e-12)))

    def to_array(self) -> npt.NDArray[np.float64]:
        """(1 + D, D): the sum, then the sum of outer products."""
        return np.concatenate([self.total[None], self.outer])

    @classmethod
    def from_array(cls, array: npt.NDArray[np.float64], count: int) -> Moments:
        """From what `to_array` gives, (1 + D, D), and the number of vectors."""
        return cls(count, array[0].copy(), array[1:].copy())
