"""Vectors of all ranks in one tensor, with gradients going back to the rank that each row came from."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def is_distributed() -> bool:
    """Whether several processes train together now."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """Number of this process among those that train together, from 0."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if is_distributed() else 1


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows of every rank, in the order of ranks: (B, ...) to (B x ranks, ...).

    The gradient of a row is the sum of what every rank's loss asks of it. With gradients of weights averaged over
    ranks, as DistributedDataParallel does, the mean of the ranks' losses then has the same gradient as one process with
    the whole batch. Each rank must give the same number of rows.
    """
    if not is_distributed():
        return rows
    gathered: torch.Tensor = _GatherRows.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - torch's context has no public type
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.count
        return total[start : start + ctx.count]


def gather_lists(items: list[str]) -> list[str]:
    """The lists of all ranks in one, in the order of ranks."""
    if not is_distributed():
        return items
    parts: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Mean of a tensor of any shape over ranks, without gradients."""
    if not is_distributed():
        return values.detach()
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
