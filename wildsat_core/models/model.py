"""A model as one object: pixels, texts and places in, vectors out; and its directory of safetensors and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from wildsat_core.errors import SpaceUnavailableError
from wildsat_core.ground_scale import GroundScale, scale_notice
from wildsat_core.location import build_location
from wildsat_core.models.backbones import build_backbone
from wildsat_core.models.compiled import CompiledNetwork
from wildsat_core.models.config import WEIGHTS_FILE, LocationConfig, ModelConfig, read_config, write_config
from wildsat_core.models.heads import build_head
from wildsat_core.models.precision import lay_out_channels_last, supports_bf16
from wildsat_core.models.transfer import PendingVectors, sent
from wildsat_core.models.weights import (
    file_sha256,
    load_exactly,
    no_random_weights,
    read_safetensors,
    write_safetensors,
)
from wildsat_core.preprocess import preprocess
from wildsat_core.text import TextEncoder, load_text_encoder
from wildsat_core.text.familiarity import Familiarity
from wildsat_core.types import ModelRef, Space, SpaceSpec

Vectors = npt.NDArray[np.float32]


class LocationBranch(nn.Module):
    """Location encoder and, where the model has one, the head after it: degrees (B, 2) to vectors (B, D)."""

    def __init__(self, config: LocationConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.encoder = build_location(config.kind, config.parameters)
        self.head: nn.Module = nn.Identity() if config.head is None else build_head(config.head)

    def forward(self, lon_lat: torch.Tensor) -> torch.Tensor:
        """Encode longitudes and latitudes (B, 2) in degrees."""
        vectors: torch.Tensor = self.head(self.encoder(lon_lat))
        return vectors


class WildSATModel(nn.Module):
    """Backbone, tile heads, text head and location encoder of one model.

    The `embed_*` methods take and give numpy arrays, without gradients; `forward`, `project_texts` and `locate` are the
    same computations on tensors with gradients, for training. Vectors have length 1 when the metric is cosine.

    Weights are named `backbone.*`, `tile_heads.<space>.*`, `text_head.*` and `location.*`.
    """

    def __init__(self, config: ModelConfig, text_encoder: TextEncoder | None = None) -> None:
        """Build with random weights; the text encoder loads at the first text unless one is given."""
        super().__init__()
        self.config = config
        self.weights_sha256 = ""
        self._text_encoder = text_encoder
        self._bf16 = False
        self._compiled: CompiledNetwork | None = None
        self.familiarity: Familiarity | None = None
        self.backbone = build_backbone(config.architecture, config.architecture_args, config.preprocessing.channels)
        self.tile_heads = nn.ModuleDict({space: build_head(head) for space, head in config.tile_heads.items()})
        self.text_head = None if config.text_head is None else build_head(config.text_head)
        self.location = None if config.location is None else LocationBranch(config.location)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def spaces(self) -> dict[Space, SpaceSpec]:
        """The spaces that this model gives tiles vectors in."""
        metric = self.config.metric
        spaces: dict[Space, SpaceSpec] = {
            space: SpaceSpec(head.out_features, metric) for space, head in self.config.tile_heads.items()
        }
        location = self.config.location
        if location is not None and "place" in location.spaces:
            spaces["place"] = SpaceSpec(location.out_features, metric)
        return spaces

    @property
    def ref(self) -> ModelRef:
        """The model's identity, as a collection's manifest keeps it."""
        config = self.config
        return ModelRef(config.name, self.weights_sha256, config.text_encoder, config.preprocessing.describe())

    @property
    def default_blend(self) -> float:
        """The share of the place space that measured best for text queries."""
        return self.config.default_blend

    def notice_for(self, scale: GroundScale | None) -> str | None:
        """What people must be told when tiles of this scale are not what the model is for; None otherwise."""
        return scale_notice(self.config, scale)

    @property
    def text_encoder(self) -> TextEncoder:
        """The text encoder that the text head belongs to, loaded on first use."""
        if self._text_encoder is None:
            self._text_encoder = load_text_encoder(self.config.text_encoder, device=str(self.device))
        return self._text_encoder

    def forward(self, pixels: torch.Tensor) -> dict[Space, torch.Tensor]:
        """Pixels (B, C, H, W), as stored, to one (B, D) tensor per tile space."""
        return self.project_features(self.backbone(preprocess(pixels, self.config.preprocessing)))

    def project_features(self, features: torch.Tensor) -> dict[Space, torch.Tensor]:
        """Backbone features (B, F) to one (B, D) tensor per tile space."""
        return {space: self._scaled(self.tile_heads[space](features)) for space in self.config.tile_heads}

    def project_texts(self, text_embeddings: torch.Tensor) -> torch.Tensor:
        """Raw text embeddings (B, E) to (B, D) in the text space.

        Raises:
            SpaceUnavailableError: the model has no text head.
        """
        if self.text_head is None:
            raise SpaceUnavailableError(
                f"the model {self.config.name!r} has no text head; it can't be searched with text", "q"
            )
        return self._scaled(self.text_head(text_embeddings))

    def locate(self, lon_lat: torch.Tensor) -> torch.Tensor:
        """Longitudes and latitudes (B, 2) in degrees to (B, D).

        Raises:
            SpaceUnavailableError: the model has no location encoder.
        """
        if self.location is None:
            raise SpaceUnavailableError(
                f"the model {self.config.name!r} has no location encoder; it can't be searched by place", "near"
            )
        return self._scaled(self.location(lon_lat))

    def optimise_for_inference(self) -> Self:
        """Embed pixels as fast as the device can: with channels last, and in bfloat16 where it multiplies that itself.

        For the index and its queries alike. Vectors then differ from those in float32 by rounding (docs/models.md).
        """
        self._bf16 = supports_bf16(self.device)
        lay_out_channels_last(self.backbone)
        return self

    @torch.inference_mode()
    def compile_for(self, pixels: npt.NDArray[Any]) -> None:
        """Compile the backbone for batches like this one, once; batches of another shape run as before.

        Takes from some seconds to two minutes and pays for thousands of tiles. Vectors differ by rounding. Call it
        after `optimise_for_inference`, and not on a model whose weights will change.

        Args:
            pixels: (B, C, H, W) as for `embed_pixels`.

        Raises:
            CompilationError: torch can't compile here; the model works as before.
        """
        if self._compiled is None:
            with self._evaluating(), self._autocast(self._bf16):
                values = preprocess(torch.from_numpy(pixels).to(self.device), self.config.preprocessing)
                self._compiled = CompiledNetwork(self.backbone, values)

    def embed_pixels(
        self, pixels: torch.Tensor | npt.NDArray[Any], *, bf16: bool | None = None
    ) -> dict[Space, Vectors]:
        """Tiles' vectors.

        Args:
            pixels: (B, C, H, W) uint8, uint16 or float as stored, bands in the order of the model's preprocessing.
            bf16: run the backbone in bfloat16; None: as `optimise_for_inference` chose, without it not.

        Returns:
            One (B, D) float32 array per tile space.
        """
        return self.begin_embedding(pixels, bf16=bf16).result()

    @torch.inference_mode()
    def begin_embedding(
        self,
        pixels: torch.Tensor | npt.NDArray[Any],
        lon_lat: npt.NDArray[np.float64] | None = None,
        *,
        bf16: bool | None = None,
    ) -> PendingVectors:
        """Begin to embed tiles; a GPU goes on while the next ones are read. Scaling and resizing are done there, too.

        Args:
            pixels: as of `embed_pixels`.
            lon_lat: (B, 2) degrees, for the space `place` as well.
            bf16: as of `embed_pixels`.

        Raises:
            SpaceUnavailableError: places were given, and the model has no location encoder.
        """
        half = self._bf16 if bf16 is None else bf16
        backbone = self.backbone if self._compiled is None or half != self._bf16 else self._compiled
        with self._evaluating():
            with self._autocast(half):
                features = backbone(preprocess(sent(pixels, self.device), self.config.preprocessing))
            vectors = self.project_features(features.float())
            if lon_lat is not None:
                vectors["place"] = self.locate(sent(lon_lat.astype(np.float32), self.device))
        return PendingVectors(vectors)

    def are_unfamiliar(self, texts: Sequence[str]) -> list[bool]:
        """Which texts are about nothing that the model knows of places; none when that was never calibrated."""
        if self.familiarity is None or not texts:
            return [False] * len(texts)
        return [bool(f < self.familiarity.threshold) for f in self.familiarity.of(self.encode_texts(texts))]

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Raw text embeddings (B, E), before the head."""
        return self.text_encoder.encode(list(texts))

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts' vectors in the text space, (B, D).

        Raises:
            SpaceUnavailableError: the model has no text head.
        """
        if self.text_head is None:
            self.project_texts(torch.empty(0))
        with self._evaluating():
            return _array(self.project_texts(torch.from_numpy(self.encode_texts(texts)).to(self.device)))

    @torch.inference_mode()
    def typical_texts(self) -> Vectors:
        """Vectors in the text space of the known texts that travel with the model, (M, D); M is 0 without any."""
        if self.text_head is None or self.familiarity is None:
            return np.empty((0, 0), np.float32)
        with self._evaluating():
            return _array(self.project_texts(torch.from_numpy(self.familiarity.known).to(self.device)))

    @torch.inference_mode()
    def embed_places(self, lon_lat: npt.ArrayLike) -> dict[Space, Vectors]:
        """Vectors of places (B, 2) in degrees, one (B, D) array for each space that the location encoder serves.

        Raises:
            SpaceUnavailableError: the model has no location encoder.
        """
        degrees = torch.as_tensor(np.asarray(lon_lat, np.float32)).reshape(-1, 2)
        with self._evaluating():
            vectors = _array(self.locate(degrees.to(self.device)))
        assert self.config.location is not None
        return dict.fromkeys(self.config.location.spaces, vectors)

    def save(self, directory: str | Path, *, half: bool = False) -> str:
        """Write the model directory and return the hash of its weight file.

        Weights go first and the config last, each by an atomic rename.

        Args:
            directory: made if it isn't there.
            half: store weights in float16; loading widens them again.
        """
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        self.weights_sha256 = write_safetensors(self.state_dict(), path / WEIGHTS_FILE, half=half)
        write_config(self.config, path)
        return self.weights_sha256

    @classmethod
    def open(cls, directory: str | Path, device: str | torch.device = "cpu") -> WildSATModel:
        """Read a model directory, ready to embed.

        Raises:
            ModelNotFoundError: the directory lacks its config or weights.
            CheckpointError: a file is damaged, or the weights are not this config's; keys and shapes are named.
        """
        config = read_config(directory)
        path = Path(directory) / WEIGHTS_FILE
        weights = read_safetensors(path)
        with no_random_weights():
            model = cls(config)
        load_exactly(model, weights, path.name)
        model.weights_sha256 = file_sha256(path)
        if config.no_match is not None:
            model.familiarity = Familiarity.open(directory, config.no_match)
        return model.to(device).eval()

    def _scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        return F.normalize(vectors.float(), dim=-1) if self.config.metric == "cosine" else vectors

    def _autocast(self, half: bool) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    def _evaluating(self) -> _Evaluating:
        return _Evaluating(self)


class _Evaluating:
    """Evaluation mode for the length of a `with` block: dropout off, stored batch statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.was_training = model.training

    def __enter__(self) -> None:
        if self.was_training:
            self.model.eval()

    def __exit__(self, *_: object) -> None:
        if self.was_training:
            self.model.train()


def _array(vectors: torch.Tensor) -> Vectors:
    return np.ascontiguousarray(vectors.float().cpu().numpy())
