"""One shard of a collection: everything that is done with the rows themselves, wherever they are.

A shard holds some segments of a generation. What goes in and comes out is small and plain, so that it may live in
another process or on another machine: rows count in the whole generation, names of countries are told in full.
`wildsat_core.search.shards` asks all shards and puts their answers together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.moments import Moments
from wildsat_core.collection.reader import Collection
from wildsat_core.collection.segment import open_moments
from wildsat_core.geo import KM_PER_DEGREE, great_circle_km
from wildsat_core.ground_scale import GroundScale
from wildsat_core.search.cache import Cache
from wildsat_core.search.distribution import Distribution
from wildsat_core.search.extents import Extent
from wildsat_core.search.filters import BlockBoxes, passing_rows
from wildsat_core.search.floor import Counts, Floor, histogram, ordered
from wildsat_core.search.heatmap import Footprints, Packed, Painter, packed
from wildsat_core.search.layout import Layout
from wildsat_core.search.paging import Page, Pages, Position
from wildsat_core.search.plan import Plan
from wildsat_core.search.query import Filters
from wildsat_core.search.ranking import Candidates
from wildsat_core.search.same_place import Dated
from wildsat_core.search.scan import Rows, Scores, best_first
from wildsat_core.search.scorer import SAMPLE_ROWS, ScanSettings, Scorer
from wildsat_core.search.sorting import SortColumn, Sorting
from wildsat_core.search.spread import Barred, Places
from wildsat_core.types import Space, Tile

if TYPE_CHECKING:
    import pyarrow as pa

Mask = npt.NDArray[np.bool_]

_CACHED = 8
_CACHED_FILTERS = 4  # up to eight bytes a tile each
_TYPICAL_TILES = 1024
WORDED: tuple[Space, ...] = ("text", "place")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be ranked.

    Attributes:
        plan: what to score by.
        filters: what rows must satisfy; their `min_percentile` plays no part.
        floor: which scores are high enough; None when all are.
    """

    plan: Plan
    filters: Filters
    floor: Floor | None = None

    @property
    def key(self) -> tuple[bytes, Filters, Floor | None]:
        return self.plan.key, self.filters, self.floor


@dataclass(frozen=True, slots=True)
class Found:
    """The best rows of a shard, (K,) each, best first, equal scores in row order.

    Attributes:
        rows: in the generation.
        scores: exact.
        places: where they are.
        ranked: how many rows were ranked, K or more: those barred are not.
        matched: how many rows passed the filters and the floor.
        left_out: how many of the rows named to be left out are among those.
        backend: how the scores were found, had no filter left few rows.
        exact: whether a scan of all rows would give exact scores at once.
        scanned: whether all rows were scored, had no filter left few rows.
    """

    rows: Rows
    scores: Scores
    places: Places
    ranked: int
    matched: int
    left_out: int
    backend: str
    exact: bool
    scanned: bool


class Shard:
    """Some segments of one generation. Safe to use from many threads.

    Args:
        root: folder of the collection.
        layout: how the generation is dealt out.
        number: which shard this is.
        texts: (M, D) vectors of texts such as people ask, in the text space; M may be 0.
        settings: how to scan.
        previous: the same shard of an earlier generation; what both have in common is not prepared again.
        collection: the shard's part of the generation, where it is open already.
    """

    def __init__(
        self,
        root: Path,
        layout: Layout,
        number: int,
        texts: Scores,
        settings: ScanSettings,
        previous: Shard | None = None,
        collection: Collection | None = None,
    ) -> None:
        """Open the segments and prepare the block boxes."""
        before = previous.collection if previous else None
        self.collection: Collection = collection or Collection(root, layout.part(number), before)
        self._layout, self._texts = layout, texts
        mine = list(layout.shards[number])
        self._starts: Rows = layout.offsets[:-1][mine]  # of each segment in the whole generation
        self._shift: Rows = self._starts - self.collection.offsets[:-1]
        self._segments = mine
        self._blocks = BlockBoxes.of(self.collection)
        live = int(layout.live_before[-1])
        self._scorer: Scorer = Scorer(
            self.collection,
            layout.manifest.rows,
            live,
            self._every(max(1, live // SAMPLE_ROWS)),
            settings,
            previous._scorer if previous else None,
            self._typical,
        )
        self._footprints = Footprints(self.collection.tiles, self._blocks)
        self._candidates: Cache[object, Candidates] = Cache(_CACHED)
        self._passed: Cache[Filters, Rows] = Cache(_CACHED_FILTERS)
        self._reaching: Cache[object, Mask] = Cache(_CACHED)
        self._painters: Cache[object, Painter] = Cache(_CACHED)

    def _typical(self, space: Space) -> Scores:
        """(M, D) vectors such as are asked of a space: those of texts that the model knows, or of other tiles."""
        if space in WORDED:
            return self._texts
        rows = self._scorer.live
        return self.collection.vectors(space, rows[:: max(1, len(rows) // _TYPICAL_TILES)])

    def warm(self) -> None:
        """Read ahead what the first query would otherwise wait for: hashes of ids and int8 copies."""
        assert self.collection.tiles.ids is not None
        self._scorer.warm()

    # Rows: here they count through the shard's own segments, outside through all.

    def _outside(self, rows: Rows) -> Rows:
        return rows + self._shift[np.searchsorted(self.collection.offsets, rows, side="right") - 1]

    def _inside(self, rows: Rows) -> Rows:
        return rows - self._shift[np.searchsorted(self._starts, rows, side="right") - 1]

    def _mine(self, rows: Rows) -> Rows:
        """Those of some rows of the generation that are of this shard, as they count here."""
        place = np.searchsorted(self._layout.offsets, rows, side="right") - 1
        return self._inside(rows[np.isin(place, self._segments)])

    def _every(self, step: int) -> Rows:
        """Each `step`-th of all live rows of the generation, as far as they are here; as they count here."""
        live, found = self.collection.tiles.live, []
        for i, segment in enumerate(self._segments):
            first, stop = self.collection.offsets[i], self.collection.offsets[i + 1]
            rows = first + np.flatnonzero(live[first:stop])
            found.append(rows[-int(self._layout.live_before[segment]) % step :: step])
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def evenly(self, step: int) -> Rows:
        """(R,) each `step`-th of all live rows of the generation, as far as they are here."""
        return self._outside(self._every(step))

    # Facts about the tiles.

    def moments(self) -> list[tuple[int, dict[Space, Moments]]]:
        """Position and moments of the live vectors of each segment."""
        live, found = self.collection.tiles.live, []
        manifest = self.collection.manifest
        for i, segment in enumerate(manifest.segments):
            first, stop = self.collection.offsets[i], self.collection.offsets[i + 1]
            gone = first + np.flatnonzero(~live[first:stop])
            of: dict[Space, Moments] = {}
            for space, spec in manifest.spaces.items():
                of[space] = open_moments(self.collection.root, segment, space, spec)
                if gone.size:
                    of[space] -= Moments.of(self.collection.vectors(space, gone))
            found.append((self._segments[i], of))
        return found

    def extent(self) -> Extent:
        """Where and when the tiles lie."""
        return Extent.of(self.collection.tiles)

    def ground_scale(self) -> GroundScale | None:
        """Pixel sizes and sides of the tiles."""
        return self.collection.ground_scale

    def heights(self, step: int) -> npt.NDArray[np.float64]:
        """Degrees from south to north of each `step`-th tile, (R,)."""
        rows, tiles = self._every(step), self.collection.tiles
        heights: npt.NDArray[np.float64] = tiles.north[rows] - tiles.south[rows]
        return heights

    # Tiles by id and by row.

    def rows_of(self, tile_ids: Sequence[str]) -> Rows:
        """(R,) rows of tiles, ascending; unknown ids are left out."""
        return self._outside(self.collection.tiles.rows_of(tile_ids))

    def tiles_at(self, rows: Rows) -> list[Tile]:
        """The tiles of some rows (R,), in the order given."""
        return self.collection.tiles.tiles_at(self._inside(rows))

    def table(self, rows: Rows) -> pa.Table:
        """Some rows (R,) of the table of tiles, in the order given."""
        return self.collection.tiles.take(self._inside(rows))

    def vectors(self, rows: Rows, space: Space) -> Scores:
        """(R, D) vectors of some rows (R,), in the order given."""
        return self.collection.vectors(space, self._inside(rows))

    def thumbnail(self, row: int) -> bytes | None:
        return self.collection.thumbnail(int(self._inside(np.array([row]))[0]))

    def nearest(self, lon: float, lat: float, count: int) -> tuple[Rows, npt.NDArray[np.float64]]:
        """Rows of the tiles whose centres are nearest to a place, nearest first, (R,); how far they are in km, (R,)."""
        rows, tiles = self._scorer.live, self.collection.tiles
        away_km = great_circle_km(lon, lat, tiles.lon[rows], tiles.lat[rows])
        best = np.argsort(away_km, kind="stable")[:count]
        return self._outside(rows[best]), away_km[best]

    # Filters.

    def _passing(self, filters: Filters) -> Rows:
        """Kept for the next question within the same area, and for its map and export."""
        return self._passed.get(filters, lambda: self._tested(filters))

    def _tested(self, filters: Filters) -> Rows:
        rows = passing_rows(self.collection, self._blocks, filters)
        return self._scorer.live if rows is None else rows

    def passing(self, filters: Filters) -> Rows:
        """(R,) rows that satisfy every filter except `min_percentile`, ascending."""
        return self._outside(self._passing(filters))

    def count(self, filters: Filters) -> int:
        """How many do."""
        return len(self._passing(filters))

    def dated(self, filters: Filters) -> Dated:
        """Those of them whose days are known."""
        rows, tiles = self._passing(filters), self.collection.tiles
        rows = rows[~np.isnat(tiles.captured_on[rows])]
        sides = (tiles.north[rows] - tiles.south[rows]) * KM_PER_DEGREE
        return Dated(self._outside(rows), tiles.lon[rows], tiles.lat[rows], sides, tiles.captured_on[rows])

    def page(self, filters: Filters, limit: int, after: Position | None, sorting: Sorting = ()) -> Page:
        """The first of them in the order of pages."""
        rows = self._passing(filters)
        columns = [SortColumn.of(key, self.collection, rows) for key in sorting]
        page = self._pages.page(rows, limit, after=after, columns=columns)
        return replace(page, rows=self._outside(page.rows))

    @cached_property
    def _pages(self) -> Pages:
        return Pages(self.collection.tiles)

    # Ranking.

    def best(self, asked: Asked, wanted: int, count: int, left_out: Rows, barred: Barred | None = None) -> Found:
        """The `count` best rows.

        Args:
            asked: what to rank by.
            wanted: how many hits are wanted in the end.
            count: how many rows.
            left_out: (L,) rows that will be no hits, to be counted.
            barred: what may not be ranked.
        """
        found = self._candidates.get((asked.key, wanted), lambda: self._found(asked, wanted))
        mine = self._mine(left_out)
        out = int(np.isin(mine, self._high(asked)).sum()) if len(mine) else 0
        if barred is not None:
            found = found.where(barred.may_follow(self._outside(found.rows), self._places(found.rows)))
        rows, scores = self._scorer.best(found, asked.plan, count)
        outside, places = self._outside(rows), self._places(rows)
        exact, scanned = self._scorer.exact_before_filters, found.backend == self._scorer.backend
        return Found(outside, scores, places, len(found.rows), found.matched, out, found.backend, exact, scanned)

    def _found(self, asked: Asked, wanted: int) -> Candidates:
        return self._scorer.candidates(self._high(asked), asked.plan, wanted)

    def _high(self, asked: Asked) -> Rows:
        """Rows that pass the filters and the floor."""
        rows = self._passing(asked.filters)
        return rows if asked.floor is None else rows[self._reaches(asked.plan, asked.floor)[rows]]

    def _places(self, rows: Rows) -> Places:
        tiles = self.collection.tiles
        return Places(tiles.lon[rows], tiles.lat[rows], tiles.country[rows], tiles.countries)

    def below(self, plan: Plan, scores: Scores, every: bool) -> tuple[Counts, int]:
        """How many of the tiles asked score lower than each of some scores, (K,), and how many were asked.

        Args:
            plan: what is scored by.
            scores: (K,).
            every: ask all tiles, which takes a scan; else an even sample is asked where there are very many.
        """
        if not every:
            body = self._scorer.body(plan)
            return np.searchsorted(body, scores, side="left"), len(body)
        all_scores, least = self._scorer.of_live(plan), scores.min(initial=np.inf)
        high = all_scores >= least
        lower = len(high) - int(np.count_nonzero(high))
        return lower + np.searchsorted(np.sort(all_scores[high]), scores, side="left"), len(high)

    def body(self, plan: Plan) -> Scores:
        """(n,) sorted scores of all tiles, or of an even sample where there are very many."""
        return self._scorer.body(plan)

    def exact(self, rows: Rows, plan: Plan) -> Scores:
        """Exact scores of some rows, (K,)."""
        return self._scorer.exact(self._inside(rows), plan)

    def scores(self, plan: Plan) -> Scores:
        """(N,) scores of all rows of the shard as the first pass gives them."""
        return self._scorer.all(plan).scores

    def scores_at(self, rows: Rows, plan: Plan) -> Scores:
        """The same of some rows (R,), (R,)."""
        return self._scorer.all(plan).scores[self._inside(rows)]

    def rough(self, rows: Rows, plan: Plan) -> tuple[Scores, float]:
        """The same of some rows (R,), (R,), and how far off they can be."""
        scored = self._scorer.all(plan)
        return scored.scores[self._inside(rows)], scored.bound

    def sampled(self, plans: Sequence[Plan], step: int) -> Scores:
        """Exact scores of each `step`-th live row, (P, K)."""
        rows = self._every(step)
        return np.stack([self._scorer.exact(rows, plan) for plan in plans])

    def near_score(self, asked: Asked, score: float, judged: Rows, count: int) -> tuple[Rows, Scores]:
        """(n,) unjudged rows whose scores of the first pass are nearest to one, nearest first; (n,) how near."""
        rows = np.setdiff1d(self._high(asked), self._mine(judged), assume_unique=True)
        nearness = -np.abs(self._scorer.all(asked.plan).scores[rows] - np.float32(score))
        best = best_first(nearness, rows, count)
        return self._outside(rows[best]), nearness[best]

    # The floor of a least percentile.

    def histogram(self, plan: Plan, known: Sequence[int]) -> tuple[Counts, float]:
        """(BINS,) counts, see `wildsat_core.search.floor`; and how far off the scores can be."""
        return histogram(ordered(self._scorer.of_live(plan)), known), self._scorer.all(plan).bound

    def between(self, plan: Plan, least: float, most: float) -> tuple[int, Scores]:
        """How many live rows score below `least` in the first pass; (n,) exact scores of those from there to `most`."""
        mine, live = self._scorer.of_live(plan), self._scorer.live
        near = (mine >= np.float32(least)) & (mine <= np.float32(most))
        return int(np.count_nonzero(mine < np.float32(least))), self._truly(plan, live[near])

    def _truly(self, plan: Plan, rows: Rows) -> Scores:
        scored = self._scorer.all(plan)
        return self._scorer.exact(rows, plan) if scored.bound else scored.scores[rows]

    def _reaches(self, plan: Plan, floor: Floor) -> Mask:
        """Which rows, (N,), score high enough."""

        def make() -> Mask:
            scores = self._scorer.all(plan).scores
            mask: Mask = scores > np.float32(floor.most)
            unsure = np.flatnonzero((scores >= np.float32(floor.least)) & ~mask)
            mask[unsure] = self._truly(plan, unsure) > np.float32(floor.edge)
            return mask & self.collection.tiles.live

        return self._reaching.get((plan.key, floor), make)

    # The heat-map.

    def paint(
        self, asked: Asked, least: float, at: tuple[int, int, int] | None, distribution: Distribution | None
    ) -> Packed | None:
        """Sums of percentiles over the pixels of a map tile, or of the world; see `Painter`.

        Args:
            asked: what to paint.
            least: percentile that all that is painted is known to reach.
            at: zoom, x and y of the map tile; None for the world.
            distribution: of all scores; None where it should be known from an earlier call.

        Returns:
            (H, W) sums and counts, None where the distribution was needed and not given.
        """
        key = (asked.key, least)
        if distribution is None:
            painter = self._painters.known(key)
        else:
            shown = distribution
            painter = self._painters.get(key, lambda: Painter(self._footprints, self.percentiles(asked, least, shown)))
        if painter is None:
            return None
        return packed(painter.world() if at is None else painter.sums(*at))

    def percentiles(self, asked: Asked, least: float, distribution: Distribution) -> Scores:
        """Percentiles of all rows of the shard, (N,), NaN for those that the filters or the floor leave out."""
        rows, scores = self._high(asked), self._scorer.all(asked.plan).scores
        percentile = np.full(len(scores), np.nan, np.float32)
        percentile[rows] = np.maximum(distribution.percentile(scores[rows]), least)
        return percentile
