"""GET /species: names that the parameter `species` understands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from app.answers.schemas import SpeciesAnswer
from app.context import species_of
from app.requests.reader import Parameters, in_url
from app.routes.route import new_router

router = new_router(tags=["search"])


class SpeciesParameters(Parameters):
    """Which species."""

    q: str = Field(default="", max_length=100, description="beginnings of words of a name; empty: all")
    limit: int = Field(default=20, ge=1, le=1000, description="how many at most")


@router.get("/species", response_model=SpeciesAnswer)
def species(request: Request, parameters: Annotated[SpeciesParameters, in_url(SpeciesParameters)]) -> dict[str, Any]:
    """Species by common or scientific name, alphabetically."""
    found = species_of(request).matching(parameters.q, parameters.limit)
    return {"species": [asdict(one) | {"texts": list(one.texts)} for one in found]}
