"""Addresses without what is secret in them: a signed address, or one with a password, is never shown or kept."""

from __future__ import annotations

import logging
import re
from typing import Any, Final

# An address within any text, as far as its query: GDAL's names have them inside ("/vsicurl/https://…", "NETCDF:…").
_ADDRESS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/?#@'\"<>]*@)?(?P<place>[^\s?#'\"<>|]*)(?P<query>\?[^\s'\"<>|]*[^\s'\"<>|,.;)])?"
)
# GDAL's other spelling, all of it in a query: https://gdal.org/en/stable/user/virtual_file_systems.html#vsicurl
_VSI_QUERY: Final = re.compile(r"(/vsi[a-z0-9_]+)\?[^\s'\"<>|]*")
# Parameters that sign or identify, as the large stores and common services spell them.
_SIGNING: Final = (
    r"sig|signature|token|access_token|auth_token|sas_token|apikey|api_key|api-key|key|subscription-key|secret|password|"
    r"passwd|pwd|auth|authorization|policy|key-pair-id|expires|awsaccesskeyid|googleaccessid|ossaccesskeyid|"
    r"x-(?:amz|goog|oss|ms)-[a-z-]+|s[eprtv]|sk(?:oid|tid|[tesv])|spr|sr|sip|client_secret|session|credential"
)
_SECRET: Final = re.compile(rf"(?<![\w-])({_SIGNING})=[^\s&;,'\"<>|)]*", re.IGNORECASE)
# The end of an address, as libraries name its file in messages: "a.tif?token=…, band 1".
_QUERY: Final = re.compile(r"(?<=[\w/)])\?(?=[^\s'\"<>|=?]+=)[^\s'\"<>|]*[^\s'\"<>|,.;)]")
_UNMISTAKABLE: Final = re.compile(
    r"(?<![\w-])((?:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature|access_token|api_?key|password|"
    r"pwd|client_secret)=)[^\s&;,'\"<>|)]*",
    re.IGNORECASE,
)


_OF_REQUESTS: Final = "wildsat.access"  # a log of visitors' questions, which holds them only where they are wanted
# What GDAL opens on another machine, by either of its spellings, there perhaps in an archive.
_REMOTE: Final = re.compile(
    r"(?:/vsi(?:zip|tar|gzip|7z|rar)/\{?)*(?:(?!(?:file|zip|tar|gzip)://)[\w+]+://|/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs))"
)
_HTTP: Final = re.compile(r"(?:/vsicurl/)?(https?://.+)", re.IGNORECASE | re.DOTALL)
_STORE: Final = re.compile(r"(?:/vsi(s3|gs|az)/|(s3|gs|az)://)([^/?#\s]+/[^?#\s]+)")


def is_remote(path: str) -> bool:
    """Whether a name that GDAL opens is of a file on another machine."""
    return _REMOTE.match(path) is not None


def http_address(path: str) -> str | None:
    """The address that a name that GDAL opens has in it, if it is fetched over HTTP without more ado."""
    found = _HTTP.fullmatch(path)
    return found[1] if found else None


def store_address(path: str) -> str | None:
    """The address s3://, gs:// or az:// of a file in object storage, by either of GDAL's spellings."""
    found = _STORE.fullmatch(path)
    return f"{found[1] or found[2]}://{found[3]}" if found else None


def without_secrets(text: str) -> str:
    """A text in which no address has a query, a user or a password, for people, logs and files."""

    def public(found: re.Match[str]) -> str:
        return found["scheme"] + found["place"] + ("?…" if found["query"] else "")

    shown = _QUERY.sub("?…", _ADDRESS.sub(public, _VSI_QUERY.sub(r"\1?…", text)))
    return _UNMISTAKABLE.sub(r"\1…", shown)


def public_name(path: str) -> str:
    """A file's or address's name as it may stand in ids and provenance: without query, user and password."""
    return without_secrets(path.partition("?")[0] if is_remote(path) else path).removesuffix("?…")


def same_when_signed_anew(text: str) -> str:
    """A text by which to tell whether two addresses mean the same: without users and what signs, else whole.

    It may still hold secrets: hash it.
    """
    named = re.sub(r"(://)[^\s/?#@'\"<>]*@", r"\1", text)
    return re.sub(r"[?&]+(?=$|['\"\s&)])", "", _SECRET.sub("", named))


def keep_secrets_out_of_logs() -> None:
    """From now on what this process logs has no secrets of addresses in it, whichever library logs it."""
    make = logging.getLogRecordFactory()
    if getattr(make, "without_secrets", False):
        return

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 - those of logging.LogRecord
        record = make(*args, **kwargs)
        if record.name == _OF_REQUESTS:
            return record
        record.msg, record.args = without_secrets(record.getMessage()), None
        return record

    factory.without_secrets = True  # type: ignore[attr-defined] # so that it is put in once
    logging.setLogRecordFactory(factory)
