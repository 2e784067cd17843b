"""The loop of the small models' runs, whose data lies in memory: one process, one module, a loss at each step.

It shares its parts with `training.loop`: optimiser, rate, running mean of weights, checkpoints.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from training.checkpoint import LATEST, Progress, load_checkpoint, save_checkpoint
from training.config import OptimiserSection
from training.ema import WeightMean
from training.schedule import rate_at
from training.setup import make_optimiser
from wildsat_core.errors import TrainingError

log = logging.getLogger(__name__)

LossAt = Callable[[int], dict[str, Tensor]]
KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, slots=True)
class Steps:
    """How a run goes.

    Attributes:
        name: for the log.
        count: steps.
        optimiser: rate, its course, decay, greatest gradient, running mean of the weights.
        log_every, checkpoint_every: steps; checkpoints are written only where the run has a folder.
    """

    name: str
    count: int
    optimiser: OptimiserSection = field(default_factory=lambda: OptimiserSection(schedule="cosine"))
    log_every: int = 100
    checkpoint_every: int = 250


def take_steps(module: nn.Module, loss_at: LossAt, plan: Steps, folder: Path | None = None) -> nn.Module:
    """Train a module; with a folder, go on from its newest checkpoint if it has one.

    Args:
        module: trained in place; at the end it has the mean of its weights, if the plan asks for a mean.
        loss_at: the weighted parts of the loss of a step, by name. It must depend on the step alone, so that a run
            that goes on is the run that it was.
        plan: length and optimiser.
        folder: where checkpoints are kept, None for none.

    Returns:
        The module, ready to embed.

    Raises:
        TrainingError: the loss is not finite, or the disk is full.
        CheckpointError: a checkpoint is damaged or is of another module.
    """
    optimiser = make_optimiser(module, plan.optimiser, torch.device("cpu"))
    mean = None if plan.optimiser.ema is None else WeightMean(module, plan.optimiser.ema)
    progress = Progress()
    if folder is not None and (folder / LATEST).is_file():
        progress = load_checkpoint(folder, module, optimiser, mean)
        log.info("%s goes on after step %d", plan.name, progress.step)
    module.train()
    began, first = time.monotonic(), progress.step
    while progress.step < plan.count:
        parts = _step(module, optimiser, loss_at, plan, progress.step)
        if mean is not None:
            mean.update(module, progress.step)
        progress.step += 1
        if progress.step % plan.log_every == 0 or progress.step == plan.count:
            each = (time.monotonic() - began) / (progress.step - first)
            shown = " ".join(f"{name} {value.item():.3f}" for name, value in parts.items())
            log.info("%s step %d/%d, %.2f s a step, %s", plan.name, progress.step, plan.count, each, shown)
        if folder is not None and (progress.step % plan.checkpoint_every == 0 or progress.step == plan.count):
            save_checkpoint(folder, module, optimiser, mean, progress, KEPT_CHECKPOINTS)
    if mean is not None:
        mean.fill(module)
    return module.eval()


def _step(
    module: nn.Module, optimiser: torch.optim.Optimizer, loss_at: LossAt, plan: Steps, step: int
) -> dict[str, Tensor]:
    """One step of the optimiser; the parts of its loss."""
    rate = rate_at(step, plan.optimiser, steps=plan.count, steps_per_epoch=plan.count)
    for group in optimiser.param_groups:
        group["lr"] = rate
    parts = loss_at(step)
    loss = torch.stack(list(parts.values())).sum()
    if not torch.isfinite(loss):
        shown = ", ".join(f"{name} {value.item():.3g}" for name, value in parts.items())
        raise TrainingError(f"the loss of {plan.name} is not finite at step {step} ({shown}); lower the rate")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if plan.optimiser.clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), plan.optimiser.clip)
    optimiser.step()
    return parts
