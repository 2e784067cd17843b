"""Small WebP pictures of tiles, for lists of hits."""

from __future__ import annotations

import io
import math

import numpy as np
import numpy.typing as npt

# A picture of at least half the thumbnail's side is left as it is: enlarging and encoding the rest took four times as
# long as reading a tile of 64 pixels, and what shows thumbnails enlarges as well.
NEAR_ENOUGH = 2.0
# So is one of at least this share of it. A larger picture gets a whole number of pixels averaged into one, where that
# leaves as much: 224 become 112 in a sixth of the time that resampling to 128 takes.
LEAST_SHARE = 0.75
QUALITY = 78  # below about 70 WebP smears the fine texture that tells forest from scrub


def webp_thumbnail(pixels: npt.NDArray[np.uint8], side_px: int) -> bytes:
    """Encode a picture as WebP.

    Args:
        pixels: (3, H, W) uint8, red, green, blue.
        side_px: the longer side of the thumbnail, at most. Pictures under half of it are enlarged smoothly, others
            never; larger ones get a whole number of pixels averaged into one where three quarters of it are left.

    Returns:
        A WebP file.
    """
    from PIL import Image

    image = Image.merge("RGB", [Image.fromarray(band) for band in pixels])  # faster than to interleave with numpy
    longer = max(image.size)
    scale, whole = side_px / longer, math.ceil(longer / side_px)
    if longer / whole >= LEAST_SHARE * side_px:
        image = image.reduce(whole)
    elif not 1 < scale <= NEAR_ENOUGH:
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        image = image.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=0)
    return buffer.getvalue()
