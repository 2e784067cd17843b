"""Pixels to model input, against the definition written out in numpy."""

import numpy as np
import pytest
import torch

from wildsat_core.bands import NINE_BANDS, RGB
from wildsat_core.errors import InvalidInputError
from wildsat_core.models.spec import multispectral_bands, nine_bands, prithvi_bands, rgb, satclip_bands
from wildsat_core.preprocess import Preprocessing, preprocess
from wildsat_core.torchvision_guard import guard_torchvision


def pixels(bands=3, side=40, count=3, seed=0):
    return np.random.default_rng(seed).integers(30, 200, (count, bands, side, side), np.uint8)


def reference(values):
    """Subtract each picture's minimum, divide by the larger of its maximum and 1."""
    out = np.zeros_like(values)
    for i, image in enumerate(values):
        if image.max() > image.min():
            shifted = image - image.min()
            out[i] = shifted / max(shifted.max(), 1)
    return out


def test_true_colour_is_shifted_to_zero_and_keeps_its_contrast():
    raw = pixels()
    raw[1] //= 3
    found = preprocess(raw, rgb(None)).numpy()
    np.testing.assert_allclose(found, reference(raw.astype(np.float32) / 255), atol=1e-6)
    assert found.min(axis=(1, 2, 3)).tolist() == [0, 0, 0]
    assert found[1].max() < 0.3  # contrast is not stretched


def test_values_beyond_one_are_brought_to_one():
    raw = np.random.default_rng(0).uniform(0, 4 * 255, (2, 3, 8, 8)).astype(np.float32)
    found = preprocess(raw, rgb(None)).numpy()
    np.testing.assert_allclose(found, reference(raw / 255), atol=1e-6)
    np.testing.assert_allclose(found.max(axis=(1, 2, 3)), 1)


def test_a_constant_picture_becomes_zeros():
    assert preprocess(np.full((1, 3, 8, 8), 77, np.uint8), rgb(None)).abs().max() == 0
    assert preprocess(np.zeros((1, 3, 8, 8), np.uint8), rgb(224)).abs().max() == 0


@pytest.mark.parametrize("side", [96, 224, 512])
def test_resizing_equals_torchvisions_before_the_shift(side):
    guard_torchvision()
    from torchvision.transforms.v2 import functional

    raw = pixels(side=side)
    expected = functional.resize(torch.from_numpy(raw).float() / 255, [224, 224], antialias=True)
    found = preprocess(raw, rgb(224)).numpy()
    np.testing.assert_allclose(found, reference(expected.numpy()), atol=1e-5)
    assert preprocess(raw, rgb(None)).shape[-1] == side


def test_bands_lie_where_the_published_models_want_them():
    raw = pixels()
    red, green, blue = reference(raw.astype(np.float32) / 255).transpose(1, 0, 2, 3)
    satclip = preprocess(raw, satclip_bands(None)).numpy()
    assert satclip.shape[1] == 13
    for place, band in ((1, blue), (2, green), (3, red)):
        np.testing.assert_allclose(satclip[:, place], band, atol=1e-6)
    assert np.abs(satclip[:, [0, *range(4, 13)]]).max() == 0
    prithvi = preprocess(raw, prithvi_bands(None)).numpy()
    assert prithvi.shape[1] == 6
    for place, band in enumerate((blue, green, red)):
        np.testing.assert_allclose(prithvi[:, place], band, atol=1e-6)
    assert np.abs(prithvi[:, 3:]).max() == 0


def test_nine_bands_share_one_minimum_and_then_part():
    raw = pixels(bands=9)
    raw[:, 4] //= 2  # the minimum lies in a band that Prithvi has no channel for
    whole = reference(raw.astype(np.float32) / 255)
    np.testing.assert_allclose(preprocess(raw, nine_bands(None)).numpy(), whole, atol=1e-6)
    satclip = preprocess(raw, multispectral_bands("satclip", None)).numpy()
    np.testing.assert_allclose(satclip[:, [3, 2, 1, 4, 5, 6, 7, 11, 12]], whole, atol=1e-6)
    prithvi = preprocess(raw, multispectral_bands("prithvi", None)).numpy()
    np.testing.assert_allclose(prithvi[:, [2, 1, 0, 4, 5]], whole[:, [0, 1, 2, 7, 8]], atol=1e-6)
    assert np.abs(prithvi[:, 3]).max() == 0


def test_mean_and_deviation_are_of_values_in_zero_to_one():
    spec = Preprocessing(normalisation="standard", mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    raw = pixels()
    mean, std = np.array(spec.mean).reshape(1, 3, 1, 1), np.array(spec.std).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(preprocess(raw, spec).numpy(), (raw / 255 - mean) / std, rtol=1e-5, atol=1e-5)


def test_arrays_tensors_and_wider_integers_give_the_same():
    raw, spec = pixels(), Preprocessing(scale=10_000.0)
    expected = preprocess(raw.astype(np.float32), spec)
    for same in (raw.astype(np.uint16), torch.from_numpy(raw), raw.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)):
        torch.testing.assert_close(preprocess(same, spec), expected)
    assert expected.dtype == torch.float32


def test_missing_bands_and_missing_axes_are_errors():
    with pytest.raises(
        InvalidInputError, match=r"needs the 9 bands red, green.* and got 3; missing bands are not filled"
    ):
        preprocess(pixels(), nine_bands(None))
    with pytest.raises(InvalidInputError, match=r"axes \(B, C, H, W\), got shape \(3, 40, 40\)"):
        preprocess(pixels()[0], rgb(None))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positions": (0, 1)}, "needs a channel of its own"),
        ({"positions": (0, 0, 1)}, "needs a channel of its own"),
        ({"positions": (-1, -1, -1)}, "needs a channel of its own"),
        ({"positions": (0, 1, 3)}, r"must lie in 0\.\.2"),
        ({"input_px": 0}, "at least 1"),
        ({"scale": 0.0}, "greater than 0"),
        ({"mean": (0.5,)}, "needs 0 means"),
        ({"normalisation": "standard"}, "needs 3 means"),
        ({"normalisation": "standard", "mean": (0, 0, 0), "std": (1, 0, 1)}, "positive deviations"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        Preprocessing(**settings)


def test_two_ways_to_prepare_pixels_are_described_differently():
    ways = [rgb(None), rgb(224), satclip_bands(224), prithvi_bands(224), nine_bands(224)]
    ways += [multispectral_bands("prithvi", 224), Preprocessing(scale=10_000.0), Preprocessing(positions=(2, 1, 0))]
    for mean in ((0, 0, 0), (0, 0, 0.5)):
        ways.append(Preprocessing(normalisation="standard", mean=mean, std=(1, 1, 1)))
    lines = [way.describe() for way in ways]
    assert len(set(lines)) == len(lines)
    assert all("\n" not in line for line in lines)
    assert len(NINE_BANDS) == 9
    assert NINE_BANDS[:3] == RGB
