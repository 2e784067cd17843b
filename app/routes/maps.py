"""Pictures for the map: the collection's own imagery."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from fastapi.responses import Response
from pydantic import Field
from starlette.exceptions import HTTPException

from app.answers.etags import etag_of, not_modified
from app.answers.ranges import answer_with, media_types
from app.answers.responses import JSONResponse
from app.answers.schemas import TileJson
from app.answers.tilejson import tilejson
from app.catalog import Served
from app.context import base_url, catalog_of
from app.policies import FIXED_CACHE, PICTURE_CACHE
from app.requests.forms import CollectionName
from app.requests.reader import Parameters, in_url
from app.routes.route import new_router
from wildsat_core.collection.map_tiles import MEDIA_TYPES, Imagery
from wildsat_core.errors import InvalidInputError

router = new_router(tags=["maps"])

MAX_ZOOM = 24
Zoom = Annotated[int, Path(ge=0, le=MAX_ZOOM, description="zoom of the Web Mercator pyramid")]
TileNumber = Annotated[int, Path(ge=0, lt=2**MAX_ZOOM, description="column from the west, or row from the north")]


def check_tile_numbers(z: int, x: int, y: int) -> None:
    """Refuse a column or row beyond the zoom's last one."""
    last = 2**z - 1
    for name, value in (("x", x), ("y", y)):
        if value > last:
            raise InvalidInputError(f"{name} must lie in 0 to {last} at zoom {z}, got {value}", name)


class ImageryParameters(Parameters):
    """Of which generation the picture is thought to be."""

    generation: int | None = Field(
        default=None, ge=1, description="of the collection; an address that names the present one may be kept for long"
    )


@router.get("/collections/{name}/imagery/tilejson.json", response_model=TileJson)
def imagery_tilejson(request: Request, name: CollectionName) -> Response:
    """The collection's own imagery as TileJSON, which map libraries take in place of an address of map tiles."""
    served = catalog_of(request).get(name)
    imagery = _imagery_of(served)
    address = f"{base_url(request)}/collections/{name}/imagery/{{z}}/{{x}}/{{y}}"
    tiles = f"{address}?generation={served.manifest.generation}"
    return JSONResponse(tilejson(served, f"{name}: imagery", tiles, imagery.zooms, imagery.tile_px, imagery.media_type))


@router.get(
    "/collections/{name}/imagery/{z}/{x}/{y}",
    response_class=Response,
    responses=media_types(*sorted(set(MEDIA_TYPES.values()))),
)
def imagery(
    request: Request,
    name: CollectionName,
    z: Zoom,
    x: TileNumber,
    y: TileNumber,
    parameters: Annotated[ImageryParameters, in_url(ImageryParameters)],
) -> Response:
    """A map tile of the collection's own imagery, for a base map."""
    check_tile_numbers(z, x, y)
    served = catalog_of(request).get(name)
    found = _imagery_of(served)
    cache = cache_of(served, parameters.generation)
    etag = etag_of(served, "imagery", z, x, y)
    if unchanged := not_modified(request, etag, cache):
        return unchanged
    picture = found.get(z, x, y)
    if picture is None:
        raise HTTPException(404, f"collection {name!r} has no imagery at {z}/{x}/{y}")
    return answer_with(request, picture, found.media_type, {"ETag": etag, "Cache-Control": cache})


def _imagery_of(served: Served) -> Imagery:
    if served.imagery is None:
        raise HTTPException(404, f"collection {served.name!r} has no imagery of its own")
    return served.imagery


def cache_of(served: Served, generation: int | None) -> str:
    """How long a picture may be kept whose address named a generation."""
    return FIXED_CACHE if generation == served.manifest.generation else PICTURE_CACHE
