"""Reads one picture, a file Pillow knows or a window of a raster, as (C, H, W) with the bands that a model asks for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wildsat_core.bands import RGB, select_bands
from wildsat_core.errors import SourceError

PICTURES = {".png", ".jpg", ".jpeg", ".webp"}
Window = tuple[int, int, int, int]  # left, top, width, height in pixels
Pixels = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class PixelReader:
    """How pictures of one data set are read.

    Attributes:
        root: folder that paths begin at.
        available: bands of a file, in order.
        wanted: bands to give, in order.
        band_files: bands beyond red, green and blue are files in folders beside the picture's.
        side_px: side of what is given; a picture of another size is resized. None gives pictures as they are.
        single_valued: pictures of one value everywhere are given too, not refused.
    """

    root: Path
    available: tuple[str, ...] = RGB
    wanted: tuple[str, ...] = RGB
    band_files: bool = False
    side_px: int | None = None
    single_valued: bool = False

    def read(self, path: str, window: Window | None = None) -> Pixels:
        """(C, H, W) in the file's own type, uint8 or uint16.

        Raises:
            SourceError: the file is missing, damaged, without the bands, all of one value or partly without; it is
                named.
        """
        try:
            if self.band_files:
                pixels = self._read_band_files(path, window)
            else:
                pixels = self._read_file(self.root / path, select_bands(self.available, self.wanted), window)
        except (OSError, ValueError, SyntaxError) as err:  # Pillow raises SyntaxError for a broken PNG
            raise SourceError(f"{self.root / path} can't be read: {err}") from err
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise SourceError(f"{self.root / path} has pixels that are not numbers: no data there")
        if not self.single_valued and pixels.min() == pixels.max():
            raise SourceError(f"{self.root / path} has one value everywhere: no data")
        return pixels

    def _read_file(self, file: Path, rows: Sequence[int], window: Window | None) -> Pixels:
        if file.suffix.lower() in PICTURES and window is None and max(rows) < len(RGB):
            picture = _read_picture(file, rows, self.side_px)
            if picture is not None:
                return picture
        return _read_raster(file, rows, window, self.side_px)

    def _read_band_files(self, path: str, window: Window | None) -> Pixels:
        """`<scene>/tci/<name>` holds red, green and blue, `<scene>/<band>/<name>` each other band."""
        picture = self.root / path
        parts = [self._read_file(picture, select_bands(RGB, [b for b in self.wanted if b in RGB]), window)]
        for band in (b for b in self.wanted if b not in RGB):
            file = picture.parent.parent / band / picture.name
            if not file.is_file():
                raise SourceError(f"{file} is missing; a missing band is not filled in")
            parts.append(self._read_file(file, (0,), window))
        order = [b for b in self.wanted if b in RGB] + [b for b in self.wanted if b not in RGB]
        return np.concatenate(parts)[[order.index(b) for b in self.wanted]]


def _read_picture(file: Path, rows: Sequence[int], side_px: int | None) -> Pixels | None:
    """Grey or true colour of eight bits; None for deeper pictures, which Pillow would cut down to that."""
    from PIL import Image

    try:
        opened = Image.open(file)
    except Image.DecompressionBombError as err:
        raise ValueError(str(err)) from err
    with opened:
        if opened.mode.startswith(("I", "F")):
            return None
        picture = opened.convert("L" if max(rows) == 0 and opened.mode == "L" else "RGB")
    if side_px is not None and picture.size != (side_px, side_px):
        picture = picture.resize((side_px, side_px), Image.Resampling.BILINEAR)  # antialiased
    pixels = np.asarray(picture)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[list(rows)])


def _read_raster(file: Path, rows: Sequence[int], window: Window | None, side_px: int | None) -> Pixels:
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.windows import Window as RasterWindow

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a deep PNG lies nowhere; its table says where
            raster = rasterio.open(file)
        with raster:
            if max(rows) >= raster.count:
                raise ValueError(f"it has {raster.count} bands, band {max(rows) + 1} is asked for")
            part = None if window is None else RasterWindow(*window)
            shape = None if side_px is None else (len(rows), side_px, side_px)
            pixels: Pixels = raster.read(
                [row + 1 for row in rows], window=part, out_shape=shape, resampling=Resampling.bilinear
            )
            return pixels
    except RasterioError as err:
        raise OSError(str(err)) from err
