"""One picture of a place from several: gaps filled, or the median of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]  # (C, H, W)
Mask = npt.NDArray[np.bool_]  # (H, W)


def filled_from(layers: Sequence[tuple[Pixels, Mask]]) -> tuple[Pixels, Mask]:
    """(C, H, W) and (H, W): each pixel of the first layer that has data there."""
    values, valid = (array.copy() for array in layers[0])
    for more, there in layers[1:]:
        gap = ~valid & there
        values[:, gap] = more[:, gap]
        valid |= there
    return values, valid


def median_of(layers: Sequence[tuple[Pixels, Mask]]) -> tuple[Pixels, Mask]:
    """(C, H, W) and (H, W): the median of the layers that have data there, rounded."""
    values = np.ma.masked_array(
        np.stack([values for values, _ in layers]),
        np.stack([np.broadcast_to(~valid, values.shape) for values, valid in layers]),
    )
    middle = np.ma.median(values, axis=0)  # type: ignore[no-untyped-call] # numpy has none for it
    valid = np.logical_or.reduce([valid for _, valid in layers])
    whole = np.rint(np.ma.filled(middle, 0)).astype(layers[0][0].dtype)
    return whole, valid
