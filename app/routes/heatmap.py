"""The heat-map of any query as map tiles, and its legend."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from app.answers.etags import etag_of_query, not_modified
from app.answers.ranges import answer_with, media_types
from app.answers.responses import JSONResponse
from app.answers.schemas import LegendAnswer, TileJson
from app.answers.tilejson import HEAT_ZOOMS, TILE_PX, tilejson
from app.context import base_url, catalog_of, metrics_of, species_of
from app.requests.forms import Percentile
from app.requests.parameters import SearchParameters
from app.requests.reader import Parameters, in_url
from app.routes.maps import TileNumber, Zoom
from app.routes.route import new_router
from wildsat_core.search.heatmap import DEFAULT_FLOOR, check_map_tile, paint, ramp

router = new_router(prefix="/heatmap", tags=["maps"])

Floor = Annotated[Percentile, Field(description="percentile below which nothing is painted")]


class HeatParameters(SearchParameters):
    """A search, and from where on it is painted."""

    floor: Floor = DEFAULT_FLOOR


class LegendParameters(Parameters):
    """Which part of the scale, and how finely."""

    floor: Floor = DEFAULT_FLOOR
    steps: int = Field(default=6, ge=2, le=256, description="how many colours")


class PngResponse(Response):
    """A PNG."""

    media_type = "image/png"


@router.get("/legend", response_model=LegendAnswer)
def legend(parameters: Annotated[LegendParameters, in_url(LegendParameters)]) -> dict[str, Any]:
    """Colours of the heat-map from the floor to the best percentile."""
    return {"floor": parameters.floor, "top": 100.0, "colours": ramp(parameters.steps).tolist()}


@router.get("/tilejson.json", response_model=TileJson)
def heatmap_tilejson(request: Request, parameters: Annotated[HeatParameters, in_url(HeatParameters)]) -> Response:
    """The heat-map of a query as TileJSON, which map libraries take in place of an address of map tiles."""
    served = catalog_of(request).get(parameters.collection)
    parameters.to_query(species_of(request))  # refused here, not at every map tile
    asked = {name: value for name, value in parameters.normalised().items() if name not in ("k", "offset")}
    tiles = f"{base_url(request)}/heatmap/{{z}}/{{x}}/{{y}}.png?{urlencode(asked)}"
    return JSONResponse(tilejson(served, f"{served.name}: heat-map", tiles, HEAT_ZOOMS, TILE_PX, "image/png"))


@router.get("/{z}/{x}/{y}.png", response_class=PngResponse, responses=media_types("image/png"))
def heatmap(
    request: Request,
    z: Zoom,
    x: TileNumber,
    y: TileNumber,
    parameters: Annotated[HeatParameters, in_url(HeatParameters)],
) -> Response:
    """How well every tile fits the query, as a map tile of 256 x 256 pixels."""
    check_map_tile(z, x, y)
    served = catalog_of(request).get(parameters.collection)
    query = parameters.to_query(species_of(request))
    asked = {name: value for name, value in parameters.normalised().items() if name not in ("k", "offset")}
    etag = etag_of_query(served, "heatmap", query, z, x, y, asked)
    if unchanged := not_modified(request, etag):
        return unchanged
    with metrics_of(request).timed("heat"):
        field = served.engine.heat(query)
    with metrics_of(request).timed("paint"):
        picture = paint(field.grid(z, x, y), parameters.floor)
    return answer_with(request, picture, "image/png", {"ETag": etag})
