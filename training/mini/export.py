"""From trained parts to a model directory: default blend, familiarity, half precision."""

from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.evaluation.queries import read_queries
from training.evaluation.retrieval import Evaluated, best_blend
from training.mini.bank import Bank
from wildsat_core.models.model import WildSATModel
from wildsat_core.text.familiarity import Familiarity

log = logging.getLogger(__name__)

KNOWN_KINDS = ("word", "atom", "attribute", "use", "flagship", "place", "family", "ecoregion")
KNOWN_TEXTS = 2048
NEAREST = 8
LEAST_REAL = 0.02  # quantile of the tuning queries' familiarity that the threshold may not pass


def known_sample(bank: Bank, embeddings: NDArray[np.float16], count: int = KNOWN_TEXTS) -> NDArray[np.float32]:
    """(M, 384) embeddings of sentences that lie far from each other: each next one is the farthest from all before."""
    rows = np.flatnonzero(np.isin(bank.kinds, KNOWN_KINDS))
    candidates = embeddings[rows].astype(np.float32)
    chosen = [0]
    nearest = candidates @ candidates[0]
    for _ in range(min(count, len(rows)) - 1):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, candidates @ candidates[chosen[-1]])
    return candidates[chosen]


def fit_familiarity(model: WildSATModel, known: NDArray[np.float32]) -> Familiarity:
    """Threshold half-way between unrelated texts and the least familiar real queries of the tuning half."""
    unscaled = Familiarity(known, min(NEAREST, len(known)), 0.0)
    real = unscaled.of(model.encode_texts([query.text for query in read_queries() if not query.held]))
    table = resources.files("training.mini") / "tables" / "unrelated.txt"
    unrelated = unscaled.of(model.encode_texts(table.read_text(encoding="utf-8").splitlines()))
    low, high = float(np.quantile(unrelated, 0.97)), float(np.quantile(real, LEAST_REAL))
    threshold = min((low + high) / 2, high)
    log.info("familiarity: unrelated texts up to %.3f, real ones from %.3f, threshold %.3f", low, high, threshold)
    return Familiarity(known, unscaled.nearest, threshold)


def export_model(
    model: WildSATModel, evaluated: Evaluated, bank: Bank, embeddings: NDArray[np.float16], directory: Path
) -> None:
    """Choose the default blend, fit familiarity, and write the model directory in half precision."""
    directory.mkdir(parents=True, exist_ok=True)
    blend = best_blend(evaluated)
    no_match = fit_familiarity(model, known_sample(bank, embeddings)).save(directory)
    model.config = model.config.model_copy(update={"default_blend": blend, "no_match": no_match})
    digest = model.half().save(directory)
    log.info("default blend %.2f, weights %s", blend, digest)
