"""OGC API Features and STAC: what can be searched, and every tile of it as an Item. Links here are absolute.

The same answers stand below /stac, the root for clients that append /search to it.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from app.answers.addresses import STAC_ROOT, Addresses
from app.answers.exporting import ranked_tiles
from app.answers.fields import Fields
from app.answers.ogc import CONFORMANCE, collection_entry, landing, queryables_document, schema_document
from app.answers.responses import GeoJSONResponse, JSONResponse, SchemaResponse
from app.answers.schemas import CollectionAnswer, CollectionsAnswer, Conformance, ItemAnswer, ItemsAnswer
from app.answers.stac import GEOJSON, JSON, stac_collection, stac_item
from app.catalog import Served
from app.context import base_url, catalog_of, settings_of, species_of
from app.failures import GenerationChangedError
from app.policies import path_below_root
from app.requests.forms import CollectionName, Crs84, OgcBox, TileId
from app.requests.ogc import during, parse_ogc_bbox
from app.requests.parameters import RankingParameters
from app.requests.reader import Parameters, in_url
from app.routes.route import new_router
from wildsat_core.errors import InvalidInputError, LimitExceededError
from wildsat_core.search.paging import Position
from wildsat_core.search.query import MAX_APART
from wildsat_core.search.sorting import read_sorting

router = new_router(tags=["collections"])

DEFAULT_ITEMS, MAX_ITEMS = 100, 10_000
# Both standards forbid to refuse a greater limit.
LIMIT_HELP = f"how many items; more than {MAX_ITEMS} count as {MAX_ITEMS}"
Offset = Annotated[int, Field(ge=0, le=2**31 - 1, description="items to skip")]
FieldNames = Annotated[
    str, Field(max_length=2000, description="fields of Items, with commas; those with a minus are left out")
]
SortBy = Annotated[
    str,
    Field(min_length=1, max_length=500, description="properties with commas; after a minus the greatest comes first"),
]
After = Annotated[str, Field(max_length=2000, description="where the page before ended, as its link to the next says")]
Time = Annotated[str, Field(max_length=80, description="RFC 3339 time or interval, open with ..")]


class OgcParameters(Parameters):
    """What every OGC address takes."""

    f: Literal["json"] | None = Field(default=None, description="format of the answer")


InOgcUrl = Annotated[OgcParameters, in_url(OgcParameters)]


def addresses_of(request: Request) -> Addresses:
    """Where things are, below the root that the client came by."""
    below = STAC_ROOT if f"{path_below_root(request.scope)}/".startswith(f"{STAC_ROOT}/") else ""
    return Addresses(base_url(request), below)


@router.get(f"{STAC_ROOT}/", name="stac_landing_slash", include_in_schema=False)
@router.get(STAC_ROOT, name="stac_landing")
def stac_landing(request: Request, parameters: InOgcUrl) -> Response:
    """The STAC Catalog."""
    return JSONResponse(landing(catalog_of(request).all(), addresses_of(request)))


@router.get(f"{STAC_ROOT}/conformance", name="stac_conformance", response_model=Conformance)
@router.get("/conformance", response_model=Conformance)
def conformance(parameters: InOgcUrl) -> dict[str, Any]:
    """The parts of OGC API Features and STAC API that are met."""
    return {"conformsTo": list(CONFORMANCE)}


@router.get(f"{STAC_ROOT}/queryables", name="stac_queryables", response_class=SchemaResponse)
def stac_queryables(request: Request, parameters: InOgcUrl) -> Response:
    """What `filter` may ask of the tiles of every collection, as JSON Schema."""
    address = f"{base_url(request)}{STAC_ROOT}/queryables"
    return SchemaResponse(queryables_document(address, "Tiles of every collection"))


@router.get(f"{STAC_ROOT}/collections", name="stac_collections", response_model=CollectionsAnswer)
@router.get("/collections", response_model=CollectionsAnswer)
def collections(request: Request, parameters: InOgcUrl) -> Response:
    """Every collection, the default one first."""
    at = addresses_of(request)
    entries = [stac_collection(served, collection_entry(served), at) for served in catalog_of(request).all()]
    links = [{"rel": "self", "href": at.collections, "type": JSON}, {"rel": "root", "href": at.root, "type": JSON}]
    return JSONResponse({"collections": entries, "links": links})


@router.get(f"{STAC_ROOT}/collections/{{name}}", name="stac_collection", response_model=CollectionAnswer)
@router.get("/collections/{name}", response_model=CollectionAnswer)
def collection(request: Request, name: CollectionName, parameters: InOgcUrl) -> Response:
    """One collection: extent, licence, model, spaces."""
    served = catalog_of(request).get(name)
    return JSONResponse(stac_collection(served, collection_entry(served), addresses_of(request)))


@router.get(
    f"{STAC_ROOT}/collections/{{name}}/queryables", name="stac_collection_queryables", response_class=SchemaResponse
)
@router.get("/collections/{name}/queryables", response_class=SchemaResponse)
def collection_queryables(request: Request, name: CollectionName, parameters: InOgcUrl) -> Response:
    """What `filter` may ask of the tiles, as JSON Schema."""
    catalog_of(request).get(name)
    address = f"{addresses_of(request).collection(name)}/queryables"
    return SchemaResponse(queryables_document(address, f"Tiles of {name}"))


@router.get(f"{STAC_ROOT}/collections/{{name}}/schema", name="stac_collection_schema", response_class=SchemaResponse)
@router.get("/collections/{name}/schema", response_class=SchemaResponse)
def collection_schema(request: Request, name: CollectionName, parameters: InOgcUrl) -> Response:
    """What Items of a collection have, as JSON Schema."""
    catalog_of(request).get(name)
    return SchemaResponse(schema_document(f"{addresses_of(request).collection(name)}/schema", f"Tiles of {name}"))


class ItemsParameters(RankingParameters, OgcParameters):
    """Which Items, in which order, and in which coordinates: longitude first, in degrees, as everywhere here."""

    bbox: OgcBox | None = Field(default=None, description="west,south,east,north in degrees")
    datetime: Time | None = None
    bbox_crs: Crs84 | None = Field(default=None, alias="bbox-crs", description="coordinates of bbox")
    crs: Crs84 | None = Field(default=None, description="coordinates of the answer")
    collections: CollectionName | None = Field(default=None, description="this collection, as pystac-client repeats it")
    limit: int = Field(default=DEFAULT_ITEMS, ge=1, description=LIMIT_HELP, json_schema_extra={"maximum": MAX_ITEMS})
    offset: Offset = 0
    after: After | None = None
    sortby: SortBy | None = None
    fields: FieldNames | None = None
    generation: int | None = Field(
        default=None, ge=1, description="of the collection, for a ranking over several pages; another one is refused"
    )


@router.get(
    f"{STAC_ROOT}/collections/{{name}}/items",
    name="stac_items",
    response_class=GeoJSONResponse,
    response_model=ItemsAnswer,
)
@router.get("/collections/{name}/items", response_class=GeoJSONResponse, response_model=ItemsAnswer)
def items(
    request: Request, name: CollectionName, parameters: Annotated[ItemsParameters, in_url(ItemsParameters)]
) -> Response:
    """Tiles as Items: neighbours together, sorted by properties, or, with q or another term, best first.

    Ranked Items have wildsat:rank, wildsat:score and wildsat:percentile among their properties, so that a ranking is a
    layer that map programs open and refresh.
    """
    if parameters.collections not in (None, name):
        raise InvalidInputError(f"the address says {name!r} already, got {parameters.collections!r}", "collections")
    served = catalog_of(request).get_as_of(name, parameters.generation)
    if parameters.generation not in (None, served.manifest.generation):
        raise GenerationChangedError(
            f"collection {name!r} went from generation {parameters.generation} to {served.manifest.generation}; ask "
            "again from the first page"
        )
    found = _ranked(request, served, parameters) if parameters.ranks else _unranked(request, served, parameters)
    matched, features, following = found
    if parameters.fields is not None:
        features = [Fields.read(parameters.fields).of(item) for item in features]
    at = addresses_of(request)
    return GeoJSONResponse(
        {
            "type": "FeatureCollection",
            "numberMatched": matched,
            "numberReturned": len(features),
            "timeStamp": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "features": features,
            "links": _item_links(parameters, at, name, following),
        }
    )


Found = tuple[int, list[dict[str, Any]], dict[str, Any] | None]


def _unranked(request: Request, served: Served, parameters: ItemsParameters) -> Found:
    """How many Items there are, a page of them, and what the link to the next page says."""
    at, limit = addresses_of(request), min(parameters.limit, MAX_ITEMS)
    filters = _filters_of(parameters)
    sorting = read_sorting(parameters.sortby) if parameters.sortby else ()
    after = Position.read(parameters.after, "after", sorting) if parameters.after else None
    page = served.engine.page(filters, limit, after=after, skip=parameters.offset, sorting=sorting)
    features = [stac_item(served, tile, at) for tile in served.engine.tiles_at(page.rows)]
    return served.engine.count(filters), features, {"after": str(page.following)} if page.following else None


def _ranked(request: Request, served: Served, parameters: ItemsParameters) -> Found:
    """The same of a ranking, which ends with the longest export."""
    if parameters.after is not None:
        raise InvalidInputError("after belongs to items that are not ranked; use offset", "after")
    if parameters.sortby is not None:
        raise InvalidInputError("sortby belongs to items that are not ranked: a ranking is an order", "sortby")
    at, limit, offset = addresses_of(request), min(parameters.limit, MAX_ITEMS), parameters.offset
    apart = bool(parameters.spacing_km or parameters.max_per_country)
    most = min(settings_of(request).max_export_rows, MAX_APART) if apart else settings_of(request).max_export_rows
    if offset > most:
        raise LimitExceededError(f"offset must be at most {most} in a ranking, got {offset}", "offset")
    query = parameters.question(species_of(request), filters=_filters_of(parameters))
    ranking = served.engine.rank(query, min(offset + limit, most))
    matched = min(ranking.matched, most)
    features = []
    for told, tile in ranked_tiles(served, ranking, offset):
        item = stac_item(served, tile, at)
        item["properties"] |= {f"wildsat:{name}": value for name, value in told.items()}
        features.append(item)
    more = len(features) == limit and offset + limit < matched
    return matched, features, {"offset": offset + limit, "generation": served.manifest.generation} if more else None


def _filters_of(parameters: ItemsParameters) -> Any:  # noqa: ANN401 - Filters
    bbox = parse_ogc_bbox(parameters.bbox) if parameters.bbox else None
    return during(parameters.datetime, parameters.filters(bbox))


def _item_links(
    parameters: ItemsParameters, at: Addresses, name: str, following: dict[str, Any] | None
) -> list[dict[str, str]]:
    asked = parameters.normalised()
    here = f"{at.collection(name)}/items"

    def page(rel: str, **differs: Any) -> dict[str, str]:  # noqa: ANN401 - parameters
        query = urlencode({name: value for name, value in (asked | differs).items() if value is not None})
        return {"rel": rel, "href": f"{here}?{query}" if query else here, "type": GEOJSON}

    links = [page("self")]
    if following is not None:
        links.append(page("next", **({"offset": None} | following)))
    if parameters.offset > 0 and parameters.after is None:
        earlier = max(0, parameters.offset - min(parameters.limit, MAX_ITEMS))
        links.append(page("prev", offset=earlier or None))
    return [
        *links,
        {"rel": "collection", "href": at.collection(name), "type": JSON},
        {"rel": "root", "href": at.root, "type": JSON},
    ]


@router.get(
    f"{STAC_ROOT}/collections/{{name}}/items/{{tile_id}}",
    name="stac_item",
    response_class=GeoJSONResponse,
    response_model=ItemAnswer,
)
@router.get("/collections/{name}/items/{tile_id}", response_class=GeoJSONResponse, response_model=ItemAnswer)
def item(request: Request, name: CollectionName, tile_id: TileId, parameters: InOgcUrl) -> Response:
    """One tile as a STAC Item."""
    served = catalog_of(request).get(name)
    tile = served.engine.tile(tile_id)
    return GeoJSONResponse(stac_item(served, tile, addresses_of(request)))
