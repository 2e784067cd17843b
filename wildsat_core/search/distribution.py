"""Where a score stands among all tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]

# Up to here all scores are sorted, and percentiles are exact. Beyond, the best 1 % are sorted and the rest is
# represented by an even sample: a percentile below 99 is then known to within about 0.2.
ALL_SORTED = 262_144
_SAMPLE = 65_536
_TAIL = 0.01


@dataclass(frozen=True, slots=True)
class Distribution:
    """Scores of all tiles, ready to be asked what share of them is lower.

    Attributes:
        count: how many tiles.
        body: sorted scores of all tiles, or of an even sample of them.
        tail: sorted scores of the best tiles, complete from its first on; empty when the body is complete.
        leaders: positions of the tail's scores in what was given, ascending; None when there is no tail.
    """

    count: int
    body: Scores
    tail: Scores
    leaders: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, scores: Scores) -> Distribution:
        """From the scores of all tiles, in stored order."""
        if len(scores) <= ALL_SORTED:
            return cls(len(scores), np.sort(scores), np.empty(0, np.float32))
        body = np.sort(scores[:: len(scores) // _SAMPLE])
        leaders = np.flatnonzero(scores >= body[int(len(body) * (1 - _TAIL))])
        return cls(len(scores), body, np.sort(scores[leaders]), leaders)

    @classmethod
    def of_sample(cls, count: int, scores: Scores) -> Distribution:
        """From the scores of an even sample of `count` tiles."""
        return cls(count, np.sort(scores), np.empty(0, np.float32))

    def percentile(self, scores: Scores) -> npt.NDArray[np.float64]:
        """Share of all tiles that score lower, in percent: (K,) for (K,)."""
        if not self.count:
            return np.zeros(len(scores))
        share = np.searchsorted(self.body, scores, side="left") / len(self.body)
        if len(self.tail):
            in_tail = scores >= self.tail[0]
            above = len(self.tail) - np.searchsorted(self.tail, scores, side="left")
            share = np.where(in_tail, 1.0 - above / self.count, np.minimum(share, 1.0 - len(self.tail) / self.count))
        # A sample's best may be beaten by none of it: still no tile scores lower than itself.
        return np.minimum(share, 1.0 - 1.0 / self.count) * 100.0

    def quantile(self, share: float) -> float:
        """The score that `share` of all tiles do not exceed; 0 without tiles."""
        return float(np.quantile(self.body, share)) if self.count else 0.0
