"""`wildsat train --dry-run`: what would be trained, how long, in how much memory; measured on two made-up pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.autograd.graph import saved_tensors_hooks

from training.assembly import build_model
from training.config import TrainConfig
from training.data.stream import Batch
from training.distributed import choose_device, process_group, step_seed
from training.gather import world_size
from training.objective import TrainingModule, make_views, match_losses, weighted_sum
from training.setup import batches_of, make_optimiser, open_training_data, run_folder, use_bf16
from training.tuning import apply_tuning
from wildsat_core.models.precision import lay_out_channels_last, supports_bf16

PROBE = 2  # pictures of the measured step
DEFAULT_TILE_PX = 512


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a dry run found.

    Attributes:
        trained: number of trained weights, by part of the model.
        frozen: number of frozen weights.
        pairs: in the parts train, val and test.
        steps_per_epoch, steps: optimiser steps.
        memory_bytes: weights, gradients, optimiser state and what the forward pass keeps for a whole batch.
        seconds_per_step: the measured step, scaled to the batch.
        precision: of the network's arithmetic.
        device: that was measured.
        folder: of the run.
        recipe, departures: what the config claims to follow, and where it does not.
    """

    trained: dict[str, int]
    frozen: int
    pairs: dict[str, int]
    steps_per_epoch: int
    steps: int
    memory_bytes: int
    seconds_per_step: float
    precision: str
    device: str
    folder: str
    recipe: str
    departures: list[str]

    def lines(self) -> list[str]:
        """For people."""
        total, whole = sum(self.trained.values()), duration(self.seconds_per_step * self.steps)
        return [
            f"trained: {total:,} weights ({', '.join(f'{part} {count:,}' for part, count in self.trained.items())})",
            f"frozen: {self.frozen:,} weights",
            f"pairs: {', '.join(f'{part} {count:,}' for part, count in self.pairs.items())}",
            f"steps: {self.steps:,}, {self.steps_per_epoch:,} an epoch",
            f"memory: about {self.memory_bytes / 2**30:.2f} GiB on {self.device}, in {self.precision}",
            f"time: about {self.seconds_per_step:.2f} s a step, {whole} in all, if reading keeps up",
            f"run: {self.folder}",
            f"recipe: {self.recipe}",
            *(f"  but {departure}" for departure in self.departures),
        ]


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def estimate(config: TrainConfig) -> Estimate:
    """Build the model, run one step on two made-up pictures, and scale up to the batch.

    Raises:
        InvalidInputError: the config doesn't fit the data or this machine.
    """
    device = choose_device(config.run.device)
    with process_group(device):
        return _estimate(config, device)


def _estimate(config: TrainConfig, device: torch.device) -> Estimate:
    data = open_training_data(config)
    model = build_model(config, data)
    apply_tuning(model, config.tuning)
    module = TrainingModule(model, config.losses, settle_frozen=config.tuning.settle_frozen).to(device)
    lay_out_channels_last(module)
    batches = batches_of(config, data, 0)
    trained: dict[str, int] = {}
    frozen = 0
    for name, parameter in module.named_parameters():
        part = name.removeprefix("model.").split(".")[0]
        if parameter.requires_grad:
            trained[part] = trained.get(part, 0) + parameter.numel()
        else:
            frozen += parameter.numel()
    kept, seconds = _measure(config, module, device, data.embeddings().dim)
    pairs_at_once = config.run.batch
    per_picture = sum(trained.values()) * 4 * 4  # weight, gradient and Adam's two means, in float32
    return Estimate(
        trained=trained,
        frozen=frozen,
        pairs={
            "train": len(data.pairs_of("train")),
            "val": len(data.pairs_of("val")),
            "test": len(data.pairs_of("test")),
        },
        steps_per_epoch=max(1, batches.per_epoch // config.run.accumulate),
        steps=len(batches) // config.run.accumulate,
        memory_bytes=per_picture + frozen * 4 + kept * pairs_at_once // PROBE,
        seconds_per_step=seconds * pairs_at_once * config.run.accumulate / PROBE,
        precision="bf16" if use_bf16(config, device) else "fp32",
        device=f"{device} ({world_size()} ranks, bf16 {'in' if supports_bf16(device) else 'not in'} hardware)",
        folder=str(run_folder(config)),
        recipe=config.recipe,
        departures=config.departures(),
    )


def _measure(config: TrainConfig, module: TrainingModule, device: torch.device, text_dim: int) -> tuple[int, float]:
    """Bytes that the forward pass keeps for the backward one, and seconds of a second step, for two pairs."""
    batch = _made_up(config, module, text_dim).to(device)
    optimiser = make_optimiser(module, config.optimiser, device)
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    seconds = 0.0
    module.train()
    owned = {p.untyped_storage().data_ptr() for p in module.parameters()}
    for step in range(2):
        started = time.perf_counter()
        seed = step_seed(config.run.seed, 0, step)
        with saved_tensors_hooks(count, lambda tensor: tensor):
            views = make_views(batch, module.model, config.augment, config.losses, seed)
            with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16(config, device)):
                vectors = module(views.anchor, views.positive, batch.text, batch.lon_lat)
            loss = weighted_sum(match_losses(vectors, batch, config.losses), config.losses)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started  # of the second step: the first one warms up
    # Addresses are used again from step to step, so this counts each place in memory once.
    return sum(size for address, size in kept.items() if address not in owned), seconds


def _made_up(config: TrainConfig, module: TrainingModule, text_dim: int) -> Batch:
    spec = module.model.config.preprocessing
    side = config.data.tile_px or spec.input_px or DEFAULT_TILE_PX
    generator = torch.Generator().manual_seed(config.run.seed)
    pixels = torch.rand(PROBE, len(spec.bands), side, side, generator=generator) * spec.scale
    numbers = torch.arange(PROBE)
    text = torch.randn(PROBE, text_dim, generator=generator)
    return Batch(
        pixels, pixels.flip(0), text, torch.tensor([[10.0, 50.0], [-98.0, 33.5]]), numbers, numbers, numbers, numbers
    )
