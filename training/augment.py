"""The two views of a place that training compares: the anchor, and the positive, a picture of another date.

Source: WildSAT (arXiv:2412.14428). The anchor keeps its geometry but for flips, and is shaken in colour: a random
mixture of neighbouring bands and noise. The positive gets the strong recipe of SimCLR (arXiv:2002.05709): colour
jitter, grey, blur, flips and a random crop.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from training import augment_ops as ops

Share = Annotated[float, Field(ge=0, le=1)]
HalfCircle = Annotated[float, Field(ge=0, le=0.5)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class AugmentConfig(BaseModel):
    """Strengths and chances; the defaults are the reference's.

    Attributes:
        views: "ours" makes a batch at once, at the network's size; "reference" does as `training.reference_views` says.
        flips: mirror views at random.
        mixing: greatest share that neighbouring bands take of the anchor's bands, 0 for none; in the reference's views
            the greatest weight of a neighbour, which is added.
        noise_sigma: greatest deviation of the anchor's noise, pixels in [0, 1].
        jitter: greatest change of brightness, contrast and saturation (shares) and hue (circles, at most half of one).
        jitter_chance, grey_chance, blur_chance: how often the positive is changed so.
        blur_sigma_px: least and greatest blur.
        crop_area: least and greatest share of the picture that a crop keeps; (1, 1) for no crop.
        crop_px: side that crops are cut to before they are brought to the model's size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: Literal["ours", "reference"] = "ours"
    flips: bool = True
    mixing: float = Field(default=0.5, ge=0, le=1)
    noise_sigma: float = Field(default=0.04, ge=0, le=1)
    jitter: tuple[Share, Share, Share, HalfCircle] = (0.4, 0.4, 0.4, 0.1)
    jitter_chance: float = Field(default=0.8, ge=0, le=1)
    grey_chance: float = Field(default=0.2, ge=0, le=1)
    blur_chance: float = Field(default=0.5, ge=0, le=1)
    blur_sigma_px: tuple[Positive, Positive] = (0.1, 2.0)
    crop_area: tuple[PositiveShare, PositiveShare] = (0.2, 1.0)
    crop_px: int = Field(default=224, gt=0)

    @field_validator("blur_sigma_px", "crop_area")
    @classmethod
    def _least_first(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"must be the least and the greatest, in this order, got {value[0]:g} and {value[1]:g}")
        return value

    @classmethod
    def none(cls) -> AugmentConfig:
        """Views that are the pictures themselves."""
        return cls(
            flips=False,
            mixing=0,
            noise_sigma=0,
            jitter_chance=0,
            grey_chance=0,
            blur_chance=0,
            crop_area=(1.0, 1.0),
        )


class Chance:
    """Random numbers on the batch's device, one generator a batch, so that a seed gives the same views again."""

    def __init__(self, seed: int, device: torch.device) -> None:
        """Seed the generator; equal seeds on one kind of device give equal numbers."""
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._device = device
        self.seed = seed

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """(count,) numbers, evenly between low and high."""
        return torch.rand(count, generator=self._generator, device=self._device) * (high - low) + low

    def coin(self, count: int, chance: float) -> torch.Tensor:
        """(count,) booleans, true with this chance."""
        return self.uniform(count) < chance

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers in the shape of a tensor."""
        return torch.randn(like.shape, generator=self._generator, device=self._device, dtype=like.dtype)


def anchor_view(pixels: torch.Tensor, config: AugmentConfig, chance: Chance) -> torch.Tensor:
    """(B, C, H, W) in [0, 1] to a view of the same shape: flips, mixed bands, noise."""
    count = len(pixels)
    if config.flips:
        pixels = ops.flip(pixels, chance.coin(count, 0.5), chance.coin(count, 0.5))
    if config.mixing:
        pixels = ops.mix_channels(pixels, mixing_kernels(count, config.mixing, chance))
    if config.noise_sigma:
        pixels = ops.add_noise(pixels, chance.uniform(count, 0.0, config.noise_sigma), chance.normal(pixels))
    return pixels


def positive_view(pixels: torch.Tensor, config: AugmentConfig, chance: Chance) -> torch.Tensor:
    """(B, C, H, W) in [0, 1] to a view of the same shape: jitter, grey, blur, flips, crop."""
    count = len(pixels)
    if config.jitter_chance:
        pixels = ops.where(chance.coin(count, config.jitter_chance), jitter(pixels, config.jitter, chance), pixels)
    if config.grey_chance:
        grey = ops.grey(pixels).expand_as(pixels)
        pixels = ops.where(chance.coin(count, config.grey_chance), grey, pixels)
    if config.blur_chance:
        blurred = ops.blur(pixels, chance.uniform(count, *config.blur_sigma_px))
        pixels = ops.where(chance.coin(count, config.blur_chance), blurred, pixels)
    if config.flips:
        pixels = ops.flip(pixels, chance.coin(count, 0.5), chance.coin(count, 0.5))
    if config.crop_area != (1.0, 1.0):
        side = pixels.shape[-1]
        boxes = crop_boxes(count, config.crop_area, chance)
        # Cut to the reference's size and brought back to the model's; a crop finer than the result would be waste.
        pixels = ops.resize(ops.crop_resized(pixels, boxes, min(config.crop_px, side)), side)
    return pixels


def mixing_kernels(count: int, most: float, chance: Chance) -> torch.Tensor:
    """(count, 3) weights that sum to 1, the middle one at least 1 - most."""
    neighbours = chance.uniform(count, 0.0, most)
    first = neighbours * chance.uniform(count)
    return torch.stack([first, 1 - neighbours, neighbours - first], 1)


def jitter(pixels: torch.Tensor, strength: tuple[float, float, float, float], chance: Chance) -> torch.Tensor:
    """Brightness, contrast, saturation and hue, in this order; hue only for pictures of red, green and blue alone.

    Args:
        pixels: (B, C, H, W) values in [0, 1].
        strength: most change of each.
        chance: random numbers of this batch.

    Returns:
        (B, C, H, W) in [0, 1].
    """
    count = len(pixels)
    for change, most in zip((ops.brightness, ops.contrast, ops.saturation), strength[:3], strict=True):
        pixels = change(pixels, chance.uniform(count, max(0.0, 1 - most), 1 + most))
    turn = chance.uniform(count, -strength[3], strength[3])
    return ops.hue(pixels, turn) if pixels.shape[1] == 3 else pixels


def crop_boxes(count: int, area: tuple[float, float], chance: Chance) -> torch.Tensor:
    """(count, 4) boxes as shares of the picture: areas even, the logarithm of width by height even in 3:4 to 4:3."""
    size = chance.uniform(count, *area)
    ratio = chance.uniform(count, math.log(3 / 4), math.log(4 / 3)).exp()
    width = (size * ratio).sqrt().clamp(max=1)
    height = (size / ratio).sqrt().clamp(max=1)
    left, top = chance.uniform(count) * (1 - width), chance.uniform(count) * (1 - height)
    return torch.stack([left, top, width, height], 1)
