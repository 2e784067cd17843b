"""The simplest thing that could work: a tile's mean colour and spread, brought to the text space by regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

RIDGE = 1.0


def colour_features(pixels: NDArray[np.uint8]) -> Float:
    """(N, 13) of pictures (N, 3, H, W) uint8: mean and deviation of red, green and blue, their squares, and one."""
    values = pixels.reshape(*pixels.shape[:2], -1).astype(np.float32) / 255
    moments = np.concatenate([values.mean(2), values.std(2)], 1)
    return np.concatenate([moments, moments**2, np.ones((len(moments), 1), np.float32)], 1)


def colour_vectors(pixels: NDArray[np.uint8], vectors: Float, known: NDArray[np.bool_]) -> Float:
    """(N, D) of length 1: what colour alone says of each tile's text vector.

    Args:
        pixels: (N, 3, H, W).
        vectors: (N, D) the vectors to predict.
        known: (N,) tiles that the regression may learn from.
    """
    features = colour_features(pixels)
    a, b = features[known], vectors[known]
    weights = np.linalg.solve(a.T @ a + RIDGE * np.eye(a.shape[1], dtype=np.float32), a.T @ b)
    found = features @ weights
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9), dtype=np.float32)
