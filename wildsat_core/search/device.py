"""The exact scan on an accelerator: the vectors stay in its memory as they are stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from wildsat_core.collection.reader import Collection
from wildsat_core.machine import thread_pool
from wildsat_core.search.plan import Plan
from wildsat_core.search.scan import Rows, Scores
from wildsat_core.types import Space

_BLOCK_ROWS = 32_768  # turned into float32 a block at a time: 32 MB at 256 dimensions
_COPIED_ROWS = 1_048_576  # neighbouring segments are copied as one until they have so many rows
_PICKED_ROWS = 262_144  # rows that are gathered at a time: 128 MB at 256 dimensions
_HEADROOM = 0.8  # of the free memory: scores, cached blocks and the encoders need some too

_ROUNDING = 1e-5  # of a product of unit vectors in float32: its greatest error, with room
_REDUCED_ROUNDING = 2e-3  # of TF32 and the like
_LOW = 2048.0  # scales a rest of float16's rounding, at most 2 ** -12, to where float16 has all its bits

Floats = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.floating]
Offs = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Copy:
    """What a device keeps of the vectors of some neighbouring segments.

    Attributes:
        rows: (n, W).
        longest: greatest length of a row.
        scale: by which the rows were multiplied.
    """

    rows: torch.Tensor
    longest: float
    scale: float


class DeviceCopies:
    """Something of each vector of a collection on a torch device, made when first used.

    However small a product is, it takes some microseconds to begin: neighbouring segments are copied as one.

    Args:
        collection: where the vectors are.
        device: where the copies are.
        previous: of an earlier generation; the copies of segments that both have are taken over.
    """

    def __init__(self, collection: Collection, device: torch.device, previous: DeviceCopies | None = None) -> None:
        """Only remember."""
        self._collection, self._device = collection, device
        segments = collection.manifest.segments
        self._runs = _runs([segment.rows for segment in segments])
        self._ids = [tuple(segments[i].id for i in run) for run in self._runs]
        self.starts = [int(collection.offsets[run.start]) for run in self._runs]
        self._copies: dict[tuple[Space, tuple[str, ...]], Copy] = {}
        self._whole: dict[Space, list[Copy]] = {}
        self._lock = threading.Lock()
        if previous is not None and previous._device == device:
            held = set(self._ids)
            self._copies = {key: copy for key, copy in previous._copies.items() if key[1] in held}

    def missing_bytes(self, of_row: Callable[[Space], int]) -> int:
        """What the copies that are not there yet will take, of so many bytes a row and space."""
        rows = [sum(self._collection.manifest.segments[i].rows for i in run) for run in self._runs]
        return sum(
            of_row(space) * count
            for space in self._collection.spaces
            for count, ids in zip(rows, self._ids, strict=True)
            if (space, ids) not in self._copies
        )

    def of(self, space: Space, kept: Callable[[Vectors], Vectors], scale: float = 1.0) -> list[Copy]:
        """The copies of a space, in the order of their rows.

        Args:
            space: of which vectors.
            kept: what is kept of (n, D) vectors, (n, W); from several threads.
            scale: by which `kept` multiplies; what was multiplied by another is made again.
        """
        with self._lock:
            if space not in self._whole:
                for run, ids in zip(self._runs, self._ids, strict=True):
                    held = self._copies.get((space, ids))
                    if held is None or held.scale != scale:
                        self._copies[space, ids] = self._made(space, run, kept, scale)
                self._whole[space] = [self._copies[space, ids] for ids in self._ids]
            return self._whole[space]

    def _made(self, space: Space, run: range, kept: Callable[[Vectors], Vectors], scale: float) -> Copy:
        vectors = self._collection.vector_parts(space)
        parts = [vectors[i][at : at + _BLOCK_ROWS] for i in run for at in range(0, len(vectors[i]), _BLOCK_ROWS)]
        copied = [torch.from_numpy(part).to(self._device) for part in thread_pool().map(kept, parts)]
        longest = max(float(part.float().norm(dim=1).max()) for part in copied)
        return Copy(torch.cat(copied), longest, scale)


def _runs(rows: Sequence[int]) -> list[range]:
    """Neighbouring segments together; when some are added, all but the last of the runs stay what they are."""
    runs, start, count = [], 0, 0
    for i, number in enumerate(rows):
        count += number
        if count >= _COPIED_ROWS or i == len(rows) - 1:
            runs.append(range(start, i + 1))
            start, count = i + 1, 0
    return runs


class DeviceScan:
    """Copies of the vectors on a torch device, made when first used; scores have float32's precision.

    Args:
        collection: where the vectors are.
        device: a torch device, such as "cuda:0".
        sample_rows: rows that stand for all when only the distribution of scores is wanted.
        previous: of an earlier generation; the copies of the segments that both have are taken over.
    """

    def __init__(
        self, collection: Collection, device: str, sample_rows: Rows, previous: DeviceScan | None = None
    ) -> None:
        """Only remember."""
        self.collection, self.device = collection, torch.device(device)
        self._sample_rows = sample_rows
        self._copies: DeviceCopies = DeviceCopies(collection, self.device, previous._copies if previous else None)
        self._starts = torch.tensor(self._copies.starts[1:], dtype=torch.int64, device=self.device)

    @property
    def backend(self) -> str:
        """Names the kind of device."""
        return f"exact scan on {self.device.type}"

    def fits(self, more_bytes: int = 0) -> bool:
        """Whether the device has room for all spaces, and some bytes more."""
        if self.device.type != "cuda":
            return True
        spaces = self.collection.spaces
        need = self._copies.missing_bytes(lambda space: spaces[space].dim * np.dtype(spaces[space].dtype).itemsize)
        free, _ = torch.cuda.mem_get_info(self.device)
        return need + more_bytes < _HEADROOM * free

    def prepare(self, space: Space) -> None:
        """Copy the segments of one space that are not there yet."""
        self.copies(space)

    def copies(self, space: Space) -> list[Copy]:
        """The vectors of a space."""
        return self._copies.of(space, np.array)

    def scores(self, plans: Sequence[Plan]) -> list[tuple[Scores, float]]:
        """Each plan's scores of all rows, (N,), and how far off any of them can be; one pass for all plans."""
        rows = len(self.collection.tiles)
        out, bounds = self.constants(plans).expand(len(plans), rows).contiguous(), _off_constants(plans)
        spaces: dict[Space, None] = dict.fromkeys(space for plan in plans for space in plan.slopes)
        for space in spaces if rows else ():
            mine = [i for i, plan in enumerate(plans) if space in plan.slopes]
            slopes = np.stack([plans[i].slopes[space] for i in mine])
            copies = self.copies(space)
            found, off = products([copy.rows for copy in copies], slopes)
            out.index_add_(0, torch.tensor(mine, device=self.device), found)
            bounds[mine] += off * max(copy.longest for copy in copies)
        return [(to_host(scores), float(bound)) for scores, bound in zip(out, bounds, strict=True)]

    def sample_scores(self, plan: Plan) -> Scores:
        """(S,) scores of the sample's rows."""
        return to_host(self.scores_at(torch.from_numpy(self._sample_rows).to(self.device), plan)[0])

    def scores_at(self, rows: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, float]:
        """Scores, (R,), of some rows, (R,) ascending, both on the device, and how far off any of them can be."""
        out, bound = self.constants([plan])[0].repeat(len(rows)), float(_off_constants([plan])[0])
        for space, slope in plan.slopes.items() if len(rows) else ():
            copies, first = self.copies(space), 0
            for some in torch.split(rows, _PICKED_ROWS):
                [found], [off] = products(self._picked(copies, some), slope[None])
                out[first : first + len(some)] += found
                first += len(some)
            bound += float(off) * max(copy.longest for copy in copies)
        return out, bound

    def _picked(self, copies: Sequence[Copy], rows: torch.Tensor) -> list[torch.Tensor]:
        """Some rows, (R,) ascending, of the copies: (r, D) of each that has any."""
        ends = [*torch.searchsorted(rows, self._starts).tolist(), len(rows)]
        return [
            copy.rows[rows[begin:end] - start]
            for copy, start, begin, end in zip(copies, self._copies.starts, [0, *ends], ends, strict=False)
            if end > begin
        ]

    def constants(self, plans: Sequence[Plan]) -> torch.Tensor:
        """(B, 1) float32."""
        return torch.tensor([[plan.constant] for plan in plans], dtype=torch.float32, device=self.device)


def _off_constants(plans: Sequence[Plan]) -> Offs:
    """(B,) how far off scores can be for the plans' constants alone."""
    return _ROUNDING * np.array([abs(plan.constant) for plan in plans])


def products(parts: Sequence[torch.Tensor], slopes: Floats) -> tuple[torch.Tensor, Offs]:
    """Products of parts, (n, D) each, with slopes, (B, D), by the quickest way that a device has: `float_products`."""
    halves = parts[0].is_cuda and parts[0].dtype == torch.float16
    return (half_products if halves else float_products)(parts, slopes)


def float_products(parts: Sequence[torch.Tensor], slopes: Floats) -> tuple[torch.Tensor, Offs]:
    """Products of B slopes, (B, D), with all rows of some parts, (rows, D) each: (B, N) float32.

    Also how far off a product with a vector of length 1 can be, (B,).
    """
    on_device = torch.from_numpy(slopes).to(parts[0].device)
    blocks = [block for part in parts for block in torch.split(part, _BLOCK_ROWS)]
    # A process may have allowed float32 products of fewer bits.
    rounding = _ROUNDING if torch.get_float32_matmul_precision() == "highest" else _REDUCED_ROUNDING
    products = torch.cat([on_device @ block.float().T for block in blocks], dim=1)
    return products, rounding * np.linalg.norm(slopes, axis=1)


def half_products(parts: Sequence[torch.Tensor], slopes: Floats) -> tuple[torch.Tensor, Offs]:
    """As `float_products`, on a GPU's float16 units: vectors are read once, as they are stored, and nothing is lost.

    A slope of (P, D) becomes the sum of two float16 vectors, which hold as many bits as float32; sums are float32.
    """
    scales = np.maximum(np.abs(slopes).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    scaled = slopes.astype(np.float64) / scales
    high = scaled.astype(np.float16)
    low = ((scaled - high) * _LOW).astype(np.float16)
    lost = np.linalg.norm((scaled - high - low / np.float64(_LOW)) * scales, axis=1)
    halves = torch.from_numpy(np.concatenate([high, low])).to(parts[0].device)
    out = torch.empty(len(slopes), sum(len(part) for part in parts), device=parts[0].device)
    first = 0
    for part in parts:
        both = torch.mm(halves, part.T, out_dtype=torch.float32)
        torch.add(both[: len(slopes)], both[len(slopes) :], alpha=1 / _LOW, out=out[:, first : first + len(part)])
        first += len(part)
    out *= torch.from_numpy(scales.astype(np.float32)).to(out.device)
    return out, _ROUNDING * np.linalg.norm(slopes, axis=1) + lost


def to_host(scores: torch.Tensor) -> Scores:
    """Scores, (N,), as an array that shares memory with no other: a cache may keep one of a batch long after the rest.

    From a GPU into page-locked memory, which torch keeps for the next: ten times faster than into memory that the
    process has not touched before.
    """
    host = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=scores.is_cuda)
    array: Scores = host.copy_(scores).numpy()
    return array
