"""Which habitat phrases fit a tile best: the search turned round, with a fixed list of phrases as the candidates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wildsat_core.errors import SpaceUnavailableError
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.plan import Plan
from wildsat_core.search.query import Query, TextTerm


@dataclass(frozen=True, slots=True)
class Habitat:
    """A phrase and its score for this tile: what a search for the phrase would say of it."""

    phrase: str
    score: float


class HabitatNames:
    """Names the habitat of tiles of one collection; the phrases are embedded at the first question."""

    def __init__(self, engine: SearchEngine, phrases: tuple[str, ...]) -> None:
        """Remember; nothing is embedded yet."""
        self._engine, self._phrases = engine, phrases

    def of(self, row: int, count: int) -> list[Habitat]:
        """The phrases that fit a row best, best first.

        Each phrase counts as a search for it would score the tile, pictures, place and blend alike: so what a tile is
        called agrees with what finds it.

        Raises:
            SpaceUnavailableError: the collection has no text vectors.
        """
        scores = np.asarray([self._score(plan, row) for plan in self._plans])
        best = np.argsort(-scores, kind="stable")[:count]
        return [Habitat(self._phrases[i], float(scores[i])) for i in best]

    def _score(self, plan: Plan, row: int) -> float:
        tile = {space: self._engine.vectors(space, np.array([row]))[0] for space in plan.slopes}
        return sum(float(slope @ tile[space]) for space, slope in plan.slopes.items()) + plan.constant

    @cached_property
    def _plans(self) -> list[Plan]:
        manifest = self._engine.manifest
        if "text" not in manifest.spaces:
            raise SpaceUnavailableError(
                f"collection {manifest.name!r} has no text vectors, so its tiles can't be named", "collection"
            )
        return [self._engine.plan(Query((TextTerm(phrase),))) for phrase in self._phrases]
