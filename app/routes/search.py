"""GET /search: the main question; GET /suggest: which tiles to judge next."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from app.answers.etags import etag_of_query, not_modified, tag_headers
from app.answers.hits import feature_collection, notes, tile_links
from app.answers.responses import GeoJSONResponse
from app.answers.schemas import SearchAnswer, SuggestAnswer
from app.context import catalog_of, metrics_of, run_search, species_of
from app.requests.parameters import SearchParameters, SearchQuery
from app.requests.reader import in_url
from app.routes.route import new_router
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.geojson import tile_feature

router = new_router(tags=["search"])


class SuggestParameters(SearchParameters):
    """A search with marks, and how many tiles to suggest."""

    count: int = Field(default=5, ge=1, le=50, description="how many tiles")


@router.get("/search", response_class=GeoJSONResponse, response_model=SearchAnswer)
def search(request: Request, parameters: SearchQuery) -> Response:
    """Rank tiles; give at least one of q, like, near, species and up."""
    served = catalog_of(request).get(parameters.collection)
    query, asked = parameters.to_query(species_of(request)), parameters.normalised()
    etag = etag_of_query(served, "search", query, asked)
    if unchanged := not_modified(request, etag):
        return unchanged
    result = run_search(request, served, query)
    return GeoJSONResponse(feature_collection(served, result, asked), headers=tag_headers(etag, result))


@router.get("/suggest", response_class=GeoJSONResponse, response_model=SuggestAnswer)
def suggest(request: Request, parameters: Annotated[SuggestParameters, in_url(SuggestParameters)]) -> Response:
    """Tiles whose judgement would tell most, for a search with up or down: those where the marks turn."""
    served = catalog_of(request).get(parameters.collection)
    query = parameters.to_query(species_of(request))
    if not (query.liked or query.disliked):
        raise InvalidInputError("mark a tile first: suggestions need up or down", "up")
    with metrics_of(request).timed("suggest"):
        rows = served.engine.suggest(query, parameters.count)
    tiles = served.engine.tiles_at(rows)
    answer = {
        "type": "FeatureCollection",
        "query": parameters.normalised(),
        "collection": served.name,
        "generation": served.manifest.generation,
        **notes(served),
        "features": [tile_feature(tile, links=tile_links(served, tile.tile_id)) for tile in tiles],
    }
    return GeoJSONResponse(answer)
