"""Projections into a shared space: what stands between an encoder's features and the vectors that are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from wildsat_core.models.config import HeadConfig

DROPOUT = 0.1
# Embeddings of length 1 have elements of about 1/sqrt(E); the gain brings them nearer to the size that layers are
# initialised for, and so to a useful rate of learning.
INPUT_GAIN = 3.0
# Chosen on the tuning half of the retrieval benchmark's queries.
RECALLED = 16
RECALL_SHARPNESS = 15.0
RECALL_SHARE = 1.5


class LinearHead(nn.Linear):
    """One linear layer without a bias, as in WildSAT (arXiv:2412.14428): (B, F) to (B, D)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        """Build with random weights."""
        super().__init__(in_features, out_features, bias=False)


class MLPHead(nn.Module):
    """A perceptron with one hidden layer: (B, F) to (B, D)."""

    def __init__(self, in_features: int, out_features: int, hidden: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(hidden, out_features)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project (B, F) features."""
        projected: torch.Tensor = self.layers(features)
        return projected


class ResidualHead(nn.Module):
    """A linear layer and a perceptron beside it, added: the line carries the meaning over, the perceptron bends it."""

    def __init__(self, in_features: int, out_features: int, hidden: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.line = nn.Linear(in_features, out_features)
        self.bend = MLPHead(in_features, out_features, hidden)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project (B, F) features of length 1."""
        raised = features * INPUT_GAIN
        projected: torch.Tensor = self.line(raised) + self.bend(raised)
        return projected


class MemoryHead(ResidualHead):
    """A residual head that also recalls: the vectors of the known texts nearest to a text are added to its own.

    A perceptron errs most on words that it never saw; what their nearest known texts mean is then the better guess.

    Args:
        share: length of what is recalled beside the perceptron's own vector of length 1.
        sharpness: multiplies the cosines to known texts before they become weights.
        voting: each known text counts by how near it is, `share * exp(sharpness * (cosine - 1))` beside the
            perceptron's 1, so that what is like no known text is left to the perceptron; else what is recalled has
            length `share` always.

    Attributes:
        keys: (M, F) features of known texts, of length 1.
        values: (M, D) their vectors, of length 1.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: int,
        slots: int,
        share: float = RECALL_SHARE,
        sharpness: float = RECALL_SHARPNESS,
        voting: bool = False,
    ) -> None:
        """Build with random weights and an empty memory."""
        super().__init__(in_features, out_features, hidden)
        self.share, self.sharpness, self.voting = share, sharpness, voting
        self.register_buffer("keys", torch.zeros(slots, in_features))
        self.register_buffer("values", torch.zeros(slots, out_features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project (B, F) features of length 1."""
        own = F.normalize(super().forward(features), dim=-1)
        cosines, rows = (features @ self.keys.T).topk(min(RECALLED, len(self.keys)), dim=1)  # (B, K)
        if self.voting:
            weights = ((cosines - 1) * self.sharpness).exp()
            return own + self.share * torch.einsum("bk,bkd->bd", weights, self.values[rows])
        weights = (cosines * self.sharpness).softmax(1)
        recalled = torch.einsum("bk,bkd->bd", weights, self.values[rows])
        return own + self.share * F.normalize(recalled, dim=-1)

    @torch.no_grad()
    def remember(
        self, keys: torch.Tensor, meanings: torch.Tensor | None = None, values: torch.Tensor | None = None
    ) -> None:
        """Fill the memory with features of known texts.

        Args:
            keys: (M, F) of length 1.
            meanings: (M,) int64; texts of one number from 0 on mean the same and share the mean of their vectors.
            values: (M, D) the vectors of the texts; None for what the head itself makes of them.
        """
        values = F.normalize(super().forward(keys) if values is None else values, dim=-1)
        if meanings is not None:
            known = meanings >= 0
            sums = values.new_zeros(int(meanings.max()) + 1, values.shape[1])
            sums.index_add_(0, meanings[known], values[known])
            values[known] = F.normalize(sums, dim=-1)[meanings[known]]
        self.keys.copy_(keys)
        self.values.copy_(values)


def build_head(config: HeadConfig) -> nn.Module:
    """Build a head of the kind that the config names, with random weights."""
    if config.kind == "linear":
        return LinearHead(config.in_features, config.out_features)
    assert config.hidden is not None  # the config refuses other kinds without a hidden width
    if config.kind == "memory":
        assert config.slots is not None  # likewise
        recall: dict[str, Any] = {
            "share": config.recall_share,
            "sharpness": config.recall_sharpness,
            "voting": config.recall_voting,
        }
        told = {name: value for name, value in recall.items() if value is not None}
        return MemoryHead(config.in_features, config.out_features, config.hidden, config.slots, **told)
    kind = MLPHead if config.kind == "mlp" else ResidualHead
    return kind(config.in_features, config.out_features, config.hidden)
