"""Learning from judged tiles: from a handful on, a small logistic regression says what the searcher means.

Below `LABELS_FOR_LOGISTIC` judged tiles the query moves by Rocchio's rule (see `wildsat_core.search.plan`). From then
on a ridge logistic regression on the tiles' vectors is fitted; it is linear in them, so its direction joins the plan
as one more part per space and the ranking stays a single exact scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.moments import Moments
from wildsat_core.types import Space

Rows = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float32]

LABELS_FOR_LOGISTIC = 5
_RIDGE = 1.0  # on standardised features: unit prior variance of each weight
_BACKGROUND = 64  # tiles, at most, taken as weak negatives where unjudged, so that likes alone define something
_BACKGROUND_SHARE = 0.2  # their summed weight against that of the judged tiles
_NEWTON_STEPS = 30


class Tiles(Protocol):
    """What is asked of the tiles that are searched."""

    @property
    def moments(self) -> Mapping[Space, Moments]:
        """Of the vectors of all tiles, by space."""
        ...

    def vectors(self, space: Space, rows: Rows) -> Vector:
        """(K, D) vectors of some rows, in the order given."""
        ...

    def evenly(self, count: int) -> Rows:
        """(R,) rows of at most `count` tiles, an even sample of all, ascending."""
        ...


def fit_direction(tiles: Tiles, spaces: tuple[Space, ...], liked: Rows, disliked: Rows) -> Mapping[Space, Vector]:
    """Direction in each space along which tiles become more like the liked and less like the disliked ones.

    Args:
        tiles: that are searched.
        spaces: spaces to look at; their vectors are standardised and laid side by side.
        liked: rows judged good.
        disliked: rows judged bad.

    Returns:
        (D,) for each space; the scale is free, since the plan standardises.
    """
    judged = np.concatenate([liked, disliked])
    background = np.setdiff1d(tiles.evenly(_BACKGROUND), judged)
    rows = np.concatenate([judged, background])
    labels = np.zeros(len(rows))
    labels[: len(liked)] = 1.0
    weights = np.ones(len(rows))
    weights[len(judged) :] = _BACKGROUND_SHARE * len(judged) / max(len(background), 1)
    features = [_standardised(tiles, space, rows) for space in spaces]
    solution = _ridge_logistic(np.concatenate([x for x, _ in features], axis=1), labels, weights)
    cuts = np.cumsum([x.shape[1] for x, _ in features])[:-1]
    parts = zip(spaces, features, np.split(solution, cuts), strict=True)
    return {space: (part / scale).astype(np.float32) for space, (_, scale), part in parts}


def _standardised(tiles: Tiles, space: Space, rows: Rows) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Vectors less the collection's mean over its spread, (M, D), and that spread (D,)."""
    moments = tiles.moments[space]
    mean = moments.total / moments.count
    scale = np.sqrt(np.maximum(np.diag(moments.outer) / moments.count - mean**2, 1e-8))
    # Dividing by the root of D keeps the prior on the summed score the same in every dimension.
    scale = scale * np.sqrt(len(scale))
    return (tiles.vectors(space, rows) - mean) / scale, scale


def _ridge_logistic(
    x: npt.NDArray[np.float64], labels: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weights (D,) of a ridge logistic regression with intercept, by Newton's method in the span of the rows.

    With fewer rows M than dimensions the solution is a sum of rows, so the system is (M + 1) wide, not D.
    """
    kernel = x @ x.T / _RIDGE
    alpha, bias = np.zeros(len(x)), 0.0
    for _ in range(_NEWTON_STEPS):
        logits = kernel @ alpha + bias
        p = 1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30)))
        curvature = np.maximum(weights * p * (1 - p), 1e-9)
        # Newton's step for (alpha, bias): alpha = weights * (labels - p) at the optimum.
        target = logits + weights * (labels - p) / curvature
        system = np.block([[kernel + np.diag(1.0 / curvature), np.ones((len(x), 1))], [np.ones((1, len(x))), 0.0]])
        step = np.linalg.solve(system, np.append(target, 0.0))
        change = np.abs(step[:-1] - alpha).max(initial=0.0)
        alpha, bias = step[:-1], float(step[-1])
        if change < 1e-8:
            break
    return np.asarray(x.T @ alpha / _RIDGE)
