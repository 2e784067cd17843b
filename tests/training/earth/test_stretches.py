"""Tests of training/earth/stretches.py."""

import numpy as np
import pytest
import torch

from training.augment import Chance
from training.earth.stretches import STRETCHES, as_pictures, chance_stretch, linear, percentiles, surface

GREY = torch.full((1, 3, 4, 4), 0.15)


def random_reflectance(count=8):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.3


@pytest.mark.parametrize("name", STRETCHES)
def test_every_stretch_gives_eight_bit_pictures(name):
    shown = STRETCHES[name](random_reflectance())
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert torch.allclose(shown * 255, (shown * 255).round(), atol=1e-4)


def test_linear_brings_its_ends_to_black_and_white():
    assert linear(0.3)(GREY).mean() == pytest.approx(0.5, abs=0.003)
    assert linear(0.2, 0.1)(GREY).mean() == pytest.approx(0.5, abs=0.003)
    assert linear(0.1)(GREY).max() == 1


def test_percentiles_are_each_pictures_own():
    shown = percentiles()(torch.cat([random_reflectance(1), random_reflectance(1) * 0.1 + 0.4]))
    assert float(shown[0].mean()) == pytest.approx(float(shown[1].mean()), abs=0.02)


def test_surface_reflectance_loses_the_blue_of_the_sky():
    red, _, blue = surface()(GREY)[0].mean((1, 2))
    assert blue < red


def test_eurosats_own_stretch_gives_its_chips_back():
    chips = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    shown = as_pictures(chips, STRETCHES["0 to 0.275, as EuroSAT"])
    assert (shown.permute(0, 2, 3, 1).numpy().round() == chips).all()


def test_chance_stretches_differ_between_pictures_and_repeat_with_their_seed():
    same = random_reflectance(1).repeat(16, 1, 1, 1)
    first = chance_stretch(same, Chance(3, torch.device("cpu")))
    assert torch.equal(first, chance_stretch(same, Chance(3, torch.device("cpu"))))
    assert first.flatten(1).mean(1).std() > 0.05
    assert 0 <= first.min() <= first.max() <= 1
