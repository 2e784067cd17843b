"""The heat-map of any query as map tiles, and its legend."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import Field

from app.answers.etags import etag_of_query, not_modified
from app.answers.schemas import LegendAnswer
from app.context import catalog_of, metrics_of, species_of
from app.layers.gate import Gated
from app.requests.parameters import SearchParameters
from app.requests.reader import described, reader
from app.routes.maps import TileNumber, Zoom
from wildsat_core.search.heatmap import DEFAULT_FLOOR, check_map_tile, paint, ramp

router = APIRouter(prefix="/heatmap", tags=["maps"])

FLOOR_HELP = "percentile below which nothing is painted"


class HeatParameters(SearchParameters):
    """A search, and from where on it is painted."""

    floor: float = Field(default=DEFAULT_FLOOR, ge=0, lt=100, description=FLOOR_HELP)


class PngResponse(Response):
    """A PNG."""

    media_type = "image/png"


@router.get("/legend", response_model=LegendAnswer)
def legend(
    floor: Annotated[float, Query(ge=0, lt=100, description=FLOOR_HELP, allow_inf_nan=False)] = DEFAULT_FLOOR,
    steps: Annotated[int, Query(ge=2, le=256, description="how many colours")] = 6,
) -> dict[str, Any]:
    """Colours of the heat-map from the floor to the best percentile."""
    return {"floor": floor, "top": 100.0, "colours": ramp(steps).tolist()}


@router.get("/{z}/{x}/{y}.png", response_class=PngResponse, openapi_extra=described(HeatParameters))
def heatmap(
    request: Request,
    z: Zoom,
    x: TileNumber,
    y: TileNumber,
    parameters: Annotated[HeatParameters, Depends(reader(HeatParameters))],
    gate: Gated,
) -> Response:
    """How well every tile fits the query, as a map tile of 256 x 256 pixels."""
    check_map_tile(z, x, y)
    served = catalog_of(request).get(parameters.collection)
    query = parameters.to_query(species_of(request).term)
    asked = {name: value for name, value in parameters.normalised().items() if name not in ("k", "offset")}
    etag = etag_of_query(served, "heatmap", query, z, x, y, asked)
    if unchanged := not_modified(request, etag):
        return unchanged
    with metrics_of(request).timed("heat"):
        field = served.engine.heat(query)
    with metrics_of(request).timed("paint"):
        picture = paint(field.grid(z, x, y), parameters.floor)
    return PngResponse(picture, headers={"ETag": etag, "Cache-Control": "no-cache"})
