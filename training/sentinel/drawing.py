"""Drawing members of groups, evenly and all at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class EvenDrawer:
    """Draws rows that belong to given groups, each row of a group with the same chance."""

    def __init__(self, group_of: NDArray[np.int64], groups: int) -> None:
        """Sort rows by group.

        Args:
            group_of: (N,) the group of each row, from 0.
            groups: how many there are; those without a row can't be drawn from.
        """
        self._rows = np.argsort(group_of, kind="stable")
        self._counts = np.bincount(group_of, minlength=groups)
        self._starts = np.cumsum(self._counts) - self._counts

    def draw(self, groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """One row of each of these groups, (B,), with repeats."""
        within = (rng.random(len(groups)) * self._counts[groups]).astype(np.int64)
        return np.asarray(self._rows[self._starts[groups] + within])
