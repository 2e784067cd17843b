"""A Python client of the REST API, for scripts and notebooks.

    from wildsat_core.client import Client

    with Client("http://localhost:8000") as wildsat:
        for hit in wildsat.search("mangrove coast", k=50, countries="BRA,COL").hits:
            print(hit.rank, hit.lon, hit.lat, hit.percentile)

`AsyncClient` has the same methods as coroutines. Both try again when the service is overloaded or limits the rate,
waiting as long as it says. docs/api.md lists the parameters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx

from wildsat_core.client_answers import Habitat, SearchAnswer, SpeciesInfo, TileInfo
from wildsat_core.errors import WildsatError

T = TypeVar("T")

RETRIED = frozenset({429, 503})
LONGEST_WAIT_S = 30.0
PAGE = 200  # hits a request asks for when all are wanted


class ServiceError(WildsatError):
    """The service answered with a problem.

    Attributes:
        status: HTTP status.
        parameter: the parameter at fault, None when no single one is.
        request_id: names the request in the service's log.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        """Keep the problem's fields; the message is its sentence."""
        super().__init__(str(problem.get("detail") or problem.get("title") or f"the service answered {status}"))
        self.status = status
        self.parameter: str | None = problem.get("parameter")
        self.request_id: str | None = problem.get("request_id")


class ServiceUnreachableError(WildsatError):
    """No answer came: the service is down, the address wrong, or the time up."""


@dataclass(frozen=True, slots=True)
class _Call(Generic[T]):
    """One request and how its answer is read; what the two clients share."""

    read: Callable[[httpx.Response], T]
    path: str
    method: str = "GET"
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    files: Mapping[str, Any] | None = None

    def build(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        params = {name.rstrip("_"): value for name, value in self.params.items() if value is not None}
        return client.build_request(self.method, self.path, params=params, json=self.json, files=self.files)


def _search(q: str | None, params: Mapping[str, Any]) -> _Call[SearchAnswer]:
    return _Call(_answer, "search", params={"q": q, **params})


def _query(body: Mapping[str, Any]) -> _Call[SearchAnswer]:
    return _Call(_answer, "search", "POST", json=dict(body))


def _picture(image: bytes | Path | str, params: Mapping[str, Any]) -> _Call[SearchAnswer]:
    content = image if isinstance(image, bytes) else Path(image).read_bytes()
    return _Call(_answer, "search/image", "POST", params=params, files={"image": ("image", content)})


def _tile(tile_id: str, collection: str | None) -> _Call[TileInfo]:
    return _Call(lambda r: TileInfo.from_feature(r.json()), _tile_path(tile_id), params={"collection": collection})


def _similar(tile_id: str, params: Mapping[str, Any]) -> _Call[SearchAnswer]:
    return _Call(_answer, f"{_tile_path(tile_id)}/similar", params=params)


def _habitats(tile_id: str, k: int, collection: str | None) -> _Call[tuple[Habitat, ...]]:
    def read(response: httpx.Response) -> tuple[Habitat, ...]:
        return tuple(Habitat(h["phrase"], h["score"]) for h in response.json()["habitats"])

    return _Call(read, f"{_tile_path(tile_id)}/habitats", params={"k": k, "collection": collection})


def _thumbnail(tile_id: str, collection: str | None) -> _Call[bytes]:
    return _Call(lambda r: r.content, f"{_tile_path(tile_id)}/thumbnail.webp", params={"collection": collection})


def _collections() -> _Call[list[dict[str, Any]]]:
    return _Call(lambda r: list(r.json()["collections"]), "collections")


def _species(q: str, limit: int) -> _Call[tuple[SpeciesInfo, ...]]:
    def read(response: httpx.Response) -> tuple[SpeciesInfo, ...]:
        return tuple(SpeciesInfo.from_json(one) for one in response.json()["species"])

    return _Call(read, "species", params={"q": q, "limit": limit})


def _export(q: str | None, params: Mapping[str, Any]) -> _Call[None]:
    return _Call(lambda r: None, "export", params={"q": q, **params})


def _tile_path(tile_id: str) -> str:
    return f"tiles/{quote(tile_id, safe='')}"


def _answer(response: httpx.Response) -> SearchAnswer:
    return SearchAnswer.from_json(response.json())


def _check(response: httpx.Response) -> httpx.Response:
    """Raise the problem of an answer that is one; its body must have been read."""
    if response.is_success:
        return response
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    raise ServiceError(response.status_code, problem if isinstance(problem, dict) else {})


def _wait_s(response: httpx.Response | None, attempt: int) -> float:
    """As long as the service says, else twice as long each time."""
    said = response.headers.get("retry-after", "") if response is not None else ""
    return min(float(said) if said.isdigit() else 0.25 * 2**attempt, LONGEST_WAIT_S)


def _unreachable(url: httpx.URL, error: Exception) -> ServiceUnreachableError:
    return ServiceUnreachableError(f"no answer from {url.copy_with(query=None)}: {error or type(error).__name__}")


def _options(base_url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"Accept": "application/geo+json, application/json, application/problem+json"}
    if api_key:
        headers["X-API-Key"] = api_key
    return {"base_url": base_url.rstrip("/") + "/", "headers": headers, "timeout": timeout_s}


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
        return self._ask(_search(q, params))

    def search_all(self, q: str | None = None, most: int = 1000, **params: Any) -> Iterator[Any]:  # noqa: ANN401
        """Hits one by one over as many pages as it takes, at most `most`."""
        offset = 0
        while offset < most:
            answer = self.search(q, **params, offset=offset, k=min(PAGE, most - offset))
            yield from answer.hits
            offset += len(answer.hits)
            if not answer.hits or offset >= answer.matched:
                return

    def query(self, body: Mapping[str, Any]) -> SearchAnswer:
        """POST /search: a whole query, with weighted terms and any area."""
        return self._ask(_query(body))

    def search_image(self, image: bytes | Path | str, **params: Any) -> SearchAnswer:  # noqa: ANN401
        """POST /search/image: tiles like a picture, given as bytes or as a path."""
        return self._ask(_picture(image, params))

    def tile(self, tile_id: str, collection: str | None = None) -> TileInfo:
        return self._ask(_tile(tile_id, collection))

    def similar(self, tile_id: str, **params: Any) -> SearchAnswer:  # noqa: ANN401
        return self._ask(_similar(tile_id, params))

    def habitats(self, tile_id: str, k: int = 5, collection: str | None = None) -> tuple[Habitat, ...]:
        return self._ask(_habitats(tile_id, k, collection))

    def thumbnail(self, tile_id: str, collection: str | None = None) -> bytes:
        """The tile's picture as WebP."""
        return self._ask(_thumbnail(tile_id, collection))

    def collections(self) -> list[dict[str, Any]]:
        return self._ask(_collections())

    def species(self, q: str = "", limit: int = 20) -> tuple[SpeciesInfo, ...]:
        return self._ask(_species(q, limit))

    def export(self, path: Path | str, q: str | None = None, **params: Any) -> Path:  # noqa: ANN401
        """GET /export into a file; `format` is geojson, csv, geoparquet or stac. The file appears when it is whole."""
        target = Path(path)
        part = target.with_name(target.name + ".part")
        response = self._send(_export(q, params).build(self._http), stream=True)
        try:
            with part.open("wb") as out:
                for piece in response.iter_bytes():
                    out.write(piece)
        except httpx.TransportError as err:
            part.unlink(missing_ok=True)
            raise _unreachable(response.request.url, err) from err
        finally:
            response.close()
        return part.replace(target)

    def _ask(self, call: _Call[T]) -> T:
        return call.read(self._send(call.build(self._http)))

    def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        for attempt in range(self._retries + 1):
            response, last = None, attempt == self._retries
            try:
                response = self._http.send(request, stream=stream)
            except httpx.TransportError as err:
                if last:
                    raise _unreachable(request.url, err) from err
            else:
                if response.status_code not in RETRIED or last:
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
        return await self._ask(_search(q, params))

    async def search_all(self, q: str | None = None, most: int = 1000, **params: Any) -> AsyncIterator[Any]:  # noqa: ANN401
        offset = 0
        while offset < most:
            answer = await self.search(q, **params, offset=offset, k=min(PAGE, most - offset))
            for hit in answer.hits:
                yield hit
            offset += len(answer.hits)
            if not answer.hits or offset >= answer.matched:
                return

    async def query(self, body: Mapping[str, Any]) -> SearchAnswer:
        return await self._ask(_query(body))

    async def search_image(self, image: bytes | Path | str, **params: Any) -> SearchAnswer:  # noqa: ANN401
        return await self._ask(await asyncio.to_thread(_picture, image, params))

    async def tile(self, tile_id: str, collection: str | None = None) -> TileInfo:
        return await self._ask(_tile(tile_id, collection))

    async def similar(self, tile_id: str, **params: Any) -> SearchAnswer:  # noqa: ANN401
        return await self._ask(_similar(tile_id, params))

    async def habitats(self, tile_id: str, k: int = 5, collection: str | None = None) -> tuple[Habitat, ...]:
        return await self._ask(_habitats(tile_id, k, collection))

    async def thumbnail(self, tile_id: str, collection: str | None = None) -> bytes:
        return await self._ask(_thumbnail(tile_id, collection))

    async def collections(self) -> list[dict[str, Any]]:
        return await self._ask(_collections())

    async def species(self, q: str = "", limit: int = 20) -> tuple[SpeciesInfo, ...]:
        return await self._ask(_species(q, limit))

    async def _ask(self, call: _Call[T]) -> T:
        return call.read(await self._send(call.build(self._http)))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        for attempt in range(self._retries + 1):
            response, last = None, attempt == self._retries
            try:
                response = await self._http.send(request)
            except httpx.TransportError as err:
                if last:
                    raise _unreachable(request.url, err) from err
            else:
                if response.status_code not in RETRIED or last:
                    return _check(response)
            await asyncio.sleep(_wait_s(response, attempt))
        raise AssertionError("the last attempt returns or raises")
