"""Whether a picture's file is whole. GDAL gives the pixels of some damaged files without a word.

What can be known depends on the format. PNG has a checksum for each of its parts, which are tested here: GDAL's fast
way of reading a cut PNG leaves whatever was in memory. A JPEG, WebP, JPEG 2000, GIF or TIFF that is cut is an error of
its decoder. A byte that was changed inside of one of these is found where the compression notices (deflate and LERC do
mostly, LZW, WebP and JPEG rarely): such files have nothing by which to tell.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from indexer.sources.protocol import NotAPictureError

# In force around every opening and reading (`remote.gdal_environment`): GDAL's ways of passing over damage, off. The
# first is its fast way of reading whole PNGs, the second leaves what libjpeg warns of ("Corrupt JPEG data") at a
# warning.
# https://gdal.org/en/stable/drivers/raster/jpeg.html#configuration-options
STRICT: Final[Mapping[str, str]] = {"GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO", "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES"}

_PNG: Final = b"\x89PNG\r\n\x1a\n"


def check_intact(data: bytes, what: str) -> None:
    """Refuse the bytes of a PNG that is cut or changed; other formats are left to their decoders.

    Raises:
        NotAPictureError: naming `what`.
    """
    if not data:
        raise NotAPictureError(f"{what} can't be read as a picture: it is empty")
    if data.startswith(_PNG) and (fault := _png_fault(memoryview(data))):
        raise NotAPictureError(f"{what} is damaged: {fault}")


def check_intact_file(path: Path) -> None:
    """The same for a file; one that is no PNG is not read further than its first bytes.

    Raises:
        NotAPictureError: damaged, or it can't be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_PNG))
            check_intact(start + file.read() if start == _PNG else start, str(path))
    except OSError as err:
        raise NotAPictureError(f"{path} can't be read: {err.strerror}") from err


def _png_fault(data: memoryview) -> str | None:
    """What is wrong with a PNG, None for nothing: each part's length and checksum, up to the part that ends it.

    Source: https://www.w3.org/TR/png-3/#5Chunk-layout
    """
    at = len(_PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return f"its part at byte {at} does not agree with its checksum"
        if bytes(data[at + 4 : at + 8]) == b"IEND":
            return None
        at = end
    return f"it ends after {len(data)} bytes, before its end"
