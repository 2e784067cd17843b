"""Which bands of a raster are read, and which of its pixels have data: a view of a file that holds just that.

A view is a virtual raster of GDAL's (https://gdal.org/en/stable/drivers/raster/vrt.html) over one file. It has the
bands asked for, in their order, of one type of number; a palette picture's colours in place of its numbers; one mask
made of everything that the file says about these bands, and about no others; and, where one is given, another place.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from indexer.sources.lengths import check_whole
from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.protocol import NotAPictureError
from indexer.sources.remote import gdal_environment, patiently
from indexer.sources.stored import gdal_name
from wildsat_core.addresses import public_name
from wildsat_core.bands import RGB
from wildsat_core.errors import SourceError

logger = logging.getLogger(__name__)

GDAL_TYPES: Final = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
}

_MOST_NAMED: Final = 12  # parts of a container

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BandChoice:
    """Which bands of files are read.

    Attributes:
        names: what they are, in the order in which they are given on.
        indexes: of the file, counted from 1; None takes those that a file itself calls red, green and blue, or else the
            first ones.
        nodata: value that means no data, where the file does not say.
        is_stretched: whether what is stored is brought to eight bits by a stated stretch. Otherwise numbers of fewer
            bits are brought to the range of eight, as people see them.
    """

    names: tuple[str, ...] = RGB
    indexes: tuple[int, ...] | None = None
    nodata: float | None = None
    is_stretched: bool = False


RED_GREEN_BLUE: Final = BandChoice()


@dataclass(frozen=True, slots=True)
class View:
    """Bands of a file as they are read.

    Attributes:
        path: the file.
        width, height: in pixels.
        indexes: bands of the file, counted from 1; of a palette picture the components of its colours.
        dtype: of all of them.
        masks: what of the file tells where there is data, as sources of a mask band; all must have it.
        nodata: value that means no data, of all bands alike.
        is_palette: whether `indexes` are components of the colours of the file's one band.
        factor: what numbers are multiplied with; `nodata` is after that.
        level: which of the file's overviews is read; None for the full resolution.
        is_direct: whether the file itself has just this, so that it can be read without a virtual raster.
    """

    path: str
    width: int
    height: int
    indexes: tuple[int, ...]
    dtype: str
    masks: tuple[str, ...] = ()
    nodata: float | None = None
    is_palette: bool = False
    factor: float = 1.0
    level: int | None = None
    is_direct: bool = False

    @property
    def first_band(self) -> int:
        """A band of the file, of which the others are like."""
        return 1 if self.is_palette else self.indexes[0]

    @property
    def needs_one_band(self) -> bool:
        """Whether a pixel without data in one band is worthless whatever the others have.

        A value below zero, NaN or the largest of a wide type is no measurement. Zero, and the ends of eight bits, are:
        a pixel that is dark in one band only has data.
        """
        return self.nodata is not None and self.nodata != 0 and self.dtype != "uint8"

    def valid(self, values: Pixels, mask: Mask | None) -> Mask:
        """(H, W) True where there is data, by values as read (C, H, W) and by the view's mask band, if it has one."""
        if self.nodata is None:
            return np.ones(values.shape[1:], bool) if mask is None else mask
        none = _is_value(values, self.nodata)
        missing: Mask = np.asarray(none.any(axis=0) if self.needs_one_band else none.all(axis=0), bool)
        return ~missing if mask is None else mask & ~missing

    def read(self, header: Any) -> tuple[Pixels, Mask]:  # noqa: ANN401 - rasterio has no types
        """All of it, from the open file: (C, H, W) as stored, and (H, W) True where there is data."""
        with gdal_environment(self.path):
            if self.is_direct:
                values = header.read()
                return values, self.valid(values, None)
            with open_raster(self.xml(), self.path) as dataset:
                mask = dataset.read_masks(1) > 0 if self.masks else None
                values = dataset.read()
        return values, self.valid(values, mask)

    def of_copy(self, path: str) -> View:
        """The view of a copy that has these bands, as they are, and then one that tells where there is data."""
        count = len(self.indexes)
        return View(path, self.width, self.height, tuple(range(1, count + 1)), self.dtype, (str(count + 1),))

    def xml(self, place: str = "") -> str:
        """The virtual raster, at a place given as elements of its text."""
        bands = "".join(self._band(number, index) for number, index in enumerate(self.indexes, start=1))
        mask = f"<MaskBand>{self._mask()}</MaskBand>" if self.masks else ""
        size = f'rasterXSize="{self.width}" rasterYSize="{self.height}"'
        return f"<VRTDataset {size}>{place}{bands}{mask}</VRTDataset>"

    def _band(self, number: int, index: int) -> str:
        nodata = "" if self.nodata is None else f"<NoDataValue>{self.nodata!r}</NoDataValue>"
        source = self._source("1", index) if self.is_palette else self._source(str(index), factor=self.factor)
        return f'<VRTRasterBand dataType="{GDAL_TYPES[self.dtype]}" band="{number}">{nodata}{source}</VRTRasterBand>'

    def _mask(self) -> str:
        """One byte a pixel: the least of all masks."""
        sources = "".join(
            self._source("1", component=4) if mask == "palette" else self._source(mask) for mask in self.masks
        )
        if len(self.masks) == 1:
            return f'<VRTRasterBand dataType="Byte">{sources}</VRTRasterBand>'
        least = "<PixelFunctionType>min</PixelFunctionType><SourceTransferType>Byte</SourceTransferType>"
        return f'<VRTRasterBand dataType="Byte" subClass="VRTDerivedRasterBand">{least}{sources}</VRTRasterBand>'

    def _source(self, band: str, component: int | None = None, factor: float = 1.0) -> str:
        kind = "SimpleSource" if component is None and factor == 1.0 else "ComplexSource"
        change = "" if component is None else f"<ColorTableComponent>{component}</ColorTableComponent>"
        change += "" if factor == 1.0 else f"<ScaleOffset>0</ScaleOffset><ScaleRatio>{factor!r}</ScaleRatio>"
        options = (
            "" if self.level is None else f'<OpenOptions><OOI key="OVERVIEW_LEVEL">{self.level}</OOI></OpenOptions>'
        )
        file = f'<SourceFilename relativeToVRT="0">{escape(gdal_name(self.path))}</SourceFilename>{options}'
        return f"<{kind}>{file}<SourceBand>{band}</SourceBand>{change}</{kind}>"


def _is_value(values: Pixels, value: float) -> Mask:
    """Where numbers are the one that means no data; of floats, as far as 32 bits tell, since files round either."""
    if np.isnan(value):
        return np.isnan(values)
    if values.dtype.kind != "f" or value == 0:
        return np.asarray(values == value, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values.astype(np.float32) == np.float32(value), bool)


def view_of(header: Any, path: str, choice: BandChoice, *, placed_anew: bool = False) -> View:  # noqa: ANN401
    """What of an open file is read for a choice of bands.

    Args:
        header: the file, open.
        path: how it was opened.
        choice: bands.
        placed_anew: whether it will be given another place than the file says.

    Raises:
        SourceError: the file is a container, lacks a band, or has numbers in it that are no brightness.
    """
    _check_container(header)
    _check_parts(header)
    patiently(path, lambda: check_whole(header))
    indexes = _indexes(header, choice)
    plain = View(path, header.width, header.height, indexes, "uint8")
    if is_palette(header, indexes):
        return replace(plain, is_palette=True, masks=_palette_masks(header))
    # Other formats have no such tag, and some read the file to its end to say so.
    if header.driver in ("GTiff", "COG") and header.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        raise SourceError(
            f"{header.name} is a negative, with 0 for white (MINISWHITE): make a positive of it first, with "
            "`gdal_translate -scale 0 255 255 0 IN OUT.tif`"
        )
    if any(header.dtypes[i - 1].startswith("complex") for i in indexes):  # numpy knows not all that GDAL has
        raise SourceError(
            f"{header.name} holds complex numbers, as radar does before it is a picture: make amplitudes of them first"
        )
    types = [np.dtype(header.dtypes[i - 1]) for i in indexes]
    dtype = np.result_type(*types).name
    nodata, more = _nodata(header, indexes, choice.nodata, dtype)
    masks = (*_masks(header, indexes), *more)
    is_whole = indexes == tuple(range(1, header.count + 1)) and len(set(types)) == 1
    factor = 1.0 if choice.is_stretched or dtype != "uint8" else 255 / (2 ** max(_bits(header, i) for i in indexes) - 1)
    is_direct = is_whole and not masks and not placed_anew and not header.gcps[0] and factor == 1.0
    nodata = None if nodata is None else nodata * factor
    return replace(plain, dtype=dtype, nodata=nodata, masks=masks, factor=factor, is_direct=is_direct)


def _bits(header: Any, index: int) -> int:  # noqa: ANN401
    """How many bits of a band's type its numbers have: a TIFF or PNG may store fewer than the eight that are read."""
    most = 8 * np.dtype(header.dtypes[index - 1]).itemsize
    told = header.tags(index, ns="IMAGE_STRUCTURE").get("NBITS", "")
    return int(told) if told.isdecimal() and 0 < int(told) < most else most


def _check_container(header: Any) -> None:  # noqa: ANN401
    """Refuse a file that is no raster itself but holds some.

    Raises:
        SourceError: naming them.
    """
    names = header.subdatasets
    if header.count:
        is_animated = header.driver in ("GIF", "BIGGIF") and header.count > 1
        if is_animated:
            raise NotAPictureError(
                f"{header.name} is an animation of {header.count} pictures: save the one that is meant as a picture of "
                "its own"
            )
        if names and header.driver == "GTiff":
            _tell_pages(header.name, len(names))
        return
    if not names:
        raise SourceError(f"{header.name} has no band in it")
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    raise SourceError(
        f"{header.name} holds {len(names)} rasters; name one of them with --input: "
        f"{', '.join(repr(name) for name in names[:_MOST_NAMED])}{more}. Several that are bands of one picture can be "
        "joined with `gdalbuildvrt -separate joined.vrt ONE TWO THREE`"
    )


def _tell_pages(name: str, count: int) -> None:
    """Say of the first such file in this process that its further pages are not read: there may be a million more."""
    if not _told_of_pages:
        _told_of_pages.append(name)
        logger.warning(
            "%s has %d pages, of which the first is read; name another as GTIFF_DIR:2:FILE. This is said only once",
            *(name, count),
        )


_told_of_pages: list[str] = []


def _check_parts(header: Any) -> None:  # noqa: ANN401
    """Refuse a virtual raster that lacks a file: GDAL says so once, and then reads zeros where the file should be.

    Raises:
        NotAPictureError: naming the first ones.
    """
    if header.driver != "VRT":
        return
    gone = [f for f in header.files if not (f.startswith(("/vsi", "<")) or "://" in f or Path(f).exists())]
    if gone:
        raise NotAPictureError(f"{header.name} is put together of files that are not there: {', '.join(gone[:3])}")


def _indexes(header: Any, choice: BandChoice) -> tuple[int, ...]:  # noqa: ANN401
    """Bands of the file, or components of a palette's colours.

    Raises:
        SourceError: it lacks one, or numbers of colours would be read as brightness.
    """
    from rasterio.enums import ColorInterp

    kinds = header.colorinterp
    palette = ColorInterp.palette in kinds
    if palette and header.count <= 2 and set(kinds) <= {ColorInterp.palette, ColorInterp.alpha}:
        components = choice.indexes or (1, 2, 3)[: len(choice.names)]
        if set(components) <= {1, 2, 3} and len(set(components)) == len(components) == len(choice.names):
            return components
        raise SourceError(
            f"{header.name} is a palette picture: its band holds numbers of colours, no brightness. It is read as red, "
            "green and blue: leave out --band-indexes"
        )
    indexes = choice.indexes or _by_colour(header, choice.names)
    if any(not 1 <= i <= header.count for i in indexes):
        raise SourceError(
            f"{header.name} has {header.count} bands, asked for {indexes}; choose others with --band-indexes"
        )
    if numbers := [i for i in indexes if kinds[i - 1] == ColorInterp.palette]:
        raise SourceError(
            f"{header.name}: band {numbers[0]} holds numbers of colours or classes, no brightness; choose others with "
            "--band-indexes, or make it three bands with `gdal_translate -b N -expand rgb`"
        )
    return indexes


def _by_colour(header: Any, names: Sequence[str]) -> tuple[int, ...]:  # noqa: ANN401
    """The first bands, but for red, green and blue those that the file calls so."""
    first = tuple(range(1, len(names) + 1))
    kinds = [kind.name for kind in header.colorinterp]
    if tuple(names) != RGB or any(kinds.count(colour) != 1 for colour in RGB):
        return first
    told = tuple(kinds.index(colour) + 1 for colour in RGB)
    if told != first:
        logger.warning(
            "%s: bands %s are read as red, green and blue, since the file calls them so; --band-indexes overrules it",
            *(header.name, ",".join(map(str, told))),
        )
    return told


def is_palette(header: Any, indexes: Sequence[int]) -> bool:  # noqa: ANN401
    """Whether bands are components of the colours of the file's one band."""
    from rasterio.enums import ColorInterp

    return ColorInterp.palette in header.colorinterp[:1] and header.count <= 2 and max(indexes) <= 3


def _palette_masks(header: Any) -> tuple[str, ...]:  # noqa: ANN401
    """What tells where a palette picture has data: transparent colours, a number for no data, a mask.

    Raises:
        SourceError: it has no table of colours.
    """
    try:
        table = header.colormap(1)
    except ValueError as err:
        raise NotAPictureError(f"{header.name} calls itself a palette picture but has no table of colours") from err
    # GDAL passes over a number that has no colour: what it leaves of the colours is black, of what shows there nothing.
    is_part = len(table) < 2 ** _bits(header, 1) or any(colour[3] < 255 for colour in table.values())
    see_through = ("palette",) if is_part else ()
    return (*_masks(header, (1,)), *(("mask,1",) if header.nodata is not None else ()), *see_through)


def _masks(header: Any, indexes: Sequence[int]) -> tuple[str, ...]:  # noqa: ANN401
    """The alpha band and the masks of these bands, each once; nodata values are not among them."""
    from rasterio.enums import ColorInterp, MaskFlags

    kinds = header.colorinterp
    masks = [str(kinds.index(ColorInterp.alpha) + 1)] if ColorInterp.alpha in kinds else []
    for index in indexes:
        flags = header.mask_flag_enums[index - 1]
        if MaskFlags.all_valid in flags or MaskFlags.nodata in flags or MaskFlags.alpha in flags:
            continue
        if MaskFlags.per_dataset not in flags or not any(mask.startswith("mask") for mask in masks):
            masks.append(f"mask,{index}")
    return tuple(masks)


def _nodata(header: Any, indexes: Sequence[int], given: float | None, dtype: str) -> tuple[float | None, Sequence[str]]:  # noqa: ANN401
    """The one value that means no data; or, where bands have values of their own, their masks."""
    told = [given if header.nodatavals[i - 1] is None else header.nodatavals[i - 1] for i in indexes]
    values = {None if value is None or not _fits(value, dtype) else float(value) for value in told}
    if all(value is not None and np.isnan(value) for value in values):
        return float("nan"), ()
    if len(values) == 1:
        return values.pop(), ()
    return None, [f"mask,{i}" for i in indexes if header.nodatavals[i - 1] is not None]


def _fits(value: float, dtype: str) -> bool:
    """Whether a band of this type can have the value at all; files often name one that they can't."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    limits = np.iinfo(kind)
    return bool(np.isfinite(value) and value == int(value) and limits.min <= value <= limits.max)


def open_raster(name: str, path: str | None = None, **options: Any) -> Any:  # noqa: ANN401
    """Open a file, or the text of a virtual raster over a file, without a word about its place: others judge that.

    Args:
        name: a file, or any name that GDAL opens.
        path: of the file below a virtual raster, for messages.
        **options: as of rasterio.open.

    Raises:
        NotAPictureError: not a raster, or there is none.
        UnreachableError: its server does not answer, or is busy.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    path = path or name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            return patiently(path, lambda: rasterio.open(name, **options))
        except library_errors() as err:
            raise read_error(f"{public_name(path)} can't be opened as a raster", path, err) from err
