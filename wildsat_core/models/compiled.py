"""A network compiled for batches of one shape."""

from __future__ import annotations

import torch
from torch import nn

from wildsat_core.errors import CompilationError


class CompiledNetwork:
    """A network in evaluation mode, compiled by torch for inputs of one shape; inputs of others it runs as it is.

    One shape alone, because each further one would cost as long again. On a CPU the weights are frozen into the
    compiled code, which folds batch norms into convolutions and lays weights out for the processor: most of the gain.
    So the network must not change any more.

    Args:
        network: what to compile.
        example: (B, C, H, W) what it will be run on, under the autocast in force now.

    Raises:
        CompilationError: torch can't; it says why.
    """

    def __init__(self, network: nn.Module, example: torch.Tensor) -> None:
        """Compile; takes from some seconds to two minutes."""
        import torch._inductor.config as inductor

        self._network, self._shape = network, example.shape
        self._compiled = torch.compile(network.forward, dynamic=False)
        try:
            with inductor.patch(freezing=example.device.type == "cpu"), torch.inference_mode():
                self(example)
        except (RuntimeError, OSError) as err:  # torch's own errors of compiling are RuntimeErrors
            reason = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
            raise CompilationError(
                f"the network can't be compiled for {example.device}: {reason}. A CPU needs a C++ compiler such as "
                "g++, a GPU Triton; without them leave out --compile"
            ) from err

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Features (B, F)."""
        if values.shape != self._shape:
            out: torch.Tensor = self._network(values)
        else:
            out = self._compiled(values.contiguous())
        return out
