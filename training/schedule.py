"""The learning rate at each step, as a function of the step alone."""

from __future__ import annotations

import math

from training.config import OptimiserSection


def rate_at(step: int, config: OptimiserSection, *, steps: int, steps_per_epoch: int) -> float:
    """Learning rate of a step.

    Args:
        step: from 0.
        config: schedule, warm-up and the highest rate.
        steps: of the whole run.
        steps_per_epoch: for the schedule "step".
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "step":
        return config.lr * config.step_factor ** int(step / (config.step_epochs * steps_per_epoch))
    if config.schedule == "cosine":
        done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
        return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return config.lr
