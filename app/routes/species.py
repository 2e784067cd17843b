"""GET /species: names that the parameter `species` understands."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from app.answers.schemas import SpeciesAnswer
from app.context import species_of
from app.requests.reader import Parameters, in_url
from app.routes.route import new_router
from wildsat_core.search.species import Species

router = new_router(tags=["search"])


class SpeciesParameters(Parameters):
    """Which species."""

    q: str = Field(default="", max_length=100, description="beginnings of words of a name; empty: all")
    limit: int = Field(default=20, ge=1, le=1000, description="how many at most")


@router.get("/species", response_model=SpeciesAnswer)
def species(request: Request, parameters: Annotated[SpeciesParameters, in_url(SpeciesParameters)]) -> dict[str, Any]:
    """Species by common or scientific name, alphabetically."""
    found = species_of(request).matching(parameters.q, parameters.limit)
    return {"species": [_told(one) for one in found]}


def _told(one: Species) -> dict[str, Any]:
    return {
        "common_name": one.common_name,
        "scientific_name": one.scientific_name,
        "habitat": one.habitat,
        "texts": list(one.texts),
    }
