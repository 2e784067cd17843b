"""GET /: the map page for people, the landing document for programs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.answers import feature_collection
from app.context import catalog_of, run_search
from app.gate import Gated
from app.pages import render_page
from app.parameters import PageParameters
from app.species import species_term

router = APIRouter(include_in_schema=False)


@router.get("/")
def page(request: Request, parameters: Annotated[PageParameters, Query()], gate: Gated) -> Response:
    """The page; with a query in the URL, its results are in the page before any script runs."""
    asked = parameters.normalised()
    result: dict[str, Any] | None = None
    if parameters.ranks:
        served = catalog_of(request).get(parameters.collection)
        result = feature_collection(served, run_search(request, served, parameters.to_query(species_term)), asked)
    return render_page(request, query=asked, result=result)
