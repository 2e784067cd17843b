"""OGC API Features and STAC: what can be searched, and every tile of it as an Item. Links here are absolute."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from app.answers.ogc import CONFORMANCE, Crs84, collection_entry, ogc_filters, parse_ogc_bbox
from app.answers.responses import GeoJSONResponse, JSONResponse
from app.answers.schemas import CollectionAnswer, CollectionsAnswer, Conformance, ItemAnswer, ItemsAnswer
from app.answers.stac import GEOJSON, JSON, stac_collection, stac_item
from app.context import base_url, catalog_of
from app.requests.forms import CollectionName, OgcBox, TileId
from app.requests.reader import Parameters, in_url
from app.routes.route import new_router
from wildsat_core.errors import InvalidInputError

router = new_router(tags=["collections"])

DEFAULT_ITEMS, MAX_ITEMS = 100, 1000
# Both standards forbid to refuse a greater limit.
LIMIT_HELP = f"how many items; more than {MAX_ITEMS} count as {MAX_ITEMS}"


class OgcParameters(Parameters):
    """What every OGC address takes."""

    f: Literal["json"] | None = Field(default=None, description="format of the answer")


InOgcUrl = Annotated[OgcParameters, in_url(OgcParameters)]


@router.get("/conformance", response_model=Conformance)
def conformance(parameters: InOgcUrl) -> dict[str, Any]:
    """The parts of OGC API Features and STAC API that are met."""
    return {"conformsTo": list(CONFORMANCE)}


@router.get("/collections", response_model=CollectionsAnswer)
def collections(request: Request, parameters: InOgcUrl) -> Response:
    """Every collection, the default one first."""
    base = base_url(request)
    entries = [stac_collection(served, collection_entry(served), base) for served in catalog_of(request).all()]
    links = [
        {"rel": "self", "href": f"{base}/collections", "type": JSON},
        {"rel": "root", "href": f"{base}/", "type": JSON},
    ]
    return JSONResponse({"collections": entries, "links": links})


@router.get("/collections/{name}", response_model=CollectionAnswer)
def collection(request: Request, name: CollectionName, parameters: InOgcUrl) -> Response:
    """One collection: extent, licence, model, spaces."""
    served = catalog_of(request).get(name)
    return JSONResponse(stac_collection(served, collection_entry(served), base_url(request)))


class ItemsParameters(OgcParameters):
    """Which Items, and in which coordinates: longitude first, in degrees, as everywhere here."""

    bbox: OgcBox | None = Field(default=None, description="west,south,east,north in degrees")
    datetime: Annotated[str, Field(max_length=80)] | None = Field(
        default=None, description="RFC 3339 time or interval, open with .."
    )
    bbox_crs: Crs84 | None = Field(default=None, alias="bbox-crs", description="coordinates of bbox")
    crs: Crs84 | None = Field(default=None, description="coordinates of the answer")
    collections: CollectionName | None = Field(default=None, description="this collection, as pystac-client repeats it")
    limit: int = Field(default=DEFAULT_ITEMS, ge=1, description=LIMIT_HELP)
    offset: int = Field(default=0, ge=0, le=2**31 - 1, description="items to skip")


@router.get("/collections/{name}/items", response_class=GeoJSONResponse, response_model=ItemsAnswer)
def items(
    request: Request, name: CollectionName, parameters: Annotated[ItemsParameters, in_url(ItemsParameters)]
) -> Response:
    """Tiles in stored order, which keeps neighbours together; filters as in OGC API Features."""
    if parameters.collections not in (None, name):
        raise InvalidInputError(f"the address says {name!r} already, got {parameters.collections!r}", "collections")
    served, base = catalog_of(request).get(name), base_url(request)
    bbox, datetime, offset = parameters.bbox, parameters.datetime, parameters.offset
    limit = min(parameters.limit, MAX_ITEMS)
    rows = served.engine.passing(ogc_filters(datetime, bbox=parse_ogc_bbox(bbox) if bbox else None))
    tiles = served.collection.tiles.tiles_at(rows[offset : offset + limit])
    asked: dict[str, Any] = {n: v for n, v in (("bbox", bbox), ("datetime", datetime)) if v is not None}
    if limit != DEFAULT_ITEMS:
        asked["limit"] = limit
    return GeoJSONResponse(
        {
            "type": "FeatureCollection",
            "numberMatched": len(rows),
            "numberReturned": len(tiles),
            "timeStamp": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "features": [stac_item(served, tile, base) for tile in tiles],
            "links": _item_links(f"{base}/collections/{name}", base, asked, offset, limit, len(rows)),
        }
    )


def _item_links(
    path: str, base: str, asked: dict[str, Any], offset: int, limit: int, matched: int
) -> list[dict[str, str]]:
    def page(rel: str, start: int) -> dict[str, str]:
        query = urlencode(asked | ({"offset": start} if start else {}))
        return {"rel": rel, "href": f"{path}/items{'?' if query else ''}{query}", "type": GEOJSON}

    links = [page("self", offset)]
    if offset + limit < matched:
        links.append(page("next", offset + limit))
    if offset > 0:
        links.append(page("prev", max(0, offset - limit)))
    return [
        *links,
        {"rel": "collection", "href": path, "type": JSON},
        {"rel": "root", "href": f"{base}/", "type": JSON},
    ]


@router.get("/collections/{name}/items/{tile_id}", response_class=GeoJSONResponse, response_model=ItemAnswer)
def item(request: Request, name: CollectionName, tile_id: TileId, parameters: InOgcUrl) -> Response:
    """One tile as a STAC Item."""
    served = catalog_of(request).get(name)
    tile = served.collection.tile(served.collection.row_of(tile_id))
    return GeoJSONResponse(stac_item(served, tile, base_url(request)))
