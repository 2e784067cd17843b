"""Sums of values over the pixels that boxes and outlines cover, at a cost that hardly depends on their sizes.

A box is four entries of a difference array, +v and -v at its corners; two running sums turn all boxes into pixels. An
outline is one entry for each pixel row that an edge crosses, +v or -v by the edge's direction; one running sum along
the rows gives v inside, where the entries don't cancel, and 0 outside.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class PixelSums:
    """Sum and count of values over a window of `size` x `size` pixels, y downward."""

    def __init__(self, size: int) -> None:
        """Start with nothing painted."""
        self._size = size
        cells = (size + 1) ** 2
        self._corners, self._crossings = np.zeros((2, cells)), np.zeros((2, cells))  # each: of values, of ones

    def add_boxes(self, x0: Ints, y0: Ints, x1: Ints, y1: Ints, values: Floats) -> None:
        """Paint pixels x0 <= x < x1, y0 <= y < y1 of each box, (K,) each; parts outside the window are cut off."""
        x0, y0, x1, y1 = (np.clip(v, 0, self._size) for v in (x0, y0, x1, y1))
        # Where clipping left nothing, the four corners cancel.
        for ys, xs, sign in ((y0, x0, 1.0), (y0, x1, -1.0), (y1, x0, -1.0), (y1, x1, 1.0)):
            self._add(self._corners, ys, xs, sign * values, sign)

    def add_rings(self, x: Floats, y: Floats, ring: Ints, hole: npt.NDArray[np.bool_], values: Floats) -> None:
        """Paint the pixels whose centres lie inside closed rings, so that neighbours share none and leave none out.

        Args:
            x: (V,) pixels, the vertices of all rings one after the other, the first of each again as its last.
            y: (V,).
            ring: (V,) number of each vertex's ring, ascending from 0.
            hole: (R,) whether a ring takes away from another one around it.
            values: (R,).
        """
        edges = np.flatnonzero(ring[1:] == ring[:-1])
        x0, x1, y0, y1, of = x[edges], x[edges + 1], y[edges], y[edges + 1], ring[edges]
        area = np.bincount(of, x0 * y1 - x1 * y0, len(values))
        sign = np.where(hole, -1.0, 1.0) * np.sign(area)  # whichever way round a ring was drawn
        # Rows whose centre line lies between an edge's ends, the upper included and the lower not.
        first, last = (np.clip(np.ceil(end - 0.5), 0, self._size).astype(np.int64) for end in _ordered(y0, y1))
        times = last - first
        edge = np.repeat(np.arange(len(edges)), times)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(times) - times, times) + first[edge]
        slope = (x1 - x0)[edge] / (y1 - y0)[edge]
        at = np.clip(np.ceil(x0[edge] + (row + 0.5 - y0[edge]) * slope - 0.5), 0, self._size).astype(np.int64)
        weight = (sign[of] * np.sign(y0 - y1))[edge]  # y is downward: positive where the inside begins
        self._add(self._crossings, row, at, weight * values[of[edge]], weight)

    def sums(self) -> Floats:
        """Sum of the values over each pixel, and how many there are, (2, size, size)."""
        side, size = self._size + 1, self._size
        sums = self._corners.reshape(2, side, side).cumsum(axis=1)
        sums += self._crossings.reshape(2, side, side)
        return np.cumsum(sums, axis=2, out=sums)[:, :size, :size]

    def _add(self, to: Floats, rows: Ints, columns: Ints, values: Floats, ones: Floats | float) -> None:
        at = rows * (self._size + 1) + columns
        np.add.at(to[0], at, values)
        np.add.at(to[1], at, ones)


def means(sums: Floats) -> npt.NDArray[np.float32]:
    """Mean of the values over each pixel from what `PixelSums.sums` gives, (size, size); NaN where there is none."""
    total, count = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0.5, total / np.rint(count), np.nan).astype(np.float32)


def _ordered(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    return np.minimum(a, b), np.maximum(a, b)
