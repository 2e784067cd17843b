"""Request parameters of a search as they stand in a URL: read strictly, kept in one normal form."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from app.requests.bodies import TermBody
from app.requests.forms import (
    Box,
    CollectionName,
    Countries,
    Crs84,
    Day,
    Disc,
    Distance,
    HitCount,
    HitOffset,
    LonLat,
    Months,
    Percentile,
    Share,
    SpeciesTexts,
    TileId,
    TileIds,
    cleaned,
    ids,
    numbers,
)
from app.requests.reader import Parameters, in_url
from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.search.properties import PropertyFilter
from wildsat_core.search.properties.reading import MAX_CHARACTERS
from wildsat_core.search.query import (
    DEFAULT_K,
    MAX_TEXT_CHARACTERS,
    Circle,
    Filters,
    PlaceTerm,
    Query,
    Term,
    TextTerm,
    TileTerm,
)
from wildsat_core.search.species import SpeciesTable
from wildsat_core.search.understanding import understand
from wildsat_core.types import BBox

# Percent-encoded at three bytes a character it still fits the 64 KiB of head that the HTTP server reads; POST /search
# takes the rest.
MAX_AREA_CHARACTERS = 20_000
MAX_TERMS_CHARACTERS = 20_000


def ranking(**about: Any) -> Any:  # noqa: ANN401 - what pydantic's Field takes and gives
    """A field that ranks; without any of them a query only narrows."""
    return Field(default=None, json_schema_extra={"x-ranks": True}, **about)


class QuestionParameters(Parameters):
    """What to rank by, and what narrows it."""

    q: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS), cleaned("q")] | None = ranking(
        description="what the place looks like, or what lives there", examples=["mangrove coast"]
    )
    not_: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS), cleaned("not")] | None = ranking(
        alias="not", description="what to stay away from", examples=["farmland"]
    )
    terms: Annotated[str, Field(min_length=1, max_length=MAX_TERMS_CHARACTERS)] | None = ranking(
        description="more terms with weights: JSON as in the body of POST /search",
        examples=['[{"text":"farmland","weight":-0.5}]'],
    )
    like: TileId | None = ranking(description="id of a tile: more like this")
    near: LonLat | None = ranking(description="longitude,latitude: places ecologically like this one")
    species: Annotated[str, Field(max_length=100), cleaned("species")] | None = ranking(
        description="common or scientific name of a species", examples=["jaguar"]
    )
    up: TileIds | None = ranking(description="ids of tiles marked as good, with commas")
    down: TileIds | None = ranking(description="ids of tiles marked as poor, with commas")
    bbox: Box | None = Field(
        default=None, description="west,south,east,north in degrees; west > east crosses 180 degrees"
    )
    area: Annotated[str, Field(min_length=1, max_length=MAX_AREA_CHARACTERS)] | None = Field(
        default=None,
        description=f"GeoJSON Polygon or MultiPolygon, up to {MAX_AREA_CHARACTERS} characters; POST /search takes more",
    )
    circle: Disc | None = Field(default=None, description="longitude,latitude,radius in kilometres")
    countries: Countries | None = Field(default=None, description="ISO 3166-1 alpha-3 codes with commas")
    from_: Day | None = Field(default=None, alias="from", description="first day, YYYY-MM-DD")
    to: Day | None = Field(default=None, description="last day, YYYY-MM-DD")
    months: Months | None = Field(default=None, description="months of the year with commas")
    max_cloud: Share | None = Field(default=None, description="largest share of cloud")
    min_land: Share | None = Field(
        default=None,
        description="least share of land; default: a quarter where q is about land, 0 shows the sea there, too",
    )
    tiles: TileIds | None = Field(default=None, description="only these tiles: ids with commas")
    filter_: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)] | None = Field(
        default=None,
        alias="filter",
        description="condition on properties in CQL2, see /stac/queryables",
        examples=["cloud_cover < 0.1 AND gsd_m <= 10"],
    )
    filter_lang: Literal["cql2-text", "cql2-json"] | None = Field(
        default=None, alias="filter-lang", description="how filter is written; default: as it looks"
    )
    filter_crs: Crs84 | None = Field(
        default=None, alias="filter-crs", description="coordinates of geometries in filter"
    )
    blend: Share | None = Field(
        default=None, description="0: looks like it, 1: such things live there; default: the model's"
    )
    understand: bool = Field(
        default=True, description="read names of species and places, negations and other languages in q"
    )
    undo: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)] | None = Field(
        default=None,
        description="what of `understood` to take back: ids, with | between them",
        examples=["country:gabon"],
    )

    def normalised(self) -> dict[str, Any]:
        """What was asked, by the names of the URL, without what was left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)

    def question(self, species: SpeciesTable, filters: Filters | None = None, **how: Any) -> Query:  # noqa: ANN401 - fields of Query
        """The core's query.

        Args:
            species: knows species by name.
            filters: read already; None reads the parameters.
            how: k, offset and explain.

        Raises:
            InvalidInputError: nothing to rank by, or a value out of range; the parameter is named.
        """
        query = Query(
            terms=self._terms(species),
            filters=filters or self.filters(),
            blend=self.blend,
            liked=ids(self.up),
            disliked=ids(self.down),
            **how,
        )
        if not (query.ranks or self.q):
            raise InvalidInputError("say what to search for: give q, terms, like, near, species or up", "q")
        return self._read(query, species) if self.q else query

    def _read(self, query: Query, species: SpeciesTable) -> Query:
        """The query with what q says: its words as they are, or taken apart."""
        assert self.q is not None
        if not self.understand:
            return replace(query, terms=(*query.terms, TextTerm(self.q)))
        undone = frozenset(self.undo.casefold().split("|")) if self.undo else frozenset()
        return understand(self.q, species, undone=undone).apply(query)

    def _terms(self, species: SpeciesTable) -> tuple[Term, ...]:
        terms = read_terms(self.terms, species.term) if self.terms else []
        if self.not_:
            terms.append(TextTerm(self.not_, weight=-1.0))
        if self.like:
            terms.append(TileTerm(self.like))
        if self.near:
            lon, lat = numbers(self.near)
            terms.append(PlaceTerm(lon, lat))
        if self.species:
            terms.append(species.term(self.species))
        return tuple(terms)

    def filters(self, bbox: BBox | None = None) -> Filters:
        """What a tile must satisfy.

        Args:
            bbox: read already; None reads the parameter.

        Raises:
            InvalidInputError: a value is out of range, or `filter` is no CQL2; the parameter is named.
        """
        circle = numbers(self.circle) if self.circle else None
        return Filters(
            bbox=bbox or (parse_bbox(self.bbox) if self.bbox else None),
            area=Area.from_geojson(self.area) if self.area else None,
            circle=Circle(circle[0], circle[1], circle[2]) if circle else None,
            countries=frozenset(self.countries.split(",")) if self.countries else frozenset(),
            date_from=self.from_,
            date_to=self.to,
            months=frozenset(int(month) for month in self.months.split(",")) if self.months else frozenset(),
            max_cloud=self.max_cloud,
            min_land=self.min_land,
            tile_ids=frozenset(ids(self.tiles)) if self.tiles else None,
            where=PropertyFilter.read(self.filter_, self.filter_lang) if self.filter_ else None,
        )

    @property
    def ranks(self) -> bool:
        """Whether anything is asked for, not only narrowed."""
        return any(getattr(self, name) for name in RANKING_FIELDS)


class RankingParameters(QuestionParameters):
    """A question that single tiles answer: how well they must fit, and how far apart they are to be."""

    min_percentile: Percentile | None = Field(default=None, description="smallest percentile among all tiles")
    spacing_km: Distance | None = Field(default=None, description="least distance of two hits in km")
    max_per_country: HitCount | None = Field(default=None, description="at most so many hits of one country")

    def question(self, species: SpeciesTable, filters: Filters | None = None, **how: Any) -> Query:  # noqa: ANN401 - fields of Query
        """The core's query; see `QuestionParameters.question`."""
        apart = {"spacing_km": self.spacing_km or 0.0, "max_per_country": self.max_per_country}
        return super().question(species, filters, **apart, **how)

    def filters(self, bbox: BBox | None = None) -> Filters:
        """What a tile must satisfy; see `QuestionParameters.filters`."""
        return replace(super().filters(bbox), min_percentile=self.min_percentile)


class SearchParameters(RankingParameters):
    """What to search for, where, when, and how many. At least one of q, terms, like, near, species and up is needed."""

    k: HitCount = Field(default=DEFAULT_K, description="how many hits")
    offset: HitOffset = Field(default=0, description="hits to skip")
    overlapping: bool = Field(default=False, description="show hits that overlap a better one, too")
    explain: bool = Field(default=False, description="give each hit the share of every term and space")
    partial: bool = Field(default=False, description="answer though a part of the collection can't be reached")
    collection: CollectionName | None = Field(default=None, description="collection to search; default: the service's")

    def normalised(self) -> dict[str, Any]:
        """What was asked, by the names of the URL, without what was left out but k."""
        return super().normalised() | {"k": self.k}

    def to_query(self, species: SpeciesTable) -> Query:
        """The core's query; see `question`."""
        return self.question(
            species,
            k=self.k,
            offset=self.offset,
            explain=self.explain,
            overlapping=self.overlapping,
            partial=self.partial,
        )


RANKING_FIELDS = {
    name: field.alias or name
    for name, field in SearchParameters.model_fields.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("x-ranks")
}
RANKING = tuple(RANKING_FIELDS.values())  # as a URL names them


def _or_empty(schema: dict[str, Any]) -> None:
    """Say in a document that every field may be empty."""
    for field in schema["properties"].values():
        about = {name: field.pop(name) for name in ("title", "description", "examples", "default") if name in field}
        ways = field.pop("anyOf", None) or [dict(field)]
        field.clear()
        field |= {"anyOf": [*ways, {"const": "", "type": "string"}], **about}


class PageParameters(SearchParameters):
    """The page's URL: a search, the page's own state beside it, and the empty fields of a submitted form.

    Parameters of neither are no reason to refuse a link, since mail programs and others append theirs; the page names
    them instead.
    """

    model_config = ConfigDict(extra="ignore", json_schema_extra=_or_empty)

    view: str | None = Field(default=None, description="camera: longitude,latitude,zoom")
    tile: str | None = Field(default=None, description="id of the selected tile")
    flat: str | None = Field(default=None, description="a flat map and no globe")
    heat: str | None = Field(default=None, description="opacity of the heat-map in per cent")
    vs: str | None = Field(default=None, description="words of the question that this one is compared with")
    vs_collection: str | None = Field(default=None, description="collection in which that question is asked")
    changes: str | None = Field(default=None, description="what changed instead of hits: any, gain or loss")
    before: str | None = Field(default=None, description="when the earlier of two pictures was taken")
    after: str | None = Field(default=None, description="when the later was")
    area_name: str | None = Field(default=None, description="what the area is called: a place, or a file's name")
    f: Literal["html", "json"] | None = Field(default=None, description="json: the landing page for programs")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:  # noqa: ANN401 - whatever came in the URL
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, dict) else values

    def normalised(self) -> dict[str, Any]:
        """The search alone."""
        return {name: value for name, value in super().normalised().items() if name not in PAGE_KEYS}


PAGE_KEYS = tuple(name for name in PageParameters.model_fields if name not in SearchParameters.model_fields)


def read_terms(text: str, species: SpeciesTexts) -> list[Term]:
    """Weighted terms written as JSON.

    Raises:
        InvalidInputError: not JSON, or not a list of terms; the place at fault is named.
    """
    try:
        bodies = TypeAdapter(Annotated[list[TermBody], Field(min_length=1)]).validate_json(text)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"terms{'.' + place if place else ''}: {said}", "terms") from err
    return [body.to_term(species) for body in bodies]


SearchQuery = Annotated[SearchParameters, in_url(SearchParameters)]
