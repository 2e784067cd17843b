"""Which tiles show a habitat best: those in the midst of it, not at its edge.

Any tile that a sentence is true of is a right answer, but the best answers, and the safest where borders are drawn by
rough facts, lie where the surroundings agree. Ranking those first also makes different wordings of one habitat agree on
what comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.earth.squares import TileTable
from training.mini.bank import FULL, Bank
from wildsat_core.geo import EARTH_RADIUS_KM, unit_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

REACH_KM = 500.0
BATCH = 512


def surroundings(tiles: TileTable, reach_km: float = REACH_KM) -> csr_matrix:
    """(N, N) sparse, rows summing to 1: each tile's neighbours within reach, itself among them."""
    from scipy.sparse import csr_matrix, diags
    from scipy.spatial import cKDTree

    chord = 2 * np.sin(reach_km / EARTH_RADIUS_KM / 2)
    tree = cKDTree(unit_vectors(tiles.lon, tiles.lat))
    pairs = tree.query_pairs(chord, output_type="ndarray")
    one = np.arange(len(tiles))
    rows, columns = np.concatenate([pairs[:, 0], pairs[:, 1], one]), np.concatenate([pairs[:, 1], pairs[:, 0], one])
    near = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(tiles), len(tiles)))
    return (diags(1 / np.asarray(near.sum(1)).ravel()) @ near).tocsr().astype(np.float32)


def weigh_cores(bank: Bank, tiles: TileTable) -> Bank:
    """The same bank, each share multiplied by that of the surroundings, relative to the predicate's best tile."""
    near = surroundings(tiles)
    weighed: NDArray[np.uint8] = np.empty(bank.shares.shape, np.uint8)
    for start in range(0, len(bank.shares), BATCH):
        shares = np.asarray(bank.shares[start : start + BATCH]).astype(np.float32) / FULL
        around = np.asarray((near @ shares.T).T)
        core = shares * around
        scale = shares.max(1, keepdims=True) / np.maximum(core.max(1, keepdims=True), 1e-6)
        weighed[start : start + BATCH] = (core * scale * FULL).round().clip(0, FULL)
    return Bank(bank.sentences, bank.kinds, bank.predicate, weighed)
