"""How much of a labelled data set a model's features tell: a linear probe, nearest neighbours, and few labels.

Features are standardised by the training part. The probe is multinomial logistic regression; the weight of its penalty
is chosen on the validation part, and the test part is asked once. Neighbours vote by cosine similarity. With few labels
the mean over several draws of so many a class counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.evaluation.features import Features
from training.evaluation.results import Figure
from wildsat_core.errors import InvalidInputError, MissingExtraError

Labels = NDArray[np.int64]
Right = NDArray[np.float64]  # (N,) share of draws in which a test picture was classified right

PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)  # C of the regression, the inverse of the penalty's weight
FEW_C = 0.1
NEIGHBOURS = 20
DRAWS = 5
_BLOCK = 1024


class Probe:
    """A linear classifier on standardised features."""

    def __init__(self, features: Features, labels: Labels, c: float) -> None:
        """Fit.

        Args:
            features: (N, F).
            labels: (N,).
            c: inverse weight of the squared penalty.

        Raises:
            MissingExtraError: scikit-learn is not installed.
            InvalidInputError: there is one class only.
        """
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.linear_model import LogisticRegression
        except ImportError as err:
            raise MissingExtraError("scikit-learn", "train", "the linear probe") from err
        if len(np.unique(labels)) < 2:
            raise InvalidInputError("a probe needs at least two classes in the training part", "data")
        self._mean, self._spread = features.mean(0), np.maximum(features.std(0), 1e-6)
        self._fitted = LogisticRegression(C=c, max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # accuracy stands long before the last digit does
            self._fitted.fit(self._standardised(features), labels)

    def right(self, features: Features, labels: Labels) -> Right:
        """(N,) 1 where a picture's class is recognised."""
        return np.asarray(self._fitted.predict(self._standardised(features)) == labels, np.float64)

    def main_figure(self, features: Features, labels: Labels) -> Figure:
        """The share of pictures that are recognised, of features (N, F) and labels (N,)."""
        return Figure.of(self.right(features, labels))

    def figures(self, features: Features, labels: Labels) -> dict[str, Figure]:
        """All that is measured of features (N, F) and labels (N,)."""
        return {"linear": self.main_figure(features, labels)}

    def _standardised(self, features: Features) -> Features:
        return np.asarray((features - self._mean) / self._spread, np.float32)


def fit_probe(train: tuple[Features, Labels], val: tuple[Features, Labels]) -> tuple[Probe, float]:
    """A probe with the penalty that classifies the validation part best, and its C; the stronger one of equals.

    Args:
        train: features (N, F) and labels (N,) of the training part.
        val: likewise of the validation part.
    """
    if not len(val[1]):
        return Probe(*train, 1.0), 1.0
    tried = [(Probe(*train, c), c) for c in PENALTIES]
    scores = [float(probe.right(*val).mean()) for probe, _ in tried]
    return tried[int(np.argmax(scores))]


def neighbours_right(train: tuple[Features, Labels], test: tuple[Features, Labels], k: int = NEIGHBOURS) -> Right:
    """(N,) 1 where the most frequent class of the k nearest training pictures, by cosine, is a test picture's own.

    Of classes that are equally frequent, the one whose pictures are nearer wins.
    """
    labels = train[1]
    right = []
    for best, weights in _nearest(train[0], test[0], k):
        votes = np.zeros((len(best), int(labels.max()) + 1))
        np.add.at(votes, (np.arange(len(best))[:, None], labels[best]), weights)
        right.append(votes.argmax(1))
    return np.asarray(np.concatenate(right) == test[1], np.float64)


def neighbours_scores(
    train: tuple[Features, NDArray[np.bool_]], asked: Features, k: int = NEIGHBOURS
) -> NDArray[np.float64]:
    """(N, C) how many of the k nearest training pictures have each label; of equal counts the nearer ones' is greater.

    Args:
        train: features (M, F) and labels (M, C).
        asked: (N, F).
        k: neighbours that vote.
    """
    found = [np.einsum("bk,bkc->bc", weights, train[1][best]) for best, weights in _nearest(train[0], asked, k)]
    return np.concatenate(found)


def _nearest(known: Features, asked: Features, k: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Rows (B, k) of the nearest training pictures, block by block, and the weight of each one's vote."""
    mean, k = known.mean(0), min(k, len(known))
    unit = _unit(known, mean)
    for start in range(0, len(asked), _BLOCK):
        similar = _unit(asked[start : start + _BLOCK], mean) @ unit.T  # (B, M)
        best = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        # Similarities lie within one of each other, so they decide between equal counts alone.
        yield best, 1 + np.take_along_axis(similar, best, 1) / (4 * k)


def few_right(train: tuple[Features, Labels], test: tuple[Features, Labels], shots: int, seed: int = 0) -> Right:
    """(N,) share of draws in which a probe of `shots` pictures a class classifies a test picture right.

    Raises:
        InvalidInputError: a class has fewer pictures than that.
    """
    features, labels = train
    counts = np.bincount(labels)
    least = int(counts[counts > 0].min())
    if least < shots:
        raise InvalidInputError(f"{shots} pictures of each class are asked for, and one has {least}", "shots")
    right = np.zeros(len(test[1]))
    for draw in range(DRAWS):
        random = np.random.default_rng((seed, draw))
        rows = [random.choice(np.flatnonzero(labels == c), shots, replace=False) for c in np.unique(labels)]
        chosen = np.concatenate(rows)
        right += Probe(features[chosen], labels[chosen], FEW_C).right(*test) / DRAWS
    return right


def _unit(features: Features, mean: Features) -> Features:
    centred = features - mean
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9), np.float32)
