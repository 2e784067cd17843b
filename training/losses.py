"""What training makes small: symmetric cross-entropy between things that belong together, in a batch of places.

Source: Daroya et al., "WildSAT: Learning Satellite Image Representations from Wildlife Observations", ICCV 2025
(arXiv:2412.14428); the loss itself is InfoNCE (van den Oord et al., arXiv:1807.03748).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from training.gather import gather_rows, rank

REFERENCE_SCALE = math.log(10.0)  # WildSAT multiplies by ln 10 as it is, and never trains it
HIGHEST_SCALE = 100.0  # a learned scale stops here, as CLIP's does (arXiv:2103.00020, section 2.5)


@dataclass(frozen=True, slots=True)
class Match:
    """Result of one loss term.

    Attributes:
        loss: scalar in nats.
        accuracy: share of rows whose own partner scores highest among all, mean of both directions; no gradient.
    """

    loss: torch.Tensor
    accuracy: torch.Tensor


def symmetric_loss(
    left: torch.Tensor,
    right: torch.Tensor,
    scale: torch.Tensor | float,
    same_left: torch.Tensor | None = None,
    same_right: torch.Tensor | None = None,
    *,
    gather: bool = True,
) -> Match:
    """Cross-entropy of each row with its partner among all, both ways, with negatives from every rank.

    Row i of both inputs is one pair; every other row of any rank is a negative, unless it is masked: rows that share
    a label with row i (the same species, the same cell of ground) are false negatives and are left out of its sum.

    Args:
        left: (B, D) of this rank; compared by inner product, so normalise before for cosine.
        right: (B, D), the partners.
        scale: multiplies the logits; it is not exponentiated here.
        same_left: (B,) integer labels; rows with equal labels are not each other's negatives.
        same_right: (B,) further labels, likewise.
        gather: without it the negatives are this rank's rows alone.

    Returns:
        The mean of both directions over this rank's rows. Its mean over ranks is the loss of the whole batch.

    Raises:
        ValueError: the inputs differ in shape.
    """
    if left.shape != right.shape or left.ndim != 2:
        raise ValueError(f"both sides must be (B, D) alike, got {tuple(left.shape)} and {tuple(right.shape)}")
    left, right = left.float(), right.float()
    all_left, all_right = (gather_rows(left), gather_rows(right)) if gather else (left, right)
    own = torch.arange(len(left), device=left.device) + (rank() * len(left) if gather else 0)
    mask = false_negatives(own, same_left, same_right, gather=gather)
    forward = _logits(left, all_right, scale, mask)  # (B, B x ranks)
    backward = _logits(right, all_left, scale, mask)
    loss = (F.cross_entropy(forward, own) + F.cross_entropy(backward, own)) / 2
    with torch.no_grad():
        hits = (forward.argmax(1) == own).float().mean() + (backward.argmax(1) == own).float().mean()
    return Match(loss, hits / 2)


def false_negatives(own: torch.Tensor, *labels: torch.Tensor | None, gather: bool = True) -> torch.Tensor | None:
    """(B, B x ranks), true where another row shares a label with the row; None when there are no labels."""
    mask: torch.Tensor | None = None
    for label in labels:
        if label is None:
            continue
        same = label[:, None] == (gather_rows(label) if gather else label)[None, :]
        mask = same if mask is None else mask | same
    if mask is not None:
        mask[torch.arange(len(own), device=own.device), own] = False  # a row's own partner always counts
    return mask


def _logits(
    rows: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor | float, mask: torch.Tensor | None
) -> torch.Tensor:
    logits = scale * (rows @ columns.T)  # (B, D) @ (D, B x ranks)
    return logits if mask is None else logits.masked_fill(mask, float("-inf"))


class LogitScale(nn.Module):
    """The number that similarities are multiplied by: fixed as in the reference, or learned as its logarithm."""

    def __init__(
        self, value: float = REFERENCE_SCALE, *, learned: bool = False, highest: float = HIGHEST_SCALE
    ) -> None:
        """Start at `value`; a learned scale stops at `highest`.

        Raises:
            ValueError: the value is not in (0, highest].
        """
        super().__init__()
        if not 0 < value <= highest:
            raise ValueError(f"the scale must lie in (0, {highest:g}], got {value}")
        self.learned, self.highest = learned, highest
        start = torch.tensor(math.log(value))
        if learned:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)
            self.fixed = value

    def forward(self) -> torch.Tensor | float:
        """The scale, a scalar; with a gradient if learned."""
        return self.log_scale.exp().clamp(max=self.highest) if self.learned else self.fixed
