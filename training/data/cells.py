"""Cells of ground of equal area, and the division of the Earth into blocks for training, validation and testing."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from training.data.tables import SPLITS
from wildsat_core.geo import EARTH_RADIUS_KM, KM_PER_DEGREE

Ints = npt.NDArray[np.int64]

_COLUMNS = 1 << 20  # more columns than any row has


def cell_of(lon: npt.ArrayLike, lat: npt.ArrayLike, side_km: float) -> Ints:
    """Number of the cell of about side_km x side_km that each position is in.

    Rows of equal height run round the globe, each cut into as many cells as fit its length. Areas differ by less than
    two percent, but for the rows at the poles.
    """
    rows = _row(lat, side_km)
    return rows * _COLUMNS + _column(lon, rows, side_km)


def cell_centre(cell: int, side_km: float) -> tuple[float, float]:
    """Longitude and latitude of a cell's centre, in degrees."""
    row, column = divmod(int(cell), _COLUMNS)
    lat = min((row + 0.5) * side_km / KM_PER_DEGREE - 90, 90.0)
    return (column + 0.5) * 360 / int(_columns(np.array(row), side_km)) - 180, lat


def spatial_splits(
    lon: npt.ArrayLike, lat: npt.ArrayLike, block_deg: float, shares: tuple[float, float, float], seed: int
) -> npt.NDArray[np.str_]:
    """Put whole blocks of the globe into training, validation and testing: tests on unseen ground.

    Blocks are squares of latitude and longitude. They are shuffled and dealt out one after another to the part that
    lacks most of its share of places.

    Args:
        lon: degrees, (N,).
        lat: degrees, (N,).
        block_deg: side of a block.
        shares: of training, validation and testing; they sum to 1.
        seed: of the shuffling.

    Returns:
        (N,) "train", "val" or "test".

    Raises:
        ValueError: shares don't sum to 1, or the block's side is not positive.
    """
    if not math.isclose(sum(shares), 1.0, abs_tol=1e-6) or min(shares) < 0 or not block_deg > 0:
        raise ValueError(f"shares must sum to 1 and blocks have a side, got {shares} and {block_deg} degrees")
    columns = math.ceil(360 / block_deg)
    column = np.floor((np.asarray(lon, float) + 180) % 360 / block_deg).astype(np.int64)
    row = np.floor((np.asarray(lat, float) + 90) / block_deg).astype(np.int64)
    blocks, index, counts = np.unique(row * columns + column, return_inverse=True, return_counts=True)
    assigned = np.zeros(len(blocks), np.int64)
    have, wanted = np.zeros(3), np.array(shares) * counts.sum()
    for block in np.random.default_rng(seed).permutation(len(blocks)):
        part = int(np.argmax(np.where(wanted > 0, 1 - have / np.maximum(wanted, 1e-9), -np.inf)))
        assigned[block] = part
        have[part] += counts[block]
    return np.asarray(np.array(SPLITS)[assigned[index]])


def _row(lat: npt.ArrayLike, side_km: float) -> Ints:
    return np.floor((np.asarray(lat, float) + 90) * KM_PER_DEGREE / side_km).astype(np.int64)


def _columns(row: npt.NDArray[np.int64], side_km: float) -> Ints:
    middle = np.radians((row + 0.5) * side_km / KM_PER_DEGREE - 90)
    around = 2 * math.pi * EARTH_RADIUS_KM * np.cos(middle)
    columns: Ints = np.maximum(np.round(around / side_km), 1).astype(np.int64)
    return columns


def _column(lon: npt.ArrayLike, row: Ints, side_km: float) -> Ints:
    share = (np.asarray(lon, float) + 180) % 360 / 360
    columns = _columns(row, side_km)
    return np.minimum((share * columns).astype(np.int64), columns - 1)
