"""What the client gives back: the service's answers as plain frozen values."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from wildsat_core.errors import MissingExtraError

if TYPE_CHECKING:
    from geopandas import GeoDataFrame


@dataclass(frozen=True, slots=True)
class TileInfo:
    """A tile as the service tells it.

    Attributes:
        lon, lat: centre in degrees.
        bbox: west, south, east, north; west > east across 180 degrees.
        captured_on: None when unknown or a composite of many days.
        country: ISO 3166-1 alpha-3 code.
        land_share: None when unknown.
        thumbnail, similar: paths below the service's address.
        feature: the GeoJSON Feature as it came.
    """

    tile_id: str
    lon: float
    lat: float
    bbox: tuple[float, float, float, float]
    captured_on: dt.date | None
    cloud_cover: float | None
    gsd_m: float
    source: str
    country: str | None
    country_name: str | None
    land_share: float | None
    thumbnail: str
    similar: str
    feature: Mapping[str, Any]

    @classmethod
    def from_feature(cls, feature: Mapping[str, Any]) -> Self:
        return cls(**_tile_fields(feature))


@dataclass(frozen=True, slots=True)
class TermShare:
    """What one term gave to a hit's score through one space."""

    term: str
    space: str
    value: float


@dataclass(frozen=True, slots=True)
class Hit(TileInfo):
    """A tile with its place in the ranking.

    Attributes:
        score: ranks only; not a probability.
        percentile: share of all tiles that score lower, in [0, 100].
        shares: what each term and space gave to the score; empty unless asked for with explain=True.
    """

    rank: int
    score: float
    percentile: float
    shares: tuple[TermShare, ...] = ()

    @classmethod
    def from_feature(cls, feature: Mapping[str, Any]) -> Self:
        told = feature["properties"]
        ranking = {"rank": told["rank"], "score": told["score"], "percentile": told["percentile"]}
        shares = tuple(TermShare(s["term"], s["space"], s["value"]) for s in told.get("shares") or ())
        return cls(**_tile_fields(feature), **ranking, shares=shares)


def _tile_fields(feature: Mapping[str, Any]) -> dict[str, Any]:
    told = feature["properties"]
    names = (
        "tile_id",
        "lon",
        "lat",
        "cloud_cover",
        "gsd_m",
        "source",
        "country",
        "country_name",
        "land_share",
        "thumbnail",
        "similar",
    )
    day = told["captured_on"]
    return {name: told[name] for name in names} | {
        "bbox": tuple(feature["bbox"]),
        "captured_on": dt.date.fromisoformat(day) if day else None,
        "feature": feature,
    }


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Hits in rank order, and what is needed to judge them.

    Attributes:
        matched: tiles that passed the filters.
        total: tiles of the collection.
        no_match: every text asked for is about nothing that the model knows of places.
        notice: what must be said of the imagery.
        backend: how the vectors were searched: exactly, or approximately with what recall.
        geojson: the whole answer as it came.
    """

    hits: tuple[Hit, ...]
    matched: int
    total: int
    no_match: bool
    collection: str
    generation: int
    model: str
    notice: str | None
    attribution: str | None
    backend: str
    geojson: Mapping[str, Any]

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> SearchAnswer:
        names = (
            "matched",
            "total",
            "no_match",
            "collection",
            "generation",
            "model",
            "notice",
            "attribution",
            "backend",
        )
        hits = tuple(Hit.from_feature(feature) for feature in answer["features"])
        return cls(hits=hits, geojson=answer, **{name: answer[name] for name in names})

    @property
    def terms(self) -> list[dict[str, Any]]:
        """Terms of the question as `query` and `query_changes` take them; a picture that was sent is its vector."""
        told = self.geojson["query"].get("terms", [])
        return list(json.loads(told) if isinstance(told, str) else told)  # a URL holds them as JSON

    def to_geodataframe(self) -> GeoDataFrame:
        """The hits as a GeoDataFrame in EPSG:4326, best first.

        Raises:
            MissingExtraError: geopandas is not installed.
        """
        try:
            import geopandas
        except ImportError as err:
            raise MissingExtraError("geopandas", "geo", "to_geodataframe()") from err
        if not self.hits:
            return geopandas.GeoDataFrame({"tile_id": []}, geometry=[], crs="EPSG:4326")
        return geopandas.GeoDataFrame.from_features([hit.feature for hit in self.hits], crs="EPSG:4326")


@dataclass(frozen=True, slots=True)
class DatedTile(TileInfo):
    """A place on one of two days.

    Attributes:
        score: compares with the other day's; not a probability.
        percentile: share of all tiles that score lower, in [0, 100].
    """

    score: float
    percentile: float


@dataclass(frozen=True, slots=True)
class Change:
    """What changed at a place, as a question sees it.

    Attributes:
        difference: score of the later day less that of the earlier one.
        feature: the GeoJSON Feature as it came; its outline is that of the later tile.
    """

    rank: int
    difference: float
    before: DatedTile
    after: DatedTile
    feature: Mapping[str, Any]

    @classmethod
    def from_feature(cls, feature: Mapping[str, Any]) -> Change:
        told = feature["properties"]
        days = [_dated(feature, told[name]) for name in ("before", "after")]
        return cls(told["rank"], told["difference"], days[0], days[1], feature)


def _dated(feature: Mapping[str, Any], told: Mapping[str, Any]) -> DatedTile:
    alone = {**feature, "id": told["tile_id"], "properties": told}
    return DatedTile(**_tile_fields(alone), score=told["score"], percentile=told["percentile"])


@dataclass(frozen=True, slots=True)
class ChangesAnswer:
    """Places that were visited twice, in the order of how much they changed.

    Attributes:
        matched: places with a tile in each of the two periods.
        total: tiles of the collection.
        no_match: every text asked for is about nothing that the model knows of places.
        notice: what must be said of the imagery.
        geojson: the whole answer as it came.
    """

    changes: tuple[Change, ...]
    matched: int
    total: int
    no_match: bool
    collection: str
    generation: int
    model: str
    notice: str | None
    attribution: str | None
    geojson: Mapping[str, Any]

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> ChangesAnswer:
        names = ("matched", "total", "no_match", "collection", "generation", "model", "notice", "attribution")
        changes = tuple(Change.from_feature(feature) for feature in answer["features"])
        return cls(changes=changes, geojson=answer, **{name: answer[name] for name in names})


@dataclass(frozen=True, slots=True)
class Habitat:
    """A phrase and how much better it fits a tile than the average one, in standard deviations."""

    phrase: str
    score: float


@dataclass(frozen=True, slots=True)
class SpeciesInfo:
    """A species and the texts that stand for it in a query."""

    common_name: str
    scientific_name: str
    habitat: str
    texts: tuple[str, ...]

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> SpeciesInfo:
        names = ("common_name", "scientific_name", "habitat")
        return cls(**{name: told[name] for name in names}, texts=tuple(told["texts"]))


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What can be searched.

    Attributes:
        name: as the parameter `collection` takes it.
        spaces: names of its vector spaces.
        bbox: west, south, east, north in degrees.
        notice: what must be said of the imagery.
        stac: the OGC and STAC collection as it came.
    """

    name: str
    title: str
    description: str
    tiles: int
    generation: int
    model: str
    spaces: tuple[str, ...]
    bbox: tuple[float, float, float, float]
    notice: str | None
    attribution: str | None
    stac: Mapping[str, Any]

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> CollectionInfo:
        ours = told["wildsat"]
        west, south, east, north = told["extent"]["spatial"]["bbox"][0]
        return cls(
            name=told["id"],
            **{name: told[name] for name in ("title", "description", "notice", "attribution")},
            **{name: ours[name] for name in ("tiles", "generation", "model")},
            spaces=tuple(ours["spaces"]),
            bbox=(west, south, east, north),
            stac=told,
        )
