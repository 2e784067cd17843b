"""Searching a STAC API, page by page, as servers answer that keep to the letter of the standard or don't.

pystac-client finds the search and sends it. Its pages end at the first one that is empty, and want whole addresses.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urljoin

from indexer.sources.library_errors import library_errors, sentence
from indexer.sources.remote import LONGEST_WAIT_S
from wildsat_core.addresses import is_remote, without_secrets
from wildsat_core.errors import MissingExtraError, SourceError
from wildsat_core.types import BBox

logger = logging.getLogger(__name__)

# Patience with a catalogue that is busy: waits of 0, 1, 2, 4 and 8 seconds, or what the server asks for.
RETRIES: Final[Mapping[str, Any]] = {
    "total": 5,
    "connect": 2,
    "backoff_factor": 0.5,
    "status_forcelist": (429, 500, 502, 503, 504),
    "allowed_methods": ("GET", "POST"),  # a search is posted and changes nothing
    "respect_retry_after_header": True,
    "retry_after_max": LONGEST_WAIT_S,  # some ask to be left alone for years
}
TIMEOUT_S: Final = (15.0, 60.0)  # to connect, and to wait for bytes
MOST_PAGES_WITHOUT_NEWS: Final = 3  # a `next` that leads round in a circle; some servers repeat a page now and then
MOST_EMPTY_PAGES: Final = 100  # in a row: filters may leave nothing of many
MOST_ITEMS: Final = 500_000  # of one search; what gives more makes them up
_PAGE_ITEMS: Final = 100

Page = Mapping[str, Any]


def search_items(api: str, collection: str, boxes: Iterable[BBox], since: dt.date, until: dt.date) -> Iterator[Any]:
    """What a catalogue has of a collection in some boxes, none of them over the antimeridian, from day to day.

    Raises:
        MissingExtraError: pystac-client is not installed.
        SourceError: the catalogue does not answer, or not as a STAC API does.
    """
    try:
        from pystac_client import Client
        from pystac_client.stac_api_io import StacApiIO
    except ImportError as err:
        raise MissingExtraError("pystac-client", "stac", "searching a STAC catalogue") from err
    from urllib3.util import Retry

    if not is_remote(api):
        raise SourceError(f"{api} is no address of a STAC API, as https://host/stac is, nor a catalogue known by name")
    days = f"{since.isoformat()}T00:00:00Z/{until.isoformat()}T23:59:59Z"
    landing = api.rstrip("/").removesuffix("/search")  # which is what many have at hand
    try:
        io = StacApiIO(max_retries=Retry(**RETRIES), timeout=TIMEOUT_S)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it does not tell, which is seen here
            client = Client.open(landing if landing != api.rstrip("/") else api, stac_io=io)
        methods = {
            str(link.extra_fields.get("method") or "GET").upper() for link in client.links if link.rel == "search"
        }
        if not methods:
            raise SourceError(
                f"{without_secrets(api)} can't be searched as a STAC API: it has no link to a search. Files of a "
                "catalogue can't be searched; give the address of an API"
            )
        client.add_conforms_to("ITEM_SEARCH")
        for box in boxes:
            search = client.search(
                method="GET" if methods == {"GET"} else "POST",
                collections=[collection],
                bbox=box.as_tuple(),
                datetime=days,
                limit=_PAGE_ITEMS,
            )
            yield from _until_nothing_new(_pages(io, search), api)
    except library_errors() as err:
        raise SourceError(without_secrets(f"{api} can't be searched as a STAC API: {_told(err)}")) from err
    except (AttributeError, KeyError, TypeError, NotImplementedError) as err:
        # pystac takes for granted what a catalogue has to say.
        raise SourceError(without_secrets(f"{api} does not answer as a STAC API does: {err!r}")) from err


def _told(err: BaseException) -> str:
    """What went wrong: the server's status, where it answered with one, and the beginning of its words."""
    status = getattr(err, "status_code", None)
    words = " ".join(str(err).split())[:200] if status else sentence(err)
    return f"its server answers {status} ({words})" if status else words


def _pages(io: Any, search: Any) -> Iterator[Page]:  # noqa: ANN401 - pystac-client's types are those of its extra
    """All pages of a search: each names the next one."""
    url, method, parameters, headers = search.url, search.method, search.get_parameters(), None
    while True:
        page = json.loads(io.request(url, method=method, headers=headers, parameters=parameters).lstrip("\ufeff"))
        yield page
        link = next((link for link in page.get("links") or [] if isinstance(link, Mapping) and _is_next(link)), None)
        if link is None:
            return
        url, method = urljoin(url, link["href"]), str(link.get("method") or "GET").upper()
        headers = link.get("headers")
        body = link.get("body")
        body = json.loads(body) if isinstance(body, str) else body
        if method != "POST":
            parameters = {}  # they are in the address
        elif body is not None:
            parameters = {**parameters, **body} if link.get("merge") else body


def _is_next(link: Mapping[str, Any]) -> bool:
    return link.get("rel") == "next" and bool(link.get("href"))


def _until_nothing_new(pages: Iterable[Page], api: str) -> Iterator[Any]:
    """Items of all pages; some servers' `next` never ends.

    Raises:
        SourceError: more items than there can be.
    """
    seen: set[Any] = set()
    idle = empty = 0
    for page in pages:
        items = page.get("features") or []
        new = {str(item.get("id")) for item in items if isinstance(item, Mapping)} - seen
        seen |= new
        yield from items
        idle, empty = (0, 0) if new else (idle + bool(items), empty + (not items))
        if idle == MOST_PAGES_WITHOUT_NEWS or empty == MOST_EMPTY_PAGES:
            logger.warning(
                "%s goes on giving pages without new scenes: %d scenes were taken from it",
                without_secrets(api),
                len(seen),
            )
            return
        if len(seen) > MOST_ITEMS:
            raise SourceError(
                f"{without_secrets(api)} gives more than {MOST_ITEMS:,} scenes and does not end: search a shorter time"
            )
