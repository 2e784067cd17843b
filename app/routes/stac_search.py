"""STAC item search (https://api.stacspec.org/v1.0.0/item-search): items by place, time and id, without a ranking."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from app.answers.ogc import ogc_filters, parse_ogc_bbox
from app.answers.responses import GeoJSONResponse
from app.answers.schemas import ItemsAnswer
from app.answers.stac import GEOJSON, JSON, stac_item
from app.catalog import Served
from app.context import base_url, catalog_of
from app.requests.forms import CollectionName, OgcBox, TileIds
from app.requests.parameters import MAX_AREA_CHARACTERS
from app.requests.reader import Parameters, in_url
from app.routes.collections import DEFAULT_ITEMS, LIMIT_HELP, MAX_ITEMS
from app.routes.route import new_router
from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError
from wildsat_core.geometries import read_geometry
from wildsat_core.search.query import Filters

router = new_router(prefix="/stac/search", tags=["collections"])

Offset = Annotated[int, Field(ge=0, le=2**31 - 1, description="items to skip")]
Limit = Annotated[int, Field(ge=1, description=LIMIT_HELP)]
Time = Annotated[str, Field(max_length=80, description="RFC 3339 time or interval, open with ..")]


class StacBody(BaseModel):
    """What to look for, as STAC writes it in JSON."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    collections: Annotated[list[CollectionName], Field(max_length=100)] | None = None
    ids: Annotated[list[str], Field(max_length=1000)] | None = None
    bbox: Annotated[list[float], Field(min_length=4, max_length=6)] | None = None
    intersects: dict[str, Any] | None = Field(default=None, description="any GeoJSON geometry")
    datetime: Time | None = None
    limit: Limit = DEFAULT_ITEMS
    offset: Offset = 0

    def to_filters(self) -> Filters:
        """The core's filters.

        Raises:
            InvalidInputError: both bbox and intersects, or one of them malformed.
        """
        if self.bbox is not None and self.intersects is not None:
            raise InvalidInputError("bbox and intersects can't be given together", "intersects")
        return ogc_filters(
            self.datetime,
            days=False,
            bbox=parse_ogc_bbox(self.bbox) if self.bbox is not None else None,
            area=Area(read_geometry(self.intersects, "intersects")) if self.intersects is not None else None,
            tile_ids=frozenset(self.ids) if self.ids is not None else None,
        )


class StacParameters(Parameters):
    """The same in a URL."""

    collections: Annotated[str, Field(max_length=2000)] | None = Field(default=None, description="names with commas")
    ids: TileIds | None = None
    bbox: OgcBox | None = None
    intersects: Annotated[str, Field(max_length=MAX_AREA_CHARACTERS)] | None = None
    datetime: Time | None = None
    limit: Limit = DEFAULT_ITEMS
    offset: Offset = 0

    def to_body(self) -> StacBody:
        """As JSON would have it."""
        return StacBody.model_construct(
            collections=self.collections.split(",") if self.collections else None,
            ids=self.ids.split(",") if self.ids else None,
            bbox=[float(number) for number in self.bbox.split(",")] if self.bbox else None,
            intersects=_json(self.intersects) if self.intersects else None,
            datetime=self.datetime,
            limit=self.limit,
            offset=self.offset,
        )


def _json(text: str) -> dict[str, Any]:
    """A geometry in a URL; what it is worth is checked like one in a body."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InvalidInputError(f"intersects is not JSON: {err}", "intersects") from err
    if not isinstance(value, dict):
        raise InvalidInputError(f"intersects must be a GeoJSON geometry, got {type(value).__name__}", "intersects")
    return value


@router.get("", response_class=GeoJSONResponse, response_model=ItemsAnswer)
def stac_search(request: Request, parameters: Annotated[StacParameters, in_url(StacParameters)]) -> Response:
    """Items of one or more collections in stored order."""
    asked = parameters.model_dump(exclude_none=True)

    def following(offset: int) -> dict[str, Any]:
        href = f"{base_url(request)}/stac/search?{urlencode(asked | {'offset': offset})}"
        return {"rel": "next", "href": href, "type": GEOJSON, "method": "GET"}

    return _page(request, parameters.to_body(), following)


@router.post("", name="stac_search_json", response_class=GeoJSONResponse, response_model=ItemsAnswer)
def stac_search_json(request: Request, body: StacBody) -> Response:
    """The same with a JSON body."""
    asked = body.model_dump(exclude_none=True)

    def following(offset: int) -> dict[str, Any]:
        href = f"{base_url(request)}/stac/search"
        return {"rel": "next", "href": href, "type": GEOJSON, "method": "POST", "body": asked | {"offset": offset}}

    return _page(request, body, following)


def _page(request: Request, body: StacBody, following: Callable[[int], dict[str, Any]]) -> Response:
    """Collections one after the other, as one list."""
    filters, base = body.to_filters(), base_url(request)
    matched = 0
    found: list[dict[str, Any]] = []
    for served in _chosen(request, body.collections):
        rows = served.engine.passing(filters)
        start = max(0, body.offset - matched)
        wanted = min(body.limit, MAX_ITEMS) - len(found)
        tiles = served.collection.tiles.tiles_at(rows[start : start + wanted]) if wanted > 0 else []
        found += [stac_item(served, tile, base) for tile in tiles]
        matched += len(rows)
    links: list[dict[str, Any]] = [{"rel": "root", "href": f"{base}/", "type": JSON}]
    if body.offset + len(found) < matched and found:
        links.append(following(body.offset + len(found)))
    return GeoJSONResponse(
        {
            "type": "FeatureCollection",
            "numberMatched": matched,
            "numberReturned": len(found),
            "features": found,
            "links": links,
        }
    )


def _chosen(request: Request, names: list[str] | None) -> list[Served]:
    """The collections named, or all; an unknown one is a 404."""
    catalog = catalog_of(request)
    return [catalog.get(name) for name in dict.fromkeys(names)] if names else catalog.all()
