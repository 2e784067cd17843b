"""Small WebP pictures of tiles, for lists of hits."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

# A picture of at least half the thumbnail's side is left as it is: enlarging and encoding the rest took four times as
# long as reading a tile of 64 pixels, and what shows thumbnails enlarges as well.
NEAR_ENOUGH = 2.0
QUALITY = 78  # below about 70 WebP smears the fine texture that tells forest from scrub


def webp_thumbnail(pixels: npt.NDArray[np.uint8], side_px: int) -> bytes:
    """Encode a picture as WebP.

    Args:
        pixels: (3, H, W) uint8, red, green, blue.
        side_px: the longer side of the thumbnail; pictures under half of it are enlarged smoothly, others never.

    Returns:
        A WebP file.
    """
    from PIL import Image

    image = Image.merge("RGB", [Image.fromarray(band) for band in pixels])  # faster than to interleave with numpy
    scale = side_px / max(image.size)
    if not 1 < scale <= NEAR_ENOUGH:
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        # Whole multiples are first averaged away, which is as good here and four times as fast.
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.0)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=1)
    return buffer.getvalue()
