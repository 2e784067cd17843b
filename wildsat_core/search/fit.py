"""How well a tile fits, in words: its score beside those that plain habitats reach on the same collection.

A percentile among all tiles says only what rank says, as long as nothing is filtered. What a score is worth shows
beside other questions: half of the plain habitat phrases are fitted by one tile in two hundred at least as well as
"strong", by one in twenty as "fair", by one in five as "weak".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wildsat_core.search.query import Fit

BEST_SHARES: dict[Fit, float] = {"strong": 0.005, "fair": 0.05, "weak": 0.2}


@dataclass(frozen=True, slots=True)
class FitLevels:
    """Least scores of each word but "none", the best first."""

    least: tuple[tuple[Fit, float], ...]

    @classmethod
    def of(cls, scores: npt.NDArray[np.floating]) -> FitLevels:
        """From scores of plain habitats, (P, N), over all tiles or an even sample of them; N may be 0."""
        if not scores.size:
            return cls(())
        least = [
            (word, float(np.median(np.quantile(scores, 1 - share, axis=1)))) for word, share in BEST_SHARES.items()
        ]
        return cls(tuple(least))

    def word(self, score: float) -> Fit:
        """The word for a score."""
        return next((word for word, least in self.least if score >= least), "none")
