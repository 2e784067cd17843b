"""From a query to one vector a space: terms are standardised and added up, so that ranking is a single scan.

A term's score in a space is q . v. Its mean and standard deviation over all tiles follow from the collection's
moments, so (q . v - mean) / std is linear in v, terms of any kind and space come to a common scale, and their weighted
sum is again one vector a space and a constant. The same linearity tells each term's share of a hit's score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.moments import Moments
from wildsat_core.errors import SpaceUnavailableError
from wildsat_core.ground_scale import GroundScale
from wildsat_core.search import feedback
from wildsat_core.search.feedback import LABELS_FOR_LOGISTIC, fit_direction
from wildsat_core.search.hubs import without_background
from wildsat_core.search.query import (
    ImageTerm,
    PlaceTerm,
    Query,
    SpeciesTerm,
    Term,
    TextTerm,
    TileTerm,
    VectorTerm,
)
from wildsat_core.types import ModelRef, Space, SpaceSpec

Vector = npt.NDArray[np.float32]
Raw = tuple[str, Space, Vector, float]  # term, space, vector, weight: a part before it is standardised

Background = Mapping[Space, Vector]
NO_BACKGROUND: Background = {}

# Rocchio's weights for judged tiles beside a query of weight 1: what is liked counts more than what is not
# (Manning, Raghavan and Schuetze, Introduction to Information Retrieval, 2008, section 9.1.1).
LIKED_WEIGHT, DISLIKED_WEIGHT = 0.75, 0.25
LEARNED_WEIGHT = 1.0  # of the fitted direction: as much as the words

NEAREST, NEAR_KM = 4, 500  # tiles that stand for a place where there are no location vectors, and how far they may be

LOCATED_SPACES: tuple[Space, ...] = ("location", "place")  # those a position can be asked for in, best first


class QueryModel(Protocol):
    """What the search needs of a model; met by `wildsat_core.models.model.WildSATModel`."""

    @property
    def ref(self) -> ModelRef:
        """Which model this is; compared with the collection's."""
        ...

    @property
    def default_blend(self) -> float:
        """The blend that measured best."""
        ...

    def notice_for(self, scale: GroundScale | None) -> str | None:
        """What people must be told when tiles of this scale are not what the model is for; None otherwise."""
        ...

    def embed_texts(self, texts: list[str]) -> Vector:
        """(B, D) vectors for the text and place spaces."""
        ...

    def typical_texts(self) -> Vector:
        """(M, D) vectors of texts such as people ask, in the text space; M is 0 where none are known."""
        ...

    def are_unfamiliar(self, texts: list[str]) -> list[bool]:
        """Which texts are about nothing that the model knows of places."""
        ...

    def embed_pixels(self, pixels: npt.NDArray[np.uint8]) -> Mapping[Space, Vector]:
        """(B, D) vectors by space for pictures (B, C, H, W), 0 to 255."""
        ...

    def embed_places(self, lon_lat: npt.NDArray[np.float64]) -> Mapping[Space, Vector]:
        """(B, D) vectors of places (B, 2) in degrees, by the spaces that the location encoder serves."""
        ...


class Searched(feedback.Tiles, Protocol):
    """What planning needs of the tiles that are searched; met by `wildsat_core.search.shards.Shards`."""

    @property
    def name(self) -> str:
        """Of the collection."""
        ...

    @property
    def spaces(self) -> Mapping[Space, SpaceSpec]:
        """Which vectors a tile has."""
        ...

    def row_of(self, tile_id: str) -> int:
        """Row of a tile; a TileNotFoundError where there is none of this id."""
        ...

    def nearest(self, lon: float, lat: float, count: int) -> tuple[feedback.Rows, npt.NDArray[np.float64]]:
        """Rows of the tiles whose centres are nearest to a place, nearest first, (R,); how far they are in km, (R,)."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A standardised piece of a query: weight * (vector . v - mean) / std in one space."""

    term: str
    space: Space
    vector: Vector
    weight: float
    mean: float
    std: float

    @property
    def slope(self) -> Vector:
        """(D,) what multiplies a tile's vector."""
        return (self.vector * np.float32(self.weight / self.std)).astype(np.float32)

    def values(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Share of the score for (K, D) tile vectors of this part's space, (K,)."""
        # A product a row, not one of a matrix: a row's last bits must not depend on the others.
        values: Vector = np.vecdot(vectors, self.slope) - np.float32(self.weight * self.mean / self.std)
        return values


@dataclass(frozen=True, slots=True)
class Plan:
    """All parts of a query; score(tile) = sum over spaces of slope . v + constant."""

    parts: tuple[Part, ...]

    @property
    def slopes(self) -> dict[Space, Vector]:
        """One (D,) vector for each space that the query looks at."""
        out: dict[Space, Vector] = {}
        for part in self.parts:
            out[part.space] = out[part.space] + part.slope if part.space in out else part.slope
        return out

    @property
    def key(self) -> bytes:
        """Equal for plans that give equal scores."""
        return b"|".join(space.encode() + slope.tobytes() for space, slope in sorted(self.slopes.items()))

    @property
    def constant(self) -> float:
        return -sum(part.weight * part.mean / part.std for part in self.parts)


def make_plan(
    query: Query, tiles: Searched, model: QueryModel, blend: float, background: Background = NO_BACKGROUND
) -> Plan:
    """Resolve the query's terms and judged tiles into standardised parts.

    Args:
        query: what is asked.
        tiles: what is searched.
        model: the one that made it.
        blend: share of the place space for texts.
        background: what is taken off a text's vector in each space; see `wildsat_core.search.hubs`.

    Raises:
        SpaceUnavailableError: the query needs a space that the collection or the model lacks.
        TileNotFoundError: a tile named by the query is not there.
    """
    raw = [entry for term in query.terms for entry in _term_parts(term, tiles, model, blend, background)]
    spaces: tuple[Space, ...] = tuple(dict.fromkeys(space for _, space, _, _ in raw)) or _judged_spaces(tiles)
    raw += _judged_parts(query, tiles, spaces)
    total = sum(abs(term.weight) for term in query.terms) or 1.0
    moments = tiles.moments
    return Plan(tuple(_standardise(label, space, v, w / total, moments[space]) for label, space, v, w in raw))


def _judged_parts(query: Query, tiles: Searched, spaces: tuple[Space, ...]) -> list[Raw]:
    """What the judged tiles add: the fitted direction when there are enough of them, else Rocchio's two means."""
    liked = np.array([tiles.row_of(tile_id) for tile_id in query.liked], np.int64)
    disliked = np.array([tiles.row_of(tile_id) for tile_id in query.disliked], np.int64)
    if len(liked) and len(liked) + len(disliked) >= LABELS_FOR_LOGISTIC:
        fitted = fit_direction(tiles, spaces, liked, disliked)
        # Standardising each space would forget which of them the fit found telling: the weights bring that back.
        spread = {space: tiles.moments[space].score_std(vector) for space, vector in fitted.items()}
        whole = float(np.linalg.norm(list(spread.values())))
        return [("judged", space, v, LEARNED_WEIGHT * spread[space] / whole) for space, v in fitted.items()]
    sides = (("liked", liked, LIKED_WEIGHT), ("disliked", disliked, -DISLIKED_WEIGHT))
    return [
        (label, space, tiles.vectors(space, rows).mean(axis=0), weight / len(spaces))
        for label, rows, weight in sides
        if len(rows)
        for space in spaces
    ]


def _standardise(label: str, space: Space, vector: Vector, weight: float, moments: Moments) -> Part:
    return Part(label, space, vector, weight, moments.score_mean(vector), moments.score_std(vector))


def _term_parts(term: Term, tiles: Searched, model: QueryModel, blend: float, background: Background) -> list[Raw]:
    if isinstance(term, TextTerm):
        return _text_parts(term, model.embed_texts([term.text])[0], tiles, blend, background)
    if isinstance(term, SpeciesTerm):
        return _text_parts(term, model.embed_texts(list(term.texts)).mean(axis=0), tiles, blend, background)
    if isinstance(term, TileTerm):
        rows = np.array([tiles.row_of(term.tile_id)])
        space = _judged_spaces(tiles)[0]
        return [(term.label, space, tiles.vectors(space, rows)[0], term.weight)]
    if isinstance(term, ImageTerm):
        vectors = model.embed_pixels(term.pixels[None])
        space = next(s for s in _judged_spaces(tiles) if s in vectors)
        return [(term.label, space, vectors[space][0], term.weight)]
    if isinstance(term, PlaceTerm):
        return [_place_part(term, tiles, model)]
    assert isinstance(term, VectorTerm), term
    if term.space not in tiles.spaces:
        held = ", ".join(tiles.spaces)
        raise SpaceUnavailableError(f"collection {tiles.name!r} has no {term.space!r} vectors, it has: {held}", "space")
    dim = tiles.spaces[term.space].dim
    if term.vector.shape != (dim,):
        raise SpaceUnavailableError(f"a {term.space} vector has {dim} numbers, got {term.vector.shape}", "vector")
    return [(term.label, term.space, term.vector.astype(np.float32), term.weight)]


def _text_parts(term: Term, vector: Vector, tiles: Searched, blend: float, background: Background) -> list[Raw]:
    if blend > 0 and "place" not in tiles.spaces:
        raise SpaceUnavailableError(
            f"blend {blend:g} needs place vectors, collection {tiles.name!r} has {', '.join(tiles.spaces)}; "
            "use blend=0",
            "blend",
        )
    if blend < 1 and "text" not in tiles.spaces:
        raise SpaceUnavailableError(f"collection {tiles.name!r} has no text vectors; it can't be searched by text", "q")
    shares: list[tuple[Space, float]] = [("text", 1 - blend), ("place", blend)]
    asked = {space: term.weight * share for space, share in shares if share > 0}
    return [(term.label, space, _less(background, space, vector, tiles), w) for space, w in asked.items()]


def _less(background: Background, space: Space, vector: Vector, tiles: Searched) -> Vector:
    if space not in background:
        return vector
    return without_background(vector, background[space], tiles.moments[space])


def _judged_spaces(tiles: Searched) -> tuple[Space, ...]:
    """Spaces in which tiles are compared with pictures and with one another, best first."""
    order: tuple[Space, ...] = ("image", "text", "location", "place")
    return tuple(space for space in order if space in tiles.spaces)


def _place_part(term: PlaceTerm, tiles: Searched, model: QueryModel) -> Raw:
    """The location encoder's vector where model and collection have one, else the mean of the nearest tiles'."""
    located: list[Space] = [space for space in LOCATED_SPACES if space in tiles.spaces]
    encoded = model.embed_places(np.array([[term.lon, term.lat]])) if located else {}
    for space in located:
        if space in encoded:
            return term.label, space, encoded[space][0], term.weight
    space = _judged_spaces(tiles)[0]
    return term.label, space, tiles.vectors(space, _nearest_rows(term, tiles)).mean(axis=0), term.weight


def _nearest_rows(term: PlaceTerm, tiles: Searched) -> feedback.Rows:
    """The tiles nearest to a place, a few of them, ascending."""
    rows, away_km = tiles.nearest(term.lon, term.lat, NEAREST)
    near = away_km <= NEAR_KM
    if not near.any():
        nearest = f"the nearest is {away_km[0]:,.0f} km away" if rows.size else "it is empty"
        raise SpaceUnavailableError(
            f"collection {tiles.name!r} has no location vectors and no tile within {NEAR_KM} km of "
            f"{term.lon:g},{term.lat:g}: {nearest}; ask near its tiles",
            "near",
        )
    return np.sort(rows[near])
