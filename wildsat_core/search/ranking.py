"""What the engine's stages hand on: scores of all rows, candidates of a filter, the ranking of the best."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from wildsat_core.search.distribution import Distribution
from wildsat_core.search.plan import Plan
from wildsat_core.search.scan import Rows, Scores


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of all rows for one plan.

    Attributes:
        scores: (N,) float32, off by at most `bound`.
        bound: 0 when the scores are exact.
        distribution: of the live rows.
    """

    scores: Scores
    bound: float
    distribution: Distribution


@dataclass(frozen=True, slots=True)
class Candidates:
    """What can be ranked.

    Attributes:
        rows: (M,) ascending.
        scores: (M,), off by at most `bound`.
        bound: 0 when the scores are exact.
        distribution: of all live rows.
        matched: how many rows passed the filters, M or more.
        backend: how the scores were found.
        leaders: positions of all scores from some score on, ascending, where they are known.
        upper: whether the scores are bounds from above instead, too low by at most `bound`.
    """

    rows: Rows
    scores: Scores
    bound: float
    distribution: Distribution
    matched: int
    backend: str
    leaders: Rows | None = None
    upper: bool = False

    def where(self, mask: npt.NDArray[np.bool_]) -> Candidates:
        """Those of a mask, (M,), alone; `matched` stays what it is."""
        return replace(self, rows=self.rows[mask], scores=self.scores[mask], leaders=None)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best rows first, (K,) each; rows count in the generation that was searched.

    Attributes:
        plan: what was ranked by.
        rows: best first.
        scores: exact.
        percentiles: share of all tiles that score lower, in [0, 100].
        matched: how many tiles passed the filters, K or more.
        backend: how the vectors were searched.
        timings_ms: time by stage.
    """

    plan: Plan
    rows: Rows
    scores: Scores
    percentiles: npt.NDArray[np.float64]
    matched: int
    backend: str
    timings_ms: dict[str, float]


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Add a stage's time in milliseconds."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = (time.perf_counter() - start) * 1000.0
