"""The search engine: filters first, then an exact ranking, then readable scores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from wildsat_core.collection.manifest import Manifest
from wildsat_core.collection.reader import Collection
from wildsat_core.errors import InvalidInputError, LimitExceededError, ModelMismatchError, SpaceUnavailableError
from wildsat_core.geo import KM_PER_DEGREE
from wildsat_core.ground_scale import GroundScale
from wildsat_core.search.cache import Cache
from wildsat_core.search.extents import spatial_extent, temporal_extent
from wildsat_core.search.filters import BlockBoxes, passing_rows
from wildsat_core.search.fit import FitLevels
from wildsat_core.search.heatmap import Footprints, HeatField
from wildsat_core.search.hubs import mean_background
from wildsat_core.search.paging import Page, Pages, Position
from wildsat_core.search.phrases import read_phrases
from wildsat_core.search.plan import Background, Plan, QueryModel, make_plan
from wildsat_core.search.query import (
    MAX_APART,
    Filters,
    Query,
    SearchHit,
    SearchResult,
    Share,
    SpeciesTerm,
    TextTerm,
)
from wildsat_core.search.ranking import Candidates, Ranking, Scored, timed
from wildsat_core.search.scan import Rows, Scores, best_first, score_rows
from wildsat_core.search.scorer import ANN_ROWS, EXACT_SCAN_ROWS, Scorer
from wildsat_core.search.spread import Spread
from wildsat_core.types import Space, Tile

if TYPE_CHECKING:
    import pyarrow as pa

_CACHED_FIELDS = 8
_FIT_ROWS = 8_192
_APART = 0.98  # of a tile's side: neighbours on a grid stay, however their centres are rounded
_TYPICAL_TILES = 1024


class SearchEngine:
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
        previous: SearchEngine | None = None,
    ) -> None:
        """Compare the model with the collection's and prepare the block boxes.

        Args:
            collection: what to search.
            model: the one that made it.
            exact_scan_rows: see `Scorer`, like the rest.
            ann_rows: see `Scorer`.
            device: torch device to scan on; None scans on the CPU.
            previous: of an earlier generation; what both have in common is not prepared again.
        """
        if collection.manifest.model != model.ref:
            raise ModelMismatchError(
                f"collection {collection.name!r} was made by {collection.manifest.model}, the model in use is "
                f"{model.ref}; rebuild the collection, or serve it with its own model"
            )
        self.collection, self.model = collection, model
        self._blocks = BlockBoxes.of(collection)
        before: Scorer | None = previous._scorer if previous else None
        self._scorer: Scorer = Scorer(collection, exact_scan_rows, ann_rows, device, before, self._typical)
        self._fields: Cache[tuple[bytes, Filters], HeatField] = Cache(_CACHED_FIELDS)
        self._footprints = Footprints(collection.tiles, self._blocks)

    @property
    def manifest(self) -> Manifest:
        """What is searched."""
        return self.collection.manifest

    @cached_property
    def spatial_extent(self) -> tuple[float, float, float, float]:
        """West, south, east, north of all tiles."""
        return spatial_extent(self.collection.tiles)

    @cached_property
    def temporal_extent(self) -> tuple[str, str]:
        """First and last time of all tiles."""
        return temporal_extent(self.collection.tiles, self.manifest.created_at)

    @property
    def ground_scale(self) -> GroundScale | None:
        """Pixel sizes and sides of all tiles; None where no pixel size is known."""
        return self.collection.ground_scale

    def row_of(self, tile_id: str) -> int:
        """Row of a tile.

        Raises:
            TileNotFoundError: there is none of this id.
        """
        return self.collection.row_of(tile_id)

    def tile(self, tile_id: str) -> Tile:
        """A tile.

        Raises:
            TileNotFoundError: there is none of this id.
        """
        return self.collection.tile(self.row_of(tile_id))

    def tiles_at(self, rows: Rows | Sequence[int]) -> list[Tile]:
        """The tiles of some rows, in the order given."""
        return self.collection.tiles.tiles_at(np.asarray(rows, np.int64))

    def table(self, rows: Rows) -> pa.Table:
        """Some rows of the table of tiles, in the order given, with the columns of `collection.tiles.schema`."""
        return self.collection.tiles.take(rows)

    def thumbnail(self, tile_id: str) -> bytes | None:
        """WebP bytes of a tile's picture, None when it has none.

        Raises:
            TileNotFoundError: there is no tile of this id.
        """
        return self.collection.thumbnail(self.row_of(tile_id))

    def vectors(self, space: Space, rows: Rows) -> Scores:
        """(K, D) float32 vectors of some rows, in the order given."""
        return self.collection.vectors(space, rows)

    def count(self, filters: Filters) -> int:
        """How many tiles satisfy every filter except `min_percentile`."""
        return len(self.passing(filters))

    def page(self, filters: Filters, limit: int, *, after: Position | None = None, skip: int = 0) -> Page:
        """A page of the tiles that satisfy every filter except `min_percentile`; see `Pages.page`."""
        return self._pages.page(self.passing(filters), limit, after=after, skip=skip)

    @cached_property
    def _pages(self) -> Pages:
        return Pages(self.collection.tiles)

    def _typical(self, space: Space) -> Scores:
        """(M, D) vectors such as are asked of a space: those of texts that the model knows, or of other tiles."""
        if space in ("text", "place"):
            return self.model.typical_texts()
        rows = self._scorer.live
        return self.collection.vectors(space, rows[:: max(1, len(rows) // _TYPICAL_TILES)])

    def warm(self) -> None:
        """Read ahead what the first query would otherwise wait for: moments, hashes of ids and int8 copies."""
        assert self.collection.moments is not None
        assert self.collection.tiles.ids is not None
        self._scorer.warm()

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
        return make_plan(query, self.collection, self.model, self.blend_of(query), self.background)

    @cached_property
    def tile_side_km(self) -> float:
        """Height of the middling tile; 0 without tiles."""
        tiles = self.collection.tiles
        return float(np.median(tiles.north - tiles.south)) * KM_PER_DEGREE if len(tiles) else 0.0

    @cached_property
    def _fit_levels(self) -> FitLevels:
        """From the plain habitats over an even sample of the tiles; made at the first need."""
        if "text" not in self.collection.spaces:
            return FitLevels(())
        rows = self._scorer.live[:: max(1, len(self._scorer.live) // _FIT_ROWS)]
        plans = [self.plan(Query((TextTerm(phrase),))) for phrase in read_phrases()]
        return FitLevels.of(np.stack([score_rows(self.collection, p.slopes, rows) + p.constant for p in plans]))

    @cached_property
    def background(self) -> Background:
        """What is taken off every text's vector, so that no tile answers everything; made at the first need."""
        return mean_background(self.model.embed_texts(list(read_phrases())), self.collection.moments)

    def search(self, query: Query) -> SearchResult:
        """Rank the tiles that pass the filters.

        Raises:
            InvalidInputError: the query is out of limits or needs what the collection lacks.
            TileNotFoundError: the query names a tile that is not there.
        """
        ranking = self.rank(query, query.offset + query.k)
        with timed(ranking.timings_ms, "hits"):
            hits = self._hits(ranking, query)
        has_text = any(isinstance(term, TextTerm | SpeciesTerm) for term in query.terms)
        return SearchResult(
            hits=hits,
            matched=ranking.matched,
            total=len(self.collection),
            no_match=self._no_match(query),
            collection=self.collection.name,
            generation=self.collection.generation,
            model=self.model.ref.name,
            blend=self.blend_of(query) if has_text else None,
            backend=ranking.backend,
            timings_ms=ranking.timings_ms,
            understood=query.understood,
        )

    def rank(self, query: Query, limit: int) -> Ranking:
        """The best `limit` rows, without their tiles; the query's k and offset play no part.

        Raises:
            InvalidInputError: as for `search`, or more than MAX_APART hits apart from one another.
            TileNotFoundError: the query names a tile that is not there.
        """
        timings: dict[str, float] = {}
        with timed(timings, "plan"):
            plan = self.plan(query)
        with timed(timings, "filter"):
            rows = self.passing(query.filters)
        with timed(timings, "scan"):
            left_out = self.collection.tiles.rows_of(query.left_out)
            wanted = limit + len(left_out)
            found = self._scorer.candidates(rows, plan, wanted, query.filters.min_percentile)
            spread = bool(self._spacing_km(query) or query.max_per_country)
            if spread:
                best, scores = self._best_apart(found, plan, query, wanted)
            else:
                best, scores = self._scorer.best(found, plan, wanted)
            kept = np.flatnonzero(~np.isin(best, left_out))[:limit]
            best, scores, matched = best[kept], scores[kept], found.matched - int(np.isin(left_out, rows).sum())
        # What is read off a sample is no less than what is known.
        percentiles = self._scorer.percentiles(found, scores, complete=not (spread or len(left_out)))
        percentiles = np.maximum(percentiles, query.filters.min_percentile or 0.0)
        return Ranking(plan, best, scores, percentiles, matched, found.backend, timings)

    def _spacing_km(self, query: Query) -> float:
        """The spacing asked for, or just under a tile's side where hits may not overlap."""
        return query.spacing_km or (0.0 if query.overlapping else _APART * self.tile_side_km)

    def suggest(self, query: Query, count: int = 5) -> list[int]:
        """Rows of unjudged tiles whose labels would tell most: those nearest to where the labels turn.

        Args:
            query: with liked or disliked tiles.
            count: how many, 1 to 100.
        """
        scores = self.scores(self.plan(query)).scores
        judged = self.collection.tiles.rows_of([*query.liked, *query.disliked])
        rows = np.setdiff1d(self.passing(query.filters), judged, assume_unique=True)
        nearness = -np.abs(scores[rows] - np.float32(self.uncertainty(query)))
        return [int(row) for row in rows[best_first(nearness, rows, count)]]

    def uncertainty(self, query: Query) -> float:
        """The score between the liked and the disliked tiles, where a label would tell most."""
        scored = self.scores(self.plan(query))
        rows = self.collection.tiles.rows_of
        liked, disliked = rows(query.liked), rows(query.disliked)
        # With one side missing, its place is taken by the ninetieth percentile: most tiles are not what is meant.
        edge = scored.distribution.quantile(0.9)
        high = float(scored.scores[liked].mean()) if len(liked) else edge
        low = float(scored.scores[disliked].mean()) if len(disliked) else edge
        return (high + low) / 2

    def passing(self, filters: Filters) -> Rows:
        """Rows that satisfy every filter except `min_percentile`, ascending."""
        rows = passing_rows(self.collection, self._blocks, filters)
        return self._scorer.live if rows is None else rows

    def scores(self, plan: Plan) -> Scored:
        """Scores of all rows; cached by the plan."""
        return self._scorer.all(plan)

    def heat(self, query: Query) -> HeatField:
        """How well every tile that passes the filters fits the query, ready to be painted; cached.

        Raises:
            InvalidInputError: the query has nothing to rank by, or needs what the collection lacks.
        """
        if not query.ranks:
            raise InvalidInputError("a heat-map needs something to rank by: a text, a tile, a place or a picture", "q")
        plan = self.plan(query)

        def make() -> HeatField:
            scored = self.scores(plan)
            rows = self.passing(query.filters)
            least = query.filters.min_percentile or 0.0
            if least:
                rows = rows[self._scorer.reaching(plan, least)[rows]]
            percentile = np.full(len(scored.scores), np.nan, np.float32)
            percentile[rows] = np.maximum(scored.distribution.percentile(scored.scores[rows]), least)
            return HeatField(self._footprints, percentile)

        return self._fields.get((plan.key, query.filters), make)

    def _best_apart(self, found: Candidates, plan: Plan, query: Query, wanted: int) -> tuple[Rows, Scores]:
        """The best rows that are apart from one another, refilled from further down the ranking."""
        if wanted > MAX_APART:
            raise LimitExceededError(
                f"at most {MAX_APART} hits with spacing_km or max_per_country can be ranked, got {wanted}; "
                "ask for fewer, or drop both",
                "k",
            )
        spread, ask = Spread(self.collection.tiles, self._spacing_km(query), query.max_per_country), 4 * wanted
        while True:
            best, scores = self._scorer.best(found, plan, ask)
            spread.take(best, scores, wanted)
            if len(spread) >= wanted or len(best) == len(found.rows):
                return spread.kept
            # Only rows that none of those kept rules out are ranked again: fewer each time, however they lie.
            found, ask = found.where(spread.may_follow(found.rows)), 2 * ask

    def _hits(self, ranking: Ranking, query: Query) -> tuple[SearchHit, ...]:
        page = slice(query.offset, None)
        rows, scores, percentiles = ranking.rows[page], ranking.scores[page], ranking.percentiles[page]
        shares = self._shares(rows, ranking.plan) if query.explain else [()] * len(rows)
        tiles = self.collection.tiles.tiles_at(rows)
        return tuple(
            SearchHit(
                rank=query.offset + i + 1,
                row=int(row),
                tile=tiles[i],
                score=float(scores[i]),
                percentile=float(percentiles[i]),
                fit=self._fit_levels.word(float(scores[i])),
                shares=shares[i],
            )
            for i, row in enumerate(rows)
        )

    def _shares(self, rows: Rows, plan: Plan) -> list[tuple[Share, ...]]:
        values = [part.values(self.collection.vectors(part.space, rows)) for part in plan.parts]
        return [
            tuple(Share(part.term, part.space, float(v[i])) for part, v in zip(plan.parts, values, strict=True))
            for i in range(len(rows))
        ]

    def _no_match(self, query: Query) -> bool:
        """Whether everything asked for is words, and none of them about anything that the model knows of places."""
        if query.understood and (query.understood.foreign or query.understood.named):
            return query.understood.foreign
        wanted = [term for term in query.terms if term.weight > 0]
        texts = [term.text for term in wanted if isinstance(term, TextTerm)]
        if not texts or len(texts) < len(wanted) or query.liked:
            return False
        return all(self.model.are_unfamiliar(texts))
