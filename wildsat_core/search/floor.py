"""The score that so many percent of all tiles do not reach, found exactly over any number of shards.

Scores of a first pass are off by a bound. The `lower`-th lowest of them over all shards is found by three histograms
over the bits of the scores, in which the order of floats is that of whole numbers; the exact one lies within the bound
of it. The few scores near enough to lie on either side are then taken exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wildsat_core.search.scan import Scores

Counts = npt.NDArray[np.int64]

_BITS = (11, 11, 10)  # of a float32, from the highest on, that each histogram looks at


@dataclass(frozen=True, slots=True)
class Floor:
    """Which scores are high enough.

    Attributes:
        least, most: scores of the first pass under `least` are too low, those over `most` high enough.
        edge: exact scores between them are high enough when they are greater than this.
    """

    least: float
    most: float
    edge: float


def lower_count(percentile: float, live: int) -> int:
    """How many of the live tiles must score lower."""
    return math.ceil(percentile * live / 100 - 1e-9)


def ordered(scores: Scores) -> npt.NDArray[np.uint32]:
    """Whole numbers in the order of the scores, of their shape."""
    bits = np.ascontiguousarray(scores, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def histogram(keys: npt.NDArray[np.uint32], known: Sequence[int]) -> Counts:
    """How many keys that begin as is known have each value of the bits that follow.

    Args:
        keys: (N,) of `ordered`.
        known: values of the first groups of bits, none at first.
    """
    below = 32 - sum(_BITS[: len(known) + 1])
    width = _BITS[len(known)]
    if known:
        keys = keys[keys >> (below + width) == _joined(known)]
    return np.bincount(keys >> below & ((1 << width) - 1), minlength=1 << width)


def _joined(known: Sequence[int]) -> int:
    whole = 0
    for value, width in zip(known, _BITS, strict=False):
        whole = whole << width | value
    return whole


def find_lowest(lower: int, ask: Callable[[Sequence[int]], Counts]) -> float:
    """The `lower`-th lowest score, 1 for the lowest.

    Args:
        lower: which, at least 1 and no more than there are.
        ask: gives what `histogram` gives of all scores, (BINS,) counts.
    """
    known: list[int] = []
    for _ in _BITS:
        reached = np.cumsum(ask(known))
        value = int(np.searchsorted(reached, lower, side="left"))
        lower -= int(reached[value - 1]) if value else 0
        known.append(value)
    key = np.array([_joined(known)], np.uint32)
    bits = np.where(key >> 31, key & np.uint32(0x7FFFFFFF), ~key)
    return float(bits.astype(np.uint32).view(np.float32)[0])
