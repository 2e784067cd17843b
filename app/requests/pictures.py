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
        InvalidInputError: too small, moving, transparent throughout, with other bands than 1, 3 or 4, or not of 8 bits.
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
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own pixel warning: ours is the stricter cap
            with Image.open(io.BytesIO(content), formats=PLAIN_FORMATS) as picture:
                _check_size(picture.width, picture.height, max_pixels)
                if picture.mode.startswith(("I", "F")):  # more than 8 bits, which Pillow would cut off at 255
                    raise InvalidInputError(
                        "picture must have 8 bits a band, this one has more; stretch it to 0..255 first", "image"
                    )
                if (frames := getattr(picture, "n_frames", 1)) > 1:
                    raise InvalidInputError(
                        f"picture moves: it has {frames} pictures in it; send the one that is meant", "image"
                    )
                # As a viewer shows it: turned as the camera noted, and without what is transparent.
                upright = ImageOps.exif_transpose(picture)
                rgba = np.asarray(upright.convert("RGBA"), np.uint8).transpose(2, 0, 1)  # (H, W, 4) -> (4, H, W)
    except InvalidInputError:
        raise  # ours; a ValueError too
    except UnidentifiedImageError as err:
        raise UnsupportedMediaError(
            "picture must be a PNG, JPEG, WebP or GeoTIFF; this file is none of these", "image"
        ) from err
    except Image.DecompressionBombError as err:  # raised from the header, far beyond any cap of ours
        raise BodyTooLargeError(f"picture has too many pixels; at most {max_pixels} are allowed", "image") from err
    except (OSError, ValueError, SyntaxError, EOFError) as err:
        raise UnsupportedMediaError("picture is damaged, or was cut short on its way; send it again", "image") from err
    return _seen(rgba[:3], rgba[3])


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
                there = source.dataset_mask()  # by an alpha band, a mask or a value for no data
                if source.count == 4 and np.mean((there > 0) & (there < 255)) > 0.5:
                    there = np.full_like(there, 255)  # near infrared, which many programs mark as alpha, is no mask
    except RasterioError as err:
        raise UnsupportedMediaError(
            "GeoTIFF can't be read: it is damaged, was cut short, or is packed in a way not known here",
            "image",
        ) from err
    return _seen(np.asarray(bands, np.uint8), there)


def _seen(colours: Pixels, alpha: Pixels) -> Pixels:
    """Colours without what can't be seen: transparent pixels take the mean colour of the others, and so say nothing.

    Args:
        colours: (3, H, W).
        alpha: (H, W), 0 where the picture is transparent, 255 where it is not.

    Raises:
        InvalidInputError: nothing can be seen.
    """
    if not alpha.any():
        raise InvalidInputError("picture is transparent everywhere; there is nothing to compare", "image")
    if alpha.all() and alpha.min() == 255:
        return np.ascontiguousarray(colours)
    weight = alpha.astype(np.float32) / 255.0
    mean = (colours * weight).sum(axis=(1, 2), keepdims=True) / weight.sum()
    return np.ascontiguousarray(np.round(colours * weight + mean * (1.0 - weight)).astype(np.uint8))


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
    kinds = [kind.name for kind in source.colorinterp]
    if source.count == 4 and kinds[3] not in ("alpha", "undefined"):
        raise InvalidInputError(
            f"the fourth band of a GeoTIFF must be alpha, this one has {', '.join(kinds)}; send red, green, blue alone",
            "image",
        )
    for height, width in source.block_shapes:  # a block is decoded whole, however little of it the picture covers
        if height * width > max_pixels:
            raise BodyTooLargeError(
                f"GeoTIFF is stored in blocks of {width} x {height} = {width * height} pixels, at most {max_pixels} "
                "are allowed; write it with smaller ones, such as 256 x 256",
                "image",
            )
