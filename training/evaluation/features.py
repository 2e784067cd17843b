"""Models as the experiments see them: pictures in, features out, and for some a vector for a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.evaluation.baseline import colour_features
from training.evaluation.feature_maps import feature_map
from wildsat_core.errors import InvalidInputError, ModelNotFoundError
from wildsat_core.models.backbones import build_backbone
from wildsat_core.models.config import CONFIG_FILE, ModelConfig, read_config
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import find_model, find_spec, load_model
from wildsat_core.models.spec import ModelSpec
from wildsat_core.preprocess import Preprocessing, preprocess

Features = NDArray[np.float32]
Pixels = NDArray[np.uint8]

COLOUR = "colour"
PATCH_PX = 8


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured.

    Attributes:
        name: as it was asked for.
        features: pictures (B, 3, H, W) uint8 to (B, F), before any head.
        model: with heads and texts; None for a bare backbone or colour.
        maps: pictures to (B, C, h, w), features of patches; None of what has none.
    """

    name: str
    features: Callable[[Pixels], Features]
    model: WildSATModel | None = None
    maps: Callable[[Pixels], Features] | None = None

    def of(self, batches: Iterable[Pixels]) -> Features:
        """Features of all batches, (N, F)."""
        return np.concatenate([self.features(batch) for batch in batches])


def open_subject(name: str, seed: int = 0) -> Subject:
    """A model to measure.

    Args:
        name: of an installed model, or its directory, or that of a training run; `random:<row or model>` for its
            network with random weights; `start:<row>` or `timm:<backbone>` for the weights that training starts from,
            `start:torchgeo:<weights>` among them; `torchgeo:<weights>` for a network of torchgeo as it is; `colour` for
            the mean and spread of red, green and blue.
        seed: of random weights.

    Raises:
        ModelNotFoundError: no such model.
        CheckpointError: weights are damaged, or can't be had here.
        InvalidInputError: the model reads other bands than red, green and blue.
    """
    kind, _, rest = name.partition(":")
    if name == COLOUR:
        return Subject(name, lambda pixels: colour_features(pixels)[:, :-1], maps=_colours)
    if kind == "random":
        return _random(name, rest, seed)
    if kind == "torchgeo":
        from training.evaluation.torchgeo_models import open_torchgeo_weights

        features, maps = open_torchgeo_weights(rest)
        return Subject(name, features, maps=maps)
    if kind in ("start", "timm"):
        from wildsat_core.models.starts import load_start

        row = rest if kind == "start" else name
        return _subject(name, load_start(row), find_spec(row).preprocessing)
    run = Path(name) / "model"
    model = load_model(run if (run / CONFIG_FILE).is_file() else name)
    model.optimise_for_inference()
    return _subject(name, model.backbone, model.config.preprocessing, model)


def _random(name: str, row: str, seed: int) -> Subject:
    """The network of a row, or of an installed model, with random weights."""
    torch.manual_seed(seed)
    network: ModelSpec | ModelConfig
    try:
        network = find_spec(row)
    except ModelNotFoundError:
        network = read_config(find_model(row))
    spec = network.preprocessing
    return _subject(name, build_backbone(network.architecture, network.architecture_args, spec.channels), spec)


def _subject(name: str, backbone: torch.nn.Module, spec: Preprocessing, model: WildSATModel | None = None) -> Subject:
    """A backbone with how its pictures are made ready."""
    if set(spec.bands) != {"red", "green", "blue"}:
        raise InvalidInputError(f"the model reads {', '.join(spec.bands)}; these pictures are true colour", "model")
    order = [("red", "green", "blue").index(band) for band in spec.bands]
    backbone.eval()

    def ready(pixels: Pixels) -> torch.Tensor:
        return preprocess(np.ascontiguousarray(pixels[:, order]), spec)

    @torch.inference_mode()
    def features(pixels: Pixels) -> Features:
        return np.asarray(backbone(ready(pixels)).float().numpy())

    @torch.inference_mode()
    def maps(pixels: Pixels) -> Features:
        return np.asarray(feature_map(backbone, ready(pixels)).float().numpy())

    return Subject(name, features, model, maps)


def _colours(pixels: Pixels) -> Features:
    """Mean colours of squares of PATCH_PX, (B, 3, h, w), 0 to 1."""
    side = min(PATCH_PX, *pixels.shape[-2:])
    return np.asarray(F.avg_pool2d(torch.from_numpy(pixels.astype(np.float32)) / 255, side).numpy())
