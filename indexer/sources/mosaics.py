"""One picture of a place from several: gaps and clouds filled, or the median of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]  # (C, H, W)
Mask = npt.NDArray[np.bool_]  # (H, W)


class Layer(NamedTuple):
    """One of the pictures.

    Attributes:
        values: (C, H, W).
        valid: (H, W) where there is data.
        clear: (H, W) where that shows ground rather than a cloud or its shadow, as far as is known.
    """

    values: Pixels
    valid: Mask
    clear: Mask


def is_filled(layers: Sequence[Layer]) -> bool:
    """Whether each pixel is clear in one of the layers, so that more of them would add nothing."""
    return bool(np.logical_or.reduce([layer.valid & layer.clear for layer in layers]).all())


def filled(layers: Sequence[Layer]) -> tuple[Pixels, Mask, list[int]]:
    """Each pixel of the first layer where it is clear, or else of the first that has data there.

    Returns:
        (C, H, W) values, (H, W) where there are any, and the layers that some are from.
    """
    values, valid, which = filled_from([(v, there & clear) for v, there, clear in layers] + [x[:2] for x in layers])
    return values, valid, sorted({int(i) % len(layers) for i in np.unique(which[valid])})


def median(layers: Sequence[Layer]) -> tuple[Pixels, Mask, list[int]]:
    """The median of the layers that are clear at a pixel or, where none is, of all; else as `filled`.

    Returns:
        (C, H, W) pixels, (H, W) True where there are any, and as `filled`.
    """
    of_clear = median_of([(values, valid & clear) for values, valid, clear in layers])
    values, valid, _ = filled_from([of_clear, median_of([layer[:2] for layer in layers])])
    return values, valid, [i for i, layer in enumerate(layers) if layer.valid.any()]


def filled_from(layers: Sequence[tuple[Pixels, Mask]]) -> tuple[Pixels, Mask, npt.NDArray[np.intp]]:
    """(C, H, W), (H, W): each pixel of the first layer that has data there; (H, W) its number, 0 where none has."""
    values, valid = (array.copy() for array in layers[0])
    which = np.zeros(valid.shape, np.intp)
    for number, (more, there) in enumerate(layers[1:], start=1):
        gap = ~valid & there
        values[:, gap] = more[:, gap]
        which[gap] = number
        valid |= there
    return values, valid, which


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
