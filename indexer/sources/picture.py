"""Reading one whole picture, georeferenced or not, from a file or from bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from indexer.sources.intact import STRICT, check_intact, check_intact_file
from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.pixels import Stretch, reading_of
from indexer.sources.protocol import Reading
from indexer.sources.view import BandChoice, open_raster, view_of
from wildsat_core.bands import RGB
from wildsat_core.errors import SourceError


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


def _read(path: str, band_indexes: Sequence[int] | None, stretch: Stretch | None, what: str) -> Reading:
    import rasterio

    names = RGB if band_indexes is None or len(band_indexes) == 3 else tuple(f"band {i}" for i in band_indexes)
    indexes = None if band_indexes is None else tuple(band_indexes)
    choice = BandChoice(names, indexes, is_stretched=stretch is not None)

    try:
        with rasterio.Env(**STRICT), open_raster(path) as header:
            values, valid = view_of(header, path, choice).read(header)
    except library_errors() as err:
        raise read_error(f"{what} can't be read as a picture", path, err) from err
    except SourceError as err:
        raise type(err)(str(err).replace(path, what)) from err
    return reading_of(values, valid, stretch)
