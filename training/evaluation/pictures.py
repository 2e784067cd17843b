"""Decodes the pictures of labelled data sets."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray


def decoded(content: bytes) -> NDArray[np.uint8]:
    """A picture file as (3, H, W), red, green and blue.

    Raises:
        ValueError, OSError, SyntaxError: not a picture of eight bits; the last is Pillow's for a broken PNG.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        if opened.mode.startswith(("I", "F")):
            raise ValueError(f"it has pixels of the mode {opened.mode}; eight-bit pictures in true colour are needed")
        return np.ascontiguousarray(np.asarray(opened.convert("RGB"), np.uint8).transpose(2, 0, 1))


def decoded_mask(content: bytes) -> NDArray[np.uint8]:
    """A picture file of one number a pixel as (H, W): the class, or 255 where it is not known.

    Raises:
        ValueError, OSError, SyntaxError: as above, or it has several bands.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        if opened.mode not in ("L", "P"):
            raise ValueError(f"it has pixels of the mode {opened.mode}; a mask has one number of eight bits a pixel")
        return np.asarray(opened, np.uint8)
