"""One tile: its properties, its picture, and the tiles that are like it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from app.answers.etags import etag_of, etag_of_query, not_modified
from app.answers.hits import feature_collection, notes, tile_links
from app.answers.responses import GeoJSONResponse, JSONResponse
from app.answers.schemas import HabitatsAnswer, SearchAnswer, TileAnswer
from app.answers.similar import without_tile
from app.context import catalog_of, run_search, species_of
from app.layers.gate import Gated
from app.requests.forms import CollectionName, TileId
from app.requests.parameters import SEARCH_DESCRIBED, SearchQuery
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.geojson import tile_feature

router = APIRouter(prefix="/tiles/{tile_id}", tags=["tiles"])

PICTURE_CACHE = "public, max-age=3600"
Chosen = Annotated[CollectionName | None, Query(description="collection; default: the service's")]

PhraseCount = Annotated[int, Query(ge=1, le=50, description="how many phrases")]


@router.get("", response_class=GeoJSONResponse, response_model=TileAnswer)
def tile(request: Request, tile_id: TileId, collection: Chosen = None) -> Response:
    """A tile as a GeoJSON Feature."""
    served = catalog_of(request).get(collection)
    found = served.collection.tile(served.collection.row_of(tile_id))
    feature = tile_feature(found, links=tile_links(served.name, tile_id))
    return GeoJSONResponse(
        feature | {"collection": served.name, "generation": served.collection.generation} | notes(served)
    )


class WebpResponse(Response):
    """A WebP picture."""

    media_type = "image/webp"


@router.get("/thumbnail.webp", response_class=WebpResponse)
def thumbnail(request: Request, tile_id: TileId, collection: Chosen = None) -> Response:
    """The tile's picture as WebP."""
    served = catalog_of(request).get(collection)
    etag = etag_of(served, "thumbnail", tile_id)
    if unchanged := not_modified(request, etag, PICTURE_CACHE):
        return unchanged
    picture = served.collection.thumbnail(served.collection.row_of(tile_id))
    if picture is None:
        raise HTTPException(404, f"tile {tile_id!r} has no thumbnail")
    return WebpResponse(picture, headers={"ETag": etag, "Cache-Control": PICTURE_CACHE})


@router.get("/similar", response_class=GeoJSONResponse, response_model=SearchAnswer, openapi_extra=SEARCH_DESCRIBED)
def similar(request: Request, tile_id: TileId, parameters: SearchQuery, gate: Gated) -> Response:
    """Other tiles like this one: /search?like=ID without the tile itself, and the same parameters. k is at most 999."""
    if parameters.like not in (None, tile_id):
        raise InvalidInputError(f"like is {tile_id!r} here, as the address says, got {parameters.like!r}", "like")
    parameters = parameters.model_copy(update={"like": tile_id})
    served = catalog_of(request).get(parameters.collection)
    query, asked = parameters.to_query(species_of(request).term), parameters.normalised()
    etag = etag_of_query(served, "similar", query, asked)
    if unchanged := not_modified(request, etag):
        return unchanged
    found = without_tile(tile_id, query, served, lambda query: run_search(request, served, query))
    answer = feature_collection(served, found, asked, path=f"/tiles/{quote(tile_id, safe='')}/similar")
    return GeoJSONResponse(answer, headers={"ETag": etag, "Cache-Control": "no-cache"})


@router.get("/habitats", response_model=HabitatsAnswer)
def habitats(request: Request, tile_id: TileId, gate: Gated, k: PhraseCount = 5, collection: Chosen = None) -> Response:
    """What this tile may be called: the habitat phrases that fit it best."""
    served = catalog_of(request).get(collection)
    row = served.collection.row_of(tile_id)
    etag = etag_of(served, "habitats", tile_id, k)
    if unchanged := not_modified(request, etag):
        return unchanged
    found = [{"phrase": h.phrase, "score": round(h.score, 4)} for h in served.habitats.of(row, k)]
    body = {
        "tile_id": tile_id,
        "collection": served.name,
        "generation": served.collection.generation,
        "habitats": found,
    }
    return JSONResponse(body, headers={"ETag": etag, "Cache-Control": "no-cache"})
