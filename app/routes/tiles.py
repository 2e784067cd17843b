"""One tile: its properties, its picture, and the tiles that are like it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field
from starlette.exceptions import HTTPException

from app.answers.etags import etag_of, etag_of_query, not_modified, tag_headers
from app.answers.hits import feature_collection, notes, tile_links
from app.answers.ranges import answer_with, media_types
from app.answers.responses import GeoJSONResponse, JSONResponse
from app.answers.schemas import HabitatsAnswer, SearchAnswer, TileAnswer
from app.context import catalog_of, run_search, species_of
from app.requests.forms import CollectionName, TileId
from app.requests.parameters import SearchQuery
from app.requests.reader import Parameters, in_url
from app.routes.maps import cache_of
from app.routes.route import new_router
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.geojson import tile_feature

router = new_router(prefix="/tiles/{tile_id}", tags=["tiles"])


class TileParameters(Parameters):
    """Where the tile is."""

    collection: CollectionName | None = Field(default=None, description="collection; default: the service's")


class PictureParameters(TileParameters):
    """Where the tile is, and of which generation the picture is thought to be."""

    generation: int | None = Field(
        default=None, ge=1, description="of the collection; an address that names the present one may be kept for long"
    )


class HabitatsParameters(TileParameters):
    """Where the tile is, and how many phrases are wanted."""

    k: int = Field(default=5, ge=1, le=50, description="how many phrases")


InTileUrl = Annotated[TileParameters, in_url(TileParameters)]


@router.get("", response_class=GeoJSONResponse, response_model=TileAnswer)
def tile(request: Request, tile_id: TileId, parameters: InTileUrl) -> Response:
    """A tile as a GeoJSON Feature."""
    served = catalog_of(request).get(parameters.collection)
    found = served.engine.tile(tile_id)
    feature = tile_feature(found, links=tile_links(served, tile_id))
    return GeoJSONResponse(
        feature | {"collection": served.name, "generation": served.manifest.generation} | notes(served)
    )


class WebpResponse(Response):
    """A WebP picture."""

    media_type = "image/webp"


@router.get("/thumbnail.webp", response_class=WebpResponse, responses=media_types("image/webp"))
def thumbnail(
    request: Request, tile_id: TileId, parameters: Annotated[PictureParameters, in_url(PictureParameters)]
) -> Response:
    """The tile's picture as WebP."""
    served = catalog_of(request).get(parameters.collection)
    etag = etag_of(served, "thumbnail", tile_id)
    if unchanged := not_modified(request, etag, cache_of(served, parameters.generation)):
        return unchanged
    picture = served.engine.thumbnail(tile_id)
    if picture is None:
        raise HTTPException(404, f"tile {tile_id!r} has no thumbnail")
    headers = {"ETag": etag, "Cache-Control": cache_of(served, parameters.generation)}
    return answer_with(request, picture, "image/webp", headers)


@router.get("/similar", response_class=GeoJSONResponse, response_model=SearchAnswer)
def similar(request: Request, tile_id: TileId, parameters: SearchQuery) -> Response:
    """Other tiles like this one: /search?like=ID with the same parameters."""
    if parameters.like not in (None, tile_id):
        raise InvalidInputError(f"like is {tile_id!r} here, as the address says, got {parameters.like!r}", "like")
    parameters = parameters.model_copy(update={"like": tile_id})
    served = catalog_of(request).get(parameters.collection)
    query, asked = parameters.to_query(species_of(request)), parameters.normalised()
    etag = etag_of_query(served, "similar", query, asked)
    if unchanged := not_modified(request, etag):
        return unchanged
    result = run_search(request, served, query)
    answer = feature_collection(served, result, asked, path=f"/tiles/{quote(tile_id, safe='')}/similar")
    return GeoJSONResponse(answer, headers=tag_headers(etag, result))


@router.get("/habitats", response_model=HabitatsAnswer)
def habitats(
    request: Request, tile_id: TileId, parameters: Annotated[HabitatsParameters, in_url(HabitatsParameters)]
) -> Response:
    """What this tile may be called: the habitat phrases that fit it best."""
    served = catalog_of(request).get(parameters.collection)
    row = served.engine.row_of(tile_id)
    etag = etag_of(served, "habitats", tile_id, parameters.k)
    if unchanged := not_modified(request, etag):
        return unchanged
    found = [{"phrase": h.phrase, "score": round(h.score, 4)} for h in served.habitats.of(row, parameters.k)]
    body = {
        "tile_id": tile_id,
        "collection": served.name,
        "generation": served.manifest.generation,
        "habitats": found,
    }
    return JSONResponse(body, headers={"ETag": etag})
