"""SINR: a location encoder that has learnt, from sightings, which species live together where.

Cole et al., "Spatial Implicit Neural Representations for Global-Scale Species Mapping", ICML 2023 (arXiv:2306.02564),
and its text-aware kin LE-SINR, Hamilton et al., NeurIPS 2024 (arXiv:2410.10931). Weights keep the published key names
(`feats.*`, `class_emb.*`, `pos_enc.*`, `species_emb.*`, `species_enc.*`), so that a file can be checked key by key.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from wildsat_core.location.bioclim import LAYERS, BioclimRaster, default_raster

InputKind = Literal["sin_cos", "env", "sin_cos_env"]
TEXT_FEATURES = 4096  # GritLM-7B


class SinrEncoder(nn.Module):
    """Position and climate to a location feature, and from there to species.

    Two kinds share the network. "residual": the feature is the last hidden layer, and `class_emb` scores species.
    "hypernet" (LE-SINR): the feature is the output layer of `pos_enc`; a text tower makes species vectors from texts.

    Args:
        kind: "residual" or "hypernet".
        inputs: "sin_cos" (position), "env" (climate and elevation), or both.
        sinusoids: number of position features, four to an octave.
        width, depth: of the residual network; depth -1 has no hidden layer.
        species: number of species in the species layer, 0 for none.
        text: arguments of the text tower of a hypernet, None for none.
    """

    def __init__(
        self,
        *,
        kind: Literal["residual", "hypernet"] = "residual",
        inputs: InputKind = "sin_cos_env",
        sinusoids: int = 4,
        width: int = 256,
        depth: int = 4,
        species: int = 0,
        text: dict[str, Any] | None = None,
    ) -> None:
        """Build with random weights.

        Raises:
            ValueError: an unknown kind, or a number of sinusoids that is not a multiple of four.
        """
        super().__init__()
        if kind not in ("residual", "hypernet") or inputs not in ("sin_cos", "env", "sin_cos_env"):
            raise ValueError(f"unknown kind {kind!r} or inputs {inputs!r}")
        if "sin_cos" in inputs and (sinusoids < 4 or sinusoids % 4):
            raise ValueError(f"sinusoids come four to an octave, got {sinusoids}")
        self.kind, self.inputs, self.sinusoids = kind, inputs, sinusoids
        size = (sinusoids if "sin_cos" in inputs else 0) + (LAYERS if "env" in inputs else 0)
        self.raster: BioclimRaster | None = None
        self.dim = width if depth != -1 or kind == "hypernet" else size
        if kind == "hypernet":
            self.pos_enc = ResidualNetwork(size, width, depth, outputs=width)
            if text is not None:
                self.species_emb, self.species_enc = _text_tower(width, **text)
        else:
            self.feats = _hidden_layers(size, width, depth)
            if species:
                self.class_emb = nn.Linear(self.dim, species, bias=False)

    def forward(self, lon_lat: torch.Tensor) -> torch.Tensor:
        """Longitudes and latitudes (B, 2) in degrees to location features (B, D).

        Raises:
            MissingDataError: the encoder needs the bioclimatic raster and none is set.
        """
        features = self.input_features(lon_lat)
        vectors: torch.Tensor = self.pos_enc(features) if self.kind == "hypernet" else self.feats(features)
        return vectors

    @torch.inference_mode()
    def encode(self, lon_lat: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """`forward` for arrays: (N, 2) degrees, longitude first, to (N, D)."""
        weight = next(self.parameters())
        degrees = torch.as_tensor(np.asarray(lon_lat, np.float32)).reshape(-1, 2).to(weight.device)
        return np.asarray(self.eval()(degrees).cpu().numpy(), np.float32)

    def input_features(self, lon_lat: torch.Tensor) -> torch.Tensor:
        """(B, 2) degrees to the network's input: sinusoids, then the climate layers."""
        parts = []
        if "sin_cos" in self.inputs:
            parts.append(sinusoid_features(lon_lat, self.sinusoids))
        if "env" in self.inputs:
            self.raster = self.raster or default_raster()
            layers = self.raster.sample(lon_lat.detach().cpu().numpy())
            parts.append(torch.from_numpy(layers).to(lon_lat))
        return torch.cat(parts, dim=1)

    def species_scores(self, features: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """How likely each species of the species layer is seen at each place: (B, D) to (B, S) in [0, 1].

        Args:
            features: location features from `forward`.
            rows: which species, None for all.

        Raises:
            ValueError: the encoder has no species layer.
        """
        if not hasattr(self, "class_emb"):
            raise ValueError("this SINR encoder has no species layer")
        weight = self.class_emb.weight if rows is None else self.class_emb.weight[rows]
        return torch.sigmoid(features @ weight.T)  # (B, D) @ (D, S) -> (B, S)

    def species_vectors(self, text_embeddings: torch.Tensor) -> torch.Tensor:
        """Texts' vectors in the space of location features: (T, 4096) to (T, D); LE-SINR only.

        The dot product of a location feature and such a vector says how well the place fits the text.

        Raises:
            ValueError: the encoder has no text tower.
        """
        if not hasattr(self, "species_emb"):
            raise ValueError("this SINR encoder has no text tower; only LE-SINR has one")
        # The last number is a bias that the published network computes and multiplies by zero.
        vectors: torch.Tensor = self.species_enc(self.species_emb(text_embeddings))[:, :-1]
        return vectors


class ResidualNetwork(nn.Module):
    """Linear, ReLU, then blocks of two layers added to their input; an output layer without a bias."""

    def __init__(self, inputs: int, width: int, depth: int, outputs: int) -> None:
        """Build with random weights; depth -1 leaves the output layer alone."""
        super().__init__()
        self.feats = _hidden_layers(inputs, width, depth)
        self.class_emb = nn.Linear(width if depth != -1 else inputs, outputs, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, inputs) to (B, outputs)."""
        scores: torch.Tensor = self.class_emb(self.feats(features))
        return scores


class TextEmbedding(nn.Module):
    """LE-SINR's text tower: linear layers with SiLU, and batch norms where it was trained with them.

    With more than one layer SiLU follows each of them, the last one too, as in the published network.
    """

    def __init__(self, features: int, hidden: int, layers: int, batchnorm: bool, outputs: int) -> None:
        """Build with random weights; hidden 0 is one linear layer."""
        super().__init__()
        widths = [features, *([hidden] * layers if hidden else []), outputs]
        self.count = len(widths) - 1
        for i in range(1, self.count + 1):
            self.add_module(f"linear{i}", nn.Linear(widths[i - 1], widths[i]))
            if batchnorm and i < self.count:
                self.add_module(f"bn{i}", nn.BatchNorm1d(widths[i]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, features) to (T, outputs)."""
        for i in range(1, self.count + 1):
            x = self.get_submodule(f"linear{i}")(x)
            if self.count > 1:
                x = F.silu(x)
            if hasattr(self, f"bn{i}"):
                x = self.get_submodule(f"bn{i}")(x)
        return x


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, width)
        self.w2 = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.dropout(F.relu(self.w1(x)))
        return x + F.relu(self.w2(inner))


def _hidden_layers(inputs: int, width: int, depth: int) -> nn.Sequential:
    if depth == -1:
        return nn.Sequential(nn.Identity())
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), *(_Block(width) for _ in range(depth)))


def sinusoid_features(lon_lat: torch.Tensor, count: int) -> torch.Tensor:
    """(B, 2) degrees to (B, count): for each octave i the sines, then the cosines, of 2^i pi (lon/180, lat/90)."""
    unit = lon_lat / lon_lat.new_tensor([180.0, 90.0])
    phases = [math.pi * 2**octave * unit for octave in range(count // 4)]
    return torch.cat([wave(phase) for phase in phases for wave in (torch.sin, torch.cos)], dim=1)


def _text_tower(
    width: int,
    *,
    hidden: int,
    layers: int,
    batchnorm: bool,
    species_dim: int,
    species_width: int,
    species_depth: int,
    features: int = TEXT_FEATURES,
) -> tuple[TextEmbedding, nn.Module]:
    embedding = TextEmbedding(features, hidden, layers, batchnorm, species_dim)
    if species_depth == -1:
        return embedding, nn.Identity()
    if species_depth == 0:
        return embedding, nn.Linear(species_dim, width + 1)
    return embedding, ResidualNetwork(species_dim, species_width, species_depth, outputs=width + 1)
