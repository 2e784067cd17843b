"""Length and bytes of any file by the name that GDAL has for it: here, in an archive, on a server, in a store.

rasterio gives pixels only. GDAL's own functions of files read a name just as the raster was read: with the same
credentials, and from what was fetched when it was opened, so that a server is seldom asked again. They belong to the C
interface that GDAL keeps stable (https://gdal.org/en/stable/api/cpl.html), and are in the library that rasterio loads.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_PAGE: Final = 1 << 16  # bytes that are read at once
_MOST_PAGES: Final = 64  # that are kept: what describes a file lies in few places of it


class StoredFile:
    """A file that is open for reading.

    Attributes:
        name: as GDAL has it.
        length: in bytes.
    """

    def __init__(self, name: str, handle: int) -> None:
        """Of a file that GDAL opened."""
        self.name, self._handle = name, handle
        self._seek(0, os.SEEK_END)
        self.length = int(_gdal().VSIFTellL(handle))
        self._page = functools.lru_cache(maxsize=_MOST_PAGES)(self._read_page)

    def at(self, start: int, count: int) -> bytes:
        """So many bytes, fewer where the file ends.

        Raises:
            OSError: they can't be read.
        """
        end = min(start + count, self.length)
        if start < 0 or end <= start:
            return b""
        first = start // _PAGE
        pages = b"".join(self._page(number) for number in range(first, (end - 1) // _PAGE + 1))
        return pages[start - first * _PAGE : end - first * _PAGE]

    def unpack(self, form: str, start: int) -> tuple[Any, ...]:
        """Numbers as of struct.unpack.

        Raises:
            struct.error: the file ends before.
        """
        return struct.unpack(form, self.at(start, struct.calcsize(form)))

    def _read_page(self, number: int) -> bytes:
        start = number * _PAGE
        buffer = ctypes.create_string_buffer(min(_PAGE, self.length - start))
        self._seek(start, os.SEEK_SET)
        read = _gdal().VSIFReadL(buffer, 1, len(buffer), self._handle)
        if read < len(buffer):
            raise OSError(f"{self.name} can't be read beyond byte {start + read:,}")
        return buffer.raw

    def _seek(self, offset: int, whence: int) -> None:
        if _gdal().VSIFSeekL(self._handle, offset, whence):
            raise OSError(f"{self.name} can't be read from byte {offset:,}")


@contextmanager
def open_stored(name: str) -> Iterator[StoredFile | None]:
    """Open a file by GDAL's name for it; None where there is none.

    Raises:
        OSError: its length can't be known.
    """
    handle = None if Path(name).is_dir() else _gdal().VSIFOpenL(os.fsencode(name), b"rb")
    if not handle:
        yield None
        return
    try:
        yield StoredFile(name, handle)
    finally:
        _gdal().VSIFCloseL(handle)


def gdal_name(path: str) -> str:
    """How GDAL itself names what rasterio opens: addresses and archives have prefixes there."""
    from rasterio._path import _parse_path, _vsi_path  # the same translation that rasterio.open makes

    return str(_vsi_path(_parse_path(path)))


def beside(name: str, other: str) -> str:
    """GDAL's name for a file in the same folder."""
    folder, slash, _ = name.rpartition("/")  # pathlib would take a slash away from "/vsicurl/https://"
    return f"{folder}{slash}{other}"


@functools.cache
def _gdal() -> ctypes.CDLL:
    """The library that rasterio is linked to: its symbols are found by way of rasterio's own module."""
    import rasterio._base

    library = ctypes.CDLL(rasterio._base.__file__)
    offset, file = ctypes.c_uint64, ctypes.c_void_p
    library.VSIFOpenL.argtypes, library.VSIFOpenL.restype = [ctypes.c_char_p, ctypes.c_char_p], file
    library.VSIFSeekL.argtypes = [file, offset, ctypes.c_int]
    library.VSIFTellL.argtypes, library.VSIFTellL.restype = [file], offset
    library.VSIFReadL.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, file]
    library.VSIFReadL.restype = ctypes.c_size_t
    library.VSIFCloseL.argtypes = [file]
    return library
