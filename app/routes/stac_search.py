"""STAC item search (https://api.stacspec.org/v1.0.0/item-search): items by place, time and id, without a ranking."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from app.answers.fields import Fields
from app.answers.responses import GeoJSONResponse
from app.answers.schemas import ItemsAnswer
from app.answers.stac import GEOJSON, JSON, stac_item
from app.catalog import Served
from app.context import catalog_of
from app.requests.forms import CollectionName, Crs84, OgcBox, TileIds
from app.requests.ogc import during, parse_ogc_bbox
from app.requests.parameters import MAX_AREA_CHARACTERS
from app.requests.reader import Parameters, in_url
from app.routes.collections import (
    DEFAULT_ITEMS,
    LIMIT_HELP,
    MAX_ITEMS,
    After,
    FieldNames,
    Offset,
    SortBy,
    Time,
    addresses_of,
)
from app.routes.route import new_router
from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError
from wildsat_core.geometries import read_geometry
from wildsat_core.search.paging import Position
from wildsat_core.search.properties import PropertyFilter
from wildsat_core.search.properties.reading import MAX_CHARACTERS
from wildsat_core.search.query import Filters
from wildsat_core.search.sorting import MAX_KEYS, Sorting, SortKey, checked, read_sorting
from wildsat_core.types import Tile

router = new_router(prefix="/stac/search", tags=["collections"])

Limit = Annotated[int, Field(ge=1, description=LIMIT_HELP)]
Lang = Literal["cql2-text", "cql2-json"]


FieldName = Annotated[str, Field(min_length=1, max_length=200)]
AnyId = Annotated[str, Field(max_length=1000)]  # one that no tile can have finds none


class FieldsBody(BaseModel):
    """Fields of Items, with dots between a part and what is in it."""

    model_config = ConfigDict(extra="forbid")

    include: Annotated[list[FieldName], Field(max_length=200)] | None = None
    exclude: Annotated[list[FieldName], Field(max_length=200)] | None = None

    @classmethod
    def of(cls, fields: Fields) -> FieldsBody:
        """As a URL has them."""
        return cls.model_construct(include=list(fields.include or ()), exclude=list(fields.exclude))

    def of_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """The item without what was not asked for."""
        return Fields(tuple(self.include) if self.include else None, tuple(self.exclude or ())).of(item)


class SortField(BaseModel):
    """A field of Items to sort by."""

    model_config = ConfigDict(extra="forbid")

    field: FieldName
    direction: Literal["asc", "desc"] = "asc"


class StacBody(BaseModel):
    """What to look for, as STAC writes it in JSON."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, populate_by_name=True)

    collections: Annotated[list[CollectionName], Field(max_length=100)] | None = None
    ids: Annotated[list[AnyId], Field(max_length=1000)] | None = None
    bbox: Annotated[list[float], Field(min_length=4, max_length=6)] | None = None
    intersects: dict[str, Any] | None = Field(default=None, description="any GeoJSON geometry")
    datetime: Time | None = None
    filter_: dict[str, Any] | Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)] | None = Field(
        default=None, alias="filter", description="condition on properties in CQL2"
    )
    filter_lang: Lang | None = Field(default=None, alias="filter-lang")
    filter_crs: Crs84 | None = Field(default=None, alias="filter-crs")
    fields: FieldsBody | None = None
    sortby: Annotated[list[SortField], Field(max_length=MAX_KEYS)] | None = None
    limit: Limit = DEFAULT_ITEMS
    offset: Offset = 0
    after: After | None = None

    def to_filters(self) -> Filters:
        """The core's filters.

        Raises:
            InvalidInputError: both bbox and intersects, or one of them malformed.
        """
        if self.bbox is not None and self.intersects is not None:
            raise InvalidInputError("bbox and intersects can't be given together", "intersects")
        filters = Filters(
            bbox=parse_ogc_bbox(self.bbox) if self.bbox is not None else None,
            area=Area(read_geometry(self.intersects, "intersects")) if self.intersects is not None else None,
            tile_ids=frozenset(self.ids) if self.ids is not None else None,
            where=PropertyFilter.read(self.filter_, self.filter_lang) if self.filter_ else None,
        )
        return during(self.datetime, filters, days=False)

    def sorting(self) -> Sorting:
        """By what Items are sorted."""
        return checked(SortKey.of(key.field, descending=key.direction == "desc") for key in self.sortby or ())


class StacParameters(Parameters):
    """The same in a URL."""

    collections: Annotated[str, Field(max_length=2000)] | None = Field(default=None, description="names with commas")
    ids: TileIds | None = None
    bbox: OgcBox | None = None
    intersects: Annotated[str, Field(max_length=MAX_AREA_CHARACTERS)] | None = None
    datetime: Time | None = None
    filter_: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)] | None = Field(
        default=None, alias="filter", description="condition on properties in CQL2, see /stac/queryables"
    )
    filter_lang: Lang | None = Field(default=None, alias="filter-lang", description="default: as filter looks")
    filter_crs: Crs84 | None = Field(default=None, alias="filter-crs", description="coordinates in filter")
    fields: FieldNames | None = None
    sortby: SortBy | None = None
    limit: Limit = DEFAULT_ITEMS
    offset: Offset = 0
    after: After | None = None

    def to_body(self) -> StacBody:
        """As JSON would have it."""
        return StacBody.model_construct(
            collections=self.collections.split(",") if self.collections else None,
            ids=self.ids.split(",") if self.ids else None,
            bbox=[float(number) for number in self.bbox.split(",")] if self.bbox else None,
            intersects=_json(self.intersects) if self.intersects else None,
            datetime=self.datetime,
            filter_=self.filter_,
            filter_lang=self.filter_lang,
            fields=FieldsBody.of(Fields.read(self.fields)) if self.fields is not None else None,
            sortby=_sort_fields(read_sorting(self.sortby)) if self.sortby is not None else None,
            limit=self.limit,
            offset=self.offset,
            after=self.after,
        )


def _sort_fields(sorting: Sorting) -> list[SortField]:
    return [SortField(field=key.name, direction="desc" if key.descending else "asc") for key in sorting]


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
    """Items of one or more collections: one after the other with neighbours together, or sorted by properties."""
    asked = parameters.model_dump(by_alias=True, exclude_none=True, exclude={"offset"})

    def following(after: str) -> dict[str, Any]:
        href = f"{addresses_of(request).search}?{urlencode(asked | {'after': after})}"
        return {"rel": "next", "href": href, "type": GEOJSON, "method": "GET"}

    return _page(request, parameters.to_body(), following)


@router.post("", name="stac_search_json", response_class=GeoJSONResponse, response_model=ItemsAnswer)
def stac_search_json(request: Request, body: StacBody) -> Response:
    """The same with a JSON body."""
    asked = body.model_dump(by_alias=True, exclude_none=True, exclude={"offset"})

    def following(after: str) -> dict[str, Any]:
        href = addresses_of(request).search
        return {"rel": "next", "href": href, "type": GEOJSON, "method": "POST", "body": asked | {"after": after}}

    return _page(request, body, following)


def _page(request: Request, body: StacBody, following: Callable[[str], dict[str, Any]]) -> Response:
    """The answer: Items of the chosen collections as one list."""
    at, sorting = addresses_of(request), body.sorting()
    filters = body.to_filters()
    chosen = _chosen(request, body.collections)
    counted = [(served, count) for served in chosen if (count := served.engine.count(filters))]
    if sorting:
        found, continued = _sorted(request, body, sorting, filters, counted)
    else:
        found, continued = _in_turn(request, body, filters, counted)
    tiles = _tiles(found)
    items = [stac_item(served, tiles[served.name, row], at) for served, row in found]
    if body.fields is not None:
        items = [body.fields.of_item(item) for item in items]
    links: list[dict[str, Any]] = [{"rel": "root", "href": at.root, "type": JSON}]
    if continued is not None:
        links.append(following(continued))
    return GeoJSONResponse(
        {
            "type": "FeatureCollection",
            "numberMatched": sum(count for _, count in counted),
            "numberReturned": len(items),
            "features": items,
            "links": links,
        }
    )


Counted = list[tuple[Served, int]]  # collections with as many tiles as pass the filters
Chosen = list[tuple[Served, int]]  # collections, and rows of theirs
Found = tuple[Chosen, str | None]  # what the page shows, and after what the next one begins


def _tiles(found: Chosen) -> dict[tuple[str, int], Tile]:
    """Tiles by collection and row; each collection is asked once."""
    rows: dict[str, tuple[Served, list[int]]] = {}
    for served, row in found:
        rows.setdefault(served.name, (served, []))[1].append(row)
    return {
        (name, row): tile
        for name, (served, some) in rows.items()
        for row, tile in zip(some, served.engine.tiles_at(some), strict=True)
    }


def _in_turn(request: Request, body: StacBody, filters: Filters, counted: Counted) -> Found:
    """Collections one after the other."""
    name, after = _read_after(body.after, ())
    skip, room = body.offset, min(body.limit, MAX_ITEMS)
    found: Chosen = []
    for served, count in counted:
        # A collection that has gone meanwhile: go on with those that would come after it.
        if name is not None and _order(request, served.name) < _order(request, name):
            continue
        if room == 0:
            return found, f"{served.name}/"
        page = served.engine.page(filters, room, after=after if served.name == name else None, skip=skip)
        skip = max(0, skip - count)
        found += [(served, row) for row in page.rows.tolist()]
        room -= len(page.rows)
        if page.following is not None:
            return found, f"{served.name}/{page.following}"
    return found, None


def _sorted(request: Request, body: StacBody, sorting: Sorting, filters: Filters, counted: Counted) -> Found:
    """Tiles of all collections by their properties; equals stand as they would without, collection by collection."""
    name, after = _read_after(body.after, sorting)
    limit = min(body.limit, MAX_ITEMS)
    reached: list[tuple[Any, Served, Position, int]] = []
    more = False
    for served, _ in counted:
        order = _order(request, served.name)
        start = after
        if after is not None and name is not None and served.name != name:
            start = after.after_all() if order < _order(request, name) else after.before_all()
        page = served.engine.page(filters, body.offset + limit, after=start, sorting=sorting)
        more = more or page.more
        for position, row in zip(page.positions, page.rows.tolist(), strict=True):
            *values, key, tile_id = position.rank(sorting)
            reached.append(((*values, order, key, tile_id), served, position, row))
    reached.sort(key=lambda at: at[0])
    shown = reached[body.offset : body.offset + limit]
    more = more or len(reached) > body.offset + limit
    found = [(served, row) for _, served, _, row in shown]
    if not (more and shown):
        return found, None
    _, served, position, _ = shown[-1]
    return found, f"{served.name}/{position}"


def _read_after(text: str | None, sorting: Sorting) -> tuple[str | None, Position | None]:
    """Collection and position where the next page begins; a collection alone begins with its first tile."""
    if text is None:
        return None, None
    name, _, position = text.partition("/")
    if not position and not sorting:
        return name, None
    return name, Position.read(position, "after", sorting)


def _order(request: Request, name: str) -> tuple[bool, str]:
    """How collections follow one another: the default one first, then by name."""
    return name != catalog_of(request).default, name


def _chosen(request: Request, names: list[str] | None) -> list[Served]:
    """The collections named, or all, in the order of all; an unknown one is a 404."""
    catalog = catalog_of(request)
    chosen = [catalog.get(name) for name in set(names)] if names else catalog.all()
    return sorted(chosen, key=lambda served: _order(request, served.name))
