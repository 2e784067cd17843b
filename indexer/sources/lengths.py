"""Whether the file of a raster is as long as its numbers need, and what lies beside it whole.

Some of GDAL's drivers read zeros beyond the end of a file, and a damaged mask is to GDAL as good as none.
"""

from __future__ import annotations

import configparser
import functools
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from xml.parsers import expat

import numpy as np

from indexer.sources import imagine, netcdf, pcidsk
from indexer.sources.protocol import NotAPictureError
from indexer.sources.stored import beside, gdal_name, open_stored
from wildsat_core.addresses import is_remote, public_name

_SQLITE: Final = ("GPKG", "MBTiles", "Rasterlite")  # whose blank tiles of pages that are not there are black
_NETCDF: Final = ("netCDF", "HDF5", "HDF5Image", "BAG", "KEA")
_NOTICED: Final = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".webp", ".gif")  # where cut, all drivers see it
_GZIP: Final = b"\x1f\x8b"
_ILWIS_BYTES: Final = {"byte": 1, "int": 2, "long": 4, "float": 4, "real": 8}


def check_whole(header: Any) -> None:  # noqa: ANN401 - rasterio has no types
    """Refuse an open file that was cut, or beside which something damaged lies; or that is put together of such files.

    Raises:
        NotAPictureError: saying what is damaged.
        Exception: of a library, where it can't be read to find out.
    """
    import rasterio

    _check_companions(header)
    _check_length(header)
    if header.driver == "VRT":
        for name in header.files[1:]:
            if not name.lower().endswith(_NOTICED):
                with rasterio.open(name) as part:
                    check_whole(part)


def _check_length(header: Any) -> None:  # noqa: ANN401
    """Refuse an open file that was cut, of a format whose driver does not see it.

    Raises:
        NotAPictureError: saying how long it is and should be.
        OSError: it can't be read to find out.
    """
    if header.driver not in _NEEDED:
        return
    for name, needed in _told(header.files[0] if header.files else gdal_name(header.name), header):
        with open_stored(name) as file:
            length = file.length if file else 0
            if length < needed and not (file and file.at(0, len(_GZIP)) == _GZIP):
                raise NotAPictureError(
                    f"{_shown(name)} is damaged: it ends after {length:,} bytes, and its numbers need {needed:,}"
                )


def _told(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    """What a file tells of the lengths of its parts.

    Raises:
        NotAPictureError: it is cut or wrong where it tells that.
    """
    try:
        yield from _NEEDED[header.driver](name, header)
    except (ArithmeticError, LookupError, ValueError, struct.error, configparser.Error) as err:
        told = "its description of its own contents is cut or wrong"
        raise NotAPictureError(f"{_shown(name)} is damaged: {told}") from err


def _shown(name: str) -> str:
    return public_name(name.removeprefix("/vsicurl/"))


def _of_numbers(name: str, header: Any, start_bytes: int = 0) -> _Lengths:  # noqa: ANN401
    """Numbers one after another, as they are, behind so many bytes."""
    yield name, start_bytes + header.width * header.height * sum(map(_bytes_of, header.dtypes))


def _bytes_of(kind: str) -> int:
    """Of a number."""
    return 4 if kind == "complex_int16" else np.dtype(kind).itemsize  # which numpy does not have


def _of_envi(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    """Numbers alone, behind so many bytes as the header beside them tells."""
    text = "".join(map(_text, (file for file in header.files if file.lower().endswith(".hdr"))))
    offset = re.search(r"^\s*header offset\s*=\s*(\d+)", text, re.IGNORECASE | re.MULTILINE)
    for file, needed in _of_numbers(name, header, int(offset[1]) if offset else 0):
        _check_type_told(file, needed)
        yield file, needed


def _of_ehdr(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    """The same; GDAL itself notices the end of these files."""
    for file, needed in _of_numbers(name, header):
        _check_type_told(file, needed)
        yield file, 0


def _of_hkv(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    """The same of a folder, in which numbers and header have fixed names."""
    yield from _of_ehdr(f"{gdal_name(header.name)}/image_data", header)


def _check_type_told(name: str, needed: int) -> None:
    """Where the header beside numbers lost their type, GDAL takes them for bytes, and so for too many.

    Raises:
        NotAPictureError: naming both lengths.
    """
    with open_stored(name) as file:
        if file is not None and file.length >= 2 * needed:
            raise NotAPictureError(
                f"{_shown(name)} has {file.length:,} bytes, and the numbers that its header tells need {needed:,}: the "
                "header is cut or wrong"
            )


def _of_ilwis(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    """The files of numbers that an ILWIS map, or a list of maps, names."""
    facts = configparser.ConfigParser(strict=False, interpolation=None)
    facts.read_string(_text(name))
    if facts.has_section("MapList"):
        for band in range(header.count):
            yield from _of_ilwis(beside(name, facts["MapList"][f"Map{band}"]), header)
        return
    store = facts["MapStore"]
    yield beside(name, store["Data"]), header.width * header.height * _ILWIS_BYTES[store["Type"].lower()]


def _of_pcidsk(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    """By what it tells of its own blocks; with a file for each band these are `.001`, `.002`, and so on."""
    with open_stored(name) as file:
        if file is not None:
            yield name, pcidsk.needed_bytes(file)
    bands = (file for file in header.files if file.rpartition(".")[2].isdecimal())
    for band, kind in zip(bands, header.dtypes, strict=False):
        yield band, header.width * header.height * _bytes_of(kind)


def _of_imagine(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    """The file, its overviews (.rrd), which are one of the same format, and what these name (.ige)."""
    overviews = f"{name.rpartition('.')[0]}.rrd"  # which GDAL passes over where it is damaged
    is_searched = not is_remote(name) or overviews in header.files
    for one in (name, overviews) if is_searched else (name,):
        with open_stored(one) as file:
            if file is not None:
                yield from imagine.needed_bytes(file)


def _of_sqlite(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    """By the size and number of pages that it tells; nothing where it does not tell.

    Source: https://www.sqlite.org/fileformat2.html#the_database_header
    """
    with open_stored(name) as file:
        head = b"" if file is None else file.at(0, 100)
    if len(head) == 100 and head[24:28] == head[92:96]:  # else the number is of a change before the last one
        page_bytes = int.from_bytes(head[16:18], "big")
        yield name, (65536 if page_bytes == 1 else page_bytes) * int.from_bytes(head[28:32], "big")


def _of_netcdf(name: str, header: Any) -> _Lengths:  # noqa: ANN401
    with open_stored(name) as file:
        if file is not None:
            yield name, netcdf.needed_bytes(file)


_Lengths = Iterator[tuple[str, int]]  # files by GDAL's names, and how many bytes each needs
_NEEDED: Final[Mapping[str, Callable[[str, Any], _Lengths]]] = {
    "ENVI": _of_envi,
    "EHdr": _of_ehdr,
    "MFF2": _of_hkv,
    "PCRaster": functools.partial(_of_numbers, start_bytes=256),
    "ILWIS": _of_ilwis,
    "PCIDSK": _of_pcidsk,
    "HFA": _of_imagine,
    **dict.fromkeys(_NETCDF, _of_netcdf),
    **dict.fromkeys(_SQLITE, _of_sqlite),
}


def _check_companions(header: Any) -> None:  # noqa: ANN401
    """Refuse a raster beside which lies a damaged mask or description: GDAL goes on as if there were none.

    Beside one on a server nothing is looked for, here and when it is opened.

    Raises:
        NotAPictureError: naming it.
        OSError: it can't be read.
    """
    from rasterio.enums import MaskFlags

    if is_remote(header.name):
        return
    name = gdal_name(header.name)
    # No flag at all: the band has a mask of its own in that file.
    if not any(MaskFlags.per_dataset in flags or not flags for flags in header.mask_flag_enums):
        with open_stored(f"{name}.msk") as mask:
            if mask is not None:
                raise NotAPictureError(
                    f"{mask.name}, which tells where {header.name} has data, is damaged: make it anew, or remove it"
                )
    with open_stored(f"{name}.aux.xml") as description:
        if description is not None:
            parser = expat.ParserCreate()
            try:
                parser.Parse(description.at(0, description.length), True)
            except expat.ExpatError as err:
                raise NotAPictureError(
                    f"{description.name}, which says more of {header.name}, is damaged ({err}): make it anew, or "
                    "remove it"
                ) from err


def _text(name: str) -> str:
    """All of a small file; nothing where there is none."""
    with open_stored(name) as file:
        return "" if file is None else file.at(0, file.length).decode("latin-1")
