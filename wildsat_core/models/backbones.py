"""Builds a backbone from its name in a model's config: pixels (B, C, h, w) in, features (B, F) out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from wildsat_core.errors import CheckpointError
from wildsat_core.torchvision_guard import guard_torchvision


def build_backbone(architecture: str, arguments: dict[str, Any], channels: int) -> nn.Module:
    """Build a backbone with random weights.

    Args:
        architecture: "<library>:<name>", such as "timm:resnet10t".
        arguments: keyword arguments of the library's builder.
        channels: number of input channels.

    Raises:
        CheckpointError: the library or the name is unknown, or the arguments don't fit.
    """
    library, _, name = architecture.partition(":")
    builder = _BUILDERS.get(library)
    if builder is None or not name:
        raise CheckpointError(
            f"unknown architecture {architecture!r}; it must begin with one of {', '.join(f'{k}:' for k in _BUILDERS)}"
        )
    guard_torchvision()
    try:
        return builder(name, channels, dict(arguments))
    except (TypeError, ValueError, RuntimeError) as err:
        raise CheckpointError(f"can't build {architecture!r} with {arguments}: {err}") from err


def _timm(name: str, channels: int, arguments: dict[str, Any]) -> nn.Module:
    import timm

    arguments.setdefault("num_classes", 0)  # pooled features, no classifier
    model: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, **arguments)
    return model


def _torchvision(name: str, channels: int, arguments: dict[str, Any]) -> nn.Module:
    from torchvision.models import get_model

    if channels != 3:
        raise ValueError(f"torchvision models take 3 channels, the model's preprocessing gives {channels}")
    model: nn.Module = get_model(name, weights=None, **arguments)
    return model


_BUILDERS: dict[str, Callable[[str, int, dict[str, Any]], nn.Module]] = {"timm": _timm, "torchvision": _torchvision}
