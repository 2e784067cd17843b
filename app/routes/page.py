"""GET /: the map page for people, the landing document for programs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from app.answers.addresses import Addresses
from app.answers.hits import feature_collection, tile_links
from app.answers.ogc import landing
from app.answers.pages import render_page
from app.answers.responses import JSONResponse
from app.context import base_url, catalog_of, run_search, species_of
from app.errors import wants_html
from app.requests.parameters import PageParameters
from app.requests.reader import in_url, names_of
from app.routes.route import new_router
from wildsat_core.errors import TileNotFoundError
from wildsat_core.search.geojson import tile_feature

router = new_router(tags=["service"])


@router.get(
    "/", response_class=HTMLResponse, responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}}
)
def page(request: Request, parameters: Annotated[PageParameters, in_url(PageParameters)]) -> Response:
    """The page; with a query in the URL, its results are in the page before any script runs."""
    bare = not request.query_params and not wants_html(request)
    if parameters.f == "json" or bare:
        return JSONResponse(
            landing(catalog_of(request).all(), Addresses(base_url(request))), headers={"Vary": "Accept"}
        )
    asked = parameters.normalised()
    result: dict[str, Any] | None = None
    tile = _tile(request, parameters) if parameters.tile else None
    if parameters.ranks:
        served = catalog_of(request).get(parameters.collection)
        result = feature_collection(
            served, run_search(request, served, parameters.to_query(species_of(request))), asked
        )
    known = names_of(PageParameters)
    ignored = [name[:80] for name in request.query_params if name not in known]
    return render_page(request, query=asked, result=result, tile=tile, ignored=ignored)


def _tile(request: Request, parameters: PageParameters) -> dict[str, Any] | None:
    """The selected tile, None for one that the collection does not have, as links may name after a change of it."""
    served = catalog_of(request).get(parameters.collection)
    try:
        tile = served.engine.tile(str(parameters.tile))
    except TileNotFoundError:
        return None
    return tile_feature(tile, links=tile_links(served, tile.tile_id))
