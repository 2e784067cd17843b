"""Whether the file of a raster is as long as its numbers need, and what lies beside it whole.

Some of GDAL's drivers read zeros beyond the end of a file, and a damaged mask is to GDAL as good as none.
"""

from __future__ import annotations

import configparser
import functools
import math
import mmap
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

import numpy as np

from indexer.sources import imagine, pcidsk
from indexer.sources.protocol import NotAPictureError

_SQLITE: Final = ("GPKG", "MBTiles", "Rasterlite")  # whose blank tiles of pages that are not there are black
_GZIP: Final = b"\x1f\x8b"
_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}  # of netCDF's types by number
_ILWIS_BYTES: Final = {"byte": 1, "int": 2, "long": 4, "float": 4, "real": 8}


def check_length(header: Any) -> None:  # noqa: ANN401 - rasterio has no types
    """Refuse an open file that was cut, of a format whose driver does not see it.

    Raises:
        NotAPictureError: saying how long it is and should be.
    """
    path = next((Path(name) for name in (*header.files, header.name) if Path(name).exists()), None)
    if path is None or header.driver not in _NEEDED:
        return
    for file, needed in _NEEDED[header.driver](path, header):
        length = file.stat().st_size if file.is_file() else 0
        if length < needed and not _starts_with(file, _GZIP):
            raise NotAPictureError(
                f"{file} is damaged: it ends after {length:,} bytes, and its numbers need {needed:,}"
            )


def _of_numbers(path: Path, header: Any, start_bytes: int = 0) -> _Lengths:  # noqa: ANN401
    """Numbers one after another, as they are, behind so many bytes."""
    yield path, start_bytes + header.width * header.height * sum(np.dtype(kind).itemsize for kind in header.dtypes)


def _of_envi(path: Path, header: Any) -> _Lengths:  # noqa: ANN401
    """Numbers alone, behind so many bytes as the header beside them tells."""
    text = "".join(Path(file).read_text("latin-1") for file in header.files if file.lower().endswith(".hdr"))
    offset = re.search(r"^\s*header offset\s*=\s*(\d+)", text, re.IGNORECASE | re.MULTILINE)
    for file, needed in _of_numbers(path, header, int(offset[1]) if offset else 0):
        _check_type_told(file, needed)
        yield file, needed


def _of_ehdr(path: Path, header: Any) -> _Lengths:  # noqa: ANN401
    """The same; GDAL itself notices the end of these files."""
    for file, needed in _of_numbers(path, header):
        _check_type_told(file, needed)
        yield file, 0


def _of_hkv(path: Path, header: Any) -> _Lengths:  # noqa: ANN401
    """The same of a folder, in which numbers and header have fixed names."""
    yield from _of_ehdr(Path(header.name) / "image_data", header)


def _check_type_told(file: Path, needed: int) -> None:
    """Where the header beside numbers lost their type, GDAL takes them for bytes, and so for too many.

    Raises:
        NotAPictureError: naming both lengths.
    """
    if file.is_file() and (length := file.stat().st_size) >= 2 * needed:
        raise NotAPictureError(
            f"{file} has {length:,} bytes, and the numbers that its header tells need {needed:,}: the header is cut "
            "or wrong"
        )


def _of_ilwis(path: Path, header: Any) -> _Lengths:  # noqa: ANN401
    """The files of numbers that an ILWIS map, or a list of maps, names."""
    facts = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        facts.read_string(path.read_text("latin-1"))
        if facts.has_section("MapList"):
            for band in range(header.count):
                yield from _of_ilwis(path.with_name(facts["MapList"][f"Map{band}"]), header)
            return
        store = facts["MapStore"]
        yield path.with_name(store["Data"]), header.width * header.height * _ILWIS_BYTES[store["Type"].lower()]
    except (configparser.Error, KeyError, OSError, ValueError) as err:
        raise NotAPictureError(f"{path} is damaged: it does not say where its numbers are") from err


def _of_pcidsk(path: Path, header: Any) -> _Lengths:  # noqa: ANN401
    """By what it tells of its own blocks; with a file for each band these are `.001`, `.002`, and so on."""
    try:
        yield path, pcidsk.needed_bytes(path)
    except (ValueError, KeyError, struct.error) as err:
        raise NotAPictureError(f"{path} is damaged: its header is cut or wrong") from err
    bands = (Path(name) for name in header.files if Path(name).suffix[1:].isdecimal())
    for band, kind in zip(bands, header.dtypes, strict=False):
        yield band, header.width * header.height * np.dtype(kind).itemsize


def _of_imagine(path: Path, header: Any) -> _Lengths:  # noqa: ANN401
    """The file, its overviews (.rrd), which are one of the same format, and what these name (.ige)."""
    try:
        for file in (path, path.with_suffix(".rrd")):  # which GDAL passes over where it is damaged
            if file.is_file():
                yield from imagine.needed_bytes(file)
    except (ValueError, IndexError, struct.error, ZeroDivisionError) as err:
        raise NotAPictureError(f"{path} is damaged: its description of its own contents is cut or wrong") from err


def _of_sqlite(path: Path, header: Any) -> _Lengths:  # noqa: ANN401
    yield path, _sqlite_bytes(path)


def _of_netcdf(path: Path, header: Any) -> _Lengths:  # noqa: ANN401
    yield path, _netcdf_bytes(path)


_Lengths = Iterator[tuple[Path, int]]  # files, and how many bytes each needs
_NEEDED: Final[Mapping[str, Callable[[Path, Any], _Lengths]]] = {
    "ENVI": _of_envi,
    "EHdr": _of_ehdr,
    "MFF2": _of_hkv,
    "PCRaster": functools.partial(_of_numbers, start_bytes=256),
    "ILWIS": _of_ilwis,
    "PCIDSK": _of_pcidsk,
    "HFA": _of_imagine,
    "netCDF": _of_netcdf,
    **dict.fromkeys(_SQLITE, _of_sqlite),
}


def check_companions(header: Any) -> None:  # noqa: ANN401
    """Refuse a raster beside which lies a damaged mask or description: GDAL goes on as if there were none.

    Raises:
        NotAPictureError: naming it.
    """
    from rasterio.enums import MaskFlags

    name = header.name
    mask, description = Path(f"{name}.msk"), Path(f"{name}.aux.xml")
    # No flag at all: the band has a mask of its own in that file.
    if mask.is_file() and not any(MaskFlags.per_dataset in flags or not flags for flags in header.mask_flag_enums):
        raise NotAPictureError(f"{mask}, which tells where {name} has data, is damaged: make it anew, or remove it")
    if description.is_file():
        parser = expat.ParserCreate()
        try:
            parser.Parse(description.read_bytes(), True)
        except expat.ExpatError as err:
            raise NotAPictureError(
                f"{description}, which says more of {name}, is damaged ({err}): make it anew, or remove it"
            ) from err


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _sqlite_bytes(path: Path) -> int:
    """How many bytes an SQLite file needs, by the size and number of pages that it tells; 0 where it does not tell.

    Source: https://www.sqlite.org/fileformat2.html#the_database_header
    """
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100 or head[24:28] != head[92:96]:  # the number is of a change before the last one
        return 0
    page_bytes = int.from_bytes(head[16:18], "big")
    return (65536 if page_bytes == 1 else page_bytes) * int.from_bytes(head[28:32], "big")


def _netcdf_bytes(path: Path) -> int:
    """How many bytes a classic netCDF file needs; 0 for those on HDF5, whose library looks itself.

    Raises:
        NotAPictureError: it ends within its own description.
    """
    if not _starts_with(path, b"CDF"):
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Classic(data).needed()
        except (IndexError, KeyError, OverflowError) as err:
            raise NotAPictureError(f"{path} is damaged: its description of its own contents is cut or wrong") from err


def _in_words(length: int) -> int:
    """A length in bytes filled up to whole words of four."""
    return (length + 3) // 4 * 4


class _Classic:
    """The header of a classic netCDF file.

    Source: https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html
    """

    def __init__(self, data: mmap.mmap) -> None:
        """Stand behind the magic number; the fourth byte tells how wide sizes and offsets are."""
        self._data, self._at = data, 4
        self._size, self._offset = {1: (4, 4), 2: (4, 8), 5: (8, 8)}[data[3]]

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
        if self._at > len(self._data):
            raise IndexError
        return int.from_bytes(self._data[self._at - width : self._at], "big")

    def _count(self) -> int:
        """Of a list, behind its tag; a list that is not there has tag and count 0."""
        self._number(4)
        count = self._number(self._size)
        if count > len(self._data):
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
