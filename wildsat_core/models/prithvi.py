"""Prithvi-100M's encoder: a vision transformer over six bands, with fixed sine and cosine positions.

Jakubik et al., "Foundation Models for Generalist Geospatial Artificial Intelligence" (arXiv:2310.18660). The published
network takes several dates; here there is one. Weights keep the published key names.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import nn

from wildsat_core.torchvision_guard import guard_torchvision


class PrithviBackbone(nn.Module):
    """Pictures (B, C, h, w) to features (B, F).

    Args:
        channels: number of bands.
        image_px, patch_px: side of the input and of a patch.
        width, depth, heads: of the transformer.
        pool: "mean" gives the mean patch token, F = width; "tokens" all patch tokens in order, F = patches x width;
            "shuffled" all in an order drawn anew for each picture while training, as the published encoder's masking
            leaves them, and in evaluation the mean token in every place: to a linear head the mean of all orders.
    """

    pos_embed: torch.Tensor

    def __init__(
        self,
        *,
        channels: int = 6,
        image_px: int = 224,
        patch_px: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        pool: Literal["mean", "tokens", "shuffled"] = "mean",
    ) -> None:
        """Build with random weights."""
        super().__init__()
        guard_torchvision()
        from timm.models.vision_transformer import Block

        if pool not in ("mean", "tokens", "shuffled"):
            raise ValueError(f"pool must be 'mean', 'tokens' or 'shuffled', got {pool!r}")
        side = image_px // patch_px
        self.pool = pool
        # Three-dimensional as in the published file, whose third axis is the date.
        patch = (1, patch_px, patch_px)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(channels, width, patch, stride=patch)})
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.register_buffer("pos_embed", sine_positions(width, side))
        self.blocks = nn.ModuleList(
            Block(width, heads, 4.0, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) in [0, 1] to (B, F)."""
        patches = self.patch_embed["proj"](pixels.unsqueeze(2))  # one date: (B, C, 1, h, w) -> (B, D, 1, h/p, w/p)
        tokens: torch.Tensor = patches.flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]  # (B, P, D)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)[:, 1:]  # without the class token
        if self.pool == "mean":
            return tokens.mean(1)
        return (self._shuffled(tokens) if self.pool == "shuffled" else tokens).flatten(1)

    def _shuffled(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, P, D) each picture's tokens in an order of its own."""
        if not self.training:
            return tokens.mean(1, keepdim=True).expand_as(tokens)
        order = torch.rand(tokens.shape[:2], device=tokens.device).argsort(1)
        return tokens.gather(1, order[:, :, None].expand_as(tokens))


def sine_positions(width: int, side: int) -> torch.Tensor:
    """Position codes of a side x side grid of patches at one date, the class token first.

    Six sixteenths of the numbers code the column, six the row, four the date; each part holds sines, then cosines, of
    the index at wave numbers from 1 down to almost 1/10,000. The class token's code is zero.

    Returns:
        (1, 1 + side squared, width) float32.
    """
    if width % 16:
        raise ValueError(f"width must be a multiple of 16, got {width}")
    rows, columns = np.divmod(np.arange(side * side), side)
    parts = [
        _waves(columns, width // 16 * 6),
        _waves(rows, width // 16 * 6),
        _waves(np.zeros_like(rows), width // 16 * 4),
    ]
    codes = np.concatenate([np.zeros((1, width)), np.concatenate(parts, axis=1)])
    return torch.from_numpy(codes).float().unsqueeze(0)


def _waves(index: np.ndarray, width: int) -> np.ndarray:
    numbers = 10_000.0 ** (-np.arange(width // 2) / (width / 2))
    phase = np.outer(index, numbers)
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=1)
