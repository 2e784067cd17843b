"""The prefix pass on an accelerator: bounds, the choice of rows and their scores stay in its memory.

A row keeps its prefix in float16 and, as two coordinates more, the length r of the rest and the length l of what
float16 lost of the prefix, both rounded up; a query keeps the lengths of its own rest and prefix there. So that

    q . v  <=  q_p . v_p + q_r r + |q_p| l                        (Cauchy and Schwarz, twice)

is one product of vectors of 64 float16 numbers, of which a row of 256 has four times as many. What that product may be
off is known, as of the full scan's. How the rotation is found, and why it leaves few rows, is told in
`wildsat_core.search.prefix`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from wildsat_core.batching import Batcher
from wildsat_core.search.device import Copy, DeviceCopies, DeviceScan, Vectors, products, to_host
from wildsat_core.search.plan import Plan
from wildsat_core.search.prefix import MOST_LEFT, PREFIX_DIMS, Doubles, Floats, Left, Rotation, Rotations, leaders_of
from wildsat_core.search.scan import BATCH, FEW, Rows
from wildsat_core.types import Space

_BOUNDS_BYTES = 2**30  # of the bounds of all rows that a batch of plans takes at most, however many rows there are
_LENGTHS = 2  # numbers of a row that are no coordinates
_LARGEST = 2.0**14  # float16 ends at 2 ** 16
_WIDTH = 64  # bounds that are looked at together when the best are picked


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked: the `count` best of some rows, (R,) ascending."""

    rows: Rows
    plan: Plan
    count: int


class DevicePrefixes:
    """Prefixes of the vectors that a scan keeps on a device, in spaces where they rule out nearly all rows.

    Args:
        scan: has the vectors.
        rotations: of the collection's spaces.
        previous: of an earlier generation; the copies of the segments that both have are taken over.
    """

    def __init__(self, scan: DeviceScan, rotations: Rotations, previous: DevicePrefixes | None = None) -> None:
        """Only remember."""
        self._scan, self._rotations = scan, rotations
        self._copies: DeviceCopies = DeviceCopies(scan.collection, scan.device, previous._copies if previous else None)
        most = _BOUNDS_BYTES // (4 * len(scan.collection.tiles) + 1)
        self._together: Batcher[_Wanted, Left | None] = Batcher(self._left, min(BATCH, max(1, most)))

    @property
    def backend(self) -> str:
        """Names the kind of device."""
        return f"{self._scan.backend} after a prefix pass"

    def fits(self) -> bool:
        """Whether the device has room for prefixes beside the vectors."""
        return self._scan.fits(self._copies.missing_bytes(lambda _: 2 * PREFIX_DIMS))

    def prepare(self, space: Space) -> bool:
        """Copy a space's vectors and make its prefixes, where they are worth it; says whether they are."""
        return self._rotations.of(space) is not None and bool(self._copies_of(space))

    def suits(self, plan: Plan) -> bool:
        """Whether every space that a plan looks at has prefixes; makes those that are missing."""
        return bool(plan.slopes) and all(self.prepare(space) for space in plan.slopes)

    def left(self, rows: Rows, plan: Plan, count: int) -> Left | None:
        """Those of some rows, (R,) ascending, that can be among the `count` best; None where too many are left.

        Of very few rows, all are left: that reads less than the prefixes.
        """
        if len(rows) * FEW < len(self._scan.collection.tiles):
            scores, off = self._scan.scores_at(self._there(rows), plan)
            return rows, to_host(scores), off
        return self._together(_Wanted(rows, plan, count))

    def bounds(self, plans: Sequence[Plan]) -> tuple[torch.Tensor, Doubles]:
        """Upper bounds of each row's score on the device, (B, N), less a number that is the same for all rows, (B,)."""
        scan = self._scan
        out = scan.constants(plans).repeat(1, len(scan.collection.tiles))
        slack = np.array([1e-6 * abs(plan.constant) for plan in plans])
        for space in dict.fromkeys(space for plan in plans for space in plan.slopes):
            mine = [i for i, plan in enumerate(plans) if space in plan.slopes]
            asked, rounding = _asked(np.stack([plans[i].slopes[space] for i in mine]), self._rotations[space])
            copies = self._copies_of(space)
            scaled = asked / copies[0].scale
            found, off = products([copy.rows for copy in copies], scaled.astype(np.float32))
            out.index_add_(0, torch.tensor(mine, device=scan.device), found)
            off += 1e-7 * np.linalg.norm(scaled, axis=1)  # of the numbers that are asked for in float32
            slack[mine] += off * max(copy.longest for copy in copies)
            slack[mine] += rounding * max(copy.longest for copy in scan.copies(space))
        return out, slack

    def _left(self, wanted: Sequence[_Wanted]) -> list[Left | None]:
        bounds, slack = self.bounds([one.plan for one in wanted])
        return [self._chosen(*each) for each in zip(wanted, bounds, slack.tolist(), strict=True)]

    def _chosen(self, wanted: _Wanted, bounds: torch.Tensor, slack: float) -> Left | None:
        """The rows whose bounds reach the `count`-th best score of those with the highest bounds."""
        rows = None if len(wanted.rows) == len(bounds) else self._there(wanted.rows)
        mine = bounds if rows is None else bounds[rows]
        count, most = min(wanted.count, len(mine)), max(wanted.count, len(mine) // MOST_LEFT)
        leaders = _leaders(mine, min(leaders_of(len(mine), count, most), len(mine)))
        scores, off = self._scan.scores_at(leaders if rows is None else rows[leaders], wanted.plan)
        edge = scores.topk(count).values[-1]
        # A little lower than it need be: rounded the right way whatever the magnitudes.
        left = torch.nonzero(mine >= edge - 1e-6 * edge.abs() - (slack + off) * (1 + 1e-6))[:, 0]
        if len(left) > most:
            return None
        left = left if rows is None else rows[left]
        scores, off = self._scan.scores_at(left, wanted.plan)
        return left.cpu().numpy(), to_host(scores), off

    def _there(self, rows: Rows) -> torch.Tensor:
        return torch.from_numpy(rows).to(self._scan.device)

    def _copies_of(self, space: Space) -> list[Copy]:
        rotation = self._rotations[space]
        # The power of two that leaves no turned vector out of float16's reach, and few below it.
        furthest = rotation.reach * max((copy.longest for copy in self._scan.copies(space)), default=1.0)
        scale = float(2.0 ** np.floor(np.log2(_LARGEST / max(furthest, 1e-30))))
        return self._copies.of(space, partial(_prefixes, rotation=rotation, scale=scale), scale)


def _prefixes(vectors: Vectors, rotation: Rotation, scale: float) -> Vectors:
    """(n, P) beginnings of turned vectors, (n, D), times a scale, with the lengths of what they leave out."""
    turned = rotation.turned(vectors) * np.float32(scale)
    dims = PREFIX_DIMS - _LENGTHS
    prefix = turned[:, :dims].astype(np.float16)
    out = np.empty((len(turned), PREFIX_DIMS), np.float16)
    out[:, :dims] = prefix
    out[:, dims] = _upwards(np.linalg.norm(turned[:, dims:], axis=1))
    out[:, dims + 1] = _upwards(np.linalg.norm(turned[:, :dims] - prefix, axis=1))
    return out


def _upwards(lengths: Floats) -> Vectors:
    """(n,) float16 no smaller than (n,) lengths that float32 sums gave."""
    lengths = lengths * np.float32(1 + 1e-5)
    halves = lengths.astype(np.float16)
    return np.where(halves < lengths, np.nextafter(halves, np.float16(np.inf)), halves)


def _asked(slopes: Floats, rotation: Rotation) -> tuple[Doubles, Doubles]:
    """What multiplies rows of `_prefixes`, (B, P), for (B, D) slopes; what rounding may add for vectors of length 1."""
    dims = PREFIX_DIMS - _LENGTHS
    prefix = slopes.astype(np.float64) @ rotation.of_queries[:, :dims]
    rest, rounding = rotation.rest(slopes, dims)
    return np.column_stack([prefix, rest, np.linalg.norm(prefix, axis=1)]), rounding


def _leaders(bounds: torch.Tensor, count: int) -> torch.Tensor:
    """Positions, (K,) ascending, of `count` high bounds of (M,), the highest among them: no quick look finds all."""
    across = len(bounds) // _WIDTH
    whole = across * _WIDTH
    if across <= count:
        return bounds.topk(count).indices.sort().values
    blocks = bounds[:whole].view(_WIDTH, across)
    tops = blocks.amax(dim=0).topk(count).indices
    return (tops + across * blocks[:, tops].argmax(dim=0)).sort().values
