"""A running mean of trained weights (exponential moving average), steadier than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightMean:
    """Mean of every trained parameter and float buffer; early steps count for more, so that the start is forgotten."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start at the module's present weights."""
        self._decay = decay
        self.values = {name: value.detach().clone() for name, value in _moving(module)}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in _moving(module):
            self.values[name].lerp_(value.detach(), 1 - decay)

    def fill(self, module: nn.Module) -> None:
        """Give the module the mean weights for good."""
        _fill(module, self.values)

    @contextmanager
    def in_place_of(self, module: nn.Module) -> Iterator[None]:
        """The module has the mean weights inside the block, and its own again after."""
        own = {name: value.detach().clone() for name, value in _moving(module)}
        _fill(module, self.values)
        try:
            yield
        finally:
            _fill(module, own)


def _moving(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from ((name, p) for name, p in module.named_parameters() if p.requires_grad)
    yield from ((name, b) for name, b in module.named_buffers() if b.is_floating_point())


@torch.no_grad()
def _fill(module: nn.Module, values: dict[str, torch.Tensor]) -> None:
    for name, value in _moving(module):
        value.copy_(values[name])
