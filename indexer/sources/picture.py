"""Reading one whole picture, georeferenced or not, from a file or from bytes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.sources.dataset import read_valid
from indexer.sources.intact import STRICT, check_intact, check_intact_file
from indexer.sources.pixels import Stretch, reading_of
from indexer.sources.protocol import Reading
from wildsat_core.errors import SourceError

Pixels = npt.NDArray[Any]


def read_picture(path: str, band_indexes: Sequence[int], stretch: Stretch | None = None) -> Reading:
    """Bands of a picture, as stored or stretched, (C, H, W).

    Raises:
        SourceError: not a picture, or it lacks a band.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    check_intact_file(Path(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.Env(**STRICT), rasterio.open(path) as dataset:
                return _read(dataset, band_indexes, path, stretch)
        except RasterioError as err:
            raise SourceError(f"{path} can't be read as a picture: {err}") from err


def decode_picture(data: bytes, band_indexes: Sequence[int], what: str) -> Reading:
    """Bands as stored from the bytes of a file; `what` names them in messages.

    Raises:
        SourceError: not a picture, or it lacks a band.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.io import MemoryFile

    check_intact(data, what)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.Env(**STRICT), MemoryFile(data) as file, file.open() as dataset:
                return _read(dataset, band_indexes, what)
        except RasterioError as err:
            raise SourceError(f"{what} can't be read as a picture: {err}") from err


def _read(
    dataset: Any,  # noqa: ANN401 - rasterio has no types
    band_indexes: Sequence[int],
    what: str,
    stretch: Stretch | None = None,
) -> Reading:
    if is_palette(dataset):
        pixels = _paint(dataset)[[i - 1 for i in band_indexes]]
        return reading_of(pixels, np.ones(pixels.shape[1:], bool), stretch)
    if max(band_indexes) > dataset.count:
        raise SourceError(f"{what} has {dataset.count} bands, asked for {tuple(band_indexes)}")
    return reading_of(dataset.read(list(band_indexes)), read_valid(dataset), stretch)


def is_palette(dataset: Any) -> bool:  # noqa: ANN401
    """Whether the one band is numbers of colours."""
    from rasterio.enums import ColorInterp

    return bool(dataset.count == 1 and dataset.colorinterp[0] == ColorInterp.palette)


def _paint(dataset: Any) -> npt.NDArray[np.uint8]:  # noqa: ANN401
    """A palette picture, as many map tiles are, in its colours: (3, H, W)."""
    table = np.zeros((256, 3), np.uint8)
    for index, colour in dataset.colormap(1).items():
        table[index] = colour[:3]
    painted: npt.NDArray[np.uint8] = table[dataset.read(1)].transpose(2, 0, 1)
    return painted
