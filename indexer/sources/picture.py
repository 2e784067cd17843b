"""Reading one whole picture, georeferenced or not, from a file or from bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from indexer.sources.intact import check_intact, check_intact_file
from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.pixels import Stretch, reading_of
from indexer.sources.protocol import Reading
from indexer.sources.remote import gdal_environment
from indexer.sources.view import BandChoice, open_raster, view_of
from wildsat_core.bands import RGB
from wildsat_core.errors import SourceError

_ORIENTATION: Final = 0x0112  # https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E, 4.6.5
ON_ITS_SIDE: Final = frozenset({5, 6, 7, 8})


def read_picture(path: str, band_indexes: Sequence[int] | None, stretch: Stretch | None = None) -> Reading:
    """Bands of a picture file, as stored or stretched, (C, H, W); None takes red, green and blue.

    Raises:
        SourceError: not a picture, or it lacks a band.
    """
    check_intact_file(Path(path))
    return _read(path, band_indexes, stretch, path)


def decode_picture(data: bytes, band_indexes: Sequence[int], what: str) -> Reading:
    """Bands as stored from the bytes of a file; `what` names them in messages.

    Raises:
        SourceError: not a picture, or it lacks a band.
    """
    from rasterio.io import MemoryFile

    check_intact(data, what)
    with MemoryFile(data) as file:
        return _read(file.name, band_indexes, None, what)


def turn_of(path: str) -> int:
    """How a picture is to be turned before people look at it, as cameras note it (EXIF): 1 to 8, 1 for not at all.

    A picture that says where its pixels lie is placed by that, and not turned.
    """
    from PIL import Image

    with contextlib.suppress(*library_errors()), Image.open(path) as picture:
        told = picture.getexif().get(_ORIENTATION, 1)
        return told if told in range(1, 9) else 1
    return 1


def upright(reading: Reading, turn: int) -> Reading:
    """The pixels of a reading as people see them, by what `turn_of` says."""
    pixels = reading.pixels
    if turn in ON_ITS_SIDE:
        pixels = pixels.swapaxes(1, 2)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    return replace(reading, pixels=np.ascontiguousarray(pixels))


def _read(path: str, band_indexes: Sequence[int] | None, stretch: Stretch | None, what: str) -> Reading:
    names = RGB if band_indexes is None or len(band_indexes) == 3 else tuple(f"band {i}" for i in band_indexes)
    indexes = None if band_indexes is None else tuple(band_indexes)
    choice = BandChoice(names, indexes, is_stretched=stretch is not None)

    try:
        with gdal_environment(path), open_raster(path) as header:
            values, valid = view_of(header, path, choice).read(header)
    except library_errors() as err:
        raise read_error(f"{what} can't be read as a picture", path, err) from err
    except SourceError as err:
        raise type(err)(str(err).replace(path, what)) from err
    return reading_of(values, valid, stretch)
