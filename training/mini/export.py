"""From trained parts to a model directory: default blend, familiarity, half precision."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.evaluation.queries import read_queries
from training.evaluation.retrieval import Evaluated, best_blend
from training.familiar import fit_familiarity, spread_sample
from training.mini.bank import PLAIN_KINDS, Bank
from wildsat_core.models.model import WildSATModel

log = logging.getLogger(__name__)

# Whole fields of language hold similes, tales and trades, which texts about no place are near to.
FAMILIAR_KINDS = tuple(kind for kind in PLAIN_KINDS if kind != "field")


def export_model(
    model: WildSATModel, asked: Sequence[Evaluated], bank: Bank, embeddings: NDArray[np.float16], directory: Path
) -> None:
    """Choose the default blend, fit familiarity, and write the model directory in half precision.

    `asked` are the lists of queries that the blend is chosen for, `embeddings` those of the bank's sentences, (S, E).
    """
    directory.mkdir(parents=True, exist_ok=True)
    blend = best_blend(asked)
    known = spread_sample(embeddings[np.isin(bank.kinds, FAMILIAR_KINDS)].astype(np.float32))
    tuning = [query.text for query in read_queries() if not query.held]
    no_match = fit_familiarity(model.encode_texts, known, tuning).save(directory)
    model.config = model.config.model_copy(update={"default_blend": blend, "no_match": no_match})
    digest = model.half().save(directory)
    log.info("default blend %.2f, weights %s", blend, digest)
