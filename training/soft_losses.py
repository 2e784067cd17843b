"""Losses of the small models: cross-entropy whose positives are known exactly, and softly, for every text and tile."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_TEXT_MASS = 0.2  # a sentence that is true of less than this in the batch says nothing about it
LEAST_TILE_MASS = 0.05


def texts_to_tiles(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of each sentence over tiles; a tile counts by the share of its land that the sentence is true of.

    Args:
        logits: (S, N) scaled similarities.
        truth: (S, N) shares in [0, 1].

    Returns:
        Scalar in nats; zero when no sentence is true of anything here.
    """
    known = truth.sum(1) > LEAST_TEXT_MASS
    if not known.any():
        return logits.sum() * 0
    target = truth[known] / truth[known].sum(1, keepdim=True)
    return -(target * logits[known].log_softmax(1)).sum(1).mean()


def tiles_to_texts(logits: Tensor, truth: Tensor, mass: Tensor) -> Tensor:
    """Cross-entropy of each tile over sentences; sentences true of few tiles count more, as they say more.

    Args:
        logits: (S, N) scaled similarities.
        truth: (S, N) shares in [0, 1].
        mass: (S,) how many tiles each sentence is true of, over all tiles at hand.
    """
    telling = truth / (mass[:, None] + 1).sqrt()
    known = telling.sum(0) > LEAST_TILE_MASS
    if not known.any():
        return logits.sum() * 0
    target = telling[:, known] / telling[:, known].sum(0)
    return -(target * logits[:, known].log_softmax(0)).sum(0).mean()


def alignment(logits: Tensor, truth: Tensor) -> Tensor:
    """Both directions, the second at half weight: a scalar, of logits and truth (T, N)."""
    return texts_to_tiles(logits, truth) + 0.5 * tiles_to_texts(logits, truth, truth.sum(1))


def two_views(first: Tensor, second: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy between two pictures of each place, where neighbouring places are neither right nor wrong.

    Args:
        first: (B, D) of length 1, pictures of B places.
        second: (B, D) of length 1, other pictures of the same places in the same order.
        scale: multiplies the similarities.
        same: (B, B) bool, true for pairs of places so near that their pictures overlap; the diagonal is ignored.
    """
    logits = first @ second.T * scale  # (B, D) @ (D, B)
    neighbours = same & ~torch.eye(len(first), dtype=torch.bool, device=first.device)
    logits = logits.masked_fill(neighbours, -torch.inf)
    target = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def follow_teacher(student: Tensor, teacher: Tensor, candidates: Tensor, scale: Tensor, sharpness: float) -> Tensor:
    """Cross-entropy from the teacher's similarities to candidate places to the student's.

    Args:
        student: (B, D) of length 1.
        teacher: (B, D) of length 1, of the same places.
        candidates: (M, D) of length 1, teacher's vectors of places.
        scale: multiplies the student's similarities.
        sharpness: multiplies the teacher's.
    """
    target = (teacher @ candidates.T * sharpness).softmax(1)  # (B, D) @ (D, M)
    return -(target * (student @ candidates.T * scale).log_softmax(1)).sum(1).mean()
