"""The last touch on the text head: tuned against the very place vectors that are searched, which stay fixed."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.mini.bank import PLAIN_KINDS, Bank
from training.mini.sampling import SentenceSampler
from training.mini.teacher import PARAPHRASE_WEIGHT, read_texts
from training.soft_losses import alignment
from wildsat_core.errors import TrainingError
from wildsat_core.models.heads import ResidualHead

log = logging.getLogger(__name__)


PICTURE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class TextHeadSettings:
    """Steps, sentences and tiles a step, rate, and the scale of similarities."""

    steps: int = 1500
    sentences: int = 384
    tiles: int = 3000
    rate: float = 1e-3
    scale: float = 20.0
    seed: int = 7


def tune_text_head(
    head: ResidualHead,
    places: NDArray[np.float32],
    embeddings: NDArray[np.float16],
    sampler: SentenceSampler,
    rows: NDArray[np.int64],
    *,
    settings: TextHeadSettings,
    pictures: NDArray[np.float32] | None = None,
) -> ResidualHead:
    """Tune the head, in place.

    Args:
        head: as the teacher's run left it.
        places: (N, D) of length 1: the vectors of the training tiles as the shipped position encoder gives them.
        embeddings: (S, 384) of the bank's sentences, length 1.
        sampler: draws sentences and knows what they are true of.
        rows: training tiles.
        settings: length and size of the run.
        pictures: (N, D) of length 1: the text vectors of the tiles' pictures, where these are known already.

    Raises:
        TrainingError: the loss is not finite.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    fixed = torch.from_numpy(places)
    seen = None if pictures is None else torch.from_numpy(pictures)
    optimiser = torch.optim.AdamW(head.parameters(), lr=settings.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=settings.steps, pct_start=0.1)
    head.train()
    for step in range(settings.steps):
        sentences = sampler.sentences(settings.sentences)
        tiles = rng.choice(rows, min(settings.tiles, len(rows)), replace=False)
        texts, said_otherwise = read_texts(head, embeddings, sentences, sampler.paraphrases(sentences))
        logits = texts @ fixed[tiles].T * settings.scale  # (S, D) @ (D, N)
        truth = torch.from_numpy(sampler.truth(sentences, tiles))
        loss = alignment(logits, truth)
        if seen is not None:
            loss = loss + PICTURE_WEIGHT * alignment(texts @ seen[tiles].T * settings.scale, truth)
        loss = loss + PARAPHRASE_WEIGHT * (1 - F.cosine_similarity(texts, said_otherwise)).mean()
        if not torch.isfinite(loss):
            raise TrainingError(f"the text head's loss is {loss.item()} at step {step}; lower the rate")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == settings.steps - 1:
            log.info("text head step %d/%d loss %.3f", step + 1, settings.steps, loss.item())
    return head.eval()


def memory_rows(bank: Bank, slots: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows of the sentences that a memory keeps, (slots,) or as many as there are: the bank's plainest.

    Composed sentences and single species come last, by chance and only where slots are left: what they say is said by
    their parts and families.
    """
    order = np.random.default_rng(seed).permutation(len(bank.kinds))
    plain = np.isin(np.asarray(bank.kinds)[order], PLAIN_KINDS)
    return np.concatenate([order[plain], order[~plain]])[:slots]
