"""What a device is fast in."""

from __future__ import annotations

import torch


def supports_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; elsewhere it would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
