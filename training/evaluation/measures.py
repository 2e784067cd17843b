"""How good a ranking is, and how sure we may be of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Truth = NDArray[np.bool_]


def precision_at(scores: NDArray[np.floating], relevant: Truth, k: int) -> Float:
    """Share of relevant tiles among each query's best k, (Q,).

    Where fewer than k tiles are relevant at all, the share is of those that could be found.

    Args:
        scores: (Q, N); equal scores keep the order of rows.
        relevant: (Q, N).
        k: how many of the best to look at.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(relevant, best, 1).sum(1)
    return np.asarray(found / np.clip(relevant.sum(1), 1, min(k, scores.shape[1])))


def ndcg_at(scores: NDArray[np.floating], relevant: Truth, k: int) -> Float:
    """Normalised discounted cumulative gain of each query's best k, (Q,), gains 0 or 1."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    discount = 1 / np.log2(np.arange(2, best.shape[1] + 2))
    gained = np.take_along_axis(relevant, best, 1) @ discount
    possible = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant.sum(1), best.shape[1])]
    return np.asarray(gained / np.maximum(possible, 1e-12))


def average_precision(scores: NDArray[np.floating], relevant: Truth) -> Float:
    """Mean over the relevant tiles of the precision at each one's rank, (Q,); 0 without any."""
    order = np.argsort(-scores, axis=1, kind="stable")
    sorted_truth = np.take_along_axis(relevant, order, 1)
    precision = np.cumsum(sorted_truth, 1) / np.arange(1, scores.shape[1] + 1)
    return np.asarray((precision * sorted_truth).sum(1) / np.maximum(relevant.sum(1), 1))


def bootstrap_interval(values: Float, draws: int = 2000, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Interval of the mean of (Q,) `values` over queries drawn again with repetition."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
