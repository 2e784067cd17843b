"""Projections into a shared space: what stands between an encoder's features and the vectors that are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from wildsat_core.models.config import HeadConfig

DROPOUT = 0.1
# Embeddings of length 1 have elements of about 1/sqrt(E); the gain brings them nearer to the size that layers are
# initialised for, and so to a useful rate of learning.
INPUT_GAIN = 3.0


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


def build_head(config: HeadConfig) -> nn.Module:
    """Build a head of the kind that the config names, with random weights."""
    if config.kind == "linear":
        return LinearHead(config.in_features, config.out_features)
    assert config.hidden is not None  # the config refuses other kinds without a hidden width
    kind = MLPHead if config.kind == "mlp" else ResidualHead
    return kind(config.in_features, config.out_features, config.hidden)
