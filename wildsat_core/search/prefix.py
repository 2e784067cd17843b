"""A first pass that reads a fifth of the int8 copies: a short prefix of rotated vectors bounds every score from above.

Learned vectors are far from round. With C_v the second moment of the tiles' vectors and C_q that of queries such as are
asked, L L' = C_v, R R' = C_q and U S W' the singular values of L' R, tiles become A' v and queries B' q with

    A = R W S^-1/2,   B = L U S^-1/2,   A B' = 1,

so that inner products stay and the first coordinates carry most of them, whichever side is looked at (the balanced
truncation of linear systems: Moore, IEEE Trans. Automatic Control 26, 1981). With a row's prefix p and the length r of
the rest of it, likewise a query's,

    q . v  <=  q_p . v_p + q_r v_r                                (Cauchy and Schwarz)

Rows whose bound does not reach the k-th best score are ruled out for certain, whatever the query; how many are left
depends on how alike it is to those of C_q. So the answer is exact always, and quick for questions as people ask them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from wildsat_core.batching import Batcher
from wildsat_core.collection.reader import Collection
from wildsat_core.machine import thread_pool
from wildsat_core.search.cache import Cache
from wildsat_core.search.plan import Part, Plan
from wildsat_core.search.quantised import BLOCK_ROWS
from wildsat_core.search.scan import BATCH, Rows, Scores, exact_scores
from wildsat_core.types import Space

PREFIX_DIMS = 64  # of which a row keeps one byte each, and four bytes for the length of the rest
LEVELS = 127
FINER = 128  # two codes of a query's coordinate, one in units, one in parts of them, leave next to nothing
WORTH = 0.05  # share of the rows that may be left over, on average; with more, one pass over all int8 copies is quicker
MOST_LEFT = 16  # more rows than one in so many left by the prefixes: all are scored in one full pass instead
_CACHED_PLANS = 16
_RIDGE = 0.01  # of the mean eigenvalue, added to both moments: a direction that nothing had yet may be asked for
_REACH = 1.1  # of the furthest in a sample: some of all tiles lie further out
_HITS = 20  # of a search for which the share is measured
_MEASURED_QUERIES = 64
# One row in so many, those of the highest bounds, is scored to find what the k-th best reaches. A few would do were
# bounds tight; where they are not, tiles of which a prefix tells little come first, and what these reach rules out few.
LEADERS = 1_024
_WIDTH = 64  # bounds that are looked at together when the best are picked
# float32 sums of D products are off by less than D * 2 ** -24 of the sum of their magnitudes (Higham, Accuracy and
# Stability of Numerical Algorithms, 2002, section 3.1); for the rotation, and for the score that is bounded.
_ROUNDING = 2.0**-23

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Left = tuple[Rows, Scores, float]  # rows that were not ruled out, ascending, their scores, and how far off those can be
log = logging.getLogger(__name__)


class Prefixes(Protocol):
    """Something that rules out nearly all rows by their prefixes; see `PrefixScan` and `DevicePrefixes`."""

    @property
    def backend(self) -> str:
        """What an answer says of how it was found."""
        ...

    def prepare(self, space: Space) -> bool:
        """Make what searches of one space need, where a prefix is worth it; says whether it is."""
        ...

    def suits(self, plan: Plan) -> bool:
        """Whether every space that a plan looks at has prefixes; makes those that are missing."""
        ...

    def left(self, rows: Rows, plan: Plan, count: int) -> Left | None:
        """Those of some rows, (R,) ascending, that can be among the `count` best; None where too many are left."""
        ...


@dataclass(frozen=True, slots=True)
class Rotation:
    """The change of coordinates of one space.

    Attributes:
        of_tiles: (D, D) A: a tile's vector v becomes A' v.
        of_queries: (D, D) B: a query's vector q becomes B' q.
        steps: (P,) by which the tiles' coordinates are counted: 127 of them reach as far as tiles do.
        reach: the greatest length that a tile's vector of length 1 can get.
    """

    of_tiles: Floats
    of_queries: Doubles
    steps: Floats
    reach: float

    @classmethod
    def between(cls, vectors: Floats, queries: Doubles) -> Rotation:
        """From vectors that stand for all tiles, (S, D), and for queries, (M, D); neither need have full rank."""
        tiles = vectors.astype(np.float64)
        left, right = _root(tiles.T @ tiles / len(tiles)), _root(queries.T @ queries / len(queries))
        u, s, wt = np.linalg.svd(left.T @ right)
        scale = 1.0 / np.sqrt(np.maximum(s, s[0] * 1e-12))
        of_tiles = (right @ wt.T * scale).astype(np.float32)
        furthest = np.abs(vectors @ of_tiles[:, :PREFIX_DIMS]).max(axis=0)
        steps = np.maximum(furthest * _REACH / LEVELS, 1e-12)
        return cls(of_tiles, left @ u * scale, steps, float(np.linalg.norm(of_tiles, 2)))

    def turned(self, vectors: npt.NDArray[np.floating]) -> Floats:
        """(n, D) tiles' vectors, turned."""
        turned: Floats = np.asarray(vectors, np.float32) @ self.of_tiles
        return turned

    def rest(self, slopes: Floats, dims: int) -> tuple[Doubles, Doubles]:
        """Lengths of what a prefix leaves out of (B, D) queries, and what rounding may add for tiles of length 1, (B,).

        The matrices were found and the tiles are turned in finite precision, so that a product of both is not quite the
        product of what was turned: of that, too, the second number is a bound.
        """
        turned = slopes.astype(np.float64) @ self.of_queries
        rest = np.linalg.norm(turned[:, dims:], axis=1)
        lost = np.linalg.norm(turned @ self.of_tiles.T.astype(np.float64) - slopes, axis=1)
        turning = np.abs(turned) @ np.linalg.norm(self.of_tiles.astype(np.float64), axis=0)
        own = np.linalg.norm(slopes.astype(np.float64), axis=1)
        return rest, lost + _ROUNDING * len(self.of_tiles) * (turning + own)


def _root(moment: Doubles) -> Doubles:
    """(D, D) L with L L' = a moment made positive definite."""
    ridge = max(_RIDGE * float(np.trace(moment)) / len(moment), 1e-12)
    values, vectors = np.linalg.eigh(moment + ridge * np.eye(len(moment)))
    root: Doubles = vectors * np.sqrt(np.maximum(values, ridge))
    return root


@dataclass(frozen=True, slots=True)
class _Prefixes:
    """The beginnings of some rotated rows, each coordinate in steps of its own.

    Attributes:
        packed: (n, P) int8 codes, as numkong keeps them.
        rest: (n,) lengths of what the prefixes leave out.
        longest_rest: the greatest of them.
        outliers: rows that reach further than codes do: nothing rules them out.
        off: greatest length, in steps, of what the codes of any other row lose.
        longest: greatest length of a row before it was rotated.
    """

    packed: Any
    rest: Floats
    longest_rest: float
    outliers: Rows
    off: float
    longest: float

    @classmethod
    def of(cls, vectors: npt.NDArray[np.floating], rotation: Rotation) -> _Prefixes:
        import numkong

        turned = rotation.turned(vectors)
        rest = np.sqrt(_squares(turned[:, PREFIX_DIMS:])) * np.float32(1 + 1e-5)
        steps = turned[:, :PREFIX_DIMS] / rotation.steps
        codes = np.clip(np.rint(steps), -LEVELS, LEVELS)
        fits = (np.abs(steps) <= LEVELS + 0.5).all(axis=1)
        off = float(np.sqrt(_squares(steps - codes).max(where=fits, initial=0.0)))
        longest = float(np.sqrt(_squares(np.asarray(vectors, np.float32)).max()))
        packed = numkong.dots_pack(codes.astype(np.int8))
        return cls(packed, rest, float(rest.max()), np.flatnonzero(~fits), off, longest)


def _squares(rows: Floats) -> Floats:
    """(n,) squared lengths."""
    squares: Floats = np.einsum("ij,ij->i", rows, rows)
    return squares


class Rotations:
    """The rotation of each space where a prefix rules out nearly all rows; found when first asked for.

    Args:
        collection: where the vectors are.
        queries: gives (M, D) vectors such as are asked of a space; none of them where M is 0.
        sample_rows: live rows that stand for all when the share that is left over is measured.
        previous: of an earlier generation; a rotation need not fit perfectly to be exact: that of the first tiles
            serves the later ones, too.
    """

    def __init__(
        self,
        collection: Collection,
        queries: Callable[[Space], Floats],
        sample_rows: Rows,
        previous: Rotations | None = None,
    ) -> None:
        """Only remember."""
        self._collection, self._queries, self._sample_rows = collection, queries, sample_rows
        self._found: dict[Space, Rotation | None] = dict(previous._found) if previous else {}
        self._lock = threading.Lock()

    def of(self, space: Space) -> Rotation | None:
        """The rotation of a space; None where too many rows would be left over."""
        with self._lock:
            if space not in self._found:
                self._found[space] = self._worthwhile(space)
            return self._found[space]

    def __getitem__(self, space: Space) -> Rotation:
        """That of a space which has one."""
        rotation = self._found[space]
        assert rotation is not None, "plans are asked about first, by `Prefixes.suits`"
        return rotation

    def _worthwhile(self, space: Space) -> Rotation | None:
        """The rotation of a space, or None where too many rows would be left over."""
        moments, vectors = self._collection.moments[space], self._collection.vectors(space, self._sample_rows)
        queries = self._queries(space).astype(np.float64)
        if not len(vectors) or not len(queries) or vectors.shape[1] <= PREFIX_DIMS:
            return None
        queries /= np.array([moments.score_std(q) for q in queries])[:, None]
        rotation = Rotation.between(vectors, queries)
        some = queries[:: max(1, len(queries) // _MEASURED_QUERIES)].astype(np.float32)
        share = self._left_over(space, rotation, vectors, some)
        log.info("collection %s, %s: a prefix leaves %.2f %% of the rows", self._collection.name, space, 100 * share)
        return rotation if share <= WORTH else None

    def _left_over(self, space: Space, rotation: Rotation, vectors: Floats, queries: Floats) -> float:
        """Mean share of a sample (S, D) whose bound reaches the score that the best of all rows would have."""
        plans = [Plan((Part("", space, query, 1.0, 0.0, 1.0),)) for query in queries]
        question, copy = _Question.of(space, plans, rotation), _Prefixes.of(vectors, rotation)
        bounds = [np.empty(len(vectors), np.float32) for _ in plans]
        question.add(copy, bounds)
        reached = max(1, round(_HITS * len(vectors) / max(len(self._collection.tiles), 1)))
        scores = queries @ vectors.T  # (M, S)
        edges = np.partition(scores, len(vectors) - reached, axis=1)[:, len(vectors) - reached]
        return float(np.mean(np.stack(bounds) >= (edges - question.slack([copy]))[:, None]))


class PrefixScan:
    """Prefixes of a collection's vectors, in spaces where they rule out nearly all rows.

    Args:
        collection: where the vectors are.
        rotations: of its spaces.
        previous: of an earlier generation; the copies of the segments that both have are taken over.
    """

    backend = "exact scan after a prefix pass"

    def __init__(self, collection: Collection, rotations: Rotations, previous: PrefixScan | None = None) -> None:
        """Only remember."""
        self._collection, self._rotations = collection, rotations
        self._segments: dict[tuple[str, Space], list[_Prefixes]] = {}
        self._lock = threading.Lock()
        self._bounds: Cache[bytes, tuple[Scores, float]] = Cache(_CACHED_PLANS)
        self._together: Batcher[Plan, tuple[Scores, float]] = Batcher(self.bounds, BATCH)
        if previous is not None:
            held = {segment.id for segment in collection.manifest.segments}
            self._segments = {key: part for key, part in previous._segments.items() if key[0] in held}

    def prepare(self, space: Space) -> bool:
        """Make one space's prefixes where they are missing and worth it; says whether they are.

        Turning costs D * D products a row, about a second of a processor for 100,000 rows of 256.
        """
        rotation = self._rotations.of(space)
        if rotation is None:
            return False
        with self._lock:
            segments, vectors = self._collection.manifest.segments, self._collection.vector_parts(space)
            missing = [i for i, segment in enumerate(segments) if (segment.id, space) not in self._segments]
            for i in missing:
                parts = [vectors[i][at : at + BLOCK_ROWS] for at in range(0, len(vectors[i]), BLOCK_ROWS)]
                made = thread_pool().map(_Prefixes.of, parts, [rotation] * len(parts))
                self._segments[segments[i].id, space] = list(made)
            return True

    def suits(self, plan: Plan) -> bool:
        """Whether every space that a plan looks at has prefixes; makes those that are missing."""
        return bool(plan.slopes) and all(self.prepare(space) for space in plan.slopes)

    def left(self, rows: Rows, plan: Plan, count: int) -> Left | None:
        """Those of some rows, (R,) ascending, that can be among the `count` best; None where too many are left."""
        bounds, slack = self._bounds.get(plan.key, lambda: self._together(plan))
        mine = bounds if len(rows) == len(bounds) else bounds[rows]
        most = max(count, len(rows) // MOST_LEFT)
        left = best_by_bounds(mine, slack, count, lambda at: exact_scores(self._collection, plan, rows[at]), most)
        return None if left is None else (rows[left[0]], left[1], 0.0)

    def bounds(self, plans: Sequence[Plan]) -> list[tuple[Scores, float]]:
        """For each plan an upper bound of every row's score, (N,), less a number that is the same for all rows."""
        spaces: list[Space] = sorted({space for plan in plans for space in plan.slopes})
        asked = [_Question.of(space, plans, self._rotations[space]) for space in spaces]
        blocks = [
            [part for segment in self._collection.manifest.segments for part in self._segments[segment.id, space]]
            for space in spaces
        ]
        out = [np.empty(len(self._collection.tiles), np.float32) for _ in plans]

        def score(start: int, *copies: _Prefixes) -> None:
            to = [scores[start : start + len(copies[0].rest)] for scores in out]
            for question, copy in zip(asked, copies, strict=True):
                question.add(copy, to)

        starts = np.cumsum([0, *(len(part.rest) for part in blocks[0][:-1])])
        list(thread_pool().map(score, starts.tolist(), *blocks))
        slack = np.array([1e-6 * abs(plan.constant) for plan in plans])
        for question, copies in zip(asked, blocks, strict=True):
            slack[question.plans] += question.slack(copies)
        return list(zip(out, slack.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class _Question:
    """What some plans ask of one space's prefixes.

    Attributes:
        plans: (B,) positions of the plans.
        first: (B,) whether this is the first space that is added to the plan's constant.
        constants: (B,) of the plans.
        codes: (2 B, P) int8: the queries' prefixes in units, then what that leaves in units 1 / FINER as large.
        units: (B,) the size of a code.
        lengths: (B,) of the prefixes in tiles' steps, and `lost`, (B,), of what both codes leave.
        rest: (B,) lengths of what the prefixes leave out of the queries.
        rounding: (B,) what finite precision may add for a tile of length 1.
    """

    plans: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]
    constants: Floats
    codes: npt.NDArray[np.int8]
    units: Floats
    lengths: Doubles
    lost: Doubles
    rest: Floats
    rounding: Doubles

    @classmethod
    def of(cls, space: Space, plans: Sequence[Plan], rotation: Rotation) -> _Question:
        asked = {i: plan.slopes for i, plan in enumerate(plans) if space in plan.slopes}
        slopes = np.stack([mine[space] for mine in asked.values()])
        weights = slopes.astype(np.float64) @ rotation.of_queries[:, :PREFIX_DIMS] * rotation.steps
        units = np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-30) / LEVELS
        coarse = np.rint(weights / units)
        fine = np.rint((weights / units - coarse) * FINER)
        lost = weights - (coarse + fine / FINER) * units
        rest, rounding = rotation.rest(slopes, PREFIX_DIMS)
        return cls(
            np.array(list(asked)),
            np.array([space == min(mine) for mine in asked.values()]),
            np.array([plans[i].constant for i in asked], np.float32),
            np.concatenate([coarse, fine]).astype(np.int8),
            (units[:, 0] / FINER).astype(np.float32),
            np.linalg.norm(weights, axis=1),
            np.linalg.norm(lost, axis=1),
            (rest * (1 + 1e-6)).astype(np.float32),
            rounding,
        )

    def add(self, copy: _Prefixes, to: list[Scores]) -> None:
        """Add to each plan's bounds of a block's rows, (n,)."""
        import numkong

        products = np.asarray(numkong.dots_packed(self.codes, copy.packed))  # (2 B, n) int32, exact
        for i, plan in enumerate(self.plans):
            product = products[i]
            product *= FINER
            product += products[len(self.plans) + i]
            bounds = to[plan] if self.first[i] else np.empty_like(to[plan])
            np.multiply(product, self.units[i], out=bounds, dtype=np.float32, casting="unsafe")
            bounds += copy.rest * self.rest[i]
            if self.first[i]:
                bounds += self.constants[i]
            else:
                to[plan] += bounds
            to[plan][copy.outliers] = np.inf

    def slack(self, copies: Sequence[_Prefixes]) -> Doubles:
        """(B,) what must be added to the bounds for what int8 and float32 lose."""
        longest = max((copy.longest for copy in copies), default=0.0)
        off = max((copy.off for copy in copies), default=0.0)
        most = LEVELS * np.sqrt(PREFIX_DIMS)  # steps of a row
        float32 = 1e-6 * (self.lengths * most + self.rest * max((copy.longest_rest for copy in copies), default=0.0))
        slack: Doubles = self.lengths * off * 1.001 + self.lost * most + float32 + self.rounding * longest
        return slack


def leaders_of(rows: int, count: int, most: int) -> int:
    """How many of some rows are scored to find what the `count`-th best reaches: `most` at most."""
    return min(max(4 * count, rows // LEADERS), most)


def best_by_bounds(
    bounds: Scores, slack: float, count: int, exact: Callable[[Rows], Scores], most: int
) -> tuple[Rows, Scores] | None:
    """Positions that can be among the `count` best, with their exact scores.

    Args:
        bounds: (M,) upper bounds of scores, less the slack.
        slack: see `PrefixScan.bounds`.
        count: how many best are wanted, at least 1.
        exact: gives the scores of some positions, (K,) for (K,) ascending.
        most: more positions than these are not scored.

    Returns:
        Ascending positions and scores, or None if more than `most` can't be ruled out.
    """
    count = min(count, len(bounds))
    if count > most:
        return None
    across = len(bounds) // _WIDTH  # every so many-th bound is looked at together, which numpy does in long strides
    whole = across * _WIDTH
    peaks = bounds[:whole].reshape(_WIDTH, across).max(axis=0)
    leading = leaders_of(len(bounds), count, most)
    if len(peaks) <= leading:
        rows = np.arange(len(bounds))
        return (rows, exact(rows)) if len(bounds) <= most else None
    tops = np.argpartition(peaks, len(peaks) - leading)[len(peaks) - leading :]
    leaders = np.sort(tops + across * bounds[:whole].reshape(_WIDTH, across)[:, tops].argmax(axis=0))
    scores = exact(leaders)
    edge = float(np.partition(scores, leading - count)[leading - count])
    # A little lower than it need be: rounded the right way whatever the magnitudes.
    least = np.float32(edge - slack - 1e-6 * abs(edge))
    left = np.flatnonzero(bounds >= least)
    return (left, exact(left)) if len(left) <= most else None
