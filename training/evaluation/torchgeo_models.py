"""Published weights of the library torchgeo as models to measure, such as ResNet18_Weights.SENTINEL2_RGB_MOCO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.earth.chips import EUROSAT_WHITE, FULL_REFLECTANCE
from training.evaluation.feature_maps import feature_map
from wildsat_core.errors import CheckpointError, InvalidInputError, ModelNotFoundError
from wildsat_core.torchvision_guard import guard_torchvision

CLASSIFIERS = ("fc", "head")
COUNTS = EUROSAT_WHITE * FULL_REFLECTANCE / 255  # of reflectance, for each step of a picture's 256


Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def open_torchgeo_weights(name: str) -> tuple[Run, Run]:
    """From pictures (B, 3, H, W) uint8 to features (B, F) before the classifier, and to feature maps (B, C, h, w).

    Pictures are resized and normalised as the weights ask, and not cropped; weights that were trained on reflectance
    x 10,000 get it as EuroSAT's pictures show it.

    Args:
        name: of the weights, as torchgeo has it.

    Raises:
        InvalidInputError: torchgeo is not installed, or the weights are for other bands than red, green and blue.
        ModelNotFoundError: torchgeo has no such weights.
        CheckpointError: they can't be fetched.
    """
    guard_torchvision()  # torchgeo imports torchvision, which may be of another build than torch
    try:
        from torchgeo import models
    except ImportError as err:
        raise InvalidInputError(
            f"torchgeo:{name} needs the package torchgeo, which can't be imported here: pip install torchgeo ({err})",
            "model",
        ) from err
    try:
        weights = models.get_weight(name)
    except (ValueError, KeyError, AttributeError) as err:
        raise ModelNotFoundError(
            f"torchgeo has no weights {name!r}; an example is ResNet18_Weights.SENTINEL2_RGB_MOCO"
        ) from err
    if (bands := weights.meta.get("in_chans")) != 3:
        raise InvalidInputError(f"torchgeo:{name} reads {bands} bands; these pictures are true colour", "model")
    backbone = _without_classifier(_built(models, name, weights)).eval()
    steps = [step for step in weights.transforms.modules() if type(step).__name__ in ("Resize", "Normalize")]
    scale = COUNTS if any(_largest(step) > 255 for step in steps) else 1.0

    def ready(pixels: NDArray[np.uint8]) -> torch.Tensor:
        values = torch.from_numpy(np.ascontiguousarray(pixels)).float() * scale
        for step in steps:
            values = step(values)
        return values

    @torch.inference_mode()
    def features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(backbone(ready(pixels)).float().numpy())

    @torch.inference_mode()
    def maps(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(feature_map(backbone, ready(pixels)).float().numpy())

    return features, maps


def _built(models: Any, name: str, weights: Any) -> nn.Module:  # noqa: ANN401 - of torchgeo
    """The network that the weights belong to, with them."""
    builder = next((one for one in models.list_models() if _weights_of(models, one) is type(weights)), None)
    if builder is None:
        raise ModelNotFoundError(f"torchgeo has no network of one picture for {name}")
    try:
        model: nn.Module = models.get_model(builder, weights=weights)
    except (OSError, RuntimeError) as err:
        raise CheckpointError(f"torchgeo:{name} can't be had here: {err}") from err
    return model


def _weights_of(models: Any, builder: str) -> type | None:  # noqa: ANN401 - of torchgeo
    """The enumeration of a network's weights; None where torchgeo has none."""
    try:
        found: type = models.get_model_weights(builder)
    except KeyError:
        return None
    return found


def _without_classifier(model: nn.Module) -> nn.Module:
    for layer in CLASSIFIERS:
        if isinstance(getattr(model, layer, None), nn.Linear):
            setattr(model, layer, nn.Identity())
    return model


def _largest(step: nn.Module) -> float:
    """The largest number that a step divides by; 0 of one that doesn't."""
    return max((float(one) for one in getattr(step, "std", ())), default=0.0)
