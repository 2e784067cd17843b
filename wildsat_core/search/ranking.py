"""What the engine's stages hand on: scores of all rows, candidates of a filter, the ranking of the best."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from wildsat_core.search.plan import Plan
from wildsat_core.search.scan import Rows, Scores


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of all rows of a shard for one plan.

    Attributes:
        scores: (N,) float32, off by at most `bound`.
        bound: 0 when the scores are exact.
    """

    scores: Scores
    bound: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """What can be ranked.

    Attributes:
        rows: (M,) ascending.
        scores: (M,), off by at most `bound`; None where most rows will be ruled out by their prefixes.
        bound: 0 when the scores are exact.
        matched: how many rows passed the filters, M or more.
        backend: how the scores are found; filters that leave few rows count for nothing here.
    """

    rows: Rows
    scores: Scores | None
    bound: float
    matched: int
    backend: str

    def where(self, mask: npt.NDArray[np.bool_]) -> Candidates:
        """Those of a mask, (M,), alone; `matched` stays what it is."""
        return replace(self, rows=self.rows[mask], scores=None if self.scores is None else self.scores[mask])


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
        scanned: whether all tiles were scored for it.
    """

    plan: Plan
    rows: Rows
    scores: Scores
    percentiles: npt.NDArray[np.float64]
    matched: int
    backend: str
    timings_ms: dict[str, float]
    scanned: bool = False


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Add a stage's time in milliseconds."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = (time.perf_counter() - start) * 1000.0
