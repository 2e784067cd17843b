"""GET /species: names that the parameter `species` understands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from app.answers.schemas import SpeciesAnswer
from app.context import species_of

router = APIRouter(tags=["search"])


@router.get("/species", response_model=SpeciesAnswer)
def species(
    request: Request,
    q: Annotated[str, Query(max_length=100, description="beginnings of words of a name; empty: all")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="how many at most")] = 20,
) -> dict[str, Any]:
    """Species by common or scientific name, alphabetically."""
    return {"species": [asdict(one) | {"texts": list(one.texts)} for one in species_of(request).matching(q, limit)]}
