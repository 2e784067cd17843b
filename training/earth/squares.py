"""Square tiles that cover the land on a grid equal in kilometres, and what share of a tile satisfies a predicate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.earth.cells import COLUMNS, ROWS, STEP_DEG, Cells

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KM_PER_DEG = 111.19  # rounded: the grid that the benchmark's tiles lie on was laid out with it
NARROWEST_COS = 0.12  # towards the poles a degree of longitude shrinks; below this a tile stops widening
SIDE_KM = 200.0
STRIDE_KM = 133.0
LEAST_LAND = 0.04
HIGHEST_LATITUDE = 84.0
BLOCK_DEG = 15
HELD_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class TileTable:
    """N square tiles, given by centre and side; row i of every array made from it is tile i.

    Attributes:
        lon, lat: (N,) centres in degrees.
        side_km: (N,) sides.
    """

    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    side_km: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.lon)

    @property
    def lon_lat(self) -> NDArray[np.float64]:
        """(N, 2) centres in degrees, longitude first."""
        return np.stack([self.lon, self.lat], 1)

    @property
    def height_deg(self) -> NDArray[np.float64]:
        """(N,) degrees from south to north."""
        return self.side_km / KM_PER_DEG

    @property
    def width_deg(self) -> NDArray[np.float64]:
        """(N,) degrees from west to east."""
        return np.asarray(east_deg(self.height_deg, self.lat))

    def take(self, rows: NDArray[np.int64]) -> TileTable:
        """Some squares: rows (R,), in the order given."""
        return TileTable(self.lon[rows], self.lat[rows], self.side_km[rows])


def east_deg(north_deg: Any, lat: Any) -> Any:  # noqa: ANN401 - floats, or arrays that broadcast
    """Degrees of longitude that are as long at a latitude as so many of latitude."""
    return north_deg / np.maximum(np.cos(np.radians(lat)), NARROWEST_COS)


def grid_tiles(side_km: float = SIDE_KM, stride_km: float = STRIDE_KM, shift: float = 0.0) -> TileTable:
    """Tiles over the whole Earth between 84 degrees south and north, land or not.

    Args:
        side_km: side of a tile.
        stride_km: distance of neighbouring centres; smaller than the side, tiles overlap.
        shift: moves the grid by this share of a stride, north and east.
    """
    step = stride_km / KM_PER_DEG
    rows = np.arange(-HIGHEST_LATITUDE + step * (0.5 + shift), HIGHEST_LATITUDE, step)
    lon, lat = [], []
    for row in rows:
        count = int(np.ceil(360 * max(np.cos(np.radians(row)), NARROWEST_COS) / step))
        lon.append(-180 + (np.arange(count) + 0.5 + shift) * 360 / count)
        lat.append(np.full(count, row))
    centres = (np.concatenate(lon) + 180) % 360 - 180
    return TileTable(centres, np.concatenate(lat), np.full(len(centres), side_km))


def land_tiles(cells: Cells, tiles: TileTable, antarctic_share: int = 4) -> TileTable:
    """Those tiles with at least 4 % land; of Antarctica, whose ice looks alike, one in `antarctic_share`."""
    land = np.asarray(overlap(cells, tiles).sum(1)).ravel()
    keep = land >= LEAST_LAND
    antarctic = tiles.lat < -62
    keep &= ~antarctic | (np.arange(len(tiles)) % antarctic_share == 0)
    return tiles.take(np.flatnonzero(keep))


def overlap(cells: Cells, tiles: TileTable) -> csr_matrix:
    """(N tiles, cells) sparse: the share of a tile's area that is land of a cell. Rows sum to the tile's land share."""
    from scipy.sparse import csr_matrix

    position = np.full(ROWS * COLUMNS, -1)
    position[cells.index] = np.arange(len(cells))
    indptr, indices, values = [0], [], []
    for lon, lat, height, width in zip(tiles.lon, tiles.lat, tiles.height_deg, tiles.width_deg, strict=True):
        row, row_share = _spans((90 - lat - height / 2) / STEP_DEG, (90 - lat + height / 2) / STEP_DEG)
        column, column_share = _spans((lon + 180 - width / 2) / STEP_DEG, (lon + 180 + width / 2) / STEP_DEG)
        inside = (row >= 0) & (row < ROWS)
        flat = (row[inside, None] * COLUMNS + column[None] % COLUMNS).ravel()
        share = (row_share[inside, None] * column_share[None]).ravel()
        cell = position[flat]
        indices.append(cell[cell >= 0])
        values.append(share[cell >= 0] * cells.land[cell[cell >= 0]])
        indptr.append(indptr[-1] + int((cell >= 0).sum()))
    parts = (np.concatenate(values).astype(np.float32), np.concatenate(indices), np.asarray(indptr))
    return csr_matrix(parts, shape=(len(tiles), len(cells)))


def land_of(cells: Cells, tiles: TileTable) -> NDArray[np.float64]:
    """(N,) share of each tile's area that is land."""
    return np.asarray(overlap(cells, tiles).sum(1), dtype=np.float64).ravel()


def land_shares(cells: Cells, tiles: TileTable) -> csr_matrix:
    """(N tiles, cells) sparse, rows summing to 1: how a tile's land divides among cells (all zero without land).

    Times a mask over cells it gives the share of a tile's land that satisfies a predicate.
    """
    from scipy.sparse import diags

    areas = overlap(cells, tiles)
    total = np.asarray(areas.sum(1)).ravel()
    return (diags(1 / np.maximum(total, 1e-9)) @ areas).tocsr()


def held_out(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tiles of the quarter of all 15-degree blocks that the hold-out run never sees, (N,)."""
    chosen = np.random.default_rng(8).random((180 // BLOCK_DEG, 360 // BLOCK_DEG)) < HELD_SHARE
    row = np.clip(((lat + 90) / BLOCK_DEG).astype(int), 0, 180 // BLOCK_DEG - 1)
    column = np.clip(((lon + 180) / BLOCK_DEG).astype(int), 0, 360 // BLOCK_DEG - 1)
    return np.asarray(chosen[row, column])


def _spans(start: float, stop: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Grid lines between two positions, and the share of the whole span that lies in each."""
    cell = np.arange(int(np.floor(start)), int(np.ceil(stop)))
    length = np.minimum(cell + 1, stop) - np.maximum(cell, start)
    return cell, length / (stop - start)
