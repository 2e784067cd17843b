"""Pictures for the map: the collection's own imagery."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from app.answers.etags import etag_of, not_modified
from app.context import catalog_of
from app.requests.forms import CollectionName
from app.routes.route import new_router
from wildsat_core.collection.map_tiles import MEDIA_TYPES
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


@router.get(
    "/collections/{name}/imagery/{z}/{x}/{y}",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in sorted(set(MEDIA_TYPES.values()))}}},
)
def imagery(request: Request, name: CollectionName, z: Zoom, x: TileNumber, y: TileNumber) -> Response:
    """A map tile of the collection's own imagery, for a base map."""
    check_tile_numbers(z, x, y)
    served = catalog_of(request).get(name)
    if served.imagery is None:
        raise HTTPException(404, f"collection {name!r} has no imagery of its own")
    etag = etag_of(served, "imagery", z, x, y)
    if unchanged := not_modified(request, etag):
        return unchanged
    picture = served.imagery.get(z, x, y)
    if picture is None:
        raise HTTPException(404, f"collection {name!r} has no imagery at {z}/{x}/{y}")
    return Response(picture, media_type=served.imagery.media_type, headers={"ETag": etag})
