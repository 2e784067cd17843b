"""The exact scan: scores of tiles for plans, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from wildsat_core.arrays import to_float32
from wildsat_core.collection.reader import Collection
from wildsat_core.machine import thread_pool
from wildsat_core.search.plan import Plan
from wildsat_core.types import Space

Scores = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

BATCH = 16  # plans that one pass over the vectors scores at most
FEW = 8  # filters that leave less than one row in so many are served by reading just those rows
_BLOCK_ROWS = 1_024  # x 256 float32 is 1 MB: a block stays in the cache of its processor between the two steps


class Scan(Protocol):
    """Something that scores every row of a collection; see `PlainScan`, `QuantisedScan` and `DeviceScan`."""

    @property
    def backend(self) -> str:
        """What an answer says of how it was found."""
        ...

    def prepare(self, space: Space) -> None:
        """Make now what the first scan of a space would otherwise make."""
        ...

    def scores(self, plans: Sequence[Plan]) -> list[tuple[Scores, float]]:
        """Each plan's scores of all rows, (N,), and how far off any of them can be; 0 when they are exact."""
        ...

    def sample_scores(self, plan: Plan) -> Scores:
        """(S,) scores of an even sample of the rows, for when only their distribution is wanted."""
        ...


def products(vectors: npt.NDArray[np.float32], slope: npt.NDArray[np.float32]) -> Scores:
    """Products slope . v for each of some vectors, (K, D): (K,).

    A product of a matrix with a vector would give a row other last bits as it stands among other rows, so that a score
    would depend on how rows are grouped. Here each row's product is one of its own.
    """
    scores: Scores = np.vecdot(vectors, slope)
    return scores


def score_rows(collection: Collection, slopes: Mapping[Space, npt.NDArray[np.float32]], rows: Rows) -> Scores:
    """Sum over spaces of slope . v for some rows, (K,); each row's is the same whatever the others are."""
    scores = np.zeros(len(rows), np.float32)

    def score(start: int) -> None:
        block = slice(start, start + _BLOCK_ROWS)
        for space, slope in slopes.items():
            scores[block] += products(collection.vectors(space, rows[block]), slope)

    starts = range(0, len(rows), _BLOCK_ROWS)
    if len(starts) == 1:
        score(0)
    else:
        list(thread_pool().map(score, starts))
    return scores


def exact_scores(collection: Collection, plan: Plan, rows: Rows) -> Scores:
    """Exact scores of some rows, (K,)."""
    return score_rows(collection, plan.slopes, rows) + np.float32(plan.constant)


class PlainScan:
    """float32 copies of a small collection's vectors, made when first used.

    Turning float16 into float32 at every search costs more than the product itself.
    """

    backend = "exact scan"

    def __init__(self, collection: Collection, sample_rows: Rows) -> None:
        """Only remember."""
        self._collection, self._sample_rows = collection, sample_rows
        self._copies: dict[Space, npt.NDArray[np.float32]] = {}

    def prepare(self, space: Space) -> None:
        """Copy one space."""
        self._copy(space)

    def scores(self, plans: Sequence[Plan]) -> list[tuple[Scores, float]]:
        """Each plan's exact scores of all rows, (N,); bounds are 0."""
        return [(self._scores(plan), 0.0) for plan in plans]

    def sample_scores(self, plan: Plan) -> Scores:
        """(S,) scores of the sample's rows."""
        return exact_scores(self._collection, plan, self._sample_rows)

    def _scores(self, plan: Plan) -> Scores:
        scores = np.zeros(len(self._collection.tiles), np.float32)
        if len(scores):
            for space, slope in plan.slopes.items():
                scores += products(self._copy(space), slope)
        return scores + np.float32(plan.constant)  # in the order of `score_rows`

    def _copy(self, space: Space) -> npt.NDArray[np.float32]:
        copy = self._copies.get(space)
        if copy is None:
            collection = self._collection
            copy = np.empty((len(collection.tiles), collection.spaces[space].dim), np.float32)
            for part, start in zip(collection.vector_parts(space), collection.offsets[:-1], strict=True):
                to_float32(part, copy[start : start + len(part)])
            self._copies[space] = copy
        return copy


def best_first(scores: Scores, rows: Rows, count: int) -> Rows:
    """The `count` rows of highest score, best first; equal scores in row order.

    Args:
        scores: (M,) of `rows`.
        rows: (M,) ascending.
        count: how many, at most M come back.

    Returns:
        Positions into `scores`, (min(count, M),).
    """
    count = min(count, len(rows))
    if count == 0:
        return np.empty(0, np.int64)
    if count < len(rows):
        threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
        chosen = np.flatnonzero(scores >= threshold)  # ties at the threshold included: the sort decides among them
    else:
        chosen = np.arange(len(rows))
    order = np.lexsort((chosen, -scores[chosen]))
    return chosen[order][:count]
