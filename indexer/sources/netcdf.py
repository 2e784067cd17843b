"""How long a netCDF or HDF5 file must be for its numbers: where it ends before, GDAL takes them for others.

Sources: https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html and
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, of which the first block is needed.
"""

from __future__ import annotations

import math
from typing import Final

from indexer.sources.stored import StoredFile

_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}  # by the number of the type
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_ADDRESSES: Final = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}  # by version: where their width is, and they are


def needed_bytes(file: StoredFile) -> int:
    """Up to the end of the last number; 0 where nothing tells.

    Raises:
        IndexError, KeyError, OverflowError: its description of its own contents is cut or wrong.
    """
    start = file.at(0, len(_HDF5))
    if start == _HDF5:
        return _hdf5_end(file)
    return _Classic(file).needed() if start.startswith(b"CDF") else 0


def _hdf5_end(file: StoredFile) -> int:
    """The end that the file tells of itself, third of the addresses that it begins with."""
    at_width, at_addresses = _ADDRESSES[file.at(8, 1)[0]]
    width = file.at(at_width, 1)[0]
    return int.from_bytes(file.at(at_addresses + 2 * width, width), "little")


def _in_words(length: int) -> int:
    """A length in bytes filled up to whole words of four."""
    return (length + 3) // 4 * 4


class _Classic:
    """The header of a classic netCDF file."""

    def __init__(self, file: StoredFile) -> None:
        """Stand behind the magic number; the fourth byte tells how wide sizes and offsets are."""
        self._file, self._at = file, 4
        self._size, self._offset = {1: (4, 4), 2: (4, 8), 5: (8, 8)}[file.at(3, 1)[0]]

    def needed(self) -> int:
        """Bytes up to the end of the last number of any variable."""
        records = self._number(self._size)
        lengths = [self._dimension() for _ in range(self._count())]
        self._attributes()
        variables = [self._variable(lengths) for _ in range(self._count())]
        record_bytes = sum(_in_words(size) for _, size, is_record in variables if is_record)
        if sum(is_record for *_, is_record in variables) == 1:  # then records are not filled up to whole words
            record_bytes = next(size for _, size, is_record in variables if is_record)
        written = 0 if records == 2 ** (8 * self._size) - 1 else records  # not told: a file that is still written
        return max((self._end(variable, written, record_bytes) for variable in variables), default=0)

    @staticmethod
    def _end(variable: tuple[int, int, bool], records: int, record_bytes: int) -> int:
        begin, size, is_record = variable
        if not is_record:
            return begin + size
        return begin + (records - 1) * record_bytes + size if records else 0

    def _number(self, width: int) -> int:
        self._at += width
        if self._at > self._file.length:
            raise IndexError
        return int.from_bytes(self._file.at(self._at - width, width), "big")

    def _count(self) -> int:
        """Of a list, behind its tag; a list that is not there has tag and count 0."""
        self._number(4)
        count = self._number(self._size)
        if count > self._file.length:
            raise IndexError
        return count

    def _name(self) -> None:
        self._skip(self._number(self._size))

    def _skip(self, length: int) -> None:
        self._at += _in_words(length)

    def _dimension(self) -> int:
        self._name()
        return self._number(self._size)

    def _attributes(self) -> None:
        for _ in range(self._count()):
            self._name()
            item_bytes = _TYPE_BYTES[self._number(4)]
            self._skip(self._number(self._size) * item_bytes)

    def _variable(self, lengths: list[int]) -> tuple[int, int, bool]:
        """Where it begins, its bytes or those of one of its records, and whether it has records."""
        self._name()
        shape = [lengths[self._number(self._size)] for _ in range(self._number(self._size))]
        self._attributes()
        item_bytes = _TYPE_BYTES[self._number(4)]
        self._number(self._size)  # its size as the file tells it, which is wrong for large ones
        is_record = bool(shape) and shape[0] == 0
        return self._number(self._offset), item_bytes * math.prod(shape[is_record:]), is_record
