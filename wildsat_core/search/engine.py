"""The search engine: filters first, then an exact ranking, then readable scores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.reader import Collection
from wildsat_core.errors import InvalidInputError, ModelMismatchError, SpaceUnavailableError
from wildsat_core.search.cache import Cache
from wildsat_core.search.filters import BlockBoxes, passing_rows
from wildsat_core.search.heatmap import Footprints, HeatField
from wildsat_core.search.plan import Plan, QueryModel, make_plan
from wildsat_core.search.query import Filters, Query, SearchHit, SearchResult, Share, SpeciesTerm, TextTerm
from wildsat_core.search.scan import Rows, Scores, best_first, score_all
from wildsat_core.search.spread import Spread

_CACHED_PLANS = 16
_CACHED_FIELDS = 8


class SearchEngine:
    """Searches one generation of a collection with the model that made it. Safe to use from many threads.

    Raises:
        ModelMismatchError: the collection was made by another model; both are named.
    """

    def __init__(self, collection: Collection, model: QueryModel) -> None:
        """Compare the model with the collection's and prepare the block boxes."""
        if collection.manifest.model != model.ref:
            raise ModelMismatchError(
                f"collection {collection.name!r} was made by {collection.manifest.model}, the model in use is "
                f"{model.ref}; rebuild the collection, or serve it with its own model"
            )
        self.collection, self.model = collection, model
        self._blocks = BlockBoxes.of(collection)
        self._live = np.flatnonzero(collection.tiles.live)
        self._scores: Cache[bytes, tuple[Scores, Scores]] = Cache(_CACHED_PLANS)
        self._fields: Cache[tuple[bytes, Filters], HeatField] = Cache(_CACHED_FIELDS)
        self._footprints = Footprints(collection.tiles, self._blocks)

    def blend_of(self, query: Query) -> float:
        """The blend asked for, else the model's default where the collection has a place space, else 0.

        Raises:
            SpaceUnavailableError: a blend was asked for that the collection can't give.
        """
        if query.blend is None:
            return self.model.default_blend if "place" in self.collection.spaces else 0.0
        if query.blend > 0 and "place" not in self.collection.spaces:
            raise SpaceUnavailableError(
                f"blend {query.blend:g} needs place vectors, which collection {self.collection.name!r} lacks; "
                "use blend=0",
                "blend",
            )
        return query.blend

    def plan(self, query: Query) -> Plan:
        """The query as one vector a space; see `wildsat_core.search.plan`."""
        return make_plan(query, self.collection, self.model, self.blend_of(query))

    def search(self, query: Query) -> SearchResult:
        """Rank the tiles that pass the filters.

        Raises:
            InvalidInputError: the query is out of limits or needs what the collection lacks.
            TileNotFoundError: the query names a tile that is not there.
        """
        timings: dict[str, float] = {}
        with _timed(timings, "plan"):
            plan = self.plan(query)
        with _timed(timings, "filter"):
            rows = self.passing(query.filters)
        with _timed(timings, "scan"):
            scores, ascending = self.scores(plan)
            rows = self._over_percentile(rows, scores, ascending, query.filters)
            chosen = self._choose(rows, scores, query)
        with _timed(timings, "hits"):
            hits = self._hits(chosen, scores, ascending, plan, query)
        has_text = any(isinstance(term, TextTerm | SpeciesTerm) for term in query.terms)
        return SearchResult(
            hits=hits,
            matched=len(rows),
            total=len(self.collection),
            no_match=self._no_match(query),
            collection=self.collection.name,
            generation=self.collection.generation,
            model=self.model.ref.name,
            blend=self.blend_of(query) if has_text else None,
            backend="exact",
            timings_ms=timings,
        )

    def suggest(self, query: Query, count: int = 5) -> list[int]:
        """Rows of unjudged tiles whose labels would tell most: those nearest to where the labels turn.

        Args:
            query: with liked or disliked tiles.
            count: how many, 1 to 100.
        """
        scores, _ = self.scores(self.plan(query))
        judged = self.collection.tiles.rows_of([*query.liked, *query.disliked])
        rows = np.setdiff1d(self.passing(query.filters), judged, assume_unique=True)
        nearness = -np.abs(scores[rows] - np.float32(self.uncertainty(query)))
        return [int(row) for row in rows[best_first(nearness, rows, count)]]

    def uncertainty(self, query: Query) -> float:
        """The score between the liked and the disliked tiles, where a label would tell most."""
        scores, ascending = self.scores(self.plan(query))
        rows = self.collection.tiles.rows_of
        liked, disliked = rows(query.liked), rows(query.disliked)
        # With one side missing, its place is taken by the ninetieth percentile: most tiles are not what is meant.
        edge = float(np.quantile(ascending, 0.9)) if len(ascending) else 0.0
        high = float(scores[liked].mean()) if len(liked) else edge
        low = float(scores[disliked].mean()) if len(disliked) else edge
        return (high + low) / 2

    def passing(self, filters: Filters) -> Rows:
        """Rows that satisfy every filter except `min_percentile`, ascending."""
        rows = passing_rows(self.collection, self._blocks, filters)
        return self._live if rows is None else rows

    def scores(self, plan: Plan) -> tuple[Scores, Scores]:
        """Scores of all rows (N,), and those of the live rows in ascending order; cached by the plan."""

        def make() -> tuple[Scores, Scores]:
            scores = score_all(self.collection, plan.slopes) + np.float32(plan.constant)
            return scores, np.sort(scores[self._live])

        return self._scores.get(plan.key, make)

    def heat(self, query: Query) -> HeatField:
        """How well every tile that passes the filters fits the query, ready to be painted; cached.

        Raises:
            InvalidInputError: the query has nothing to rank by, or needs what the collection lacks.
        """
        if not query.ranks:
            raise InvalidInputError("a heat-map needs something to rank by: a text, a tile, a place or a picture", "q")
        plan = self.plan(query)

        def make() -> HeatField:
            scores, ascending = self.scores(plan)
            rows = self._over_percentile(self.passing(query.filters), scores, ascending, query.filters)
            percentile = np.full(len(scores), np.nan, np.float32)
            percentile[rows] = percentiles(scores[rows], ascending)
            return HeatField(self._footprints, percentile)

        return self._fields.get((plan.key, query.filters), make)

    def _over_percentile(self, rows: Rows, scores: Scores, ascending: Scores, filters: Filters) -> Rows:
        if not filters.min_percentile:
            return rows
        return rows[percentiles(scores[rows], ascending) >= filters.min_percentile]

    def _choose(self, rows: Rows, scores: Scores, query: Query) -> list[int]:
        """The k rows after the offset, best first; with nothing to rank by, in stored order."""
        wanted = query.offset + query.k
        mine = scores[rows]
        if not (query.spacing_km or query.max_per_country):
            return [int(r) for r in rows[best_first(mine, rows, wanted)][query.offset :]]
        spread = Spread(self.collection.tiles, query.spacing_km, query.max_per_country)
        taken, ask = 0, 4 * wanted
        while len(spread.kept) < wanted and taken < len(rows):
            best = rows[best_first(mine, rows, ask)]
            spread.take(best[taken:], wanted)
            taken, ask = len(best), ask * 4
        return spread.kept[query.offset :]

    def _hits(
        self, rows: list[int], scores: Scores, ascending: Scores, plan: Plan, query: Query
    ) -> tuple[SearchHit, ...]:
        share = percentiles(scores[rows], ascending)
        explained = self._shares(rows, plan) if query.explain else [()] * len(rows)
        return tuple(
            SearchHit(
                rank=query.offset + i + 1,
                row=row,
                tile=self.collection.tile(row),
                score=float(scores[row]),
                percentile=float(share[i]),
                shares=explained[i],
            )
            for i, row in enumerate(rows)
        )

    def _shares(self, rows: list[int], plan: Plan) -> list[tuple[Share, ...]]:
        index = np.array(rows, np.int64)
        values = [part.values(self.collection.vectors(part.space, index)) for part in plan.parts]
        return [
            tuple(Share(part.term, part.space, float(v[i])) for part, v in zip(plan.parts, values, strict=True))
            for i in range(len(rows))
        ]

    def _no_match(self, query: Query) -> bool:
        """Whether the texts asked for are like nothing that the model knows of places."""
        return False


def percentiles(scores: Scores, ascending: Scores) -> npt.NDArray[np.float64]:
    """Share of all tiles that score lower, in percent: (K,) for (K,) scores and (N,) sorted scores of all tiles."""
    if not len(ascending):
        return np.zeros(len(scores))
    return np.searchsorted(ascending, scores, side="left") / len(ascending) * 100.0


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = (time.perf_counter() - start) * 1000.0
