"""A Python client of the REST API, for scripts and notebooks.

    from wildsat_core.client import Client

    with Client("http://localhost:8000") as wildsat:
        for hit in wildsat.search("mangrove coast", k=50, countries="BRA,COL").hits:
            print(hit.rank, hit.lon, hit.lat, hit.percentile)

`AsyncClient` has the same methods as coroutines. Both try again when the service is overloaded or limits the rate,
waiting as long as it says; told to wait longer than LONGEST_WAIT_S, they give up at once. docs/api.md lists the
parameters. Lists, dates and GeoJSON may be given as Python has them: `countries=["BRA", "COL"]`,
`bbox=(-75, -15, -60, 5)`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from uuid import uuid4

import httpx

from wildsat_core.client import calls
from wildsat_core.client.answers import ChangesAnswer, CollectionInfo, Habitat, Hit, SearchAnswer, SpeciesInfo, TileInfo
from wildsat_core.errors import WildsatError

T = TypeVar("T")

RETRIED = frozenset({429, 502, 503, 504})  # overloaded, or a proxy before the service that has lost it for a moment
CHANGED = 409  # as the service answers where it sees by itself that a collection has changed between two pages
LONGEST_WAIT_S = 30.0
PAGE = 200  # hits a request asks for when all are wanted


class ServiceError(WildsatError):
    """The service answered with a problem, or with something that can't be used.

    Attributes:
        status: HTTP status.
        parameter: the parameter at fault, None when no single one is.
        request_id: names the request in the service's log.
        retry_after_s: how long the service asks to wait, None when it does not say.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        """Keep the problem's fields; the message is its sentence."""
        super().__init__(str(problem.get("detail") or problem.get("title") or f"the service answered {status}"))
        self.status = status
        self.parameter: str | None = problem.get("parameter")
        self.request_id: str | None = problem.get("request_id")
        self.retry_after_s = retry_after_s


class ServiceUnreachableError(WildsatError):
    """No answer came: the service is down, the address wrong, or the time up."""


class _Pages:
    """Counts the hits of a ranking that is fetched page by page, and stays with its generation."""

    def __init__(self, most: int, params: Mapping[str, Any]) -> None:
        if taken := sorted({"k", "offset"} & params.keys()):
            raise TypeError(
                f"{' and '.join(taken)} can't be given: `most` says how many hits, and pages are turned here"
            )
        self._most = most
        self._offset = 0
        self._first: SearchAnswer | None = None

    def next(self) -> dict[str, int] | None:
        """Parameters of the next page, None when there is none."""
        known = self._most if self._first is None else min(self._most, self._first.matched)
        left = known - self._offset
        return {"offset": self._offset, "k": min(PAGE, left)} if left > 0 else None

    def take(self, answer: SearchAnswer) -> tuple[Hit, ...]:
        """The hits of a page.

        Raises:
            ServiceError: it is of another generation than the first, so that they are pages of two rankings.
        """
        first = self._first = self._first or answer
        if (answer.collection, answer.generation) != (first.collection, first.generation):
            said = f"collection {first.collection!r} went from generation {first.generation} to {answer.generation}"
            raise ServiceError(CHANGED, {"detail": f"{said} after {self._offset} hits; ask again from the beginning"})
        # Spacing and caps can leave fewer hits than tiles that passed the filters.
        self._most = self._most if answer.hits else 0
        self._offset += len(answer.hits)
        return answer.hits


def _check(response: httpx.Response) -> httpx.Response:
    """Raise the problem of an answer that is one; its body must have been read."""
    if response.is_success:
        return response
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    raise ServiceError(response.status_code, problem if isinstance(problem, dict) else {}, _retry_after_s(response))


def _retry_after_s(response: httpx.Response | None) -> float | None:
    """Seconds to wait as an answer tells them: a number, or, from some proxies, a moment (RFC 9110, 10.2.3)."""
    said = response.headers.get("retry-after", "") if response is not None else ""
    if said.isdecimal():
        return float(said)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _is_final(response: httpx.Response) -> bool:
    """Whether trying again is of no use: answered, refused for good, or for longer than anyone wants to wait."""
    return response.status_code not in RETRIED or (_retry_after_s(response) or 0.0) > LONGEST_WAIT_S


def _wait_s(response: httpx.Response | None, attempt: int) -> float:
    """As long as the service says, else twice as long each time, and a little more lest all come back at once."""
    said = _retry_after_s(response)
    return said if said is not None else min(0.25 * 2**attempt, LONGEST_WAIT_S) * random.uniform(1.0, 1.25)


def _understood(call: calls.Call[T], response: httpx.Response) -> T:
    """The answer as the call reads it.

    Raises:
        ServiceError: it is none of this service's: a page of a proxy, say, or JSON of another shape.
    """
    try:
        return call.read(response)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        kind = response.headers.get("content-type", "no type")
        said = (
            f"{response.url.copy_with(query=None)} answered {response.status_code} with {kind}, which is no answer of"
        )
        raise ServiceError(
            response.status_code, {"detail": f"{said} a WildSAT service; is the address right?"}
        ) from err


@contextmanager
def _growing(path: Path | str) -> Iterator[BinaryIO]:
    """A file that gets its name when it is whole; until then it has one of its own, and goes when the block fails."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as out:
            yield out
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _unreachable(url: httpx.URL, error: Exception) -> ServiceUnreachableError:
    return ServiceUnreachableError(f"no answer from {url.copy_with(query=None)}: {error or type(error).__name__}")


def _options(base_url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"Accept": "application/geo+json, application/json, application/problem+json"}
    if api_key:
        headers["X-API-Key"] = api_key
    return {
        "base_url": base_url.rstrip("/") + "/",
        "headers": headers,
        "timeout": timeout_s,
        "follow_redirects": True,  # from http to https, say; httpx keeps a key from going to another host
    }


class Client:
    """Asks a WildSAT service and waits for the answers.

    Args:
        base_url: address of the service, with its path prefix if it has one.
        api_key: sent with every request.
        timeout_s: longest time for one answer.
        retries: how often to try again when the service is overloaded, limits the rate or can't be reached.
        transport: for tests.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Connect at the first request."""
        self._http = httpx.Client(transport=transport, **_options(base_url, api_key, timeout_s))
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def search(self, q: str | None = None, **params: Any) -> SearchAnswer:  # noqa: ANN401 - as in the URL
        """GET /search; `not_` and `from_` stand for `not` and `from`.

        Raises:
            ServiceError: the service refused; `parameter` says what was wrong.
            ServiceUnreachableError: no answer came.
        """
        return self._ask(calls.search(q, params))

    def search_all(self, q: str | None = None, most: int = 1000, **params: Any) -> Iterator[Hit]:  # noqa: ANN401
        """Hits one by one over as many pages as it takes, at most `most`.

        Raises:
            ServiceError: with status 409, the collection was changed meanwhile, after some hits have been given.
        """
        pages = _Pages(most, params)
        while (page := pages.next()) is not None:
            yield from pages.take(self.search(q, **params, **page))

    def query(self, body: Mapping[str, Any]) -> SearchAnswer:
        """POST /search: a whole query, with weighted terms and any area."""
        return self._ask(calls.query(body))

    def search_image(self, image: bytes | Path | str, **params: Any) -> SearchAnswer:  # noqa: ANN401
        """POST /search/image: tiles like a picture, given as bytes or as a path."""
        return self._ask(calls.picture(image, params))

    def suggest(self, q: str | None = None, count: int = 5, **params: Any) -> tuple[TileInfo, ...]:  # noqa: ANN401
        """Tiles whose judgement would tell most, for a search with `up` or `down`."""
        return self._ask(calls.suggest(q, count, params))

    def changes(self, q: str | None = None, **params: Any) -> ChangesAnswer:  # noqa: ANN401 - as in the URL
        """GET /changes: places ranked by what changed between `before` and `after`, each a year, month, day or span."""
        return self._ask(calls.changes(q, params))

    def query_changes(self, body: Mapping[str, Any]) -> ChangesAnswer:
        """POST /changes: the same for a whole query, such as the terms that `search_image` tells of a picture."""
        return self._ask(calls.query_changes(body))

    def tile(self, tile_id: str, collection: str | None = None) -> TileInfo:
        return self._ask(calls.tile(tile_id, collection))

    def similar(self, tile_id: str, **params: Any) -> SearchAnswer:  # noqa: ANN401
        return self._ask(calls.similar(tile_id, params))

    def habitats(self, tile_id: str, k: int = 5, collection: str | None = None) -> tuple[Habitat, ...]:
        return self._ask(calls.habitats(tile_id, k, collection))

    def thumbnail(self, tile_id: str, collection: str | None = None) -> bytes:
        """The tile's picture as WebP."""
        return self._ask(calls.thumbnail(tile_id, collection))

    def heatmap(self, z: int, x: int, y: int, q: str | None = None, **params: Any) -> bytes:  # noqa: ANN401
        """A map tile of how well every tile fits, as PNG."""
        return self._ask(calls.heatmap(z, x, y, q, params))

    def items(self, collection: str, **params: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        """All tiles of a collection as STAC Items, page by page; `bbox`, `datetime`, `filter` and others narrow.

        Every tile that stays comes exactly once, whatever is added or deleted meanwhile.
        """
        page: calls.Call[calls.ItemsPage] | None = calls.items(collection, params)
        while page is not None:
            features, page = self._ask(page)
            yield from features

    def collections(self) -> tuple[CollectionInfo, ...]:
        return self._ask(calls.collections())

    def species(self, q: str = "", limit: int = 20) -> tuple[SpeciesInfo, ...]:
        return self._ask(calls.species(q, limit))

    def export(self, path: Path | str, q: str | None = None, **params: Any) -> Path:  # noqa: ANN401
        """GET /export into a file; `format` is geojson, csv, geoparquet or stac. The file appears when it is whole."""
        response = self._send(calls.export(q, params).build(self._http), stream=True)
        try:
            with _growing(path) as out:
                for piece in response.iter_bytes():
                    out.write(piece)
        except httpx.TransportError as err:
            raise _unreachable(response.request.url, err) from err
        finally:
            response.close()
        return Path(path)

    def _ask(self, call: calls.Call[T]) -> T:
        return _understood(call, self._send(call.build(self._http)))

    def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        for attempt in range(self._retries + 1):
            response, last = None, attempt == self._retries
            try:
                response = self._http.send(request, stream=stream)
            except httpx.TooManyRedirects as err:
                raise _unreachable(request.url, err) from err
            except (httpx.TransportError, httpx.DecodingError) as err:
                if last:
                    raise _unreachable(request.url, err) from err
            else:
                if _is_final(response) or last:
                    if not response.is_success:
                        response.read()
                    return _check(response)
                response.close()
            time.sleep(_wait_s(response, attempt))
        raise AssertionError("the last attempt returns or raises")


class AsyncClient:
    """Asks a WildSAT service with coroutines; arguments and methods are those of `Client`."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect at the first request."""
        self._http = httpx.AsyncClient(transport=transport, **_options(base_url, api_key, timeout_s))
        self._retries = retries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def search(self, q: str | None = None, **params: Any) -> SearchAnswer:  # noqa: ANN401
        return await self._ask(calls.search(q, params))

    async def search_all(self, q: str | None = None, most: int = 1000, **params: Any) -> AsyncIterator[Hit]:  # noqa: ANN401
        pages = _Pages(most, params)
        while (page := pages.next()) is not None:
            for hit in pages.take(await self.search(q, **params, **page)):
                yield hit

    async def query(self, body: Mapping[str, Any]) -> SearchAnswer:
        return await self._ask(calls.query(body))

    async def search_image(self, image: bytes | Path | str, **params: Any) -> SearchAnswer:  # noqa: ANN401
        return await self._ask(await asyncio.to_thread(calls.picture, image, params))

    async def suggest(self, q: str | None = None, count: int = 5, **params: Any) -> tuple[TileInfo, ...]:  # noqa: ANN401
        return await self._ask(calls.suggest(q, count, params))

    async def changes(self, q: str | None = None, **params: Any) -> ChangesAnswer:  # noqa: ANN401
        return await self._ask(calls.changes(q, params))

    async def query_changes(self, body: Mapping[str, Any]) -> ChangesAnswer:
        return await self._ask(calls.query_changes(body))

    async def tile(self, tile_id: str, collection: str | None = None) -> TileInfo:
        return await self._ask(calls.tile(tile_id, collection))

    async def similar(self, tile_id: str, **params: Any) -> SearchAnswer:  # noqa: ANN401
        return await self._ask(calls.similar(tile_id, params))

    async def habitats(self, tile_id: str, k: int = 5, collection: str | None = None) -> tuple[Habitat, ...]:
        return await self._ask(calls.habitats(tile_id, k, collection))

    async def thumbnail(self, tile_id: str, collection: str | None = None) -> bytes:
        return await self._ask(calls.thumbnail(tile_id, collection))

    async def heatmap(self, z: int, x: int, y: int, q: str | None = None, **params: Any) -> bytes:  # noqa: ANN401
        return await self._ask(calls.heatmap(z, x, y, q, params))

    async def items(self, collection: str, **params: Any) -> AsyncIterator[dict[str, Any]]:  # noqa: ANN401
        page: calls.Call[calls.ItemsPage] | None = calls.items(collection, params)
        while page is not None:
            features, page = await self._ask(page)
            for feature in features:
                yield feature

    async def collections(self) -> tuple[CollectionInfo, ...]:
        return await self._ask(calls.collections())

    async def species(self, q: str = "", limit: int = 20) -> tuple[SpeciesInfo, ...]:
        return await self._ask(calls.species(q, limit))

    async def export(self, path: Path | str, q: str | None = None, **params: Any) -> Path:  # noqa: ANN401
        response = await self._send(calls.export(q, params).build(self._http), stream=True)
        try:
            with _growing(path) as out:
                async for piece in response.aiter_bytes():
                    await asyncio.to_thread(out.write, piece)
        except httpx.TransportError as err:
            raise _unreachable(response.request.url, err) from err
        finally:
            await response.aclose()
        return Path(path)

    async def _ask(self, call: calls.Call[T]) -> T:
        return _understood(call, await self._send(call.build(self._http)))

    async def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        for attempt in range(self._retries + 1):
            response, last = None, attempt == self._retries
            try:
                response = await self._http.send(request, stream=stream)
            except httpx.TooManyRedirects as err:
                raise _unreachable(request.url, err) from err
            except (httpx.TransportError, httpx.DecodingError) as err:
                if last:
                    raise _unreachable(request.url, err) from err
            else:
                if _is_final(response) or last:
                    if not response.is_success:
                        await response.aread()
                    return _check(response)
                await response.aclose()
            await asyncio.sleep(_wait_s(response, attempt))
        raise AssertionError("the last attempt returns or raises")
