"""POST /search and POST /search/image: what does not fit a URL."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Depends, File, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from app.answers.hits import feature_collection
from app.answers.responses import GeoJSONResponse
from app.answers.schemas import SearchAnswer
from app.context import catalog_of, metrics_of, run_search, settings_of, species_of
from app.failures import BodyTooLargeError
from app.requests.bodies import SearchBody
from app.requests.parameters import MAX_TERMS_CHARACTERS, SearchParameters, SearchQuery, read_terms
from app.requests.pictures import decode_picture, picture_term
from app.requests.reader import names_of, refuse_fields
from app.routes import stac_search
from app.routes.route import new_router
from app.routes.stac_search import StacBody

router = new_router(tags=["search"])


OF_STAC = names_of(StacBody)
OF_STAC_ALONE = OF_STAC - names_of(SearchBody)


async def lead_on(request: Request) -> None:
    """Send a STAC client on, since some append /search to whatever root they are given.

    Raises:
        HTTPException: 307, where the body is one of STAC's item search and so none of ours.
    """
    try:
        body = await request.json()
    except ValueError:
        return  # no JSON: told by the reader of the body
    if isinstance(body, dict) and body.keys() & OF_STAC_ALONE and body.keys() <= OF_STAC:
        there = f"{request.scope.get('root_path', '')}{stac_search.router.prefix}"
        raise HTTPException(307, f"item search of STAC is at {there}", {"Location": there})


@router.post(
    "/search",
    name="search_json",
    response_class=GeoJSONResponse,
    response_model=SearchAnswer,
    dependencies=[Depends(lead_on)],
    responses={307: {"description": "the body is one of STAC's item search, which is at /stac/search"}},
)
def search_json(request: Request, body: SearchBody) -> Response:
    """Rank tiles for a whole query as JSON: weighted terms, judged tiles, any area."""
    served = catalog_of(request).get(body.collection)
    result = run_search(request, served, body.to_query(species_of(request).term))
    return GeoJSONResponse(feature_collection(served, result, body.normalised(), path=None))


@router.post("/search/image", name="search_image", response_class=GeoJSONResponse, response_model=SearchAnswer)
async def search_image(
    request: Request,
    image: Annotated[UploadFile, File(description="PNG, JPEG, WebP or GeoTIFF (8-bit true colour), seen from above")],
    parameters: SearchQuery,
) -> Response:
    """Rank tiles by likeness to a picture, beside any other term; the picture is not kept.

    The answer's query has the picture's vector among its terms: /search, /heatmap and /export take it as it is.
    """
    refuse_fields(await request.form(), "image")
    most = settings_of(request).max_upload_bytes
    content = await image.read(most + 1)
    if len(content) > most:
        raise BodyTooLargeError(f"picture has more than {most} bytes, the most that is allowed", "image")
    return await run_in_threadpool(_search_picture, request, parameters, content)


def _search_picture(request: Request, parameters: SearchParameters, content: bytes) -> Response:
    served = catalog_of(request).get(parameters.collection)
    if parameters.terms:
        read_terms(parameters.terms, species_of(request).term)  # refused here, since they are taken apart below
    metrics = metrics_of(request)
    with metrics.timed("decode"):
        pixels = decode_picture(content, settings_of(request).max_upload_pixels)
    with metrics.timed("embed"):
        term = picture_term(served, pixels)
    terms = [*json.loads(parameters.terms or "[]"), term]
    asked = parameters.model_copy(update={"terms": json.dumps(terms, separators=(",", ":"))})
    result = run_search(request, served, asked.to_query(species_of(request)))
    fits = len(asked.terms or "") <= MAX_TERMS_CHARACTERS
    answer = feature_collection(served, result, asked.normalised(), path="/search" if fits else None)
    return GeoJSONResponse(answer)
