"""The last feature map of a backbone, before it is pooled: what each patch of a picture is like."""

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
from torch import nn

from wildsat_core.errors import InvalidInputError

MOST_OTHER_TOKENS = 8  # class and register tokens, which stand before those of the patches


def feature_map(backbone: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What the last layer that knows patches gives, whatever the backbone.

    Args:
        backbone: from pictures to one feature each.
        inputs: (B, channels, H, W), as it takes them.

    Returns:
        (B, C, h, w).

    Raises:
        InvalidInputError: no layer gives anything for patches.
    """
    last: list[torch.Tensor] = []

    def keep(_module: nn.Module, _given: Any, output: Any) -> None:  # noqa: ANN401 - as torch calls it
        if (found := _as_map(output, inputs.shape[-2] / inputs.shape[-1])) is not None:
            last[:] = [found]

    hooks = [module.register_forward_hook(keep) for module in backbone.modules()]
    try:
        backbone(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not last:
        raise InvalidInputError(f"{type(backbone).__name__} has no layer that knows patches of a picture", "model")
    return last[0]


def _as_map(output: Any, ratio: float) -> torch.Tensor | None:  # noqa: ANN401 - whatever a layer returns
    """A layer's output as (B, C, h, w); None of what is pooled, or is of something else.

    Args:
        output: (B, C, h, w), (B, h, w, C) as Swin has it, (B, tokens, C), or an object or tuple that holds such.
        ratio: height of the pictures to their width.
    """
    output = getattr(output, "last_hidden_state", output[0] if isinstance(output, tuple) and output else output)
    if not isinstance(output, torch.Tensor):
        return None
    if output.ndim == 3:
        side = isqrt(output.shape[1])
        if side < 2 or ratio != 1 or output.shape[1] - side * side > MOST_OTHER_TOKENS:
            return None
        return output[:, -side * side :].transpose(1, 2).reshape(len(output), -1, side, side)
    if output.ndim != 4:
        return None
    for found in (output, output.permute(0, 3, 1, 2)):
        height, width = found.shape[-2:]
        if min(height, width) > 1 and abs(height / width - ratio) <= ratio / max(height, width):
            return found
    return None
