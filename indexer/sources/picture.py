"""Reading one whole picture, georeferenced or not, from a file or from bytes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.sources.protocol import Reading
from wildsat_core.errors import SourceError

Pixels = npt.NDArray[Any]


def read_picture(path: str, band_indexes: Sequence[int]) -> Reading:
    """Bands of a picture as stored, (C, H, W).

    Raises:
        SourceError: not a picture, or it lacks a band.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as dataset:
                return _read(dataset, band_indexes, path)
        except RasterioError as err:
            raise SourceError(f"{path} can't be read as a picture: {err}") from err


def decode_picture(data: bytes, band_indexes: Sequence[int], what: str) -> Reading:
    """The same from the bytes of a file; `what` names them in messages.

    Raises:
        SourceError: not a picture, or it lacks a band.
    """
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.io import MemoryFile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with MemoryFile(data) as file, file.open() as dataset:
                return _read(dataset, band_indexes, what)
        except RasterioError as err:
            raise SourceError(f"{what} can't be read as a picture: {err}") from err


def _read(dataset: Any, band_indexes: Sequence[int], what: str) -> Reading:  # noqa: ANN401 - rasterio has no types
    if _is_palette(dataset):
        pixels = _paint(dataset)[[i - 1 for i in band_indexes]]
        return Reading(pixels)
    if max(band_indexes) > dataset.count:
        raise SourceError(f"{what} has {dataset.count} bands, asked for {tuple(band_indexes)}")
    pixels = dataset.read(list(band_indexes))
    valid = dataset.dataset_mask() > 0
    return Reading(np.where(valid, pixels, 0).astype(pixels.dtype), 1.0 - float(valid.mean()))


def _is_palette(dataset: Any) -> bool:  # noqa: ANN401
    from rasterio.enums import ColorInterp

    return bool(dataset.count == 1 and dataset.colorinterp[0] == ColorInterp.palette)


def _paint(dataset: Any) -> npt.NDArray[np.uint8]:  # noqa: ANN401
    """A palette picture, as many map tiles are, in its colours: (3, H, W)."""
    table = np.zeros((256, 3), np.uint8)
    for index, colour in dataset.colormap(1).items():
        table[index] = colour[:3]
    painted: npt.NDArray[np.uint8] = table[dataset.read(1)].transpose(2, 0, 1)
    return painted
