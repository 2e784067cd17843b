"""Tests of wildsat_core/models/compact.py."""

import pytest
import torch

from wildsat_core.errors import CheckpointError
from wildsat_core.models.backbones import build_backbone
from wildsat_core.models.compact import CompactNet, own_contrast

SMALL = {"widths": [8, 16], "blocks": [1, 2], "features": 12}


@pytest.mark.parametrize("side", [16, 17, 40, 64, 101])
def test_any_size_gives_one_feature_vector_a_picture(side):
    network = build_backbone("wildsat:compact", SMALL, 3).eval()
    assert network(torch.rand(2, 3, side, side + 3)).shape == (2, 12)


def test_own_contrast_is_the_same_under_gain_and_haze():
    pixels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    haze = torch.tensor([0.3, -0.2, 1.5]).view(1, 3, 1, 1)
    assert torch.allclose(own_contrast(pixels * 2.5 + haze), own_contrast(pixels), atol=1e-5)


def test_own_contrast_keeps_a_picture_of_one_colour_quiet():
    grain = 0.004 * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert own_contrast(grain + 2).abs().max() < 0.6


def test_the_network_sees_brightness_too():
    torch.manual_seed(0)
    network = CompactNet(widths=(8,), blocks=(1,), features=4).eval()
    pixels = torch.rand(1, 3, 16, 16)
    assert not torch.allclose(network(pixels), network(pixels * 3))


def test_stages_without_blocks_are_refused():
    with pytest.raises(CheckpointError, match="each stage needs a width and a number of blocks"):
        build_backbone("wildsat:compact", {"widths": [8, 16], "blocks": [1]}, 3)


def test_another_name_is_refused():
    with pytest.raises(CheckpointError, match="there is wildsat:compact, not wildsat:large"):
        build_backbone("wildsat:large", {}, 3)
