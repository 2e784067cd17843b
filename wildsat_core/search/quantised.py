"""A first pass over int8 copies of the vectors, with an error bound that keeps the final ranking exact.

A scan is bound by memory: int8 reads a quarter of what float32 would. Each row v is stored as scale * c with c in
[-127, 127], the query q likewise. With q~ and v~ the stored forms,

    |q . v - q~ . v~|  <=  |q - q~| |v| + |q~| |v - v~|          (Cauchy and Schwarz)

so rows whose approximate score lies further below the k-th best than twice that bound can't be among the best k. The
few that remain are scored again from the stored float16 vectors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.reader import Collection
from wildsat_core.machine import thread_pool
from wildsat_core.search.plan import Plan
from wildsat_core.search.scan import Rows, Scores
from wildsat_core.types import Space

BLOCK_ROWS = 32_768  # of a scan: its products are handed on while they are still in the processor's cache
_SAMPLE_BLOCK_ROWS = 8_192  # of the sample: when tiles were added, all but its last block can be taken over
_COPIED_ROWS = 4_096  # of the making of a copy, which looks at each float32 several times
_LEVELS = 127
_ROUNDING = 1e-5  # of float32 sums, relative to the lengths of what is multiplied


@dataclass(frozen=True, slots=True)
class Block:
    """int8 copy of some (n, D) vectors, in the order that the processor's int8 instructions like.

    Attributes:
        packed: codes as numkong keeps them.
        scales: (n,) float32: row i is about codes[i] * scales[i].
        longest: greatest length of a row.
        residual: greatest length of what a row loses.
    """

    packed: Any
    scales: Scores
    longest: float
    residual: float

    @classmethod
    def of(cls, vectors: npt.NDArray[np.floating]) -> Block:
        """Copy (n, D) vectors, n > 0."""
        import numkong

        codes, scales = np.empty(vectors.shape, np.int8), np.empty(len(vectors), np.float32)
        longest = residual = 0.0
        for start in range(0, len(vectors), _COPIED_ROWS):
            part = slice(start, start + _COPIED_ROWS)
            rows = np.asarray(vectors[part], np.float32)
            scales[part] = np.maximum(np.maximum(rows.max(axis=1), -rows.min(axis=1)), 1e-12) / _LEVELS
            kept = np.rint(rows / scales[part, None])
            codes[part] = kept
            kept *= scales[part, None]
            longest, residual = max(longest, _longest(rows)), max(residual, _longest(rows - kept))
        return cls(numkong.dots_pack(codes), scales, longest, residual)


def _longest(rows: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", rows, rows).max()))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What some plans ask of one space, in int8.

    Attributes:
        plans: (B,) positions of the plans.
        first: (B,) whether this is the first space that is added to the plan's constant.
        constants: (B,) of the plans.
        codes: (B, D) int8.
        scales: (B,) float32.
        lengths: (B,) of the slopes as stored, and `lost`, (B,), of what storing lost.
    """

    plans: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]
    constants: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.float64]
    lost: npt.NDArray[np.float64]

    @classmethod
    def of(cls, space: Space, plans: Sequence[Plan]) -> _Asked:
        asked = {i: plan.slopes for i, plan in enumerate(plans) if space in plan.slopes}
        slopes = np.stack([mine[space] for mine in asked.values()])
        scales = np.maximum(np.abs(slopes).max(axis=1), 1e-12) / np.float32(_LEVELS)
        codes = np.rint(slopes / scales[:, None])
        kept = codes * scales[:, None]
        lengths, lost = (np.linalg.norm(x.astype(np.float64), axis=1) for x in (kept, slopes - kept))
        first = np.array([space == min(mine) for mine in asked.values()])
        constants = np.array([plans[i].constant for i in asked], np.float32)
        return cls(np.array(list(asked)), first, constants, codes.astype(np.int8), scales, lengths, lost)

    def bounds(self, blocks: Sequence[Block]) -> npt.NDArray[np.float64]:
        """How far off a score can be, (B,); the last term is for rounding in this and in the exact score."""
        longest = max((block.longest for block in blocks), default=0.0)
        residual = max((block.residual for block in blocks), default=0.0)
        bound = self.lost * longest + self.lengths * residual
        return bound * 1.001 + _ROUNDING * (self.lengths + self.lost) * longest

    def add(self, block: Block, to: list[Scores]) -> None:
        """Add what this space gives to each plan's scores of a block's rows, (n,)."""
        import numkong

        products = np.asarray(numkong.dots_packed(self.codes, block.packed))  # (B, n) int32, exact
        for i, plan in enumerate(self.plans):
            # Each pass over the block counts beside a product that is bound by memory: no copy where none is needed.
            scores = to[plan] if self.first[i] else np.empty_like(to[plan])
            np.multiply(products[i], block.scales, out=scores, dtype=np.float32, casting="unsafe")
            scores *= self.scales[i]
            if self.first[i]:
                scores += self.constants[i]
            else:
                to[plan] += scores


class QuantisedScan:
    """int8 copies of all spaces of a collection, made when first used.

    Args:
        collection: where the vectors are.
        sample_rows: rows that stand for all when only the distribution of scores is wanted.
        previous: of an earlier generation; the copies of the segments that both have are taken over.
    """

    backend = "exact scan after an int8 pass"

    def __init__(self, collection: Collection, sample_rows: Rows, previous: QuantisedScan | None = None) -> None:
        """Only remember."""
        self._collection, self.sample_rows = collection, sample_rows
        # One list of blocks for each segment and space, and one for each space's sample.
        self._segments: dict[tuple[str, Space], list[Block]] = {}
        self._sampled: dict[Space, list[Block]] = {}  # the beginning of a sample, taken over
        if previous is not None:
            held = {segment.id for segment in collection.manifest.segments}
            self._segments = {key: blocks for key, blocks in previous._segments.items() if key[0] in held}
            whole = _same_at_first(sample_rows, collection, previous) // _SAMPLE_BLOCK_ROWS
            self._sampled = {space: blocks[:whole] for space, blocks in previous._samples.items()}
        self._samples: dict[Space, list[Block]] = {}
        self._lock = threading.Lock()

    def prepare(self, space: Space) -> None:
        """Make the copies of one space that are missing; reads it once."""
        segments, vectors = self._collection.manifest.segments, self._collection.vector_parts(space)
        with self._lock:
            missing = [i for i, segment in enumerate(segments) if (segment.id, space) not in self._segments]
            copies = _copied([vectors[i] for i in missing])
            self._segments |= {(segments[i].id, space): copy for i, copy in zip(missing, copies, strict=True)}

    def prepare_sample(self, space: Space) -> None:
        """Make the copy of one space's sample, where it is missing."""
        with self._lock:
            if space in self._samples:
                return
            held = self._sampled.pop(space, [])
            rest = self._collection.vectors(space, self.sample_rows[len(held) * _SAMPLE_BLOCK_ROWS :])
            [new] = _copied([rest], _SAMPLE_BLOCK_ROWS)
            self._samples[space] = [*held, *new]

    def scores(self, plans: Sequence[Plan]) -> list[tuple[Scores, float]]:
        """Each plan's scores of all rows, (N,), and how far off any of them can be; one pass for all plans."""
        segments = self._collection.manifest.segments

        def blocks(space: Space) -> list[Block]:
            self.prepare(space)
            return [block for segment in segments for block in self._segments[segment.id, space]]

        return self._pass(plans, blocks, len(self._collection.tiles))

    def sample_scores(self, plan: Plan) -> Scores:
        """(S,) approximate scores of the sample's rows."""

        def blocks(space: Space) -> list[Block]:
            self.prepare_sample(space)
            return self._samples[space]

        return self._pass([plan], blocks, len(self.sample_rows))[0][0]

    def _pass(
        self, plans: Sequence[Plan], blocks_of: Callable[[Space], list[Block]], rows: int
    ) -> list[tuple[Scores, float]]:
        spaces: list[Space] = sorted({space for plan in plans for space in plan.slopes})
        asked = [_Asked.of(space, plans) for space in spaces]
        blocks = [blocks_of(space) for space in spaces]
        # One array for each plan, none a part of another: the cache may keep one of them long after the rest.
        out = [
            np.empty(rows, np.float32) if plan.slopes else np.full(rows, plan.constant, np.float32) for plan in plans
        ]

        def score(start: int, *copies: Block) -> None:
            to = [scores[start : start + len(copies[0].scales)] for scores in out]
            for part, block in zip(asked, copies, strict=True):
                part.add(block, to)

        if spaces:
            starts = np.cumsum([0, *(len(block.scales) for block in blocks[0][:-1])])
            list(thread_pool().map(score, starts.tolist(), *blocks))
        bounds = np.array([_ROUNDING * abs(plan.constant) for plan in plans])
        for part, copies in zip(asked, blocks, strict=True):
            bounds[part.plans] += part.bounds(copies)
        return list(zip(out, bounds.tolist(), strict=True))


def _same_at_first(rows: Rows, collection: Collection, previous: QuantisedScan) -> int:
    """How many of a sample's rows, from its first on, are the very tiles of an earlier generation's sample."""
    before, after = previous._collection.manifest.segments, collection.manifest.segments
    shared = 0  # rows of the segments that both begin with
    for one, other in zip(before, after, strict=False):
        if one.id != other.id:
            break
        shared += one.rows
    count = min(len(rows), len(previous.sample_rows))
    same = (rows[:count] == previous.sample_rows[:count]) & (rows[:count] < shared)
    return count if same.all() else int(same.argmin())


def _copied(arrays: Sequence[npt.NDArray[np.floating]], block_rows: int = BLOCK_ROWS) -> list[list[Block]]:
    """Each array's blocks; all processors work on them whatever the arrays' sizes."""
    parts = [[array[i : i + block_rows] for i in range(0, len(array), block_rows)] for array in arrays]
    blocks = thread_pool().map(Block.of, [part for array in parts for part in array])
    return [[next(blocks) for _ in array] for array in parts]


def candidates(approximate: Scores, count: int, bound: float) -> Rows:
    """Positions that can be among the `count` best, ascending.

    Args:
        approximate: (M,) scores that are off by at most `bound`.
        count: how many best are wanted; with M <= count every position comes back.
        bound: greatest error of a score.
    """
    if count >= len(approximate):
        return np.arange(len(approximate))
    threshold = _kth_best(approximate, count) - np.float32(2 * bound)
    return np.flatnonzero(approximate >= threshold)


def _kth_best(scores: Scores, count: int) -> np.float32:
    """The `count`-th greatest score: found among the rows that reach the `count`-th greatest block maximum."""
    width = 64
    whole = len(scores) // width * width
    if count > whole // width:
        return np.float32(np.partition(scores, len(scores) - count)[len(scores) - count])
    peaks = scores[:whole].reshape(-1, width).max(axis=1)
    floor = np.partition(peaks, len(peaks) - count)[len(peaks) - count]
    reaching = scores[scores >= floor]
    return np.float32(np.partition(reaching, len(reaching) - count)[len(reaching) - count])
