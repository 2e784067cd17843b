"""The exact scan on an accelerator: the vectors stay in its memory as they are stored."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from wildsat_core.collection.reader import Collection
from wildsat_core.search.plan import Plan
from wildsat_core.search.scan import Scores
from wildsat_core.types import Space

_BLOCK_ROWS = 32_768  # turned into float32 a block at a time: 32 MB at 256 dimensions
_HEADROOM = 0.8  # of the free memory: scores, cached blocks and the encoders need some too

_ROUNDING = 1e-5  # of a product of unit vectors in float32: its greatest error, with room
_REDUCED_ROUNDING = 2e-3  # of TF32 and the like
_LOW = 2048.0  # scales a rest of float16's rounding, at most 2 ** -12, to where float16 has all its bits

Floats = npt.NDArray[np.float32]
Offs = npt.NDArray[np.float64]


class DeviceScan:
    """Copies of the vectors on a torch device, made when first used; scores have float32's precision.

    Args:
        collection: where the vectors are.
        device: a torch device, such as "cuda:0".
        previous: of an earlier generation; the copies of the segments that both have are taken over.
    """

    def __init__(self, collection: Collection, device: str, previous: DeviceScan | None = None) -> None:
        """Only remember."""
        self._collection, self._device = collection, torch.device(device)
        self._segments: dict[tuple[str, Space], tuple[torch.Tensor, float]] = {}
        if previous is not None and previous._device == self._device:
            held = {segment.id for segment in collection.manifest.segments}
            self._segments = {key: copy for key, copy in previous._segments.items() if key[0] in held}
        self._lock = threading.Lock()

    @property
    def backend(self) -> str:
        """Names the kind of device."""
        return f"exact scan on {self._device.type}"

    @staticmethod
    def fits(collection: Collection, device: str) -> bool:
        """Whether the device has room for all spaces."""
        if torch.device(device).type != "cuda":
            return True
        need = sum(part.nbytes for space in collection.spaces for part in collection.vector_parts(space))
        free, _ = torch.cuda.mem_get_info(device)
        return need < _HEADROOM * free

    def prepare(self, space: Space) -> None:
        """Copy the segments of one space that are not there yet."""
        self._copies(space)

    def scores(self, plans: Sequence[Plan]) -> list[tuple[Scores, float]]:
        """Each plan's scores of all rows, (N,), and how far off any of them can be; one pass for all plans."""
        rows = len(self._collection.tiles)
        constants = torch.tensor([[plan.constant] for plan in plans], dtype=torch.float32, device=self._device)
        out = constants.expand(len(plans), rows).contiguous()
        bounds = _ROUNDING * np.array([abs(plan.constant) for plan in plans])
        spaces: dict[Space, None] = dict.fromkeys(space for plan in plans for space in plan.slopes)
        for space in spaces if rows else ():
            mine = [i for i, plan in enumerate(plans) if space in plan.slopes]
            slopes = np.stack([plans[i].slopes[space] for i in mine])
            copies = self._copies(space)
            vectors = [part for part, _ in copies]
            products, off = (half_products if out.is_cuda else float_products)(vectors, slopes)
            out.index_add_(0, torch.tensor(mine, device=self._device), products)
            bounds[mine] += off * max((length for _, length in copies), default=0.0)
        return [(_to_host(scores), float(bound)) for scores, bound in zip(out, bounds, strict=True)]

    def _copies(self, space: Space) -> list[tuple[torch.Tensor, float]]:
        """The (rows, D) copy of each segment and the greatest length of its rows."""
        segments, parts = self._collection.manifest.segments, self._collection.vector_parts(space)
        with self._lock:
            for segment, part in zip(segments, parts, strict=True):
                if (segment.id, space) not in self._segments:
                    copy = torch.from_numpy(np.array(part)).to(self._device)
                    lengths = [block.float().norm(dim=1).max() for block in torch.split(copy, _BLOCK_ROWS)]
                    self._segments[segment.id, space] = copy, float(max(lengths))
            return [self._segments[segment.id, space] for segment in segments]


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


def _to_host(scores: torch.Tensor) -> Scores:
    """An array that shares memory with no other: the cache may keep one of a batch long after the rest.

    From a GPU into page-locked memory, which torch keeps for the next: ten times faster than into memory that the
    process has not touched before.
    """
    host = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=scores.is_cuda)
    array: Scores = host.copy_(scores).numpy()
    return array
