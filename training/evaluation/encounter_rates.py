"""How well the encounter rates of species at a place are told from its picture, as SatBird measures it.

Teng et al., "SatBird: Bird Species Distribution Modeling with Remote Sensing and Citizen Science Data"
(arXiv:2311.00936). A rate is the share of complete checklists on which a species was noted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.evaluation.features import Features
from training.evaluation.linear_head import LinearHead
from training.evaluation.results import Figure
from wildsat_core.errors import InvalidInputError

PERCENT = 100  # errors of rates are small; they are shown in hundredths

Rates = NDArray[np.float32]


class RateHead(LinearHead):
    """Rates of T species from features: a linear layer with a sigmoid, cross-entropy with the rates."""

    def main_figure(self, features: Features, labels: Rates) -> Figure:  # type: ignore[override]
        """Share of the species found that are the most frequent ones, of features (N, F) and rates (N, T)."""
        return _top(self.probabilities(features), labels, None)

    def figures(self, features: Features, labels: Rates) -> dict[str, Figure]:  # type: ignore[override]
        """All that SatBird gives, of features (N, F) and rates (N, T)."""
        return rate_figures(self.probabilities(features), labels)


def rate_figures(rates: Rates, truth: Rates) -> dict[str, Figure]:
    """Top-k, top-10 and top-30 accuracy, and mean squared and absolute error in hundredths.

    Args:
        rates: (N, T) foretold.
        truth: (N, T); places without any species count in the errors alone.
    """
    wrong = rates.astype(np.float64) - truth
    return {
        "top-k": _top(rates, truth, None),
        "top-10": _top(rates, truth, 10),
        "top-30": _top(rates, truth, 30),
        "100 MSE": Figure.of(PERCENT * np.square(wrong).mean(1)),
        "100 MAE": Figure.of(PERCENT * np.abs(wrong).mean(1)),
    }


def _top(rates: Rates, truth: Rates, k: int | None) -> Figure:
    """The mean of `top_right`.

    Raises:
        InvalidInputError: no place has any species.
    """
    if not len(right := top_right(rates, truth, k)):
        raise InvalidInputError(f"none of {len(truth)} test places has a species; there is nothing to measure", "data")
    return Figure.of(right)


def top_right(rates: Rates, truth: Rates, k: int | None) -> NDArray[np.float64]:
    """(M,) of the places with any species, the share of the most frequent ones that are among the k foretold first.

    Args:
        rates: (N, T) foretold.
        truth: (N, T).
        k: how many; None for as many as there are species at each place.
    """
    found = []
    for said, is_there in zip(rates, truth, strict=True):
        if present := int(np.count_nonzero(is_there)):
            wanted = min(present, k or present)
            best = np.argsort(-is_there, kind="stable")[:wanted]
            found.append(np.isin(best, np.argsort(-said, kind="stable")[: k or present]).mean())
    return np.array(found, np.float64)
