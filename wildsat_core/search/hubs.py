"""What makes some tiles answer everything, taken off: each tile's mean score over a background of plain habitats.

In a space of many dimensions a few vectors lie near to most queries (hubs; Radovanovic, Nanopoulos and Ivanovic, JMLR
11, 2010). Here they are tiles of open sea with a corner of land, and they come first for all that is short. What a
query is to bring forward is where it fits better than any other query would: its standardised score less the mean of
the standardised scores of a background of queries. For a tile v,

    q . v / s_q - mean_b(q_b . v / s_b) = (q / s_q - mean_b(q_b / s_b)) . v,

so the correction is one vector a space, subtracted from the query's, and ranking stays one scan.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.moments import Moments
from wildsat_core.types import Space

Vector = npt.NDArray[np.float32]

WORDED_SPACES: tuple[Space, ...] = ("text", "place")  # those that texts are compared in


def mean_background(texts: Vector, moments: Mapping[Space, Moments]) -> dict[Space, Vector]:
    """The vector to be subtracted in each space that texts are compared in.

    Args:
        texts: (B, D) vectors of the background's texts.
        moments: of the tiles' vectors, by space.

    Returns:
        (D,) for each space of `moments` that texts are compared in.
    """
    return {space: _mean(texts, moments[space]) for space in WORDED_SPACES if space in moments}


def _mean(texts: Vector, moments: Moments) -> Vector:
    scaled = [text / moments.score_std(text) for text in texts]
    return np.asarray(np.mean(scaled, axis=0), dtype=np.float32)


def without_background(text: Vector, background: Vector, moments: Moments) -> Vector:
    """(D,) a text's vector in one space, brought to scores of deviation 1 and less the background."""
    return (text / moments.score_std(text) - background).astype(np.float32)
