"""POST /search and POST /search/image: what does not fit a URL."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from app.answers import feature_collection
from app.bodies import SearchBody
from app.context import catalog_of, run_search, settings_of, species_of
from app.errors import BodyTooLargeError
from app.gate import Gated
from app.parameters import SearchParameters
from app.pictures import decode_picture
from app.routes.search import GeoJSONResponse
from app.schemas import SearchAnswer
from wildsat_core.search.query import ImageTerm

router = APIRouter(tags=["search"])

NOT_KEPT = {"Cache-Control": "no-store"}


@router.post("/search", name="search_json", response_class=GeoJSONResponse, response_model=SearchAnswer)
def search_json(request: Request, body: SearchBody, gate: Gated) -> Response:
    """Rank tiles for a whole query as JSON: weighted terms, judged tiles, any area."""
    served = catalog_of(request).get(body.collection)
    result = run_search(request, served, body.to_query(species_of(request).term))
    return GeoJSONResponse(feature_collection(served, result, body.normalised(), path=None), headers=NOT_KEPT)


@router.post("/search/image", name="search_image", response_class=GeoJSONResponse, response_model=SearchAnswer)
async def search_image(
    request: Request,
    gate: Gated,
    image: Annotated[UploadFile, File(description="PNG, JPEG, WebP or GeoTIFF (8-bit true colour), seen from above")],
    parameters: Annotated[SearchParameters, Query()],
) -> Response:
    """Rank tiles by likeness to a picture, beside any other term; the picture is not kept."""
    most = settings_of(request).max_upload_bytes
    content = await image.read(most + 1)
    if len(content) > most:
        raise BodyTooLargeError(f"picture has more than {most} bytes, the most that is allowed", "image")
    return await run_in_threadpool(_search_picture, request, parameters, content)


def _search_picture(request: Request, parameters: SearchParameters, content: bytes) -> Response:
    served = catalog_of(request).get(parameters.collection)
    pixels = decode_picture(content, settings_of(request).max_upload_pixels)
    query = parameters.to_query(species_of(request).term, (ImageTerm(pixels),))
    answer = feature_collection(served, run_search(request, served, query), parameters.normalised(), path=None)
    return GeoJSONResponse(answer, headers=NOT_KEPT)
