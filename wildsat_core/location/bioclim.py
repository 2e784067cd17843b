"""Climate and elevation layers, sampled at positions: twenty numbers a place, for the SINR location encoder."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wildsat_core.arrays import load_array
from wildsat_core.errors import CheckpointError, MissingDataError

LAYERS = 20
ENVIRONMENT_VARIABLE = "WILDSAT_BIOCLIM"


class BioclimRaster:
    """A raster (H, W, 20), row 0 at latitude +90, column 0 at longitude -180, each layer scaled to mean 0.

    The file is memory-mapped: sampling reads the four neighbours of each position and nothing else.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a `.npy` file.

        Raises:
            MissingDataError: there is no such file.
            CheckpointError: not a plain array of twenty layers.
        """
        try:
            self._raster: npt.NDArray[np.generic] = load_array(path, mapped=True)
        except FileNotFoundError as err:
            raise MissingDataError(f"there is no bioclimatic raster at {path}; set {ENVIRONMENT_VARIABLE}") from err
        except ValueError as err:
            raise CheckpointError(f"{path} is not a plain array: {err}") from err
        if self._raster.ndim != 3 or self._raster.shape[2] != LAYERS or min(self._raster.shape) < 1:
            raise CheckpointError(f"{path} must have the shape (H, W, {LAYERS}), it has {self._raster.shape}")

    def sample(self, lon_lat: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Interpolate bilinearly; NaN (the sea) counts as 0, the mean of every layer.

        Grid nodes lie at the very edges: column 0 at -180 degrees and column W - 1 at +180, with no wrap between them,
        as the published SINR networks were trained with.

        Args:
            lon_lat: (B, 2) degrees.

        Returns:
            (B, 20) float32.
        """
        degrees = np.asarray(lon_lat, np.float64).reshape(-1, 2)
        height, width = self._raster.shape[:2]
        x = np.clip((degrees[:, 0] / 180 + 1) / 2, 0, 1) * (width - 1)
        y = np.clip(1 - (degrees[:, 1] / 90 + 1) / 2, 0, 1) * (height - 1)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        dx, dy = (x - left)[:, None], (y - top)[:, None]
        upper = self._at(top, left) * (1 - dx) + self._at(top, right) * dx
        lower = self._at(bottom, left) * (1 - dx) + self._at(bottom, right) * dx
        return np.asarray(upper * (1 - dy) + lower * dy, np.float32)

    def _at(self, row: npt.NDArray[np.int_], column: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
        return np.nan_to_num(np.asarray(self._raster[row, column], np.float64), nan=0.0)


def default_raster() -> BioclimRaster:
    """The raster that the environment variable WILDSAT_BIOCLIM names.

    Raises:
        MissingDataError: the variable is not set, or there is no such file.
    """
    path = os.environ.get(ENVIRONMENT_VARIABLE)
    if not path:
        raise MissingDataError(
            f"this location encoder needs the bioclimatic raster; set {ENVIRONMENT_VARIABLE} to the path of "
            "bioclim_elevation_scaled.npy (docs/models.md says where it comes from)"
        )
    return _open(path)


@cache
def _open(path: str) -> BioclimRaster:
    return BioclimRaster(path)
