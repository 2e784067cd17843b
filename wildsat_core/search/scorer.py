"""Scores for a plan, by the cheapest way that gives the right answer for the rows asked for."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from wildsat_core.batching import Batcher
from wildsat_core.collection.reader import Collection
from wildsat_core.search.ann import CANDIDATES, AnnIndex
from wildsat_core.search.cache import Cache
from wildsat_core.search.device import DeviceScan
from wildsat_core.search.distribution import ALL_SORTED, Distribution
from wildsat_core.search.plan import Plan
from wildsat_core.search.prefix import PrefixScan, best_by_bounds
from wildsat_core.search.quantised import QuantisedScan, candidates
from wildsat_core.search.ranking import Candidates, Scored
from wildsat_core.search.scan import PlainScan, Rows, Scan, Scores, best_first, score_rows
from wildsat_core.types import Space

# Up to here float32 copies of the vectors are scanned; beyond, an int8 pass goes first (wildsat_core.search.quantised).
EXACT_SCAN_ROWS = 20_000
# From here on, and where the collection has them, approximate indexes give the candidates of unfiltered searches.
ANN_ROWS = 20_000_000

_SAMPLE_ROWS = 65_536
_FEW = 8  # filters that leave less than one row in so many are served by reading just those rows
_INDEX_HEADROOM = 4  # an index is asked for at least so many times the hits wanted
_LEAST_LIVE = 0.9  # share of an index's proposals that must not have been deleted since it was built
_MOST_LEFT = 16  # more rows than one in so many left by the prefixes: all are scored in one int8 pass instead
_PREFIX_WANTED = 1_000  # hits up to which it pays to score the rest one by one
_CACHED_PLANS = 16
_BATCH = 16  # plans that one pass over the vectors scores at most

Mask = npt.NDArray[np.bool_]

log = logging.getLogger(__name__)


class Scorer:
    """Scores rows of one generation; safe to use from many threads.

    Args:
        collection: where the vectors are.
        exact_scan_rows: up to this many rows no int8 copies are made.
        ann_rows: from this many rows on approximate indexes are used where the collection has them.
        device: torch device to scan on; None scans on the CPU.
        previous: of an earlier generation, whose copies of the segments that both have are taken over.
        queries: gives (M, D) vectors such as will be asked of a space; they decide what is read first of large ones.
    """

    def __init__(
        self,
        collection: Collection,
        exact_scan_rows: int,
        ann_rows: int,
        device: str | None = None,
        previous: Scorer | None = None,
        queries: Callable[[Space], Scores] = lambda _: np.empty((0, 0), np.float32),
    ) -> None:
        """Open the indexes that will be used; copy nothing yet."""
        self._collection = collection
        self.live: Rows = np.flatnonzero(collection.tiles.live)
        self._scored: Cache[bytes, Scored] = Cache(_CACHED_PLANS)
        self._bounds: Cache[bytes, tuple[Scores, float]] = Cache(_CACHED_PLANS)
        self._reaching: Cache[tuple[bytes, float], Mask] = Cache(_CACHED_PLANS)
        self._quantised: QuantisedScan | None = None
        self._scan = self._choose_scan(exact_scan_rows, device, previous)
        self._prefixes = self._choose_prefixes(queries, previous)
        # Searches that come while a scan runs share the next pass: it costs little more for several plans than for one.
        self._scan_together: Batcher[Plan, tuple[Scores, float]] = Batcher(self._scan.scores, _BATCH)
        if self._prefixes is not None:
            self._bound_together: Batcher[Plan, tuple[Scores, float]] = Batcher(self._prefixes.bounds, _BATCH)
        self._indexes: dict[Space, AnnIndex] = {}
        if len(collection.tiles) >= ann_rows and not isinstance(self._scan, DeviceScan):
            self._indexes = {space: AnnIndex(collection.root, ann) for space, ann in collection.manifest.ann.items()}

    def _choose_scan(self, exact_scan_rows: int, device: str | None, previous: Scorer | None) -> Scan:
        collection, before = self._collection, previous._scan if previous else None
        if device is not None:
            if DeviceScan.fits(collection, device):
                return DeviceScan(collection, device, before if isinstance(before, DeviceScan) else None)
            log.warning("collection %s is too large for the memory of %s: scanned on CPU", collection.name, device)
        if len(collection.tiles) <= exact_scan_rows:
            return PlainScan(collection)
        sample = self.live[:: max(1, len(self.live) // _SAMPLE_ROWS)]
        self._quantised = QuantisedScan(collection, sample, previous._quantised if previous else None)
        return self._quantised

    def _choose_prefixes(self, queries: Callable[[Space], Scores], previous: Scorer | None) -> PrefixScan | None:
        if self._quantised is None or len(self.live) <= ALL_SORTED:  # up to there percentiles take all scores
            return None
        before = previous._prefixes if previous else None
        return PrefixScan(self._collection, queries, self._quantised.sample_rows, before)

    def warm(self) -> None:
        """Make the copies of vectors that the first query would otherwise wait for."""
        for space in self._collection.spaces:
            if self._prefixes is None or self._quantised is None or not self._prefixes.prepare(space):
                self._scan.prepare(space)
            elif self._quantised is not None:
                self._quantised.prepare_sample(space)

    def all(self, plan: Plan) -> Scored:
        """Scores of all rows; cached by the plan."""

        def make() -> Scored:
            scores, bound = self._scan_together(plan)
            everything = len(self.live) == len(scores)
            return Scored(scores, bound, Distribution.of(scores if everything else scores[self.live]))

        return self._scored.get(plan.key, make)

    def candidates(self, rows: Rows, plan: Plan, wanted: int, min_percentile: float | None) -> Candidates:
        """What can be ranked: the rows that passed the filters, less those under the least percentile.

        Args:
            rows: ascending; all live rows when nothing was filtered.
            plan: what to score by.
            wanted: how many hits will be asked for.
            min_percentile: least share of all tiles that must score lower, in [0, 100).
        """
        if min_percentile:
            rows = rows[self.reaching(plan, min_percentile)[rows]]
        elif len(rows) == len(self.live) and self._can_index(plan, wanted) and (indexed := self._from_indexes(plan)):
            return indexed
        if self._quantised is not None and len(rows) * _FEW < len(self.live):
            return self._from_few(rows, plan, self._quantised)
        if wanted <= _PREFIX_WANTED and plan.key not in self._scored and (bounded := self._from_prefixes(rows, plan)):
            return bounded
        return self._from_all(rows, plan)

    def reaching(self, plan: Plan, percentile: float) -> Mask:
        """Which rows, (N,), have at least so many percent of all live tiles below them; exact, cached."""

        def make() -> Mask:
            lower = math.ceil(percentile * len(self.live) / 100 - 1e-9)  # tiles that must score lower
            mask = np.zeros(len(self._collection.tiles), bool)
            mask[self.live] = self._beats(lower, plan) if lower else True
            return mask

        return self._reaching.get((plan.key, percentile), make)

    def _beats(self, lower: int, plan: Plan) -> Mask:
        """Which live rows have scores above the `lower`-th lowest; those too near to tell are scored exactly."""
        scored = self.all(plan)
        scores = scored.scores[self.live]
        edge = np.partition(scores, lower - 1)[lower - 1]
        # The exact edge is off by the bound at most, and so is each score.
        least, most = edge - np.float32(2 * scored.bound), edge + np.float32(2 * scored.bound)
        unsure = np.flatnonzero((scores >= least) & (scores <= most))
        exact = self._exact(self.live[unsure], plan) if scored.bound else scores[unsure]
        rank = lower - 1 - np.count_nonzero(scores < least)
        above: Mask = scores > most
        above[unsure] = exact > np.partition(exact, rank)[rank]
        return above

    def percentiles(self, found: Candidates, scores: Scores, *, complete: bool) -> npt.NDArray[np.float64]:
        """Shares of all tiles that score lower, in percent, (K,) for the exact scores of K candidates.

        Args:
            found: the candidates.
            scores: best first.
            complete: whether no candidate with a higher score was passed over.
        """
        distribution = found.distribution
        if complete and found.upper and found.matched == len(self.live):
            distribution = replace(distribution, tail=scores[::-1])  # better known than from a sample
        return distribution.percentile(scores)

    def best(self, found: Candidates, plan: Plan, count: int) -> tuple[Rows, Scores]:
        """The `count` best, best first, with exact scores; equal scores in row order."""
        rows, scores = found.rows, found.scores
        if found.upper:
            most = max(count, len(rows) // _MOST_LEFT)
            left = best_by_bounds(scores, found.bound, count, lambda at: self._exact(rows[at], plan), most)
            if left is None:
                return self.best(self._from_all(rows, plan), plan, count)
            rows, scores = rows[left[0]], left[1]
        elif found.bound:
            rows = rows[candidates(scores, count, found.bound, found.leaders)]
            scores = self._exact(rows, plan)
        chosen = best_first(scores, rows, count)
        return rows[chosen], scores[chosen]

    def _can_index(self, plan: Plan, wanted: int) -> bool:
        spaces = plan.slopes.keys()
        return bool(spaces) and spaces <= self._indexes.keys() and wanted * _INDEX_HEADROOM <= CANDIDATES

    def _from_indexes(self, plan: Plan) -> Candidates | None:
        """What the indexes propose; None where so much of it was deleted since that their recall says nothing."""
        indexes = {space: self._indexes[space] for space in plan.slopes}
        parts = [indexes[space].candidates(slope, CANDIDATES) for space, slope in plan.slopes.items()]
        found = np.unique(np.concatenate(parts))
        rows = found[self._collection.tiles.live[found]]
        if len(rows) < _LEAST_LIVE * len(found):
            return None
        told = sorted({f"{i.info.kind}, recall@10 {i.info.recall_at_10:.3f}" for i in indexes.values()})
        return Candidates(
            rows, self._exact(rows, plan), 0.0, self._sampled(plan), len(self.live), f"approximate ({'; '.join(told)})"
        )

    def _from_few(self, rows: Rows, plan: Plan, quantised: QuantisedScan) -> Candidates:
        # Up to so many tiles all scores cost little, and a tile's percentile is the same whatever the filter.
        if len(self.live) <= ALL_SORTED:
            distribution = self.all(plan).distribution
        else:
            distribution = Distribution.of_sample(len(self.live), quantised.sample_scores(plan))
        return Candidates(
            rows, self._exact(rows, plan), 0.0, distribution, len(rows), "exact scan of the filtered rows"
        )

    def _from_all(self, rows: Rows, plan: Plan) -> Candidates:
        scored = self.all(plan)
        scores = scored.scores if len(rows) == len(scored.scores) else scored.scores[rows]
        leaders = scored.distribution.leaders if len(rows) == len(self.live) else None
        return Candidates(rows, scores, scored.bound, scored.distribution, len(rows), self._scan.backend, leaders)

    def _from_prefixes(self, rows: Rows, plan: Plan) -> Candidates | None:
        """Every row with a bound of its score; None where a space that the plan looks at has no prefixes."""
        if self._prefixes is None or not self._prefixes.suits(plan):
            return None
        bounds, slack = self._bounds.get(plan.key, lambda: self._bound_together(plan))
        mine = bounds if len(rows) == len(bounds) else bounds[rows]
        return Candidates(rows, mine, slack, self._sampled(plan), len(rows), PrefixScan.backend, upper=True)

    def _sampled(self, plan: Plan) -> Distribution:
        if self._quantised is None:
            return self.all(plan).distribution
        return Distribution.of_sample(len(self.live), self._quantised.sample_scores(plan))

    def _exact(self, rows: Rows, plan: Plan) -> Scores:
        return score_rows(self._collection, plan.slopes, rows) + np.float32(plan.constant)
