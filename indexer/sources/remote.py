"""Reading over HTTP: with which options GDAL does it, and patience with servers that are busy.

GDAL asks again by itself, but does not heed how long a server asks to be left alone, and of a failure tells neither
the status nor whether the server or the file is at fault. So it is told to try once; what failed is then found out by
asking the server for the file's first byte.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

from indexer.sources.intact import STRICT
from indexer.sources.library_errors import library_errors
from indexer.sources.protocol import NotAPictureError, UnreachableError
from wildsat_core.addresses import http_address, is_remote, public_name, without_secrets

Done = TypeVar("Done")

TIMEOUT_S: Final = 20.0
WELL: Final = frozenset({200, 206})
BUSY: Final = frozenset({429, 500, 502, 503, 504})
GONE: Final = frozenset({404, 410})
_REFUSAL: Final = ": it wants credentials, or those in the address have expired"
_MEANING: Final = {401: _REFUSAL, 403: _REFUSAL, 416: ": the file is empty"}
PATIENCE_S: Final = (0.5, 2.0, 4.0)  # unless the server names a time
LONGEST_WAIT_S: Final = 60.0
_NOT_TODAY_S: Final = 600.0  # who asks to be left alone longer than this is not asked again
_SLOW_S: Final = 25.0  # of an action that fails although the server is well: it sends too little, too slowly
_MOST_WITHOUT_CAUSE: Final = 3  # times that reading fails while the server is well: then it is the file

# https://gdal.org/en/stable/user/virtual_file_systems.html#vsicurl
_GDAL_HTTP: Final = {
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "300",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",  # a server that says nothing, or as good as nothing, so long is gone
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",  # the whole directory of a cloud-optimised GeoTIFF, most often
    # Neighbouring blocks of a cloud-optimised GeoTIFF lie side by side: larger parts are fewer requests.
    "CPL_VSIL_CURL_CHUNK_SIZE": "262144",
    "CPL_VSIL_CURL_CACHE_SIZE": "134217728",
}
# No search for files beside a remote one: servers are listed or asked a dozen times for nothing and, asked for
# a.tif?sig=x.msk, many a server gives a.tif?sig=x, so that the picture would become its own mask.
_ALONE: Final = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
_ONCE: Final = {"GDAL_HTTP_MAX_RETRY": "0"}  # asking again is done here
_OF_QUERIES: Final = {"CPL_VSIL_CURL_USE_HEAD": "NO"}  # many addresses that are signed may only be got
# GDAL remembers which files it could not find: whatever failed once would be missing ever after. And some servers know
# nothing of a file that is asked for by HEAD.
_ANEW: Final = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/", **_OF_QUERIES}


def gdal_options(path: str) -> Mapping[str, str]:
    """What rasterio.Env is given around every opening and reading of a file."""
    options = {**STRICT, **_GDAL_HTTP}  # a virtual raster of this machine may have parts elsewhere
    if is_remote(path):
        options |= _ALONE
    if http_address(path):
        options |= _ONCE | (_OF_QUERIES if "?" in path else {})
    return options


class _InForce(threading.local):
    """GDAL's options on this thread: those in force, and what keeps them so when nothing needs them just now."""

    options: Mapping[str, str] | None = None
    keeper: ExitStack | None = None


_in_force = _InForce()


@contextmanager
def gdal_environment(path: str, *, anew: bool = False) -> Iterator[None]:
    """Within, GDAL has the options for opening and reading a file.

    Args:
        path: the file, by any name that GDAL opens.
        anew: whether to look for it again where it could not be found before.
    """
    import rasterio

    options = {**gdal_options(path), **(_ANEW if anew else {})}
    keeper, before = _in_force.keeper, _in_force.options
    if keeper is None and before != options:
        with rasterio.Env(**options):
            _in_force.options = options
            try:
                yield
            finally:
                _in_force.options = before
        return
    if keeper is not None and before != options:
        keeper.close()
        keeper.enter_context(rasterio.Env(**options))
        _in_force.options = options
    _in_force.keeper = None  # other options are for the inner block only
    try:
        yield
    finally:
        _in_force.keeper = keeper


@contextmanager
def gdal_options_kept() -> Iterator[None]:
    """Within, GDAL's options stay from one file to the next: setting them takes longer than to read a small tile."""
    before = _in_force.keeper, _in_force.options
    with ExitStack() as keeper:
        _in_force.keeper, _in_force.options = keeper, None
        try:
            yield
        finally:
            _in_force.keeper, _in_force.options = before


def patiently(path: str, action: Callable[[], Done], between: Callable[[], object] = lambda: None) -> Done:
    """Do what may need a server; while that is busy, wait as long as it asks, and do it again.

    Args:
        path: the file, by any name that GDAL opens. What fails for one of this machine fails at once.
        action: opens or reads it with GDAL.
        between: done before every repetition.

    Raises:
        UnreachableError: the server does not answer, is busy each time, or does not give the file, by its answer.
        NotAPictureError: the server has no such file.
        Exception: that of `action`, where no server is at fault.
    """
    address = http_address(path)
    waits = iter(PATIENCE_S)
    failed = 0
    while True:
        began_s = time.monotonic()
        try:
            with gdal_environment(path, anew=failed > 0):
                return action()
        except library_errors():
            failed += 1
            if address is None:
                raise
            answer = ask(address)
            if answer.may_be_read and time.monotonic() - began_s > _SLOW_S:
                raise UnreachableError(f"{public_name(path)} can't be read: its server sends it too slowly") from None
            if answer.may_be_read and failed == _MOST_WITHOUT_CAUSE:
                raise
        wait_s = 0.0 if answer.may_be_read else answer.wait_s(next(waits, None))
        if wait_s is None:
            raise answer.error(path)
        time.sleep(wait_s)
        between()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says of a file.

    Attributes:
        status: of HTTP; None where it did not answer.
        headers: of the answer, by names in small letters.
        problem: why there is no answer, or none that could be a raster.
    """

    status: int | None
    headers: Mapping[str, str]
    problem: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it gives the file."""
        return self.status in WELL

    @property
    def may_be_read(self) -> bool:
        """Whether GDAL could make something of what it gives."""
        return self.is_well and not self.problem

    def wait_s(self, patience_s: float | None) -> float | None:
        """Seconds until it makes sense to ask again, None for never.

        Args:
            patience_s: how long to wait where the server names no time; None when it was asked often enough.
        """
        if patience_s is None or (self.status is not None and self.status not in BUSY):
            return None
        asked_s = _asked_s(self.headers.get("retry-after", ""))
        if asked_s is None:
            return patience_s
        return None if asked_s > _NOT_TODAY_S else min(asked_s, LONGEST_WAIT_S)

    def error(self, path: str) -> UnreachableError | NotAPictureError:
        """As an error about a file."""
        kind = NotAPictureError if self.status in GONE else UnreachableError
        told = f"answers {self.status}{_MEANING.get(self.status or 0, '')}"
        if (asked_s := _asked_s(self.headers.get("retry-after", "")) or 0.0) > _NOT_TODAY_S:
            told += f" and asks to be left alone for {asked_s:,.0f} seconds"
        return kind(f"{public_name(path)} can't be read: its server {self.problem or told}")


_FIRST_BYTE: Final = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}


def _fault_of(headers: Mapping[str, str]) -> str:
    """Why what a server gives can't be a raster that is read in parts; nothing where it may be one."""
    if headers.get("content-type", "").lower().startswith("text/html"):
        return "answers with a web page, perhaps one to log in at, instead of the file"
    if (coding := headers.get("content-encoding", "identity")) != "identity":
        return f"sends it packed (Content-Encoding: {coding}), so that parts of it can't be read"
    if not {"content-length", "content-range"} & headers.keys():
        return "does not tell how long the file is, so that parts of it can't be read"
    return ""


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust, read once: that takes a tenth of a second, and each tile asks for a file that is missing."""
    import httpx

    return httpx.create_ssl_context()


def ask(address: str) -> Answer:
    """Ask for the first byte of a file: addresses may be signed for getting only."""
    import httpx

    try:
        with httpx.stream(
            "GET", address, headers=_FIRST_BYTE, timeout=TIMEOUT_S, follow_redirects=True, verify=_certificates()
        ) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status_code, headers, _fault_of(headers) if answer.status_code in WELL else "")
    except (httpx.HTTPError, httpx.InvalidURL) as err:
        return Answer(None, {}, f"does not answer: {without_secrets(repr(err))}")


def ask_patiently(address: str) -> Answer:
    """The same; a server that is busy or does not answer is asked again after the times that it names, or ours."""
    waits = iter(PATIENCE_S)
    while True:
        answer = ask(address)
        wait_s = None if answer.is_well else answer.wait_s(next(waits, None))
        if wait_s is None:
            return answer
        time.sleep(wait_s)


def asked_wait_s(retry_after: str, otherwise_s: float) -> float:
    """Seconds that a header Retry-After asks for, a number or a date, at most LONGEST_WAIT_S."""
    asked_s = _asked_s(retry_after)
    return otherwise_s if asked_s is None else min(asked_s, LONGEST_WAIT_S)


def _asked_s(retry_after: str) -> float | None:
    """Seconds that the header asks for; None where it does not say."""
    told = retry_after.strip()
    if told.isdecimal():
        return float(told)
    try:
        until = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return None
    now = dt.datetime.now(dt.UTC if until.tzinfo else None)
    return max((until - now).total_seconds(), 0.0)
