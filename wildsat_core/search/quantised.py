"""A first pass over int8 copies of the vectors, with an error bound that keeps the final ranking exact.

A scan is bound by memory: int8 reads a quarter of what float32 would. Each row v is stored as scale * c with c in
[-127, 127], the query q likewise. With q~ and v~ the stored forms,

    |q . v - q~ . v~|  <=  |q - q~| |v| + |q~| |v - v~|          (Cauchy and Schwarz)

so rows whose approximate score lies further below the k-th best than twice that bound can't be among the best k. The
few that remain are scored again from the stored float16 vectors.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from wildsat_core.collection.reader import Collection
from wildsat_core.types import Space

_BLOCK_ROWS = 65_536
_LEVELS = 127


@dataclass(frozen=True, slots=True)
class QuantisedSpace:
    """int8 copy of one space's vectors.

    Attributes:
        codes: (N, D) int8.
        scales: (N,) float32: row i is about codes[i] * scales[i].
        longest: greatest length of a row.
        residual: greatest length of what a row loses.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    longest: float
    residual: float

    @classmethod
    def of(cls, collection: Collection, space: Space) -> QuantisedSpace:
        """Copy a space block by block; memory grows by N * (D + 4) bytes."""
        rows, dim = len(collection.tiles), collection.spaces[space].dim
        codes, scales = torch.empty((rows, dim), dtype=torch.int8), torch.empty(rows)
        longest = residual = 0.0
        for part, offset in zip(collection.vector_parts(space), collection.offsets, strict=False):
            for start in range(0, len(part), _BLOCK_ROWS):
                block = torch.from_numpy(np.asarray(part[start : start + _BLOCK_ROWS], np.float32))
                scale = block.abs().amax(dim=1).clamp_(min=1e-12) / _LEVELS
                code = (block / scale[:, None]).round_()
                to = slice(offset + start, offset + start + len(block))
                codes[to], scales[to] = code.to(torch.int8), scale
                longest = max(longest, float(block.norm(dim=1).max()))
                residual = max(residual, float((block - code * scale[:, None]).norm(dim=1).max()))
        return cls(codes, scales, longest, residual)

    def take(self, rows: npt.NDArray[np.int64]) -> QuantisedSpace:
        """A copy of some rows."""
        chosen = torch.from_numpy(rows)
        return QuantisedSpace(self.codes[chosen], self.scales[chosen], self.longest, self.residual)

    def scores(self, slope: npt.NDArray[np.float32]) -> tuple[torch.Tensor, float]:
        """Approximate slope . v of every row, (N,) float32, and how far off any of them can be."""
        scale = max(float(np.abs(slope).max()), 1e-12) / _LEVELS
        code = np.rint(slope / scale)
        kept = code.astype(np.float32) * np.float32(scale)
        query = torch.from_numpy(code.astype(np.int8))[None]
        # (1, D) @ (D, N) -> (1, N), exact in int32
        product: torch.Tensor = torch._int_mm(query, self.codes.T)
        scores = product[0].float().mul_(self.scales).mul_(scale)
        lost = float(np.linalg.norm(slope - kept))
        bound = lost * self.longest + float(np.linalg.norm(kept)) * self.residual
        # A last term for float32 rounding in this and in the exact score.
        return scores, bound * 1.001 + 1e-5 * float(np.linalg.norm(slope)) * self.longest


class QuantisedScan:
    """int8 copies of all spaces of a collection, made when first used.

    Args:
        collection: where the vectors are.
        sample_rows: rows that stand for all when only the distribution of scores is wanted.
    """

    def __init__(self, collection: Collection, sample_rows: npt.NDArray[np.int64]) -> None:
        """Only remember."""
        self._collection, self._sample_rows = collection, sample_rows
        self._spaces: dict[Space, tuple[QuantisedSpace, QuantisedSpace]] = {}
        self._lock = threading.Lock()

    def prepare(self, space: Space) -> tuple[QuantisedSpace, QuantisedSpace]:
        """The copy of one space and that of its sample; making them reads the space once."""
        with self._lock:
            if space not in self._spaces:
                whole = QuantisedSpace.of(self._collection, space)
                self._spaces[space] = (whole, whole.take(self._sample_rows))
            return self._spaces[space]

    def scores(self, slopes: Mapping[Space, npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float32], float]:
        """Sum over spaces of slope . v of every row, (N,), and how far off any of them can be."""
        parts = [self.prepare(space)[0].scores(slope) for space, slope in slopes.items()]
        return _summed(parts, len(self._collection.tiles))

    def sample_scores(self, slopes: Mapping[Space, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Approximate scores of the sample's rows."""
        parts = [self.prepare(space)[1].scores(slope) for space, slope in slopes.items()]
        return _summed(parts, len(self._sample_rows))[0]


def _summed(parts: list[tuple[torch.Tensor, float]], rows: int) -> tuple[npt.NDArray[np.float32], float]:
    if not parts:
        return np.zeros(rows, np.float32), 0.0
    total = parts[0][0]
    for scores, _ in parts[1:]:
        total.add_(scores)
    return total.numpy(), sum(bound for _, bound in parts)


def candidates(approximate: npt.NDArray[np.float32], count: int, bound: float) -> npt.NDArray[np.int64]:
    """Positions that can be among the `count` best, ascending.

    Args:
        approximate: (M,) scores that are off by at most `bound`.
        count: how many best are wanted; with M <= count every position comes back.
        bound: greatest error of a score.
    """
    if count >= len(approximate):
        return np.arange(len(approximate))
    threshold = _kth_best(approximate, count)
    return np.flatnonzero(approximate >= threshold - np.float32(2 * bound))


def _kth_best(scores: npt.NDArray[np.float32], count: int) -> np.float32:
    """The `count`-th greatest score: found among the rows that reach the `count`-th greatest block maximum."""
    width = 64
    whole = len(scores) // width * width
    if count > whole // width:
        return np.float32(np.partition(scores, len(scores) - count)[len(scores) - count])
    peaks = torch.from_numpy(scores[:whole]).view(-1, width).amax(dim=1).numpy()
    floor = np.partition(peaks, len(peaks) - count)[len(peaks) - count]
    reaching = scores[scores >= floor]
    return np.float32(np.partition(reaching, len(reaching) - count)[len(reaching) - count])
