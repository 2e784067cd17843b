"""A small residual network for small tiles, which sees each picture twice: as it is, and freed of its own stretch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

LEAST_DEVIATION = 0.03  # of standardised pixels; keeps the grain of a picture of one colour from being blown up


class CompactNet(nn.Module):
    """Residual blocks over (B, C, H, W) of any size from 16 pixels on, pooled to features (B, F).

    Beside the pixels the first layer reads each picture with its own mean and deviation taken out, so that how a tile
    was stretched to eight bits, and how much haze lay over it, need not be learned away.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: tuple[int, ...] = (48, 96, 192),
        blocks: tuple[int, ...] = (1, 2, 2),
        features: int = 384,
    ) -> None:
        """Build with random weights.

        Args:
            channels: of the input.
            widths: channels of each stage; every stage halves the picture, as the first layer does.
            blocks: residual blocks of each stage.
            features: length of the feature vector.

        Raises:
            ValueError: not one number of blocks a stage.
        """
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"each stage needs a width and a number of blocks, got {widths} and {blocks}")
        stem = widths[0] // 2
        self.stem = nn.Sequential(
            nn.Conv2d(2 * channels, stem, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
        )
        inner = stem
        stages: list[nn.Module] = []
        for width, count in zip(widths, blocks, strict=True):
            stages += [ResidualBlock(inner, width, 2), *(ResidualBlock(width, width, 1) for _ in range(count - 1))]
            inner = width
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(nn.Conv2d(inner, features, 1, bias=False), nn.BatchNorm2d(features), nn.ReLU())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Standardised pixels (B, C, H, W), of any scale, to features (B, F)."""
        both = torch.cat([pixels, own_contrast(pixels)], dim=1)  # (B, 2C, H, W)
        pooled: torch.Tensor = self.last(self.stages(self.stem(both))).mean(dim=(2, 3))
        return pooled


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 and a way around them (He et al., arXiv:1512.03385)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outer)
        self.second = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outer)
        self.around: nn.Module = nn.Identity()
        if stride > 1 or inner != outer:
            pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
            self.around = nn.Sequential(pool, nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inner, h, w) to (B, outer, h / stride, w / stride)."""
        y = F.relu(self.first_norm(self.first(x)))
        added: torch.Tensor = self.second_norm(self.second(y)) + self.around(x)
        return F.relu(added)


def own_contrast(pixels: torch.Tensor) -> torch.Tensor:
    """Each picture of any scale less its mean, band by band, over its deviation in all bands together, (B, C, H, W)."""
    centred = pixels - pixels.mean(dim=(2, 3), keepdim=True)
    deviation = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return centred / deviation.clamp(min=LEAST_DEVIATION)
