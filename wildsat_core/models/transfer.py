"""To a device and back while it computes: batches are sent from page-locked memory, and nobody waits for the answer.

A GPU works through a queue. As long as the next batch is in it before the last one is done, it never waits for the
program, nor the program for it. Other devices, the CPU among them, are done when a call returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from wildsat_core.types import Space

Vectors = npt.NDArray[np.float32]


def has_queue(device: torch.device) -> bool:
    """Whether a device goes on by itself while the program does something else."""
    return device.type == "cuda"


def gathered(pictures: Sequence[npt.NDArray[Any]], device: torch.device) -> torch.Tensor:
    """Pictures of one shape and type, as stored, as one batch (B, C, H, W) in memory that the device can read."""
    first = torch.from_numpy(np.ascontiguousarray(pictures[0]))
    batch = torch.empty((len(pictures), *first.shape), dtype=first.dtype, pin_memory=has_queue(device))
    np.stack(pictures, out=batch.numpy())
    return batch


def sent(values: torch.Tensor | npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Values of any shape on the device, or on their way there: what is computed with them waits for them."""
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    if not has_queue(device) or tensor.device == device:
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


class PendingVectors:
    """Vectors that a device is still at work on."""

    def __init__(self, vectors: Mapping[Space, torch.Tensor]) -> None:
        """Have them copied as soon as they are there: (B, D) for each space, on one device."""
        self._done: torch.cuda.Event | None = None
        self._vectors = {space: self._on_the_way(part.float()) for space, part in vectors.items()}
        devices = [part.device for part in vectors.values() if has_queue(part.device)]
        if devices:
            with torch.cuda.device(devices[0]):
                self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
                self._done.record()

    def result(self) -> dict[Space, Vectors]:
        """Wait for them: (B, D) float32 for each space."""
        if self._done is None:
            return {space: np.ascontiguousarray(part.numpy()) for space, part in self._vectors.items()}
        self._done.synchronize()
        return {space: part.numpy().copy() for space, part in self._vectors.items()}  # page-locked memory is scarce

    @staticmethod
    def _on_the_way(vectors: torch.Tensor) -> torch.Tensor:
        if not has_queue(vectors.device):
            return vectors.cpu()
        return torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True).copy_(vectors, non_blocking=True)
