"""Shapes of the answers, for the OpenAPI document; the answers are built as plain dicts in answers.py and ogc.py."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Lon = float
Box = list[float]


class Shape(BaseModel):
    """Base of all: nothing may appear that is not described."""

    model_config = ConfigDict(extra="forbid")


class Alive(Shape):
    """The process is up."""

    status: Literal["up"]


class ReadyCollection(Shape):
    """A collection that is loaded."""

    name: str
    generation: int
    tiles: int
    model: str


class Readiness(Shape):
    """What is loaded, and what was refused."""

    status: Literal["ready", "not ready"]
    collections: list[ReadyCollection]
    refused: list[str]


class Link(Shape):
    """A link to the same or another answer; an href that starts with "/" is below the service's root path."""

    rel: str
    href: str
    type: str | None = None
    title: str | None = None


class Geometry(Shape):
    """A GeoJSON Polygon, or a MultiPolygon where it crosses 180 degrees."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: list[Any]


class ShareShape(Shape):
    """What one term gave to a score through one space."""

    term: str
    space: str
    value: float


class TileProperties(Shape):
    """What is known of a tile."""

    tile_id: str
    lon: float = Field(ge=-180, le=180, description="longitude of the centre in degrees")
    lat: float = Field(ge=-90, le=90, description="latitude of the centre in degrees")
    captured_on: str | None = Field(description="day of the picture (UTC), null when unknown or of many days")
    cloud_cover: float | None = Field(description="share of cloud in [0, 1], null when unknown")
    gsd_m: float = Field(description="ground size of a pixel in metres")
    source: str
    country: str | None = Field(description="ISO 3166-1 alpha-3 code, null at sea or unknown")
    country_name: str | None
    land_share: float | None = Field(description="share of the tile that is land, lakes among it; null when unknown")
    place: str = Field(description="where it lies, in words: an island, a part of a country, or a sea")
    thumbnail: str = Field(description="path of the picture, below the service's root path")
    similar: str = Field(description="path of the tiles like this one, below the service's root path")


class HitProperties(TileProperties):
    """A tile with its place in the ranking."""

    rank: int = Field(ge=1)
    score: float = Field(description="ranks only; not a probability")
    percentile: float = Field(ge=0, le=100, description="share of all tiles that score lower for this query")
    fit: Literal["strong", "fair", "weak", "none"] = Field(
        description="the score beside those that plain habitats reach in this collection"
    )
    shares: list[ShareShape] | None = Field(
        default=None, description="what each term and space gave, when explain=true"
    )


class HitFeature(Shape):
    """A hit."""

    type: Literal["Feature"]
    id: str
    bbox: Box
    geometry: Geometry
    properties: HitProperties


class TileAnswer(Shape):
    """One tile."""

    type: Literal["Feature"]
    id: str
    bbox: Box
    geometry: Geometry
    properties: TileProperties
    collection: str
    generation: int
    notice: str | None
    attribution: str | None


class TileFeature(Shape):
    """A tile outside a ranking."""

    type: Literal["Feature"]
    id: str
    bbox: Box
    geometry: Geometry
    properties: TileProperties


class SuggestAnswer(Shape):
    """Tiles to judge next."""

    type: Literal["FeatureCollection"]
    query: dict[str, Any]
    collection: str
    generation: int
    notice: str | None
    attribution: str | None
    features: list[TileFeature]


class HabitatShape(Shape):
    """A phrase and how much better it fits this tile than the average one, in standard deviations."""

    phrase: str
    score: float


class HabitatsAnswer(Shape):
    """The phrases that fit a tile best."""

    tile_id: str
    collection: str
    generation: int
    habitats: list[HabitatShape]


class SpeciesShape(Shape):
    """A species, and the texts that stand for it in a query."""

    common_name: str
    scientific_name: str = Field(description="empty where the common name means several species")
    habitat: str
    texts: list[str]


class SpeciesAnswer(Shape):
    """Species by name."""

    species: list[SpeciesShape]


class PlaceShape(Shape):
    """A country, or a part of the Earth in boxes."""

    name: str = Field(description="as it is called in answers")
    called: str = Field(description="the name that was found, folded: small letters, no accents")
    kind: str = Field(description="country, region, island, protected, peak, sea, river, lake, continent or city")
    country: str | None = Field(description="ISO 3166-1 alpha-3 code of a country, for the parameter countries")
    boxes: list[Box] = Field(description="west, south, east, north of each part; none for a country")


class PlacesAnswer(Shape):
    """Places by name."""

    places: list[PlaceShape]


class LegendAnswer(Shape):
    """Colours of the heat-map."""

    floor: float = Field(description="percentile below which nothing is painted")
    top: float
    colours: list[list[int]] = Field(description="red, green, blue, alpha from floor to top in equal steps")


class FoundAnswer(Shape):
    """One thing that was read from the words of a question."""

    id: str = Field(description="for the parameter undo, which takes it back")
    kind: Literal["species", "country", "place", "like", "not", "language"]
    words: str = Field(description="as they stand in the question")
    meaning: str = Field(description="what they were taken for")
    say: str = Field(description="a sentence for people")


class UnderstoodAnswer(Shape):
    """What was read from the words of a question."""

    found: list[FoundAnswer]
    suggestion: str | None = Field(description="did you mean: the question with a misspelt word put right")
    message: str | None = Field(description="why the hits mean little, where they do")
    about_land: bool = Field(description="hits show at least a quarter of land, unless min_land says otherwise")


class MissingAnswer(Shape):
    """What an answer does without."""

    shards: int = Field(description="parts of the collection that could not be reached")
    of: int = Field(description="parts that there are")
    tiles: int = Field(description="tiles in those that are missing")


class RankedAnswer(Shape):
    """What every ranking says of where and how it was asked."""

    type: Literal["FeatureCollection"]
    query: dict[str, Any] = Field(description="what was asked, in normal form, without what was left out")
    collection: str
    generation: int
    model: str
    notice: str | None = Field(description="what must be said of the imagery")
    attribution: str | None
    total: int = Field(description="tiles of the collection")
    returned: int
    no_match: bool = Field(description="every text asked for is about nothing that the model knows of places")
    understood: UnderstoodAnswer | None = Field(description="what was read from q; null with understand=false")
    blend: float | None = Field(description="the blend that was used, null without a text term")
    timings_ms: dict[str, float]
    links: list[Link]


class SearchAnswer(RankedAnswer):
    """Hits in rank order, and what a reader needs to judge them."""

    matched: int = Field(description="tiles that passed the filters")
    missing: MissingAnswer | None = Field(description="what could not be reached, with partial=true; null: nothing")
    backend: str = Field(description="how the vectors were searched: exactly, or approximately with what recall")
    features: list[HitFeature]


class ChangedTile(TileProperties):
    """A place on one of two days."""

    score: float = Field(description="compares with the other day's; not a probability")
    percentile: float = Field(ge=0, le=100, description="share of all tiles that score lower for this query")
    fit: Literal["strong", "fair", "weak", "none"] = Field(
        description="the score beside those that plain habitats reach in this collection"
    )


class ChangeProperties(Shape):
    """What changed at a place, as the question sees it."""

    rank: int = Field(ge=1)
    difference: float = Field(description="score of the later day less that of the earlier one")
    before: ChangedTile
    after: ChangedTile


class ChangeFeature(Shape):
    """A place that was visited twice, where its later tile is."""

    type: Literal["Feature"]
    id: str = Field(description="of the later tile")
    bbox: Box
    geometry: Geometry
    properties: ChangeProperties


class ChangesAnswer(RankedAnswer):
    """Places in the order of how much they changed."""

    matched: int = Field(description="places with a tile in each of the two periods")
    features: list[ChangeFeature]


class Conformance(Shape):
    """URIs of the standards' parts that are met."""

    conformsTo: list[str]  # noqa: N815 - the name that OGC gives it


class StacLink(Link):
    """A link with an absolute address, and how to follow it where that is not by GET."""

    method: Literal["GET", "POST"] | None = None
    body: dict[str, Any] | None = None


class CollectionAnswer(BaseModel):
    """An OGC collection and STAC Collection in one."""

    model_config = ConfigDict(extra="allow")

    id: str
    type: Literal["Collection"]
    stac_version: str
    title: str
    description: str
    license: str
    notice: str | None
    attribution: str | None
    extent: dict[str, Any]
    wildsat: dict[str, Any] = Field(description="tiles, generation, model, spaces, sizes of pixels and tiles, imagery")
    links: list[StacLink]


class CollectionsAnswer(Shape):
    """All collections."""

    collections: list[CollectionAnswer]
    links: list[StacLink]


class ItemAnswer(Shape):
    """A tile as a STAC Item; what the parameter `fields` leaves out is not there, or empty where GeoJSON wants it."""

    type: Literal["Feature"]
    stac_version: str = "1.1.0"
    stac_extensions: list[str] = []
    id: str
    collection: str = ""
    bbox: Box = []
    geometry: Geometry | None
    properties: dict[str, Any]
    assets: dict[str, Any] = {}
    links: list[StacLink] = []


class ItemsAnswer(Shape):
    """A page of Items."""

    type: Literal["FeatureCollection"]
    numberMatched: int  # noqa: N815 - the names that OGC gives them
    numberReturned: int  # noqa: N815
    timeStamp: str | None = None  # noqa: N815
    features: list[ItemAnswer]
    links: list[StacLink]


class TileJson(BaseModel):
    """TileJSON 3.0.0, with the side of a map tile beside what it prescribes."""

    model_config = ConfigDict(extra="allow")

    tilejson: Literal["3.0.0"]
    name: str
    tiles: list[str]
    tileSize: int  # noqa: N815 - the name that MapLibre reads
    minzoom: int
    maxzoom: int
    bounds: Box
    attribution: str
