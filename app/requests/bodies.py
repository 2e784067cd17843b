"""POST /search: a whole query as JSON, with any number of weighted terms. For what does not fit a URL."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.requests.forms import (
    CollectionName,
    Day,
    Distance,
    HitCount,
    HitOffset,
    Percentile,
    Share,
    SpeciesTexts,
    TileId,
    cleaned,
)
from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import check_lon_lat, parse_bbox
from wildsat_core.search.properties import PropertyFilter
from wildsat_core.search.properties.reading import MAX_CHARACTERS
from wildsat_core.search.query import (
    DEFAULT_K,
    MAX_DISTANCE_KM,
    MAX_LABELS,
    MAX_TERMS,
    MAX_TEXT_CHARACTERS,
    MAX_WEIGHT,
    Circle,
    Filters,
    PlaceTerm,
    Query,
    Term,
    TextTerm,
    TileTerm,
    VectorTerm,
)
from wildsat_core.types import Space

MAX_DIMENSIONS = 8192
Country = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Body(BaseModel):
    """Base: what is not described is refused, and a number is a number."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _on_globe(lon_lat: list[float]) -> list[float]:
    check_lon_lat(*lon_lat)
    return lon_lat


class TermBody(Body):
    """One thing that hits should be like, or unlike when its weight is negative. Exactly one kind is given."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS), cleaned("text")] | None = None
    tile: TileId | None = None
    place: Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_on_globe)] | None = Field(
        default=None, description="longitude, latitude"
    )
    species: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    vector: Annotated[list[float], Field(min_length=1, max_length=MAX_DIMENSIONS)] | None = None
    space: Space | None = Field(default=None, description="the space of the vector")
    weight: float = Field(default=1.0, ge=-MAX_WEIGHT, le=MAX_WEIGHT)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [n for n in ("text", "tile", "place", "species", "vector") if getattr(self, n) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a term is exactly one of text, tile, place, species and vector, got {kinds or 'none'}")
        if (self.vector is None) != (self.space is None):
            raise ValueError("vector and space go together")
        return self

    def to_term(self, species: SpeciesTexts) -> Term:
        """The core's term."""
        if self.text is not None:
            return TextTerm(self.text, weight=self.weight)
        if self.tile is not None:
            return TileTerm(self.tile, weight=self.weight)
        if self.place is not None:
            return PlaceTerm(self.place[0], self.place[1], weight=self.weight)
        if self.species is not None:
            return species(self.species, self.weight)
        assert self.vector is not None and self.space is not None  # checked when the body was read  # noqa: PT018
        with np.errstate(over="ignore"):
            vector = np.array(self.vector, np.float32)
        if not np.isfinite(vector).all() or not vector.any():
            raise InvalidInputError("vector must have finite 32-bit numbers that are not all zero", "vector")
        return VectorTerm(self.space, vector, weight=self.weight)


class CircleBody(Body):
    """Tiles whose centre lies within a great-circle distance."""

    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-90, le=90)
    radius_km: float = Field(gt=0, le=MAX_DISTANCE_KM)


class QuestionFiltersBody(Body):
    """What a tile must satisfy to be ranked at all; everything given must hold, and no list may be empty."""

    bbox: Annotated[list[float], Field(min_length=4, max_length=4)] | None = Field(
        default=None, description="west, south, east, north in degrees; west > east crosses 180 degrees"
    )
    area: dict[str, Any] | None = Field(default=None, description="GeoJSON Polygon, MultiPolygon or features of these")
    circle: CircleBody | None = None
    countries: Annotated[list[Country], Field(min_length=1, max_length=250)] | None = None
    from_: Day | None = Field(default=None, alias="from", description="first day, YYYY-MM-DD")
    to: Day | None = Field(default=None, description="last day, YYYY-MM-DD")
    months: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Field(min_length=1, max_length=12)] | None = None
    max_cloud: Share | None = None
    min_land: Share | None = None
    tiles: Annotated[list[TileId], Field(min_length=1, max_length=100_000)] | None = Field(
        default=None, description="only these tiles"
    )
    filter_: dict[str, Any] | Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)] | None = Field(
        default=None, alias="filter", description="condition on properties: CQL2 as JSON or text, see /stac/queryables"
    )

    def to_filters(self) -> Filters:
        """The core's filters."""
        circle = self.circle
        return Filters(
            bbox=parse_bbox(self.bbox) if self.bbox else None,
            area=Area.from_geojson(self.area) if self.area is not None else None,
            circle=Circle(circle.lon, circle.lat, circle.radius_km) if circle else None,
            countries=frozenset(self.countries or ()),
            date_from=self.from_,
            date_to=self.to,
            months=frozenset(self.months or ()),
            max_cloud=self.max_cloud,
            min_land=self.min_land,
            tile_ids=frozenset(self.tiles) if self.tiles is not None else None,
            where=PropertyFilter.read(self.filter_, parameter="filters.filter") if self.filter_ else None,
        )


class FiltersBody(QuestionFiltersBody):
    """The same of single hits."""

    min_percentile: Percentile | None = None

    def to_filters(self) -> Filters:
        """The core's filters."""
        return replace(super().to_filters(), min_percentile=self.min_percentile)


class QuestionBody(Body):
    """What to rank by, what narrows it, and which part of the ranking is wanted."""

    terms: Annotated[list[TermBody], Field(max_length=MAX_TERMS)] = Field(
        default=[], description="what hits are like or unlike"
    )
    up: Annotated[list[TileId], Field(max_length=MAX_LABELS)] = Field(default=[], description="tiles marked as good")
    down: Annotated[list[TileId], Field(max_length=MAX_LABELS)] = Field(default=[], description="tiles marked as poor")
    filters: QuestionFiltersBody = Field(default_factory=QuestionFiltersBody)
    k: HitCount = DEFAULT_K
    offset: HitOffset = 0
    blend: Share | None = None
    collection: CollectionName | None = None

    def normalised(self) -> dict[str, Any]:
        """What was asked, without what was left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True) | {"k": self.k}

    def to_query(self, species: SpeciesTexts) -> Query:
        """The core's query.

        Raises:
            InvalidInputError: nothing to rank by, or a value out of range; it is named.
        """
        query = Query(
            terms=tuple(term.to_term(species) for term in self.terms),
            filters=self.filters.to_filters(),
            blend=self.blend,
            k=self.k,
            offset=self.offset,
            liked=tuple(dict.fromkeys(self.up)),
            disliked=tuple(dict.fromkeys(self.down)),
        )
        if not query.ranks:
            raise InvalidInputError("say what to search for: give terms, up or down", "terms")
        return query


class SearchBody(QuestionBody):
    """A whole query."""

    filters: FiltersBody = Field(default_factory=FiltersBody)
    spacing_km: Distance = 0.0
    overlapping: bool = Field(default=False, description="show hits that overlap a better one, too")
    max_per_country: HitCount | None = None
    explain: bool = False
    partial: bool = Field(default=False, description="answer though a part of the collection can't be reached")

    def to_query(self, species: SpeciesTexts) -> Query:
        """The core's query; see `QuestionBody.to_query`."""
        return replace(
            super().to_query(species),
            spacing_km=self.spacing_km,
            overlapping=self.overlapping,
            max_per_country=self.max_per_country,
            explain=self.explain,
            partial=self.partial,
        )
