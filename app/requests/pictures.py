"""Uploaded pictures: decoded under caps on bytes and pixels, only from four formats, whatever the client calls them."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.failures import BodyTooLargeError, UnsupportedMediaError
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.query import ImageTerm, Query

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

    from app.catalog import Served

PLAIN_FORMATS = ("PNG", "JPEG", "WEBP")
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/tiff")
TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
LEAST_SIDE_PX = 8

Pixels = npt.NDArray[np.uint8]


def decode_picture(content: bytes, max_pixels: int) -> Pixels:
    """Decode a PNG, JPEG, WebP or GeoTIFF.

    Returns:
        (3, H, W) uint8, red, green, blue.

    Raises:
        UnsupportedMediaError: another kind of file, or a damaged one.
        BodyTooLargeError: more pixels than allowed, in all or in one block; checked before they are decoded.
        InvalidInputError: too small, with other bands than 1, 3 or 4, or not of 8 bits; checked likewise.
    """
    pixels = _decode_tiff(content, max_pixels) if content.startswith(TIFF_MAGIC) else _decode_plain(content, max_pixels)
    if min(pixels.shape[1:]) < LEAST_SIDE_PX:
        raise InvalidInputError(
            f"picture must be at least {LEAST_SIDE_PX} pixels wide and high, got {pixels.shape[2]} x {pixels.shape[1]}",
            "image",
        )
    return pixels


def picture_term(served: Served, pixels: Pixels) -> dict[str, Any]:
    """A picture as a term in JSON; every digit that a float32 has, so that asking again gives the same scores.

    Args:
        served: the collection to be searched, whose model embeds the picture.
        pixels: (3, H, W) red, green, blue.
    """
    (part,) = served.engine.plan(Query((ImageTerm(pixels),))).parts
    return {"vector": [float(str(number)) for number in part.vector], "space": part.space}


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise BodyTooLargeError(
            f"picture has {width} x {height} = {width * height} pixels, at most {max_pixels} are allowed", "image"
        )


def _decode_plain(content: bytes, max_pixels: int) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own pixel warning: ours is the stricter cap
            with Image.open(io.BytesIO(content), formats=PLAIN_FORMATS) as picture:
                _check_size(picture.width, picture.height, max_pixels)
                if picture.mode.startswith(("I", "F")):  # more than 8 bits, which Pillow would cut off at 255
                    raise InvalidInputError(
                        "picture must have 8 bits a band, this one has more; stretch it to 0..255 first", "image"
                    )
                rgb = np.asarray(picture.convert("RGB"), np.uint8)
    except InvalidInputError:
        raise  # ours; a ValueError too
    except UnidentifiedImageError as err:
        raise UnsupportedMediaError(
            "picture must be a PNG, JPEG, WebP or GeoTIFF; this file is none of these", "image"
        ) from err
    except Image.DecompressionBombError as err:  # raised from the header, far beyond any cap of ours
        raise BodyTooLargeError(
            f"picture is too large: {err}; at most {max_pixels} pixels are allowed", "image"
        ) from err
    except (OSError, ValueError, SyntaxError, EOFError) as err:
        raise UnsupportedMediaError(f"picture is damaged: {err}", "image") from err
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))  # (H, W, 3) -> (3, H, W)


def _decode_tiff(content: bytes, max_pixels: int) -> Pixels:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            # Only the TIFF driver: others follow references to other files and addresses.
            with rasterio.MemoryFile(content) as memory, memory.open(driver="GTiff") as source:
                _check_tiff(source, max_pixels)
                bands = source.read([1, 1, 1] if source.count == 1 else [1, 2, 3])
    except RasterioError as err:
        raise UnsupportedMediaError(f"GeoTIFF can't be read: {err}", "image") from err
    return np.ascontiguousarray(bands, np.uint8)


def _check_tiff(source: DatasetReader, max_pixels: int) -> None:
    """Refuse by the header alone what would take much memory to read, or could not be used once read."""
    _check_size(source.width, source.height, max_pixels)
    if source.count not in (1, 3, 4):
        raise InvalidInputError(
            f"GeoTIFF must have 1 band, or red, green, blue and perhaps alpha; this one has {source.count}", "image"
        )
    if source.colorinterp[0].name == "palette":
        raise InvalidInputError(
            "GeoTIFF must hold true colour, this one holds numbers of colours; `gdal_translate -expand rgb` helps",
            "image",
        )
    strange = next((kind for kind in source.dtypes if kind != "uint8"), None)
    if strange is not None:
        raise InvalidInputError(
            f"GeoTIFF must hold 8-bit true colour, this one holds {strange}; stretch it to 0..255 first", "image"
        )
    for height, width in source.block_shapes:  # a block is decoded whole, however little of it the picture covers
        if height * width > max_pixels:
            raise BodyTooLargeError(
                f"GeoTIFF is stored in blocks of {width} x {height} = {width * height} pixels, at most {max_pixels} "
                "are allowed; write it with smaller ones, such as 256 x 256",
                "image",
            )
