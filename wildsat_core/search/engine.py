"""The search engine: filters first, then an exact ranking, then readable scores."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.manifest import Manifest
from wildsat_core.collection.reader import Collection
from wildsat_core.errors import (
    InvalidInputError,
    LimitExceededError,
    ModelMismatchError,
    ShardsMissingError,
    SpaceUnavailableError,
)
from wildsat_core.search.cache import Cache
from wildsat_core.search.changes import Direction, Period, dated_pairs, rank_pairs
from wildsat_core.search.distribution import Distribution, is_sampled, percentiles, percentiles_of_best
from wildsat_core.search.fit import FitLevels
from wildsat_core.search.floor import Floor, lower_count
from wildsat_core.search.heatmap import MAX_ZOOM, HeatField, unpacked
from wildsat_core.search.hubs import mean_background
from wildsat_core.search.phrases import read_phrases
from wildsat_core.search.plan import Background, Plan, QueryModel, make_plan
from wildsat_core.search.query import (
    MAX_APART,
    Change,
    ChangesResult,
    Filters,
    Missing,
    Query,
    SearchHit,
    SearchResult,
    Share,
    SpeciesTerm,
    TextTerm,
)
from wildsat_core.search.ranking import Ranking, timed
from wildsat_core.search.same_place import Pairs
from wildsat_core.search.scan import FEW, Rows, Scores
from wildsat_core.search.scorer import ANN_ROWS, EXACT_SCAN_ROWS, ScanSettings
from wildsat_core.search.shard import Asked, Found
from wildsat_core.search.shards import LocalShards, Shards
from wildsat_core.search.spread import Spread
from wildsat_core.search.tiles import CollectionTiles

_CACHED_FIELDS = 8
_CACHED_FLOORS = 16
_CACHED_PAIRS = 4
_FIT_ROWS = 8_192
_APART = 0.98  # of a tile's side: neighbours on a grid stay, however their centres are rounded
_NONE = np.empty(0, np.int64)
_FILTERED = "exact scan of the filtered rows"


class SearchEngine(CollectionTiles):
    """Searches one generation of a collection with the model that made it. Safe to use from many threads.

    Raises:
        ModelMismatchError: the collection was made by another model; both are named.
    """

    def __init__(
        self,
        collection: Collection,
        model: QueryModel,
        *,
        exact_scan_rows: int = EXACT_SCAN_ROWS,
        ann_rows: int = ANN_ROWS,
        device: str | None = None,
        shards: int = 1,
        previous: SearchEngine | None = None,
    ) -> None:
        """Compare the model with the collection's and prepare shards in this process.

        Args:
            collection: what to search.
            model: the one that made it.
            exact_scan_rows: see `ScanSettings`, like the next two.
            ann_rows: up to which approximate indexes are not used.
            device: torch device to scan on; None scans on the CPU.
            shards: how many; answers are the same however many.
            previous: of an earlier generation; what both have in common is not prepared again.
        """
        _check_model(collection.manifest, model)
        settings = ScanSettings(exact_scan_rows, ann_rows, device)
        before = previous.shards if previous else None
        self._begin(LocalShards(collection, model.typical_texts(), settings, shards, before), model)

    @classmethod
    def over(cls, shards: Shards, model: QueryModel) -> SearchEngine:
        """An engine over shards wherever they are.

        Raises:
            ModelMismatchError: as above.
        """
        _check_model(shards.manifest, model)
        engine = cls.__new__(cls)
        engine._begin(shards, model)
        return engine

    def _begin(self, shards: Shards, model: QueryModel) -> None:
        super().__init__(shards)
        self.model = model
        self._fields: Cache[tuple[bytes, Filters], HeatField] = Cache(_CACHED_FIELDS)
        self._floors: Cache[tuple[bytes, int], Floor] = Cache(_CACHED_FLOORS)
        self._pairs: Cache[tuple[Filters, Filters], Pairs] = Cache(_CACHED_PAIRS)

    def without(self, missing: frozenset[int]) -> SearchEngine:
        """The same over the shards that are left; what was found out about all tiles stays."""
        less = copy.copy(self)
        less.shards = copy.copy(self.shards)
        less.shards.missing = self.shards.missing | missing
        less._begin(less.shards, self.model)
        return less

    @cached_property
    def notice(self) -> str | None:
        """What a reader must be told: of the imagery, and of a model that is for pixels of another size."""
        told = (self.manifest.provenance.get("notice"), self.model.notice_for(self.ground_scale))
        return " ".join(filter(None, told)) or None

    def warm(self) -> None:
        """Read ahead what the first query would otherwise wait for."""
        ready = self.shards.begin("warm")
        assert self.shards.moments is not None
        assert self.shards.extent is not None
        assert self.tile_side_km is not None
        ready()

    def blend_of(self, query: Query) -> float:
        """The blend asked for, else the model's default where the collection has a place space, else 0.

        Raises:
            SpaceUnavailableError: a blend was asked for that the collection can't give.
        """
        if query.blend is None:
            return self.model.default_blend if "place" in self.shards.spaces else 0.0
        if query.blend > 0 and "place" not in self.shards.spaces:
            raise SpaceUnavailableError(
                f"blend {query.blend:g} needs place vectors, which collection {self.shards.name!r} lacks; use blend=0",
                "blend",
            )
        return query.blend

    def plan(self, query: Query) -> Plan:
        """The query as one vector a space; see `wildsat_core.search.plan`."""
        return make_plan(query, self.shards, self.model, self.blend_of(query), self.background)

    @cached_property
    def _fit_levels(self) -> FitLevels:
        """From the plain habitats over an even sample of the tiles; made at the first need."""
        if "text" not in self.shards.spaces:
            return FitLevels(())
        plans = [self.plan(Query((TextTerm(phrase),))) for phrase in read_phrases()]
        return FitLevels.of(self.shards.sampled(plans, _FIT_ROWS))

    @cached_property
    def background(self) -> Background:
        """What is taken off every text's vector, so that no tile answers everything; made at the first need."""
        return mean_background(self.model.embed_texts(list(read_phrases())), self.shards.moments)

    def search(self, query: Query) -> SearchResult:
        """Rank the tiles that pass the filters.

        Raises:
            InvalidInputError: the query is out of limits or needs what the collection lacks.
            TileNotFoundError: the query names a tile that is not there.
            ShardsMissingError: part of the collection can't be reached and the query does not take partial answers.
        """
        if query.partial:
            return self._partial(lambda engine: engine.search(replace(query, partial=False)))
        found = self._ranked(query, query.offset + query.k)
        with timed(found.timings_ms, "hits"):
            hits = self._hits(found, query)
        return SearchResult(
            hits=hits,
            matched=found.matched,
            backend=found.backend,
            timings_ms=found.timings_ms,
            **self._about(query),
        )

    def _about(self, query: Query) -> dict[str, Any]:
        """What every answer says of where and how a query was asked."""
        has_text = any(isinstance(term, TextTerm | SpeciesTerm) for term in query.terms)
        return {
            "total": self.manifest.tiles,
            "no_match": self._no_match(query),
            "collection": self.manifest.name,
            "generation": self.manifest.generation,
            "model": self.model.ref.name,
            "blend": self.blend_of(query) if has_text else None,
            "understood": query.understood,
        }

    def _partial(self, search: Callable[[SearchEngine], SearchResult]) -> SearchResult:
        """An answer from the shards that can be reached, which says what is missing."""
        engine = self
        while True:
            try:
                result = search(engine)
            except ShardsMissingError as err:
                gone = err.shards - engine.shards.missing
                if not gone or len(engine.shards.missing | gone) == len(engine.shards.layout.shards):
                    raise
                engine = engine.without(gone)
                continue
            missing, layout = engine.shards.missing, engine.shards.layout
            if not missing:
                return result
            tiles = sum(layout.live_in(shard) for shard in missing)
            return replace(result, missing=Missing(len(missing), len(layout.shards), tiles))

    def rank(self, query: Query, limit: int) -> Ranking:
        """The best `limit` rows, without their tiles; the query's k and offset play no part.

        Raises:
            InvalidInputError: as for `search`, or more than MAX_APART hits apart from one another.
            TileNotFoundError: the query names a tile that is not there.
            ShardsMissingError: part of the collection can't be reached.
        """
        found = self._ranked(query, limit)
        return replace(found, percentiles=self._begin_percentiles(found, query.filters.min_percentile or 0.0)())

    def changes(self, query: Query, before: Period, after: Period, direction: Direction = "any") -> ChangesResult:
        """Rank places by how much more, or less, they fit the query on a later day; see `wildsat_core.search.changes`.

        Both tiles of a place pass the filters. Spacing, caps and a least percentile play no part.

        Args:
            query: what to score by, and which part of the ranking is wanted.
            before: when the earlier tile was taken.
            after: when the later one was.
            direction: "gain" and "loss" put those first that fit better and worse, "any" those that changed most.

        Raises:
            InvalidInputError: no day of any tile is known, or as for `search`.
            LimitExceededError: too many tiles pass the filters.
        """
        if self.shards.extent.days is None:
            raise InvalidInputError(
                f"the days of the tiles of {self.shards.name!r} are not known, so there is no telling what changed; "
                "choose another collection",
                "collection",
            )
        timings: dict[str, float] = {}
        with timed(timings, "plan"):
            plan = self.plan(query)
        with timed(timings, "pairs"):
            filters = self._settled(query.filters)
            periods = before.within(filters), after.within(filters)
            pairs = self._pairs.get(periods, lambda: dated_pairs(self.shards, *periods))
        with timed(timings, "scan"):
            found, scores = rank_pairs(self.shards, plan, pairs, direction, query.offset + query.k)
        with timed(timings, "hits"):
            page = slice(query.offset, None)
            changes = self._changes(plan, pairs, found[page], scores[page], query.offset)
        return ChangesResult(changes, len(pairs.before), timings_ms=timings, **self._about(query))

    def _changes(self, plan: Plan, pairs: Pairs, found: Rows, scores: Scores, skipped: int) -> tuple[Change, ...]:
        rows = np.stack([pairs.before[found], pairs.after[found]], axis=1).reshape(-1)
        live = self.shards.live
        with self.shards.at_once():
            tiles = self.shards.begin_tiles(rows)
            counted = self.shards.begin_below(plan, scores.reshape(-1), is_sampled(live))
        percentile = percentiles(*counted(), live)
        hits = [
            SearchHit(skipped + i // 2 + 1, row, tile, score, float(percentile[i]), self._fit_levels.word(score))
            for i, (row, tile, score) in enumerate(
                zip(rows.tolist(), tiles(), scores.reshape(-1).tolist(), strict=True)
            )
        ]
        return tuple(Change(old, new) for old, new in zip(hits[::2], hits[1::2], strict=True))

    def _ranked(self, query: Query, limit: int) -> Ranking:
        """The best `limit` rows; with percentiles where those are known without asking anybody, else with none."""
        timings: dict[str, float] = {}
        with timed(timings, "plan"):
            plan = self.plan(query)
        with timed(timings, "filter"):
            asked = self._asked(plan, query.filters)
            left_out = self.shards.rows_of(query.left_out)
        with timed(timings, "scan"):
            wanted = limit + len(left_out)
            spread = bool(self._spacing_km(query) or query.max_per_country)
            found = self.shards.best(asked, wanted, 4 * wanted if spread else wanted, left_out)
            rows, scores = found.rows, found.scores
            if spread:
                rows, scores = self._apart(found, asked, query, wanted)
            kept = np.flatnonzero(~np.isin(rows, left_out))[:limit]
        live, known = self.shards.live, np.empty(0)
        if is_sampled(live) and found.matched == live and not (spread or len(left_out) or found.scanned):
            known = percentiles_of_best(scores[kept], live)
        few = not found.exact and found.matched * FEW < live
        return Ranking(
            plan,
            rows[kept],
            scores[kept],
            known,
            found.matched - found.left_out,
            _FILTERED if few else found.backend,
            timings,
            scanned=found.scanned and not few,
        )

    def _asked(self, plan: Plan, filters: Filters) -> Asked:
        """What shards are asked to rank."""
        lower = lower_count(filters.min_percentile or 0.0, self.shards.live)
        floor = self._floors.get((plan.key, lower), lambda: self.shards.floor(plan, lower)) if lower else None
        return Asked(plan, self._settled(filters), floor)

    def _begin_percentiles(self, found: Ranking, least: float) -> Callable[[], npt.NDArray[np.float64]]:
        """Begin to count which share of all tiles scores lower than each hit, in percent."""
        if len(found.percentiles):
            return lambda: found.percentiles
        live = self.shards.live
        below = self.shards.begin_below(found.plan, found.scores, found.scanned and is_sampled(live))
        # What is read off a sample is no less than what is known.
        return lambda: np.maximum(percentiles(*below(), live), least)

    def _spacing_km(self, query: Query) -> float:
        """The spacing asked for, or just under a tile's side where hits may not overlap."""
        return query.spacing_km or (0.0 if query.overlapping else _APART * self.tile_side_km)

    def suggest(self, query: Query, count: int = 5) -> list[int]:
        """Rows of unjudged tiles whose labels would tell most: those nearest to where the labels turn.

        Args:
            query: with liked or disliked tiles.
            count: how many, 1 to 100.
        """
        asked = Asked(self.plan(query), self._settled(query.filters))
        judged = self.shards.rows_of([*query.liked, *query.disliked])
        rows: list[int] = self.shards.near_score(asked, self.uncertainty(query), judged, count).tolist()
        return rows

    def uncertainty(self, query: Query) -> float:
        """The score between the liked and the disliked tiles, where a label would tell most."""
        plan = self.plan(query)
        judged = (self.shards.rows_of(ids) for ids in (query.liked, query.disliked))
        liked, disliked = (self.shards.scores_at(rows, plan) for rows in judged)
        # With one side missing, its place is taken by the ninetieth percentile: most tiles are not what is meant.
        both = len(liked) and len(disliked)
        edge = 0.0 if both else self.shards.distribution(plan).quantile(0.9)
        high = float(liked.mean()) if len(liked) else edge
        low = float(disliked.mean()) if len(disliked) else edge
        return (high + low) / 2

    def scores(self, plan: Plan) -> Scores:
        """Scores of all rows, (N,), deleted ones among them."""
        return self.shards.scores(plan)

    def heat(self, query: Query) -> HeatField:
        """How well every tile that passes the filters fits the query, ready to be painted; cached.

        Raises:
            InvalidInputError: the query has nothing to rank by, or needs what the collection lacks.
        """
        if not query.ranks:
            raise InvalidInputError("a heat-map needs something to rank by: a text, a tile, a place or a picture", "q")
        plan = self.plan(query)
        return self._fields.get((plan.key, query.filters), lambda: self._field(plan, query.filters))

    def _field(self, plan: Plan, filters: Filters) -> HeatField:
        asked, least = self._asked(plan, filters), filters.min_percentile or 0.0
        distribution = Cache[None, Distribution](1)

        def sums(at: tuple[int, int, int] | None) -> npt.NDArray[np.float64]:
            parts = self.shards.all("paint", asked, least, at, None)
            if any(part is None for part in parts):  # not asked before, or too long ago
                known = distribution.get(None, lambda: self.shards.distribution(plan))
                parts = self.shards.all("paint", asked, least, at, known)
            return unpacked(parts)

        sums((MAX_ZOOM, 0, 0))  # prepares the painting, which is what takes time
        return HeatField(sums)

    def percentiles(self, query: Query) -> Scores:
        """What a heat-map paints: percentiles of all rows, (N,), NaN for those that the filters leave out."""
        plan = self.plan(query)
        asked, least = self._asked(plan, query.filters), query.filters.min_percentile or 0.0
        return self.shards.joined("percentiles", asked, least, self.shards.distribution(plan))

    def _apart(self, found: Found, asked: Asked, query: Query, wanted: int) -> tuple[Rows, Scores]:
        """The best rows that are apart from one another, refilled from further down the ranking."""
        if wanted > MAX_APART:
            raise LimitExceededError(
                f"at most {MAX_APART} hits with spacing_km or max_per_country can be ranked, got {wanted}; "
                "ask for fewer, or drop both",
                "k",
            )
        spread, count = Spread(self._spacing_km(query), query.max_per_country), 4 * wanted
        while True:
            spread.take(found.rows, found.scores, found.places, wanted)
            if len(spread) >= wanted or len(found.rows) == found.ranked:
                return spread.kept
            # Only rows that none of those kept rules out are ranked again: fewer each time, however they lie.
            count *= 2
            found = self.shards.best(asked, wanted, count, _NONE, spread.barred)

    def _hits(self, found: Ranking, query: Query) -> tuple[SearchHit, ...]:
        page = slice(query.offset, None)
        rows, scores = found.rows[page], found.scores[page]
        with self.shards.at_once():  # shards elsewhere are asked once more and no oftener
            below = self._begin_percentiles(found, query.filters.min_percentile or 0.0)
            begun = self.shards.begin_tiles(rows)
            shares = self._begin_shares(rows, found.plan) if query.explain else lambda: [()] * len(rows)
        tiles, shared, percentile = begun(), shares(), below()[page]
        return tuple(
            SearchHit(
                rank=query.offset + i + 1,
                row=int(row),
                tile=tiles[i],
                score=float(scores[i]),
                percentile=float(percentile[i]),
                fit=self._fit_levels.word(float(scores[i])),
                shares=shared[i],
            )
            for i, row in enumerate(rows)
        )

    def _begin_shares(self, rows: Rows, plan: Plan) -> Callable[[], list[tuple[Share, ...]]]:
        vectors = {space: self.shards.begin_vectors(space, rows) for space in plan.slopes}

        def shares() -> list[tuple[Share, ...]]:
            held = {space: answer() for space, answer in vectors.items()}
            values = [part.values(held[part.space]) for part in plan.parts]
            return [
                tuple(Share(part.term, part.space, float(v[i])) for part, v in zip(plan.parts, values, strict=True))
                for i in range(len(rows))
            ]

        return shares

    def _no_match(self, query: Query) -> bool:
        """Whether everything asked for is words, and none of them about anything that the model knows of places."""
        if query.understood and (query.understood.foreign or query.understood.named):
            return query.understood.foreign
        wanted = [term for term in query.terms if term.weight > 0]
        texts = [term.text for term in wanted if isinstance(term, TextTerm)]
        if not texts or len(texts) < len(wanted) or query.liked:
            return False
        return all(self.model.are_unfamiliar(texts))


def _check_model(manifest: Manifest, model: QueryModel) -> None:
    if manifest.model != model.ref:
        raise ModelMismatchError(
            f"collection {manifest.name!r} was made by {manifest.model.beside(model.ref)}, the model in use is "
            f"{model.ref.beside(manifest.model)}; rebuild the collection, or serve it with its own model"
        )
