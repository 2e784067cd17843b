import io
import logging

import pytest

from wildsat_core.addresses import (
    is_remote,
    keep_secrets_out_of_logs,
    public_name,
    same_when_signed_anew,
    without_secrets,
)

SIGNED = [
    "https://store.example/a.tif?sig=SECRET&se=2030-01-01",
    "https://b.s3.example/a.tif?X-Amz-Algorithm=x&X-Amz-Signature=SECRET",
    "https://me:SECRET@store.example/a.tif",
    "https://SECRET@store.example/a.tif?layer=3",
    "/vsicurl/https://store.example/a.tif?token=SECRET",
    "/vsicurl?max_retry=3&url=https%3A%2F%2Fstore.example%2Fa.tif%3Fsig%3DSECRET",
    'NETCDF:"https://store.example/a.nc?sig=SECRET":red',
    "vrt://https://store.example/a.tif?sig=SECRET&bands=1",
    "https://tiles.example/{z}/{x}/{y}.png?access_token=SECRET",
    "/vsizip//vsicurl/https://me:SECRET@store.example/a.zip?k=SECRET/a.tif",
    "HTTP 403 while opening 'https://store.example/a.tif?sig=SECRET' (see https://help.example)",
    "Retrying after connection broken: /search?token=1&api_key=SECRET&x=1",
    "PG:host=db user=me password=SECRET dbname=x",
]


@pytest.mark.parametrize("text", SIGNED)
def test_no_secret_of_an_address_is_shown(text):
    assert "SECRET" not in without_secrets(text)
    assert "SECRET" not in public_name(text)


def test_what_is_no_secret_is_shown_as_it_is():
    for text in (
        "https://store.example:8080/a b.tif",
        "/data/a?b.tif",
        "C:\\a.tif",
        "is this a.tif? yes",
        "tokens=3",
        "alps, 3 of 4 (a@b)",
        "s3://bucket/key.tif",
    ):
        assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("https://h/a.tif", True),
        ("zip+https://h/a.zip!b.tif", True),
        ("s3://b/a.tif", True),
        ("/vsicurl/https://h/a.tif", True),
        ("/vsizip//vsicurl/https://h/a.zip/b.tif", True),
        ("/vsitar/{/vsis3/b/a.tar}/b.tif", True),
        ("zip:///data/a.zip!b.tif", False),
        ("tar://a.tar!b.tif", False),
        ("file:///data/a.tif", False),
        ("/vsizip//data/a.zip/b.tif", False),
        ("/data/https/a.tif", False),
        ("NETCDF:/data/a.nc:sst", False),
    ],
)
def test_what_lies_in_an_archive_here_is_not_on_another_machine(name, expected):
    assert is_remote(name) is expected


def test_an_address_means_the_same_whoever_signed_it_and_when():
    first = "https://a:b@store.example/a.tif?layer=3&sig=AAA&se=2030&sp=r&X-Amz-Date=1"
    again = "https://store.example/a.tif?layer=3&sig=BBB&se=2031&sp=r&X-Amz-Date=2"
    assert same_when_signed_anew(f"Source(path='{first}')") == same_when_signed_anew(f"Source(path='{again}')")
    assert same_when_signed_anew(first) != same_when_signed_anew(again.replace("layer=3", "layer=4"))
    bare = "https://store.example/a.tif"
    assert same_when_signed_anew(f"{bare}?sig=1&se=2") == same_when_signed_anew(bare)


def test_logs_of_any_library_hold_no_secret(monkeypatch):
    before = logging.getLogRecordFactory()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    try:
        keep_secrets_out_of_logs()
        keep_secrets_out_of_logs()  # a second time changes nothing
        logger.warning("retrying %s, %d left", SIGNED[0], 3)
    finally:
        logging.setLogRecordFactory(before)
        logger.removeHandler(handler)
    assert stream.getvalue() == "retrying https://store.example/a.tif?…, 3 left\n"
