"""Whatever a library raises while a file is read becomes one of our errors with a sentence; mistakes of ours do not."""

import sqlite3
import struct
import zlib

import httpx
import pyarrow as pa
import pyproj.exceptions
import pystac
import pystac_client.errors
import pystac_client.exceptions
import pystac_client.warnings
import pytest
import rasterio.errors
import requests
import shapely
from PIL import Image
from rasterio import _err as gdal

from indexer.sources.library_errors import library_errors, read_error, sentence
from indexer.sources.protocol import NotAPictureError, UnreachableError

KINDS = [
    (MemoryError(), "too little memory"),
    (gdal.CPLE_OutOfMemoryError(3, 2, "no room"), "too little memory"),
    (Image.DecompressionBombError("large"), "suspiciously large"),
    (rasterio.errors.CRSError("The WKT could not be parsed"), "coordinate system can't be understood"),
    (gdal.CPLE_NotSupportedError(3, 6, "Cannot find coordinate operations from `A' to `B'"), "no known way"),
    (gdal.CPLE_NotSupportedError(3, 6, "Unsupported data format"), "does not support"),
    (gdal.CPLE_IllegalArgError(3, 5, "odd"), "does not support"),
    (gdal.CPLE_HttpResponseError(3, 11, "403"), "server does not give it"),
    (gdal.CPLE_AppDefinedError(3, 1, "Point outside of projection domain"), "beyond what its projection"),
    (rasterio.errors.RasterioIOError("more than one dtype found"), "different types of numbers"),
    (rasterio.errors.RasterioIOError("Read failed"), "Read failed"),
    (SystemError("Unknown GDAL Error."), "GDAL fails without a reason"),
    (ValueError("NULL color table"), "no table of colours"),
    (pa.ArrowInvalid("magic bytes"), "not the Parquet"),
    (sqlite3.DatabaseError("malformed"), "database is damaged"),
    (shapely.errors.GEOSException("ring"), "geometry is damaged"),
    (zlib.error("incorrect header"), "bytes are damaged"),
    (struct.error("unpack"), "bytes are damaged"),
    (SyntaxError("broken PNG file"), "bytes are damaged"),
    (EOFError(), "bytes are damaged"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "not UTF-8"),
    (OSError(24, "Too many open files"), "too many files are open"),
    (pyproj.exceptions.CRSError("Invalid projection"), "coordinate system can't be understood"),
    (requests.exceptions.JSONDecodeError("Expecting value", "<html>", 0), "does not answer as a STAC API does"),
    (requests.exceptions.ConnectionError("refused"), "server does not answer"),
    (requests.exceptions.RetryError("too many 503"), "server does not answer"),
    (httpx.ReadTimeout("slow"), "server does not answer"),
    (pystac.errors.STACTypeError({}, pystac.Catalog), "does not answer as a STAC API does"),
    (pystac_client.errors.ClientTypeError("not a Client"), "does not answer as a STAC API does"),
    (pystac_client.warnings.DoesNotConformTo("ITEM_SEARCH"), "does not answer as a STAC API does"),
    (pystac_client.exceptions.APIError("500"), "server refuses"),
    (pystac_client.exceptions.ParametersError("bbox"), "can't be asked for this"),
]


@pytest.mark.parametrize(("err", "told"), KINDS, ids=lambda v: type(v).__name__ if isinstance(v, Exception) else None)
def test_each_kind_becomes_a_sentence(err, told):
    assert isinstance(err, library_errors())
    assert told in sentence(err)
    ours = read_error("a.tif: tile t can't be read", "a.tif", err)
    assert isinstance(ours, NotAPictureError)
    assert str(ours).startswith("a.tif: tile t can't be read: ")
    assert "\n" not in str(ours)


def test_mistakes_of_our_own_are_not_passed_off_as_a_files():
    for err in (AssertionError(), TypeError(), AttributeError(), KeyError(), KeyboardInterrupt()):
        assert not isinstance(err, library_errors())


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://host/a.tif?sig=secret", NotAPictureError),  # that server was asked, and is well
        ("s3://bucket/a.tif?sig=secret", UnreachableError),
        ("/vsigs/bucket/a.tif?sig=secret", UnreachableError),
    ],
)
def test_a_server_that_can_not_be_asked_may_answer_later_and_an_address_keeps_its_secret(address, kind):
    err = read_error("a.tif can't be read", address, rasterio.errors.RasterioIOError(f"{address}: timed out"))
    assert type(err) is kind
    assert "secret" not in str(err)


def test_rasterio_is_asked_for_the_exception_that_it_points_to():
    err = OSError("Read failed. See previous exception for details.")
    err.__cause__ = ValueError("the file's third block is cut")
    assert sentence(err) == "the file's third block is cut"
