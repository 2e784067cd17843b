"""One table from what libraries raise when a file is damaged, odd or out of reach to sentences that help.

Around every call into a library that reads what users give, code says `except library_errors() as err:` and raises
`read_error(...)`. Errors of our own pass, and so do those that only a mistake in this program could cause.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

from indexer.sources.protocol import NotAPictureError, UnreachableError
from wildsat_core.addresses import http_address, is_remote, without_secrets
from wildsat_core.errors import SourceError

# Beginnings of GDAL's, PROJ's and others' own words, for errors whose class says nothing; the first that fits.
_BY_WORDS: Final = (
    ("more than one dtype found", "its bands are of different types of numbers"),
    (
        "webpdecode",
        "its bytes are damaged, or it is animated: save the picture that is meant as one of its own",
    ),
    ("null color table", "it calls itself a palette picture but has no table of colours"),
    ("has no color table", "it calls itself a palette picture but has no table of colours"),
    ("cannot find coordinate operations", "its coordinate system has no known way to longitudes and latitudes"),
    ("point outside of projection domain", "it reaches beyond what its projection can show of the Earth"),
    ("unable to compute a transformation", "its pixels are not tied to places"),
    ("aws_no_sign_request", "its store wants credentials; of a public one, set AWS_NO_SIGN_REQUEST=YES"),
    ("gs_no_sign_request", "its store wants credentials; of a public one, set GS_NO_SIGN_REQUEST=YES"),
    ("gs_secret_access_key", "its store wants credentials; of a public one, set GS_NO_SIGN_REQUEST=YES"),
    ("azure_no_sign_request", "its store wants credentials; of a public one, set AZURE_NO_SIGN_REQUEST=YES"),
    ("too many open files", "too many files are open: give fewer --workers, or raise the limit (ulimit -n)"),
)


# Classes, and what they mean; the first row that fits. They are named, not imported: what raised is loaded already.
_TABLE: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("builtins.MemoryError", "rasterio._err.CPLE_OutOfMemoryError"), "there is too little memory for it"),
    (("PIL.Image.DecompressionBombError",), "it is suspiciously large"),
    (("rasterio.errors.CRSError", "pyproj.exceptions.CRSError"), "its coordinate system can't be understood"),
    (
        ("rasterio._err.CPLE_NotSupportedError", "rasterio._err.CPLE_IllegalArgError"),
        "it uses something that GDAL does not support here",
    ),
    (("rasterio._err.CPLE_HttpResponseError", "rasterio._err.CPLE_AWSError"), "its server does not give it"),
    (("rasterio._err.CPLE_UserInterruptError",), "reading it was interrupted"),
    (("rasterio.errors.RasterioError", "rasterio._err.CPLE_BaseError"), ""),
    (("builtins.SystemError",), "GDAL fails without a reason"),  # rasterio's word for that
    (("pyarrow.lib.ArrowException",), "it is not the Parquet that its footer promises"),
    (("sqlite3.Error",), "its database is damaged"),
    (("shapely.errors.ShapelyError",), "its geometry is damaged"),
    (("zlib.error", "struct.error", "builtins.EOFError", "builtins.SyntaxError"), "its bytes are damaged"),
    (("builtins.UnicodeError",), "its text is not UTF-8"),
    (
        (
            "json.decoder.JSONDecodeError",
            "pystac.errors.STACError",
            "pystac.errors.STACTypeError",
            "pystac_client.errors.ClientTypeError",
            "pystac_client.warnings.PystacClientWarning",
        ),
        "its server does not answer as a STAC API does",
    ),
    (("requests.exceptions.RequestException", "httpx.HTTPError"), "its server does not answer"),
    (("pystac_client.exceptions.APIError",), "its server refuses"),
    (("pystac_client.exceptions.ParametersError",), "it can't be asked for this"),
    (("builtins.OSError", "builtins.ValueError", "builtins.OverflowError", "builtins.RecursionError"), ""),
)


def _loaded(names: Iterable[str]) -> tuple[type[BaseException], ...]:
    """Classes by name, of the modules that are loaded."""
    parts = (name.rpartition(".") for name in names)
    return tuple(getattr(sys.modules[module], kind) for module, _, kind in parts if module in sys.modules)


def library_errors() -> tuple[type[BaseException], ...]:
    """All classes of the table, for an `except`; none of ours: those say already what is wrong.

    `SourceError` is no OSError or ValueError, but some of our errors are; raise those outside of the `try`.
    """
    return _loaded(name for names, _ in _TABLE for name in names)


def sentence(err: BaseException) -> str:
    """What an error of a library means, and its own words where they say more."""
    if "previous exception" in str(err) and err.__cause__ is not None:  # rasterio's way of saying nothing
        return sentence(err.__cause__)
    words = " ".join(str(err).split()) or type(err).__name__
    meaning = next((told for found, told in _BY_WORDS if found in words.lower()), None)
    if meaning is None:
        meaning = next((told for names, told in _TABLE if isinstance(err, _loaded(names))), "")
    return f"{meaning} ({words})" if meaning else words


def read_error(what: str, path: str, err: BaseException) -> SourceError:
    """Our error for a library's about a file; the query of a signed address is kept out of the message.

    Args:
        what: names the file and says what could not be done.
        path: the file, as it was opened.
        err: what the library raised.

    Returns:
        `UnreachableError` where a server may be at fault that can't be asked (`remote.py` asks those of HTTP), else
        `NotAPictureError`.
    """
    message = without_secrets(f"{what}: {sentence(err)}")
    is_unknown = is_remote(path) and http_address(path) is None
    return UnreachableError(message) if is_unknown else NotAPictureError(message)
