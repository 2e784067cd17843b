"""Cells of ground of equal area, and the division of the Earth into blocks for training, validation and testing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.tables import SPLITS
from wildsat_core.errors import InvalidInputError, MissingExtraError
from wildsat_core.geo import EARTH_RADIUS_KM, KM_PER_DEGREE, unit_vectors

Ints = npt.NDArray[np.int64]

_COLUMNS = 1 << 20  # more columns than any row has, with the smallest cells
_SMALLEST_KM, _LARGEST_KM = 0.05, 10_000.0
MOST_OVERFILL = 1.5  # a part takes a block if it then has at most so many times its share


def cell_of(lon: npt.ArrayLike, lat: npt.ArrayLike, side_km: float) -> Ints:
    """Number of the cell of about side_km x side_km that each position is in.

    Rows of equal height run round the globe, each cut into as many cells as fit its length. Areas differ by less than
    two percent, but for the rows at the poles.

    Args:
        lon: degrees.
        lat: degrees, of the same shape.
        side_km: side of a cell.

    Returns:
        Whole numbers of that shape.

    Raises:
        InvalidInputError: the side is no size of a cell.
    """
    if not _SMALLEST_KM <= side_km <= _LARGEST_KM:
        raise InvalidInputError(
            f"cells of ground must be {_SMALLEST_KM:g} to {_LARGEST_KM:,.0f} km wide, got {side_km:g}", "cell_km"
        )
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
    lacks most of its share of places, but a block that would overfill a part goes where it fits, and so a dense one is
    trained on. A part that nothing fell into gets the smallest block of the others.

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
        fits = have + counts[block] <= MOST_OVERFILL * wanted
        lacking = 1 - have / np.maximum(wanted, 1e-9) if fits.any() else wanted - have
        part = int(np.argmax(np.where((wanted > 0) & (fits | ~fits.any()), lacking, -np.inf)))
        assigned[block] = part
        have[part] += counts[block]
    _fill_empty_parts(assigned, counts, wanted)
    return np.asarray(np.array(SPLITS)[assigned[index]])


def _fill_empty_parts(assigned: Ints, counts: Ints, wanted: npt.NDArray[np.float64]) -> None:
    """Give each part that has a share and no block the smallest one of a part that has several, in place."""
    for part in np.flatnonzero((wanted > 0) & (np.bincount(assigned, minlength=3) == 0)):
        spare = np.flatnonzero(np.bincount(assigned, minlength=3)[assigned] > 1)
        if len(spare):
            assigned[spare[np.argmin(counts[spare])]] = part


def lie_near(
    lon: npt.ArrayLike, lat: npt.ArrayLike, others_lon: npt.ArrayLike, others_lat: npt.ArrayLike, within_km: float
) -> npt.NDArray[np.bool_]:
    """(N,) whether each position (N,) lies within a distance of any of the others (M,), all in degrees."""
    here, there = unit_vectors(lon, lat), unit_vectors(others_lon, others_lat)
    if not (len(here) and len(there)):
        return np.zeros(len(here), bool)
    nearest = tree_of(there).query(here, distance_upper_bound=chord(within_km))[0]
    return np.asarray(np.isfinite(nearest))


def tree_of(vectors: npt.NDArray[np.floating]) -> Any:  # noqa: ANN401 - scipy's tree has no types
    """A tree of unit vectors (N, 3) for questions about neighbours.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    try:
        from scipy.spatial import cKDTree
    except ImportError as err:
        raise MissingExtraError("scipy", "train", "distances among many places") from err
    return cKDTree(vectors)


def chord(km: float) -> float:
    """Straight line between the ends of an arc of the globe, in its radii."""
    return 2 * math.sin(min(km / EARTH_RADIUS_KM, math.pi) / 2)


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
