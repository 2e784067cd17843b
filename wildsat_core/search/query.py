"""What a searcher asks, and what comes back. Plain values: no HTTP, no model, no collection in them."""

from __future__ import annotations

import datetime as dt
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError, LimitExceededError
from wildsat_core.geo import check_lon_lat
from wildsat_core.region import Region
from wildsat_core.search.properties import PropertyFilter
from wildsat_core.search.understood import Understood
from wildsat_core.text.folding import fold
from wildsat_core.types import BBox, Space, Tile

MAX_TEXT_CHARACTERS = 500
LAND_SHOWN = 0.25  # of a tile, for a picture to show land rather than sea
MAX_TERMS = 20
DEFAULT_K = 20
MAX_K = 1_000
MAX_OFFSET = 100_000
MAX_APART = 10_000  # hits with spacing or a cap are compared pair by pair
MAX_LABELS = 1_000
MAX_WEIGHT = 10.0
MAX_DISTANCE_KM = 20_100.0  # a little more than half the way round the Earth


def clean_text(text: str, parameter: str = "q") -> str:
    """Normalise a query text: Unicode NFKC, no invisible characters, single spaces.

    Raises:
        InvalidInputError: blank, or with control characters.
        LimitExceededError: longer than MAX_TEXT_CHARACTERS.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise LimitExceededError(
            f"{parameter} has {len(text)} characters, at most {MAX_TEXT_CHARACTERS} are allowed", parameter
        )
    bad = sorted({c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r"})
    if bad:
        raise InvalidInputError(f"{parameter} has control characters {bad!r}; remove them", parameter)
    cleaned = fold(text)
    if not cleaned:
        raise InvalidInputError(f"{parameter} is blank; describe a habitat, such as 'mangrove coast'", parameter)
    return cleaned


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that hits should be like (weight > 0) or unlike (weight < 0)."""

    weight: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the weight."""
        if not (math.isfinite(self.weight) and 0 < abs(self.weight) <= MAX_WEIGHT):
            raise InvalidInputError(
                f"a term's weight must lie in [-{MAX_WEIGHT:g}, {MAX_WEIGHT:g}] and not be 0, got {self.weight}",
                "weight",
            )

    @property
    def label(self) -> str:
        """The term as people know it."""
        raise AttributeError("each kind of term has a label of its own")


@dataclass(frozen=True, slots=True)
class TextTerm(Term):
    """A habitat in words."""

    text: str

    def __post_init__(self) -> None:
        """Clean the words once."""
        Term.__post_init__(self)
        object.__setattr__(self, "text", clean_text(self.text))

    @property
    def label(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class SpeciesTerm(Term):
    """A species: its name, and the habitat texts that the name stands for (at least one)."""

    name: str
    texts: tuple[str, ...]

    @property
    def label(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class TileTerm(Term):
    """More like this tile."""

    tile_id: str

    @property
    def label(self) -> str:
        return f"like {self.tile_id}"


@dataclass(frozen=True, slots=True)
class PlaceTerm(Term):
    """Places like this one."""

    lon: float
    lat: float

    def __post_init__(self) -> None:
        """Check the position."""
        Term.__post_init__(self)
        check_lon_lat(self.lon, self.lat)

    @property
    def label(self) -> str:
        return f"near {self.lon:g}, {self.lat:g}"


@dataclass(frozen=True, slots=True, eq=False)
class ImageTerm(Term):
    """A picture: (C, H, W) uint8, bands in the model's order."""

    pixels: npt.NDArray[np.uint8]

    @property
    def label(self) -> str:
        return "picture"


@dataclass(frozen=True, slots=True, eq=False)
class VectorTerm(Term):
    """A ready-made query vector (D,) of a space."""

    space: Space
    vector: npt.NDArray[np.float32]

    @property
    def label(self) -> str:
        return f"{self.space} vector"


@dataclass(frozen=True, slots=True)
class Circle:
    """Tiles whose centre lies within a great-circle distance."""

    lon: float
    lat: float
    radius_km: float

    def __post_init__(self) -> None:
        """Check position and radius."""
        check_lon_lat(self.lon, self.lat)
        if not (math.isfinite(self.radius_km) and 0 < self.radius_km <= MAX_DISTANCE_KM):
            raise InvalidInputError(
                f"circle radius must lie in (0, {MAX_DISTANCE_KM:g}] km, got {self.radius_km}", "circle"
            )


@dataclass(frozen=True, slots=True)
class Filters:
    """What a tile must satisfy to be ranked at all. Everything given must hold.

    A tile of unknown date, cloud cover, land share or country passes no filter on it, but see `undated`.

    Attributes:
        bbox: the tile's outline shares a point with the box.
        area: the tile's outline shares a point with the area.
        circle: the tile's centre is within the circle.
        countries: ISO 3166-1 alpha-3 codes.
        not_countries: codes of countries that hits do not lie in; a tile of no known country passes.
        regions: the tile lies in each of these named parts of the Earth.
        outside: the tile lies in none of these.
        ranges: as `regions`, unless no tile of the collection that passes the rest does: then they are no filter.
        date_from: first day, inclusive.
        date_to: last day, inclusive.
        undated: whether tiles of unknown date pass date_from and date_to.
        months: months of the year, 1 to 12.
        max_cloud: greatest share of cloud, in [0, 1].
        min_land: least share of land, in [0, 1].
        show_land: tiles known to show less land than LAND_SHOWN don't pass where at least this share of what passes
            the rest shows more, and one tile does; None lets them pass.
        tile_ids: only these tiles.
        where: a condition on properties.
        min_percentile: only tiles that score at least as high as this share of all tiles, in [0, 100).
    """

    bbox: BBox | None = None
    area: Area | None = None
    circle: Circle | None = None
    countries: frozenset[str] = frozenset()
    not_countries: frozenset[str] = frozenset()
    regions: tuple[Region, ...] = ()
    outside: tuple[Region, ...] = ()
    ranges: tuple[Region, ...] = ()
    date_from: dt.date | None = None
    date_to: dt.date | None = None
    undated: bool = False
    months: frozenset[int] = frozenset()
    max_cloud: float | None = None
    min_land: float | None = None
    show_land: float | None = None
    tile_ids: frozenset[str] | None = None
    where: PropertyFilter | None = None
    min_percentile: float | None = None

    def __post_init__(self) -> None:
        """Check ranges, naming the parameter."""
        if self.date_from and self.date_to and self.date_from > self.date_to:
            raise InvalidInputError(f"from {self.date_from} is after to {self.date_to}", "from")
        wrong = sorted(m for m in self.months if not 1 <= m <= 12)
        if wrong:
            raise InvalidInputError(f"months must be numbers from 1 to 12, got {wrong}", "months")
        if self.max_cloud is not None and not 0 <= self.max_cloud <= 1:
            raise InvalidInputError(f"max_cloud must lie in [0, 1], got {self.max_cloud}", "max_cloud")
        if self.min_land is not None and not 0 <= self.min_land <= 1:
            raise InvalidInputError(f"min_land must lie in [0, 1], got {self.min_land}", "min_land")
        if self.min_percentile is not None and not 0 <= self.min_percentile < 100:
            raise InvalidInputError(f"min_percentile must lie in [0, 100), got {self.min_percentile}", "min_percentile")


@dataclass(frozen=True, slots=True)
class Query:
    """A whole search.

    Attributes:
        terms: what hits are like or unlike; with none and no labels, tiles come in stored order.
        filters: what hits must satisfy.
        blend: share of the place space for text terms: 0 "looks like it" to 1 "such things live there"; None: the
            model's default.
        k: how many hits, 1 to MAX_K.
        offset: how many to leave out at the top.
        spacing_km: least great-circle distance between the centres of two hits.
        overlapping: whether a hit may overlap a better one; without it, hits are at least a tile's side apart.
        max_per_country: at most so many hits of one country.
        liked: ids of tiles that the searcher calls good.
        disliked: ids of tiles that the searcher calls bad; they are no hits.
        explain: whether hits carry the share of each term and space.
        understood: what was read from typed words to make this query; None for a query that was given as such.
        partial: whether an answer may do without a part of the collection that can't be reached.
    """

    terms: tuple[Term, ...] = ()
    filters: Filters = Filters()
    blend: float | None = None
    k: int = DEFAULT_K
    offset: int = 0
    spacing_km: float = 0.0
    overlapping: bool = True
    max_per_country: int | None = None
    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    explain: bool = False
    understood: Understood | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        """Check ranges, naming the parameter."""
        if len(self.terms) > MAX_TERMS:
            raise LimitExceededError(f"a query has at most {MAX_TERMS} terms, got {len(self.terms)}", "terms")
        if not 1 <= self.k <= MAX_K:
            raise InvalidInputError(f"k must lie in 1 to {MAX_K}, got {self.k}", "k")
        if not 0 <= self.offset <= MAX_OFFSET:
            raise InvalidInputError(f"offset must lie in 0 to {MAX_OFFSET}, got {self.offset}", "offset")
        if self.blend is not None and not 0 <= self.blend <= 1:
            raise InvalidInputError(f"blend must lie in [0, 1], got {self.blend}", "blend")
        if not (math.isfinite(self.spacing_km) and 0 <= self.spacing_km <= MAX_DISTANCE_KM):
            raise InvalidInputError(
                f"spacing_km must lie in [0, {MAX_DISTANCE_KM:g}], got {self.spacing_km}", "spacing_km"
            )
        if self.max_per_country is not None and self.max_per_country < 1:
            raise InvalidInputError(
                f"max_per_country must be at least 1, got {self.max_per_country}", "max_per_country"
            )
        if len(self.liked) + len(self.disliked) > MAX_LABELS:
            raise LimitExceededError(f"at most {MAX_LABELS} tiles can be judged in a query", "up")
        both = sorted(set(self.liked) & set(self.disliked))
        if both:
            raise InvalidInputError(f"tiles can't be both liked and disliked: {both[:3]}", "up")

    @property
    def left_out(self) -> tuple[str, ...]:
        """Ids of tiles that are no hits: those called bad, and those that hits are to be like."""
        return (*self.disliked, *(t.tile_id for t in self.terms if isinstance(t, TileTerm) and t.weight > 0))

    @property
    def ranks(self) -> bool:
        """Whether there is anything to rank by."""
        return bool(self.terms or self.liked or self.disliked)


@dataclass(frozen=True, slots=True)
class Share:
    """What one term contributed to a hit's score through one space; the shares of a hit add up to its score."""

    term: str
    space: Space
    value: float


Fit = Literal["strong", "fair", "weak", "none"]


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A tile with its rank.

    Attributes:
        rank: 1 for the best.
        row: row in this generation.
        tile: the tile.
        score: standard deviations above the average tile for this query; it ranks, it is no probability.
        percentile: share of all tiles that score lower, in [0, 100].
        fit: the score in words; see `wildsat_core.search.fit`.
        shares: filled when the query asks to explain.
    """

    rank: int
    row: int
    tile: Tile
    score: float
    percentile: float
    fit: Fit
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One place on two days.

    Attributes:
        before: its tile of the earlier day; its rank is that of the change.
        after: that of the later.
    """

    before: SearchHit
    after: SearchHit

    @property
    def rank(self) -> int:
        return self.before.rank

    @property
    def difference(self) -> float:
        """How much better the place fits the query than it did, in standard deviations of all tiles' scores."""
        return self.after.score - self.before.score


@dataclass(frozen=True, slots=True)
class Missing:
    """What could not be reached for an answer.

    Attributes:
        shards: how many shards.
        of: how many there are.
        tiles: how many tiles they hold.
    """

    shards: int
    of: int
    tiles: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits in rank order, and what a reader needs to judge them.

    Attributes:
        hits: at most k.
        matched: how many tiles passed the filters.
        total: how many tiles the generation has.
        no_match: every text asked for is about nothing that the model knows of places.
        collection: its name.
        generation: the generation that was searched.
        model: the model's name.
        blend: the blend that was used, None where no text term was.
        backend: how the vectors were searched.
        timings_ms: time by stage.
        understood: what was read from typed words.
        missing: what could not be reached; None when everything could.
    """

    hits: tuple[SearchHit, ...]
    matched: int
    total: int
    no_match: bool
    collection: str
    generation: int
    model: str
    blend: float | None
    backend: str
    timings_ms: Mapping[str, float]
    understood: Understood | None = None
    missing: Missing | None = None


@dataclass(frozen=True, slots=True)
class ChangesResult:
    """Places in the order of how much they changed.

    Attributes:
        changes: at most k.
        matched: how many places have a tile in each period.
        total: how many tiles the generation has.
        no_match: every text asked for is about nothing that the model knows of places.
        collection: its name.
        generation: the generation that was searched.
        model: the model's name.
        blend: the blend that was used, None where no text term was.
        timings_ms: time by stage.
        understood: what was read from typed words.
    """

    changes: tuple[Change, ...]
    matched: int
    total: int
    no_match: bool
    collection: str
    generation: int
    model: str
    blend: float | None
    timings_ms: Mapping[str, float]
    understood: Understood | None = None
