"""Scores for a plan, by the cheapest way that gives the right answer for the rows asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wildsat_core.batching import Batcher
from wildsat_core.collection.reader import Collection
from wildsat_core.search.ann import CANDIDATES, AnnIndex
from wildsat_core.search.cache import Cache
from wildsat_core.search.distribution import is_sampled
from wildsat_core.search.plan import Plan
from wildsat_core.search.prefix import Prefixes, PrefixScan, Rotations
from wildsat_core.search.quantised import QuantisedScan, candidates
from wildsat_core.search.ranking import Candidates, Scored
from wildsat_core.search.scan import BATCH, FEW, PlainScan, Rows, Scan, Scores, best_first, exact_scores
from wildsat_core.types import Space

if TYPE_CHECKING:
    from wildsat_core.search.device import DeviceScan

# Up to here float32 copies of the vectors are scanned; beyond, an int8 pass goes first (wildsat_core.search.quantised).
EXACT_SCAN_ROWS = 20_000
# From here on, and where the collection has them, approximate indexes give the candidates of unfiltered searches.
ANN_ROWS = 20_000_000

SAMPLE_ROWS = 65_536  # of all tiles, at least, stand for them where percentiles are read off a sample
_INDEX_HEADROOM = 4  # an index is asked for at least so many times the hits wanted
_LEAST_LIVE = 0.9  # share of an index's proposals that must not have been deleted since it was built
_PREFIX_WANTED = 1_000  # hits up to which it pays to score the rest one by one
_CACHED_PLANS = 16

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """How a collection is scanned.

    Attributes:
        exact_scan_rows: up to this many rows no int8 copies are made.
        ann_rows: from this many rows on approximate indexes are used where the collection has them.
        device: torch device to scan on; None scans on the CPU.
    """

    exact_scan_rows: int = EXACT_SCAN_ROWS
    ann_rows: int = ANN_ROWS
    device: str | None = None


class Scorer:
    """Scores the rows of a shard; safe to use from many threads.

    What kind of scores percentiles are made of follows from all shards together, so that an answer is the same however
    many they are.

    Args:
        collection: where the shard's vectors are.
        rows: of all shards.
        live: live rows of all shards.
        sample_rows: the shard's rows of an even sample of all live ones.
        settings: how to scan.
        previous: of an earlier generation, whose copies of the segments that both have are taken over.
        queries: gives (M, D) vectors such as will be asked of a space; they decide what is read first of large ones.
    """

    def __init__(
        self,
        collection: Collection,
        rows: int,
        live: int,
        sample_rows: Rows,
        settings: ScanSettings,
        previous: Scorer | None = None,
        queries: Callable[[Space], Scores] = lambda _: np.empty((0, 0), np.float32),
    ) -> None:
        """Open the indexes that will be used; copy nothing yet."""
        self._collection = collection
        self.live: Rows = np.flatnonzero(collection.tiles.live)
        self._sampled = is_sampled(live)
        self._scored: Cache[bytes, Scored] = Cache(_CACHED_PLANS)
        self._bodies: Cache[bytes, Scores] = Cache(_CACHED_PLANS)
        self._quantised: QuantisedScan | None = None
        self._device: DeviceScan | None = None
        self._scan = self._choose_scan(rows, sample_rows, settings, previous)
        # Until there are so many tiles, percentiles take all scores.
        self._rotations: Rotations = Rotations(
            collection, queries, sample_rows, previous._rotations if previous else None
        )
        self._prefixes = self._choose_prefixes(previous) if self._sampled else None
        # Searches that come while a scan runs share the next pass: it costs little more for several plans than for one.
        self._scan_together: Batcher[Plan, tuple[Scores, float]] = Batcher(self._scan.scores, BATCH)
        self._indexes: dict[Space, AnnIndex] = {}
        if rows >= settings.ann_rows and (self._quantised is not None or isinstance(self._scan, PlainScan)):
            self._indexes = {space: AnnIndex(collection.root, ann) for space, ann in collection.manifest.ann.items()}

    def _choose_scan(self, all_rows: int, sample_rows: Rows, settings: ScanSettings, previous: Scorer | None) -> Scan:
        collection, before, device = self._collection, previous._scan if previous else None, settings.device
        if device is not None:
            from wildsat_core.search.device import DeviceScan  # and torch, which nothing else here needs

            taken = before if isinstance(before, DeviceScan) else None
            self._device = DeviceScan(collection, device, sample_rows, taken)
            if self._device.fits():
                return self._device
            log.warning("collection %s is too large for the memory of %s: scanned on CPU", collection.name, device)
            self._device = None
        if all_rows <= settings.exact_scan_rows:
            return PlainScan(collection, sample_rows)
        self._quantised = QuantisedScan(collection, sample_rows, previous._quantised if previous else None)
        return self._quantised

    def _choose_prefixes(self, previous: Scorer | None) -> Prefixes | None:
        before = previous._prefixes if previous else None
        if self._quantised is not None:
            return PrefixScan(self._collection, self._rotations, before if isinstance(before, PrefixScan) else None)
        if self._device is None:
            return None
        from wildsat_core.search.device_prefix import DevicePrefixes

        found = DevicePrefixes(self._device, self._rotations, before if isinstance(before, DevicePrefixes) else None)
        return found if found.fits() else None

    def warm(self) -> None:
        """Make the copies of vectors that the first query would otherwise wait for."""
        for space in self._collection.spaces:
            if self._prefixes is None or not self._prefixes.prepare(space):
                self._scan.prepare(space)
            if self._sampled and self._quantised is not None:
                self._quantised.prepare_sample(space)

    def all(self, plan: Plan) -> Scored:
        """Scores of all rows; cached by the plan."""
        return self._scored.get(plan.key, lambda: Scored(*self._scan_together(plan)))

    def body(self, plan: Plan) -> Scores:
        """(n,) sorted scores of the live rows, or of the sample's where there are very many; cached by the plan."""
        return self._bodies.get(plan.key, lambda: np.sort(self._unsorted_body(plan)))

    def _unsorted_body(self, plan: Plan) -> Scores:
        return self._scan.sample_scores(plan) if self._sampled else self.of_live(plan)

    def of_live(self, plan: Plan) -> Scores:
        """(n,) scores of the live rows."""
        scores = self.all(plan).scores
        return scores if len(self.live) == len(scores) else scores[self.live]

    @property
    def backend(self) -> str:
        """What an answer says of a scan of all rows."""
        return self._scan.backend

    @property
    def exact_before_filters(self) -> bool:
        """Whether a scan of all rows gives exact scores at once, so that filters that leave few rows change nothing."""
        return self._quantised is None

    def candidates(self, rows: Rows, plan: Plan, wanted: int) -> Candidates:
        """What can be ranked of the rows that passed the filters.

        Args:
            rows: (R,) ascending; all live rows when nothing was filtered.
            plan: what to score by.
            wanted: how many hits will be asked for.
        """
        if len(rows) == len(self.live) and self._can_index(plan, wanted) and (indexed := self._from_indexes(plan)):
            return indexed
        prefixes = self._prefixes if wanted <= _PREFIX_WANTED else None
        if prefixes is not None and not prefixes.suits(plan):
            prefixes = None
        backend = prefixes.backend if prefixes else self._scan.backend
        if self._quantised is not None and len(rows) * FEW < len(self.live):
            return Candidates(rows, self.exact(rows, plan), 0.0, len(rows), backend)
        return Candidates(rows, None, 0.0, len(rows), backend) if prefixes else self._from_all(rows, plan)

    def best(self, found: Candidates, plan: Plan, count: int) -> tuple[Rows, Scores]:
        """(K,) rows of the `count` best, best first, and (K,) exact scores; equal scores in row order."""
        rows, scores, bound = found.rows, found.scores, found.bound
        if scores is None:
            left = self._prefixes.left(rows, plan, count) if self._prefixes else None
            if left is None:
                return self.best(self._from_all(rows, plan), plan, count)
            rows, scores, bound = left
        if bound:
            rows = rows[candidates(scores, count, bound)]
            scores = self.exact(rows, plan)
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
        return Candidates(rows, self.exact(rows, plan), 0.0, len(self.live), f"approximate ({'; '.join(told)})")

    def _from_all(self, rows: Rows, plan: Plan) -> Candidates:
        scored = self.all(plan)
        scores = scored.scores if len(rows) == len(scored.scores) else scored.scores[rows]
        return Candidates(rows, scores, scored.bound, len(rows), self._scan.backend)

    def exact(self, rows: Rows, plan: Plan) -> Scores:
        """Exact scores of some rows, (K,)."""
        return exact_scores(self._collection, plan, rows)
