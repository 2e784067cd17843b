"""Signs addresses of assets for catalogues that give out short-lived tokens to everybody.

The package planetary-computer does the same, but is no longer kept up with pydantic.
"""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any
from urllib.parse import urlsplit

from indexer.sources.catalogues import find_catalogue
from indexer.sources.protocol import UnreachableError

BLOB_HOST = ".blob.core.windows.net"
SPARE = dt.timedelta(minutes=5)  # a token that ends sooner is not begun with
TIMEOUT_S = (15.0, 60.0)

_tokens: dict[tuple[str, str], tuple[dt.datetime, str]] = {}  # by account and container; lives as long as the process
_lock = threading.Lock()


def planetary_computer(href: str) -> str:
    """An asset's address of Microsoft's Planetary Computer with a token; other addresses come back as they are.

    Tokens need no key; one serves a whole container for about an hour.

    Raises:
        UnreachableError: the service that gives tokens does not answer.
    """
    parts = urlsplit(href)
    if not (parts.hostname or "").endswith(BLOB_HOST) or "sig=" in parts.query:
        return href
    account, container = parts.hostname.removesuffix(BLOB_HOST), parts.path.split("/")[1]  # type: ignore[union-attr]
    return f"{href}{'&' if parts.query else '?'}{_token(account, container)}"


def _token(account: str, container: str) -> str:
    with _lock:
        until, token = _tokens.get((account, container), (dt.datetime.min.replace(tzinfo=dt.UTC), ""))
        if until < dt.datetime.now(dt.UTC) + SPARE:
            until, token = _fetch(account, container)
            _tokens[account, container] = until, token
        return token


def _fetch(account: str, container: str) -> tuple[dt.datetime, str]:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    from indexer.sources.stac_api import RETRIES

    address = f"{find_catalogue('planetary-computer').tokens}/{account}/{container}"
    try:
        with requests.Session() as session:
            session.mount("https://", HTTPAdapter(max_retries=Retry(**RETRIES)))
            session.mount("http://", HTTPAdapter(max_retries=Retry(**RETRIES)))
            answer = session.get(address, timeout=TIMEOUT_S)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return dt.datetime.fromisoformat(told["msft:expiry"]), str(told["token"])
    except (requests.RequestException, KeyError, ValueError) as err:
        raise UnreachableError(f"no token from {address}: {err}") from err
