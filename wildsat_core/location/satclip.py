"""SatCLIP's location encoder: spherical harmonics of the position, then a network of sines.

Klemmer et al., "SatCLIP: Global, General-Purpose Location Embeddings with Satellite Imagery" (arXiv:2311.17179).
Weights keep the published key names (`nnet.layers.*`, `nnet.last_layer.*`).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

Harmonics = Literal["analytic", "closed-form"]


class SatCLIPEncoder(nn.Module):
    """Degrees (B, 2) to vectors (B, D).

    Args:
        degree: number of degrees of harmonics, 0 to degree - 1; degree squared features.
        width, depth: of the hidden layers.
        dim: length of a vector.
        harmonics: which of the two conventions the weights were trained with; published weights use "analytic".
        double: keep weights in double precision, as the published ones are.
    """

    def __init__(
        self,
        *,
        degree: int = 10,
        width: int = 512,
        depth: int = 2,
        dim: int = 256,
        harmonics: Harmonics = "analytic",
        double: bool = True,
    ) -> None:
        """Build with random weights.

        Raises:
            ValueError: a size is not positive, or the convention is unknown.
        """
        super().__init__()
        if min(degree, width, depth, dim) < 1 or harmonics not in ("analytic", "closed-form"):
            raise ValueError(
                f"sizes must be positive and harmonics 'analytic' or 'closed-form', "
                f"got {degree}, {width}, {depth}, {dim}, {harmonics!r}"
            )
        self.degree, self.dim, self.harmonics = degree, dim, harmonics
        self.nnet = SineNetwork(degree**2, width, depth, dim)
        if double:
            self.double()

    def forward(self, lon_lat: torch.Tensor) -> torch.Tensor:
        """Encode longitudes and latitudes (B, 2) in degrees; the result is float32."""
        features = spherical_harmonics(lon_lat, self.degree, self.harmonics)
        vectors: torch.Tensor = self.nnet(features.to(self.nnet.last_layer.weight.dtype))
        return vectors.float()

    @torch.inference_mode()
    def encode(self, lon_lat: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """`forward` for arrays: (N, 2) degrees, longitude first, to (N, D)."""
        degrees = torch.as_tensor(np.asarray(lon_lat, np.float64)).reshape(-1, 2)
        return np.asarray(self(degrees.to(self.nnet.last_layer.weight.device)).cpu().numpy(), np.float32)


class SineNetwork(nn.Module):
    """Linear layers with sines between them (SIREN, Sitzmann et al., arXiv:2006.09661)."""

    FIRST_FREQUENCY = 30.0  # of the first layer; later layers have 1

    def __init__(self, inputs: int, width: int, depth: int, outputs: int) -> None:
        """Build with SIREN's random weights."""
        super().__init__()
        sizes = [inputs, *[width] * depth]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last_layer = nn.Linear(width, outputs)
        for i, size in enumerate([*sizes[:-1], width]):
            bound = 1 / size if i == 0 else math.sqrt(6 / size)
            for parameter in (*self.layers, self.last_layer)[i].parameters():
                nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs) to (B, outputs)."""
        for i, layer in enumerate(self.layers):
            x = torch.sin(layer(x) * (self.FIRST_FREQUENCY if i == 0 else 1.0))
        return F.linear(x, self.last_layer.weight, self.last_layer.bias)


def spherical_harmonics(lon_lat: torch.Tensor, degree: int, convention: Harmonics = "analytic") -> torch.Tensor:
    """Real spherical harmonics of degrees 0 to degree - 1, in the order l = 0.., m = -l..l.

    The polar angle is latitude + 90 degrees (from the south pole) and the azimuth longitude + 180 degrees. Normalised
    Legendre functions come from their three-term recurrence in double precision, so that no factorial is formed and
    high degrees don't overflow. The two conventions of the published code differ:

    "analytic": no Condon-Shortley sign; terms with m = 0 are pi times the orthonormal ones (its formula divides by 4
        and multiplies by pi where orthonormality wants a division by 4 pi). Networks were trained on it: it is kept.
    "closed-form": orthonormal, with the sign (-1)^m.

    Args:
        lon_lat: (B, 2) degrees.
        degree: number of degrees.
        convention: see above.

    Returns:
        (B, degree squared) float64.
    """
    lon, lat = lon_lat.double().unbind(-1)
    azimuth = torch.deg2rad(lon + 180.0)
    polar = torch.deg2rad(lat + 90.0)
    legendre = _normalised_legendre(torch.cos(polar), torch.sin(polar), degree)
    columns = []
    for l in range(degree):  # noqa: E741 - the degree's name in every book
        for m in range(-l, l + 1):
            value = legendre[l][abs(m)]
            if m == 0:
                columns.append(value * math.pi if convention == "analytic" else value)
                continue
            wave = torch.cos(m * azimuth) if m > 0 else torch.sin(-m * azimuth)
            sign = -1.0 if convention == "closed-form" and m % 2 else 1.0
            columns.append(sign * math.sqrt(2.0) * value * wave)
    return torch.stack(columns, dim=-1)


def _normalised_legendre(x: torch.Tensor, s: torch.Tensor, degree: int) -> list[list[torch.Tensor]]:
    """Orthonormal associated Legendre functions without the Condon-Shortley sign, [l][m] for m = 0..l.

    Recurrences: Holmes and Featherstone, "A unified approach to the Clenshaw summation ...", J. Geodesy 76 (2002).

    Args:
        x: (B,) cosine of the polar angle.
        s: (B,) its sine.
        degree: number of degrees.
    """
    table: list[list[torch.Tensor]] = [[torch.full_like(x, math.sqrt(1 / (4 * math.pi)))]]
    for l in range(1, degree):  # noqa: E741
        row = []
        for m in range(l):
            below = table[l - 2][m] if m <= l - 2 else torch.zeros_like(x)
            a = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            b = math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1)) if l > 1 else 0.0
            row.append(a * (x * table[l - 1][m] - b * below))
        row.append(math.sqrt((2 * l + 1) / (2 * l)) * s * table[l - 1][l - 1])
        table.append(row)
    return table
