"""What a run is set up with before its first step: its folder, data, batches, optimiser and precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.config import OptimiserSection, TrainConfig
from training.data.pixels import PixelReader
from training.data.stream import EpochBatches
from training.data.tables import TrainingSet, open_dataset
from training.gather import rank, world_size
from wildsat_core.errors import InvalidInputError, MissingDataError
from wildsat_core.models.precision import supports_bf16


def run_folder(config: TrainConfig) -> Path:
    """Where a run is kept."""
    return config.run.folder or Path("runs") / config.name


def open_training_data(config: TrainConfig) -> TrainingSet:
    """The run's data set.

    Raises:
        InvalidInputError: the config names none.
    """
    if config.data.folder is None:
        raise InvalidInputError("data.folder is not set; name a data set, as in --set data.folder=birds", "data.folder")
    return open_dataset(config.data.folder)


def pixel_reader(config: TrainConfig, data: TrainingSet, bands: tuple[str, ...]) -> PixelReader:
    """How this run's pictures are read.

    Raises:
        MissingDataError: they are not where the data set says.
    """
    root = config.data.imagery or data.imagery_root
    if not root.is_dir():
        raise MissingDataError(f"there is no folder of pictures at {root}; set data.imagery to where it is now")
    kept = config.data.single_valued == "kept"
    return PixelReader(root, data.about.bands, bands, data.about.band_files, config.data.tile_px, kept)


def batches_of(config: TrainConfig, data: TrainingSet, first_step: int) -> EpochBatches:
    """This rank's batches from a step to the end of the run."""
    run, rows = config.run, data.pairs_of("train")
    groups = data.column("pairs", "group")[rows]
    batches = EpochBatches(
        rows, groups, batch=run.batch, ranks=world_size(), rank=rank(), order=config.data.order, seed=run.seed
    )  # fmt: skip
    steps = run.steps or run.epochs * max(1, batches.per_epoch // run.accumulate)
    batches.limit(first_step * run.accumulate, steps * run.accumulate)
    return batches


def make_optimiser(module: nn.Module, config: OptimiserSection, device: torch.device) -> torch.optim.Optimizer:
    """Adam over every trained parameter, the scale of the losses included if it is learned.

    Weights of more than one axis decay, if anything does; biases, norms and the scale don't.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    decayed, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # One fused kernel a step in place of one per tensor.
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=device.type in ("cuda", "cpu"))


def use_bf16(config: TrainConfig, device: torch.device) -> bool:
    """Whether the network runs in bfloat16."""
    if config.run.precision == "auto":
        return supports_bf16(device)
    return config.run.precision == "bf16"
