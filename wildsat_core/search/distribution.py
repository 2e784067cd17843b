"""Where a score stands among all tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]

# Up to here the scores of all tiles are sorted, and percentiles are exact. Beyond, they are where all tiles are scored
# anyway; else an even sample stands for them, and a percentile is known to within about 0.2.
ALL_SORTED = 262_144


def is_sampled(tiles: int) -> bool:
    """Whether there are so many tiles that a sample stands for them."""
    return tiles > ALL_SORTED


@dataclass(frozen=True, slots=True)
class Distribution:
    """Scores of all tiles, ready to be asked what share of them is lower.

    Attributes:
        count: how many tiles.
        body: sorted scores of all tiles, or of an even sample of them.
    """

    count: int
    body: Scores

    @classmethod
    def of(cls, count: int, parts: Sequence[Scores]) -> Distribution:
        """From the scores of `count` tiles, or of an even sample of them, in any order; (n,) in each part."""
        return cls(count, np.sort(np.concatenate(parts)))

    def percentile(self, scores: Scores) -> npt.NDArray[np.float64]:
        """Share of all tiles that score lower, in percent: (K,) for (K,)."""
        return percentiles(np.searchsorted(self.body, scores, side="left"), len(self.body), self.count)

    def quantile(self, share: float) -> float:
        """The score that `share` of all tiles do not exceed; 0 without tiles."""
        return float(np.quantile(self.body, share)) if self.count else 0.0


def percentiles(below: npt.NDArray[np.integer], asked: int, count: int) -> npt.NDArray[np.float64]:
    """Share of all tiles that score lower, in percent, (K,).

    Args:
        below: (K,) how many of those asked score lower.
        asked: how many were asked: all tiles, or an even sample of them.
        count: how many tiles there are.
    """
    if not count:
        return np.zeros(len(below))
    # A sample's best may be beaten by none of it: still no tile scores lower than itself.
    return np.minimum(below / asked, 1.0 - 1.0 / count) * 100.0


def percentiles_of_best(scores: Scores, count: int) -> npt.NDArray[np.float64]:
    """The same for the best K of `count` tiles, (K,) best first: known without asking the others."""
    at_least = len(scores) - np.searchsorted(scores[::-1], scores, side="left")
    share: npt.NDArray[np.float64] = (1.0 - at_least / count) * 100.0
    return share
