"""A location encoder that needs nothing but the position: it has memorised the one fixed Earth.

It is trained to give what a richer encoder, one that knows climate and terrain, gives at the same place; afterwards
any tile gets its vector from longitude and latitude alone.
"""

from __future__ import annotations

import math

import torch
from torch import nn

SEED = 20260


class PositionEncoder(nn.Module):
    """Waves on the unit sphere, then a residual perceptron: degrees (B, 2) to vectors (B, D).

    A position becomes its three Cartesian coordinates, so that there is no seam at the antimeridian and no crowding at
    the poles, and the sines and cosines of many plane waves through the sphere, whose wave numbers spread evenly in
    logarithm from `lowest` to `highest` radians a radian (random Fourier features, Tancik et al., arXiv:2006.10739).

    Args:
        dim: length of a vector.
        waves: number of wave vectors; each gives a sine and a cosine.
        lowest, highest: range of wave numbers; a feature of x km needs about 20,000 / x.
        width: width of the perceptron.
        depth: number of residual blocks.
    """

    waves: torch.Tensor

    def __init__(
        self,
        *,
        dim: int = 256,
        waves: int = 256,
        lowest: float = 1.0,
        highest: float = 100.0,
        width: int = 512,
        depth: int = 3,
    ) -> None:
        """Build with random weights and wave vectors that are the same every time.

        Raises:
            ValueError: a size is not positive, or lowest is greater than highest.
        """
        super().__init__()
        if min(dim, waves, width, depth) < 1 or not 0 < lowest <= highest:
            raise ValueError(
                f"sizes must be positive and 0 < lowest <= highest, got dim {dim}, waves {waves}, width {width}, "
                f"depth {depth}, lowest {lowest}, highest {highest}"
            )
        self.dim = dim
        self.register_buffer("waves", _wave_vectors(waves, lowest, highest))
        self.input = nn.Linear(3 + 2 * waves, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.output = nn.Linear(width, dim)

    def forward(self, lon_lat: torch.Tensor) -> torch.Tensor:
        """Encode longitudes and latitudes (B, 2) in degrees."""
        x = self.input(self.position_features(lon_lat))
        for block in self.blocks:
            x = block(x)
        vectors: torch.Tensor = self.output(nn.functional.gelu(x))
        return vectors

    def position_features(self, lon_lat: torch.Tensor) -> torch.Tensor:
        """(B, 2) degrees to (B, 3 + 2 W): coordinates on the unit sphere and the waves there."""
        lon, lat = torch.deg2rad(lon_lat).unbind(-1)
        xyz = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], -1)
        phase = xyz @ self.waves  # (B, 3) @ (3, W)
        return torch.cat([xyz, phase.sin(), phase.cos()], -1)


class _Block(nn.Module):
    """x + MLP(LayerNorm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = x + self.layers(x)
        return changed


def _wave_vectors(count: int, lowest: float, highest: float) -> torch.Tensor:
    """(3, W) random directions of log-spaced length, rounded to half precision so that fp16 stores them exactly."""
    generator = torch.Generator().manual_seed(SEED)
    directions = nn.functional.normalize(torch.randn(3, count, generator=generator), dim=0)
    numbers = torch.logspace(math.log10(lowest), math.log10(highest), count)
    return (directions * numbers).half().float()
