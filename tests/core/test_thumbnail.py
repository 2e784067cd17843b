"""Tests of thumbnail: how large the pictures are, and that they show the tile."""

import io

import numpy as np
import pytest
from PIL import Image

from wildsat_core.thumbnail import webp_thumbnail


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((27, 27), (128, 128)),  # the demo's
        ((63, 63), (128, 128)),
        ((64, 64), (64, 64)),  # of half the side: as it is
        ((100, 64), (64, 100)),
        ((128, 128), (128, 128)),
        ((256, 512), (128, 64)),
        ((150, 150), (128, 128)),  # halved, it would be too small
        ((224, 224), (112, 112)),
        ((225, 300), (100, 75)),
    ],
)
def test_a_thumbnail_has_at_most_its_side_and_not_much_less_of_a_larger_picture(shape, size):
    pixels = np.zeros((3, *shape), np.uint8)
    pixels[0, : shape[0] // 2] = 255  # red above
    with Image.open(io.BytesIO(webp_thumbnail(pixels, 128))) as picture:
        assert picture.size == size
        shown = np.asarray(picture.convert("RGB"))
    quarter = size[1] // 4
    assert shown[quarter, :, 0].min() > 200
    assert shown[-quarter, :, 0].max() < 50
