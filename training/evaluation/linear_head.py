"""A linear layer with a sigmoid for each target, fitted at once: a probe for pictures with several labels.

Each target has a logistic regression of its own on features that are standardised by the training part; all are fitted
together by L-BFGS, because one product of matrices for all is many times as fast as a product for each.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.evaluation.features import Features
from training.evaluation.probe import PENALTIES
from training.evaluation.results import Figure
from training.evaluation.several_labels import found_figures, mean_precision, micro_precision

Targets = NDArray[np.bool_] | NDArray[np.float32]

STEPS = 150
RAREST = 1e-4  # share of pictures that a target is taken to have at least, for a finite start


class LinearHead:
    """Probabilities of T targets from standardised features."""

    def __init__(self, features: Features, targets: Targets, c: float) -> None:
        """Fit.

        Args:
            features: (N, F).
            targets: (N, T), 0 to 1.
            c: inverse weight of the squared penalty, as scikit-learn's logistic regression has it.
        """
        self._mean, self._spread = features.mean(0), np.maximum(features.std(0), 1e-6)
        inputs = self._standardised(features)
        wanted = torch.from_numpy(targets.astype(np.float32))
        weight = torch.zeros(inputs.shape[1], wanted.shape[1], requires_grad=True)
        bias = torch.logit(wanted.mean(0).clamp(RAREST, 1 - RAREST)).requires_grad_(True)
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimiser.zero_grad()
            fit = F.binary_cross_entropy_with_logits(inputs @ weight + bias, wanted, reduction="sum") / len(inputs)
            value: torch.Tensor = fit + weight.square().sum() / (2 * c * len(inputs))
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimiser.step(loss)  # type: ignore[no-untyped-call]
        self._weight, self._bias = weight.detach(), bias.detach()

    def probabilities(self, features: Features) -> NDArray[np.float32]:
        """(N, T) from features (N, F)."""
        return np.asarray(torch.sigmoid(self._standardised(features) @ self._weight + self._bias).numpy())

    def loss(self, features: Features, targets: Targets) -> float:
        """Mean binary cross-entropy of targets (N, T), in nats."""
        logits = self._standardised(features) @ self._weight + self._bias
        return float(F.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets.astype(np.float32))))

    def main_figure(self, features: Features, labels: NDArray[np.bool_]) -> Figure:
        """Mean average precision of features (N, F) and labels (N, T)."""
        return mean_precision(self.probabilities(features), labels)

    def figures(self, features: Features, labels: NDArray[np.bool_]) -> dict[str, Figure]:
        """Average precision and F1 of features (N, F) and labels (N, T)."""
        scores = self.probabilities(features)
        precision = {"mAP": mean_precision(scores, labels), "mAP micro": micro_precision(scores, labels)}
        return precision | found_figures(scores, labels)

    def _standardised(self, features: Features) -> torch.Tensor:
        return torch.from_numpy(np.asarray((features - self._mean) / self._spread, np.float32))


def fit_head(
    train: tuple[Features, Targets], val: tuple[Features, Targets], kind: type[LinearHead] = LinearHead
) -> tuple[LinearHead, float]:
    """A head with the penalty under which the validation part's loss is least, and its C; without that part C is 1.

    Args:
        train: features (N, F) and targets (N, T) of the training part.
        val: likewise of the validation part.
        kind: of head.
    """
    if not len(val[1]):
        return kind(*train, 1.0), 1.0
    tried = [(kind(*train, c), c) for c in PENALTIES]
    return tried[int(np.argmin([head.loss(*val) for head, _ in tried]))]
