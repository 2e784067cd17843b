"""Changes to pictures, a batch at a time and each picture by its own amount, on whatever device the batch is on.

Pixels are (B, C, H, W) floats in [0, 1]; C is any number of bands, the first three red, green and blue. Each function
takes the amounts, one entry a picture, and draws nothing itself.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

# Luma of ITU-R BT.601, which Pillow and torchvision use for grey.
LUMA = (0.299, 0.587, 0.114)
# RGB to YIQ: the grey axis first, then the plane of hue. https://en.wikipedia.org/wiki/YIQ
_TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def flip(pixels: torch.Tensor, across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Mirror (B, C, H, W) of any scale left-right where `across` (B,) is true, and top-bottom where `down` (B,) is."""
    pixels = torch.where(_per_picture(across), pixels.flip(3), pixels)
    return torch.where(_per_picture(down), pixels.flip(2), pixels)


def mix_channels(pixels: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Slide a kernel of three weights along the bands: each band becomes a mixture of itself and its neighbours.

    In red, green, blue the only whole window is centred on green, and it gives green; at both ends the edge band
    stands in for its missing neighbour.

    Args:
        pixels: (B, C, H, W).
        kernels: (B, 3), the weights of the band before, the band itself and the band after.
    """
    before = torch.cat([pixels[:, :1], pixels[:, :-1]], 1)
    after = torch.cat([pixels[:, 1:], pixels[:, -1:]], 1)
    first, middle, last = (_per_picture(k) for k in kernels.unbind(1))
    return (first * before + middle * pixels + last * after).clamp(0, 1)


def add_noise(pixels: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Add `sigma` (B,) times standard normal `noise` (B, C, H, W) to pixels in [0, 1]."""
    return (pixels + _per_picture(sigma) * noise).clamp(0, 1)


def brightness(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Multiply (B, C, H, W) in [0, 1] by `factor` (B,)."""
    return (pixels * _per_picture(factor)).clamp(0, 1)


def contrast(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend (B, C, H, W) in [0, 1] with each picture's mean grey: `factor` (B,) 1 changes nothing, 0 leaves it."""
    return _blend(pixels, grey(pixels).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturation(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend each pixel of (B, C, H, W) in [0, 1] with its grey; `factor` (B,) 1 changes nothing, 0 leaves grey."""
    return _blend(pixels, grey(pixels), factor)


def hue(pixels: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Turn red, green and blue of (B, C, H, W) in [0, 1] about the grey axis by `turn` (B,) circles; others stay.

    A rotation in YIQ, one matrix product a picture, in place of the round trip through HSV of per-picture libraries.
    """
    to_yiq = pixels.new_tensor(_TO_YIQ)
    cosine, sine = (2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()
    rotation = torch.zeros(len(pixels), 3, 3, dtype=pixels.dtype, device=pixels.device)
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1] = rotation[:, 2, 2] = cosine
    rotation[:, 1, 2], rotation[:, 2, 1] = -sine, sine
    matrix = torch.linalg.inv(to_yiq) @ rotation @ to_yiq  # (B, 3, 3)
    turned = torch.einsum("bij,bjhw->bihw", matrix, pixels[:, :3]).clamp(0, 1)
    return torch.cat([turned, pixels[:, 3:]], 1)


def grey(pixels: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) luma of red, green and blue, in [0, 1] as they are; the mean of bands where there are not three."""
    if pixels.shape[1] != 3:
        return pixels.mean(1, keepdim=True)
    return (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def blur(pixels: torch.Tensor, sigma: torch.Tensor, width: int = 5) -> torch.Tensor:
    """Gaussian blur by `sigma` (B,) pixels with a window of `width`, edges mirrored."""
    offsets = torch.arange(width, device=pixels.device, dtype=pixels.dtype) - width // 2
    weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)  # (B, width)
    half = width // 2
    rows, columns = pixels.shape[2:]
    padded = F.pad(pixels, (half, half, 0, 0), mode="reflect")
    # A sum of shifted copies: each picture has its own weights, and this needs no grouped convolution.
    pixels = sum_of(_per_picture(weights[:, i]) * padded[:, :, :, i : i + columns] for i in range(width))
    padded = F.pad(pixels, (0, 0, half, half), mode="reflect")
    return sum_of(_per_picture(weights[:, i]) * padded[:, :, i : i + rows] for i in range(width))


def crop_resized(pixels: torch.Tensor, boxes: torch.Tensor, side_px: int) -> torch.Tensor:
    """Cut a box out of each picture and resize it, bilinearly.

    Args:
        pixels: (B, C, H, W).
        boxes: (B, 4) left, top, width, height as shares of the picture, in [0, 1].
        side_px: side of the result.

    Returns:
        (B, C, side_px, side_px).
    """
    steps = (torch.arange(side_px, device=pixels.device, dtype=pixels.dtype) + 0.5) / side_px
    left, top, width, height = boxes.to(pixels.dtype).unbind(1)
    x = 2 * (left[:, None] + width[:, None] * steps) - 1  # (B, side) in [-1, 1]
    y = 2 * (top[:, None] + height[:, None] * steps) - 1
    grid = torch.stack([x[:, None, :].expand(-1, side_px, -1), y[:, :, None].expand(-1, -1, side_px)], -1)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def resize(pixels: torch.Tensor, side_px: int) -> torch.Tensor:
    """Resize (B, C, H, W) of any scale to squares, bilinearly with antialiasing; what has that size stays as it is."""
    if tuple(pixels.shape[-2:]) == (side_px, side_px):
        return pixels
    return F.interpolate(pixels, size=(side_px, side_px), mode="bilinear", align_corners=False, antialias=True)


def where(chosen: torch.Tensor, changed: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """`changed` for the pictures where `chosen` (B,) is true, `pixels` for the others."""
    return torch.where(_per_picture(chosen), changed, pixels)


def sum_of(parts: object) -> torch.Tensor:
    """Add tensors of one shape, from an iterable, without keeping them all."""
    iterator = iter(parts)  # type: ignore[call-overload]
    total: torch.Tensor = next(iterator)
    for part in iterator:
        total = total + part
    return total


def _per_picture(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)


def _blend(pixels: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    share = _per_picture(factor)
    return (share * pixels + (1 - share) * other).clamp(0, 1)
