"""The requests that the client makes, and how each answer is read; what the two clients share."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import httpx

from wildsat_core.client.answers import ChangesAnswer, CollectionInfo, Habitat, SearchAnswer, SpeciesInfo, TileInfo

T = TypeVar("T")

ITEMS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request and how its answer is read."""

    read: Callable[[httpx.Response], T]
    path: str
    method: str = "GET"
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    files: Mapping[str, Any] | None = None

    def build(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        params = {name.rstrip("_"): _written(value) for name, value in self.params.items() if value is not None}
        return client.build_request(self.method, self.path, params=params, json=self.json, files=self.files)


def _written(value: Any) -> str:  # noqa: ANN401 - whatever a parameter may be given as
    """A value as the URL has it: lists with commas, GeoJSON and lists of terms as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, dt.datetime):  # pandas' Timestamp is one
        return _day(value)
    if type(value).__module__ == "numpy" and type(value).__name__ == "datetime64":
        return str(value.astype("datetime64[D]"))
    value = getattr(value, "__geo_interface__", value)
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        values = list(value)
        are_terms = any(isinstance(one, Mapping) for one in values)
        return json.dumps(values) if are_terms else ",".join(map(_written, values))
    return str(value)


def _day(moment: dt.datetime) -> str:
    """The day of a moment in UTC, as the service keeps days; without a zone it is taken for UTC."""
    return (moment.astimezone(dt.UTC) if moment.tzinfo else moment).date().isoformat()


def search(q: str | None, params: Mapping[str, Any]) -> Call[SearchAnswer]:
    return Call(_answer, "search", params={"q": q, **params})


def query(body: Mapping[str, Any]) -> Call[SearchAnswer]:
    return Call(_answer, "search", "POST", json=_as_json(body))


def _as_json(body: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Days, NumPy's numbers and vectors as JSON has them."""
    return json.loads(json.dumps(dict(body), default=_plain))


def _plain(value: Any) -> Any:  # noqa: ANN401
    if hasattr(value, "__geo_interface__"):
        return value.__geo_interface__
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dt.datetime):
        return _day(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a query can't hold {value!r}: it is no JSON")


def picture(image: bytes | Path | str, params: Mapping[str, Any]) -> Call[SearchAnswer]:
    content = image if isinstance(image, bytes) else Path(image).read_bytes()
    return Call(_answer, "search/image", "POST", params=params, files={"image": ("image", content)})


def tile(tile_id: str, collection: str | None) -> Call[TileInfo]:
    return Call(lambda r: TileInfo.from_feature(r.json()), _tile_path(tile_id), params={"collection": collection})


def similar(tile_id: str, params: Mapping[str, Any]) -> Call[SearchAnswer]:
    return Call(_answer, f"{_tile_path(tile_id)}/similar", params=params)


def habitats(tile_id: str, k: int, collection: str | None) -> Call[tuple[Habitat, ...]]:
    def read(response: httpx.Response) -> tuple[Habitat, ...]:
        return tuple(Habitat(h["phrase"], h["score"]) for h in response.json()["habitats"])

    return Call(read, f"{_tile_path(tile_id)}/habitats", params={"k": k, "collection": collection})


def thumbnail(tile_id: str, collection: str | None) -> Call[bytes]:
    return Call(_picture, f"{_tile_path(tile_id)}/thumbnail.webp", params={"collection": collection})


def heatmap(z: int, x: int, y: int, q: str | None, params: Mapping[str, Any]) -> Call[bytes]:
    return Call(_picture, f"heatmap/{z}/{x}/{y}.png", params={"q": q, **params})


ItemsPage = tuple[list[dict[str, Any]], "Call[ItemsPage] | None"]


def items(collection: str, params: Mapping[str, Any]) -> Call[ItemsPage]:
    def read(response: httpx.Response) -> ItemsPage:
        told = response.json()
        following = next((link["href"] for link in told["links"] if link["rel"] == "next"), None)
        # What the link says is asked of the address that the client was given: the service may know itself by another.
        further = dict(parse_qsl(urlsplit(following).query)) if following else None
        return list(told["features"]), Call(read, path, params=further) if further else None

    path = f"collections/{quote(collection, safe='')}/items"
    return Call(read, path, params={"limit": ITEMS_AT_ONCE, **params})


def _picture(response: httpx.Response) -> bytes:
    if not response.headers.get("content-type", "").startswith("image/"):
        raise ValueError("no picture")
    return response.content


def suggest(q: str | None, count: int, params: Mapping[str, Any]) -> Call[tuple[TileInfo, ...]]:
    def read(response: httpx.Response) -> tuple[TileInfo, ...]:
        return tuple(TileInfo.from_feature(feature) for feature in response.json()["features"])

    return Call(read, "suggest", params={"q": q, "count": count, **params})


def changes(q: str | None, params: Mapping[str, Any]) -> Call[ChangesAnswer]:
    return Call(_changes, "changes", params={"q": q, **params})


def query_changes(body: Mapping[str, Any]) -> Call[ChangesAnswer]:
    return Call(_changes, "changes", "POST", json=_as_json(body))


def collections() -> Call[tuple[CollectionInfo, ...]]:
    return Call(lambda r: tuple(CollectionInfo.from_json(one) for one in r.json()["collections"]), "collections")


def species(q: str, limit: int) -> Call[tuple[SpeciesInfo, ...]]:
    def read(response: httpx.Response) -> tuple[SpeciesInfo, ...]:
        return tuple(SpeciesInfo.from_json(one) for one in response.json()["species"])

    return Call(read, "species", params={"q": q, "limit": limit})


def export(q: str | None, params: Mapping[str, Any]) -> Call[None]:
    return Call(lambda r: None, "export", params={"q": q, **params})


def _tile_path(tile_id: str) -> str:
    return f"tiles/{quote(tile_id, safe='')}"


def _answer(response: httpx.Response) -> SearchAnswer:
    return SearchAnswer.from_json(response.json())


def _changes(response: httpx.Response) -> ChangesAnswer:
    return ChangesAnswer.from_json(response.json())
