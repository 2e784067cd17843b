"""Each change against the same thing written in NumPy for one picture; views keep shape, range and seed."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
import torch

from training import augment_ops as ops
from training.augment import AugmentConfig, Chance, anchor_view, crop_boxes, mixing_kernels, positive_view

CPU = torch.device("cpu")


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def check(result: torch.Tensor, expected: list[np.ndarray]) -> None:
    np.testing.assert_allclose(result.numpy(), np.stack(expected), atol=2e-6)


def test_flips_are_per_picture(pixels: torch.Tensor) -> None:
    result = ops.flip(pixels, torch.tensor([True, False, True]), torch.tensor([False, False, True]))
    x = pixels.numpy()
    check(result, [x[0, :, :, ::-1], x[1], x[2, :, ::-1, ::-1]])


def test_mixing_kernel_slides_along_the_bands(pixels: torch.Tensor) -> None:
    kernels = torch.tensor([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.1, 0.8, 0.1]])
    expected = []
    for x, (a, b, c) in zip(pixels.numpy(), kernels.numpy(), strict=True):
        red, green, blue = x
        expected.append(
            np.stack([a * red + b * red + c * green, a * red + b * green + c * blue, a * green + b * blue + c * blue])
        )
    check(ops.mix_channels(pixels, kernels), expected)


def test_noise_brightness_contrast_and_saturation(pixels: torch.Tensor) -> None:
    factor = torch.tensor([0.5, 1.0, 1.4])
    luma = np.tensordot(np.array([0.299, 0.587, 0.114]), pixels.numpy(), axes=(0, 1))  # (B, H, W)
    noise = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    rows = list(zip(pixels.numpy(), factor.numpy(), luma, noise.numpy(), strict=True))
    check(ops.add_noise(pixels, factor, noise), [np.clip(x + f * n, 0, 1) for x, f, _, n in rows])
    check(ops.brightness(pixels, factor), [np.clip(x * f, 0, 1) for x, f, _, _ in rows])
    check(ops.contrast(pixels, factor), [np.clip(f * x + (1 - f) * g.mean(), 0, 1) for x, f, g, _ in rows])
    check(ops.saturation(pixels, factor), [np.clip(f * x + (1 - f) * g, 0, 1) for x, f, g, _ in rows])


def test_hue_turns_colours_as_yiq_does_and_leaves_grey() -> None:
    red = torch.tensor([0.8, 0.3, 0.2]).view(1, 3, 1, 1)
    y, i, q = colorsys.rgb_to_yiq(0.8, 0.3, 0.2)
    angle = 2 * np.pi * 0.05
    turned = colorsys.yiq_to_rgb(y, i * np.cos(angle) - q * np.sin(angle), i * np.sin(angle) + q * np.cos(angle))
    np.testing.assert_allclose(ops.hue(red, torch.tensor([0.05])).flatten().numpy(), turned, atol=2e-3)
    grey = torch.full((1, 3, 2, 2), 0.4)
    torch.testing.assert_close(ops.hue(grey, torch.tensor([0.3])), grey)


def test_blur_equals_a_two_dimensional_gaussian(pixels: torch.Tensor) -> None:
    sigma = torch.tensor([0.3, 1.0, 2.0])
    expected = []
    for x, s in zip(pixels.numpy(), sigma.numpy(), strict=True):
        line = np.exp(-0.5 * (np.arange(-2, 3) / s) ** 2)
        kernel = np.outer(line, line) / np.outer(line, line).sum()
        padded = np.pad(x, ((0, 0), (2, 2), (2, 2)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
        expected.append((windows * kernel).sum((-1, -2)))
    check(ops.blur(pixels, sigma), expected)


def test_crop_of_whole_pixels_is_a_slice(pixels: torch.Tensor) -> None:
    boxes = torch.tensor([[0.25, 0.5, 0.5, 0.5], [0, 0, 0.5, 0.5], [0.5, 0.25, 0.5, 0.5]])
    x = pixels.numpy()
    check(ops.crop_resized(pixels, boxes, 4), [x[0, :, 4:8, 2:6], x[1, :, :4, :4], x[2, :, 2:6, 4:8]])


def test_drawn_kernels_and_boxes_stay_in_their_ranges() -> None:
    chance = Chance(0, CPU)
    kernels = mixing_kernels(1000, 0.5, chance)
    torch.testing.assert_close(kernels.sum(1), torch.ones(1000))
    assert kernels.min() >= 0
    assert kernels[:, 1].min() >= 0.5
    left, top, width, height = crop_boxes(1000, (0.2, 1.0), chance).unbind(1)
    assert (left + width).max() <= 1.0001
    assert (top + height).max() <= 1.0001
    assert (width * height).min() >= 0.14  # a box as wide as the picture loses what its shape asked beyond it
    assert min(left.min(), top.min()) >= 0


@pytest.mark.parametrize("bands", [3, 9, 13])
def test_views_keep_shape_range_and_seed(bands: int) -> None:
    pixels = torch.rand(4, bands, 32, 32)
    config = AugmentConfig(crop_px=16)
    for view in (anchor_view, positive_view):
        first, again, other = (view(pixels, config, Chance(seed, CPU)) for seed in (7, 7, 8))
        assert first.shape == pixels.shape
        assert 0 <= first.min() <= first.max() <= 1
        torch.testing.assert_close(first, again, rtol=0, atol=0)
        assert not torch.equal(first, other)


def test_no_augmentation_changes_nothing(pixels: torch.Tensor) -> None:
    off = AugmentConfig.none()
    assert torch.equal(anchor_view(pixels, off, Chance(0, CPU)), pixels)
    assert torch.equal(positive_view(pixels, off, Chance(0, CPU)), pixels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blur_sigma_px": (0.0, 1.0)}, "greater than 0"),
        ({"blur_sigma_px": (2.0, 1.0)}, "the least and the greatest, in this order, got 2 and 1"),
        ({"crop_area": (0.5, 1.5)}, "less than or equal to 1"),
        ({"jitter": (0.4, 0.4, 0.4, 0.7)}, "less than or equal to 0.5"),
    ],
)
def test_ranges_that_make_no_picture_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**change)
