"""What a device is fast in."""

from __future__ import annotations

import torch
from torch import nn


def supports_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; elsewhere it would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def lay_out_channels_last(module: nn.Module) -> None:
    """Keep kernels of two-dimensional convolutions as the fast implementations want them, in place.

    `Module.to` would do the same, but fails on three-dimensional kernels, as Prithvi's.
    """
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
