"""How well pictures with any number of labels are told: mean average precision and F1, over classes and over all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.evaluation.measures import Float, Truth
from training.evaluation.results import Figure
from wildsat_core.errors import InvalidInputError

LIKELY = 0.5  # the probability from which a label counts as found
Scores = NDArray[np.floating]


def mean_precision(scores: Scores, truth: Truth) -> Figure:
    """Mean over the classes that occur of the average precision of their rankings, "mAP".

    Args:
        scores: (N, C), greater for likelier; equal ones count as one rank.
        truth: (N, C).

    Raises:
        InvalidInputError: nothing is relevant.
    """
    if not truth.any():
        raise InvalidInputError(f"none of {len(truth)} test pictures has a label; there is nothing to measure", "data")
    each = [weighted_precision(scores[:, i], truth[:, i]) for i in np.flatnonzero(truth.any(0))]

    def mean(weights: Float) -> Float:
        return mean_of_drawn(np.array([one(weights) for one in each]))

    return Figure.of_all(mean, len(truth))


def mean_of_drawn(values: Float) -> Float:
    """(D,) means over the classes of (C, D) values, without the NaN of those that are missing from a draw."""
    drawn = ~np.isnan(values)
    return np.asarray(np.where(drawn, values, 0).sum(0) / np.where(drawn.any(0), drawn.sum(0), np.nan))


def micro_precision(scores: Scores, truth: Truth) -> Figure:
    """Average precision of one ranking of all pairs of picture and class, (N, C) each, "mAP micro"."""
    of_all, classes = weighted_precision(scores.ravel(), truth.ravel()), truth.shape[1]
    return Figure.of_all(lambda weights: of_all(np.repeat(weights, classes, axis=1)), len(truth), cells=classes)


def found_figures(probabilities: Scores, truth: Truth) -> dict[str, Figure]:
    """F1 of the labels that are found: "F1" over the classes that occur, "F1 micro" over all pairs.

    Args:
        probabilities: (N, C).
        truth: (N, C).
    """
    found, occurring = probabilities >= LIKELY, truth.any(0)
    both = (found & truth).astype(float)
    either = found.astype(float) + truth  # twice what both share lies in here, once or twice
    count = len(truth)

    def macro(weights: Float) -> Float:
        shared, all_ = weights @ both[:, occurring], weights @ either[:, occurring]
        return np.asarray((2 * shared / np.maximum(all_, 1e-12)).mean(1))

    def micro(weights: Float) -> Float:
        return np.asarray(2 * (weights @ both).sum(1) / np.maximum((weights @ either).sum(1), 1e-12))

    return {"F1": Figure.of_all(macro, count), "F1 micro": Figure.of_all(micro, count)}


def weighted_precision(scores: Scores, truth: Truth) -> Callable[[Float], Float]:
    """Average precision of one ranking as a function of how often each row is drawn, as scikit-learn has it.

    Args:
        scores: (M,).
        truth: (M,).

    Returns:
        From weights (D, M) to (D,); NaN where nothing that was drawn is relevant.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, relevant = -scores[order], truth[order]
    last_equal = np.searchsorted(ranked, ranked, side="right") - 1

    def measure(weights: Float) -> Float:
        drawn = weights[:, order]
        hits = np.cumsum(drawn * relevant, axis=1)
        precision = (hits / np.maximum(np.cumsum(drawn, axis=1), 1e-12))[:, last_equal]
        with np.errstate(invalid="ignore"):
            return np.asarray((drawn * relevant * precision).sum(1) / hits[:, -1])

    return measure
