"""GET /search: the main question."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.answers import feature_collection
from app.context import catalog_of, run_search, species_of
from app.etags import etag_of, not_modified
from app.gate import Gated
from app.parameters import SearchQuery
from app.schemas import SearchAnswer

router = APIRouter(tags=["search"])


class GeoJSONResponse(JSONResponse):
    """JSON under GeoJSON's own type."""

    media_type = "application/geo+json"


@router.get("/search", response_class=GeoJSONResponse, response_model=SearchAnswer)
def search(request: Request, parameters: SearchQuery, gate: Gated) -> Response:
    """Rank tiles; give at least one of q, like, near, species and up."""
    served = catalog_of(request).get(parameters.collection)
    query, asked = parameters.to_query(species_of(request).term), parameters.normalised()
    etag = etag_of(served, "search", asked)
    if unchanged := not_modified(request, etag):
        return unchanged
    answer = feature_collection(served, run_search(request, served, query), asked)
    return GeoJSONResponse(answer, headers={"ETag": etag, "Cache-Control": "no-cache"})
