"""Builds a backbone from its name in a model's config: pixels (B, C, h, w) in, features (B, F) out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from wildsat_core.errors import CheckpointError
from wildsat_core.torchvision_guard import guard_torchvision


def build_backbone(architecture: str, arguments: dict[str, Any], channels: int) -> nn.Module:
    """Build a backbone with random weights.

    Args:
        architecture: "<library>:<name>": "timm:resnet10t", "torchvision:resnet50", "clip:vit", "prithvi:vit" or
            "wildsat:compact".
        arguments: keyword arguments of the builder.
        channels: number of input channels.

    Raises:
        CheckpointError: the library or the name is unknown, or the arguments don't fit.
    """
    library, _, name = architecture.partition(":")
    builder = _BUILDERS.get(library)
    if builder is None or not name:
        known = ", ".join(f"{library}:" for library in _BUILDERS)
        raise CheckpointError(f"unknown architecture {architecture!r}; it must begin with one of {known}")
    guard_torchvision()
    try:
        return builder(name, channels, dict(arguments))
    except (TypeError, ValueError, RuntimeError) as err:
        raise CheckpointError(f"can't build {architecture!r} with {arguments}: {err}") from err


class BandMixer(nn.Module):
    """A 1x1 convolution from any number of bands to the three of an ordinary backbone, then that backbone."""

    def __init__(self, bands: int, inner: nn.Module) -> None:
        """Put the mixing layer before `inner`."""
        super().__init__()
        self.first_layer = nn.Conv2d(bands, 3, kernel_size=1)
        self.inner = inner

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Preprocessed (B, bands, h, w), of any scale, to features (B, F)."""
        features: torch.Tensor = self.inner(self.first_layer(pixels))
        return features


def _timm(name: str, channels: int, arguments: dict[str, Any]) -> nn.Module:
    import timm

    arguments.setdefault("num_classes", 0)  # pooled features, no classifier
    model: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, **arguments)
    return model


def _torchvision(name: str, channels: int, arguments: dict[str, Any]) -> nn.Module:
    """A torchvision classifier; its 1,000 class scores are the feature, unless `classifier` is false."""
    from torchvision.models import get_model

    classifier = arguments.pop("classifier", True)
    model: nn.Module = get_model(name, weights=None, **arguments)
    if not classifier:
        last = next(layer for layer in ("fc", "head", "heads") if hasattr(model, layer))
        setattr(model, last, nn.Identity())
    return model if channels == 3 else BandMixer(channels, model)


def _clip(name: str, channels: int, arguments: dict[str, Any]) -> nn.Module:
    from wildsat_core.models.clip import CLIPBackbone

    if name != "vit":
        raise ValueError(f"there is clip:vit, not clip:{name}")
    backbone = CLIPBackbone(**arguments)
    return backbone if channels == 3 else BandMixer(channels, backbone)


def _prithvi(name: str, channels: int, arguments: dict[str, Any]) -> nn.Module:
    from wildsat_core.models.prithvi import PrithviBackbone

    if name != "vit":
        raise ValueError(f"there is prithvi:vit, not prithvi:{name}")
    return PrithviBackbone(channels=channels, **arguments)


def _wildsat(name: str, channels: int, arguments: dict[str, Any]) -> nn.Module:
    from wildsat_core.models.compact import CompactNet

    if name != "compact":
        raise ValueError(f"there is wildsat:compact, not wildsat:{name}")
    return CompactNet(channels, **arguments)


_BUILDERS: dict[str, Callable[[str, int, dict[str, Any]], nn.Module]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "clip": _clip,
    "prithvi": _prithvi,
    "wildsat": _wildsat,
}
