"""The exact scan on an accelerator: the vectors stay in its memory as they are stored."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch

from wildsat_core.collection.reader import Collection
from wildsat_core.search.plan import Plan
from wildsat_core.search.scan import Scores
from wildsat_core.types import Space

_BLOCK_ROWS = 32_768  # turned into float32 a block at a time: 32 MB at 256 dimensions fits a data-centre GPU's cache
_HEADROOM = 0.8  # of the free memory: scores, cached blocks and the encoders need some too


class DeviceScan:
    """Copies of the vectors on a torch device, made when first used; products and sums are float32.

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
        bounds = _rounding() * np.array([abs(plan.constant) for plan in plans])
        spaces: list[Space] = list(dict.fromkeys(space for plan in plans for space in plan.slopes))
        for space in spaces:
            mine = [i for i, plan in enumerate(plans) if space in plan.slopes]
            stacked = np.stack([plans[i].slopes[space] for i in mine])
            copies = self._copies(space)
            slopes, at = torch.from_numpy(stacked).to(self._device), torch.tensor(mine, device=self._device)
            for offset, (vectors, _) in zip(self._collection.offsets.tolist(), copies, strict=False):
                for start in range(0, len(vectors), _BLOCK_ROWS):
                    block = vectors[start : start + _BLOCK_ROWS].float()
                    first = offset + start
                    out[:, first : first + len(block)].index_add_(0, at, slopes @ block.T)
            longest = max((length for _, length in copies), default=0.0)
            bounds[mine] += _rounding() * np.linalg.norm(stacked, axis=1) * longest
        # One array for each plan, none a part of another: the cache may keep one of them long after the rest.
        return [(scores.cpu().numpy().copy(), float(bound)) for scores, bound in zip(out, bounds, strict=True)]

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


def _rounding() -> float:
    """Greatest error of a product of unit vectors: of float32, or of TF32 where the process allows it."""
    return 1e-5 if torch.get_float32_matmul_precision() == "highest" else 2e-3
