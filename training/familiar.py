"""Fits the ground for answering "nothing matches": a spread sample of known texts, and how near a text must be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from wildsat_core.text.familiarity import Familiarity

log = logging.getLogger(__name__)

Embeddings = NDArray[np.float32]

KNOWN_TEXTS = 2048
NEAREST = 8
MOST_UNRELATED = 0.97  # quantile of the unrelated texts' familiarity that counts as their highest
LEAST_REAL = 0.02  # quantile of the real texts' familiarity that the threshold may not pass


def spread_sample(embeddings: Embeddings, count: int = KNOWN_TEXTS) -> Embeddings:
    """Up to (count, E) embeddings that lie far from each other: each next one is the farthest from all before."""
    chosen = [0]
    nearest = embeddings @ embeddings[0]
    for _ in range(min(count, len(embeddings)) - 1):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, embeddings @ embeddings[chosen[-1]])
    return embeddings[chosen]


def unrelated_texts() -> list[str]:
    """Texts that no place answers."""
    return (resources.files("training") / "tables" / "unrelated.txt").read_text(encoding="utf-8").splitlines()


def fit_familiarity(
    encode: Callable[[Sequence[str]], Embeddings], known: Embeddings, real: Sequence[str]
) -> Familiarity:
    """Threshold half-way between texts that no place answers and the least familiar real ones.

    Args:
        encode: texts to raw embeddings (B, E), before the model's head.
        known: (M, E) a sample of the texts that the model was trained on.
        real: what people may ask and the model was not trained on.
    """
    unscaled = Familiarity(known, min(NEAREST, len(known)), 0.0)
    low = float(np.quantile(unscaled.of(encode(unrelated_texts())), MOST_UNRELATED))
    high = float(np.quantile(unscaled.of(encode(real)), LEAST_REAL))
    threshold = min((low + high) / 2, high)
    log.info("familiarity: unrelated texts up to %.3f, real ones from %.3f, threshold %.3f", low, high, threshold)
    return Familiarity(known, unscaled.nearest, threshold)
