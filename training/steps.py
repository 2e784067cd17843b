"""The loop of the small models' runs, whose data lies in memory: one process, one module, a loss at each step.

It shares its parts with `training.loop`: optimiser, rate, running mean of weights, checkpoints.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.checkpoint import LATEST, Progress, load_checkpoint, save_checkpoint
from training.config import OptimiserSection
from training.distributed import step_seed
from training.ema import WeightMean
from training.schedule import rate_at
from training.setup import make_optimiser
from wildsat_core.errors import TrainingError

log = logging.getLogger(__name__)

LossAt = Callable[[int, np.random.Generator], dict[str, Tensor]]
KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, slots=True)
class Course:
    """How a run goes.

    Attributes:
        name: for the log.
        steps: how many.
        optimiser: rate, its schedule, decay, greatest gradient, running mean of the weights.
        seed: of all that a step draws by chance.
        log_every, checkpoint_every: steps; checkpoints are written only where the run has a folder.
    """

    name: str
    steps: int
    optimiser: OptimiserSection = field(default_factory=lambda: OptimiserSection(schedule="cosine"))
    seed: int = 0
    log_every: int = 100
    checkpoint_every: int = 250


def annealed(steps: int, rate: float, warm_up: float = 0.05, **others: float | None) -> OptimiserSection:
    """The optimiser of a run whose rate rises over its first share `warm_up` and then falls to zero by a cosine."""
    section = {"lr": rate, "schedule": "cosine", "warmup_steps": int(warm_up * steps)}
    return OptimiserSection.model_validate(section | others)


def folder_for(work: Path, name: str, *settings: object) -> Path:
    """Where the run of a name is kept in a work folder, apart from those of the name with other settings.

    Everything that the run depends on belongs to its settings, data by its digest: what is left out is gone on from.
    """
    return work / f"{name}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are, and what it reads must be."""
    return next(module.parameters()).device


def take_steps(module: nn.Module, loss_at: LossAt, course: Course, folder: Path | None = None) -> nn.Module:
    """Train a module; with a folder, go on from its newest checkpoint if it has one.

    Args:
        module: trained in place, on its device; at the end it has the mean of its weights, if the course asks for one.
        loss_at: the weighted parts of the loss of a step, by name. It may depend on the step, the module's state and
            chance alone: numpy's from the generator that it is given, torch's from the global one, which is seeded for
            each step. So a run that goes on is the run that it was.
        course: length and optimiser.
        folder: where checkpoints are kept, None for none.

    Returns:
        The module, ready to embed.

    Raises:
        TrainingError: the loss is not finite, or the disk is full.
        CheckpointError: a checkpoint is damaged or is of another module.
    """
    optimiser = make_optimiser(module, course.optimiser, device_of(module))
    mean = None if course.optimiser.ema is None else WeightMean(module, course.optimiser.ema)
    progress = Progress()
    if folder is not None and (folder / LATEST).is_file():
        progress = load_checkpoint(folder, module, optimiser, mean)
        log.info("%s goes on after step %d", course.name, progress.step)
    module.train()
    began, first = time.monotonic(), progress.step
    while progress.step < course.steps:
        parts = _step(module, optimiser, loss_at, course, progress.step)
        if mean is not None:
            mean.update(module, progress.step)
        progress.step += 1
        if progress.step % course.log_every == 0 or progress.step == course.steps:
            each = (time.monotonic() - began) / (progress.step - first)
            shown = " ".join(f"{name} {value.item():.3f}" for name, value in parts.items())
            log.info("%s step %d/%d, %.3f s a step, %s", course.name, progress.step, course.steps, each, shown)
        if folder is not None and (progress.step % course.checkpoint_every == 0 or progress.step == course.steps):
            save_checkpoint(folder, module, optimiser, mean, progress, KEPT_CHECKPOINTS)
    if mean is not None:
        mean.fill(module)
    return module.eval()


def _step(
    module: nn.Module, optimiser: torch.optim.Optimizer, loss_at: LossAt, course: Course, step: int
) -> dict[str, Tensor]:
    """One step of the optimiser; the parts of its loss."""
    rate = rate_at(step, course.optimiser, steps=course.steps, steps_per_epoch=course.steps)
    for group in optimiser.param_groups:
        group["lr"] = rate
    torch.manual_seed(step_seed(course.seed, 0, step))
    parts = loss_at(step, np.random.default_rng([course.seed, step]))
    loss = torch.stack(list(parts.values())).sum()
    if not torch.isfinite(loss):
        shown = ", ".join(f"{name} {value.item():.3g}" for name, value in parts.items())
        raise TrainingError(f"the loss of {course.name} is not finite at step {step} ({shown}); lower the rate")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if course.optimiser.clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), course.optimiser.clip)
    optimiser.step()
    return parts
