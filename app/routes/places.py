"""GET /places: names of countries and of parts of the Earth, and where those lie."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from app.answers.schemas import PlacesAnswer
from app.requests.reader import Parameters, in_url
from app.routes.route import new_router
from wildsat_core.search.understanding.names import Place, load_gazetteer

router = new_router(tags=["search"])


class PlacesParameters(Parameters):
    """Which places."""

    q: str = Field(min_length=1, max_length=100, description="beginnings of words of a name, in any of ten languages")
    limit: int = Field(default=10, ge=1, le=100, description="how many at most")


@router.get("/places", response_model=PlacesAnswer)
def places(parameters: Annotated[PlacesParameters, in_url(PlacesParameters)]) -> dict[str, Any]:
    """Countries, regions, islands, mountains and waters by name: names that begin with the words first."""
    found = load_gazetteer().matching(parameters.q, parameters.limit)
    return {"places": [_told(name, place) for name, place in found]}


def _told(name: str, place: Place) -> dict[str, Any]:
    boxes = place.region.boxes if place.region else ()
    return {
        "name": place.name,
        "called": name,
        "kind": place.kind,
        "country": place.code,
        "boxes": [list(box.as_tuple()) for box in boxes],
    }
