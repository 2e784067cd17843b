"""A run begins in a folder of its own, or goes on as the very run that it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import nn

from training.checkpoint import CONFIG_FILE, LATEST, Progress, load_checkpoint, resume_command
from training.config import TrainConfig, changed_settings
from training.data.tables import TrainingSet
from training.distributed import any_rank, barrier
from training.ema import WeightMean
from training.gather import rank, world_size
from wildsat_core.errors import CheckpointError, TrainingError

LOCK_FILE = "LOCK"


def begin_or_resume(
    config: TrainConfig,
    data: TrainingSet,
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    mean: WeightMean | None,
    *,
    resume: bool,
) -> Progress:
    """Take up a run's newest checkpoint into its module, optimiser and mean, or begin in a folder without one.

    Processes that torchrun started again, after one was lost, go on from the newest checkpoint without being told.

    Raises:
        CheckpointError: what was run can't be read.
        TrainingError: there is no checkpoint to go on from, or one in the way of a new run; or settings, data or
            the number of processes are others than the run was begun with.
    """
    if resume or _started_again(folder, module):
        return _resume(config, data, folder, module, optimiser, mean)
    if (folder / LATEST).exists():
        raise TrainingError(
            f"{folder} has checkpoints already; go on with {resume_command(folder)} or set another run.folder"
        )
    _refuse_strangers(folder)
    if rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(config.model_dump(mode="json"), indent=2)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    barrier()
    return Progress(ranks=world_size(), data=data.fingerprint())


def _started_again(folder: Path, module: nn.Module) -> bool:
    """Whether these processes take the place of others that had got as far as a checkpoint; the same on all ranks."""
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    return any_rank(again and (folder / LATEST).exists(), next(module.parameters()).device)


def _refuse_strangers(folder: Path) -> None:
    """A run that ended before its first checkpoint may be begun again; a model's folder must not become a run's.

    Raises:
        TrainingError: the folder has a `config.json` that no run wrote.
    """
    file = folder / CONFIG_FILE
    try:
        if file.exists():
            TrainConfig.model_validate_json(file.read_bytes())
    except ValueError as err:
        raise TrainingError(f"{file} is not of a training run, and would be lost; set another run.folder") from err


def _resume(
    config: TrainConfig,
    data: TrainingSet,
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    mean: WeightMean | None,
) -> Progress:
    if not (folder / LATEST).exists():
        raise TrainingError(f"{folder} has no checkpoint to go on from")
    _refuse_changes(folder, config)
    given = _location_weights(module)
    progress = load_checkpoint(folder, module, optimiser, mean)
    kept = _location_weights(module)
    if any(not torch.equal(value, kept[name]) for name, value in given.items()):
        raise TrainingError(
            f"{config.location.weights} are not the location weights that {folder} was begun with; give the same ones, "
            "wherever they lie now, as location.weights"
        )
    if progress.ranks != world_size():
        raise TrainingError(
            f"{folder} was trained by {progress.ranks} processes, and these are {world_size()}; the same number is "
            "needed to go on in the same order"
        )
    if progress.data not in ("", data.fingerprint()):  # "" is of a run begun before it was kept
        raise TrainingError(
            f"{data.folder} is not the data set that {folder} was begun with: its tables or its text encoder have "
            "changed, so its batches would be others. Put the old one back, or begin anew with another run.folder"
        )
    return progress


def _location_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Those of the frozen location encoder, none where there is none."""
    return {name: value.clone() for name, value in module.state_dict().items() if ".location.encoder." in name}


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only run in a folder, for the length of a `with` block; on other ranks than 0 nothing.

    Raises:
        TrainingError: another process trains there.
    """
    if rank() != 0:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK_FILE, mode=0o644).acquire(timeout=0)
    except Timeout:
        raise TrainingError(
            f"another process is training in {folder}; wait for it to end, or set another run.folder"
        ) from None
    with lock:
        yield


def _refuse_changes(folder: Path, config: TrainConfig) -> None:
    """A run that goes on must be the one that was begun, or its batches, losses and steps would be others.

    Raises:
        CheckpointError: what was run can't be read.
        TrainingError: a setting differs that makes it another run.
    """
    file = folder / CONFIG_FILE
    try:
        before = TrainConfig.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{file} can't be read, so it is unknown what was run: {err}") from err
    changed = changed_settings(before, config)
    if changed:
        raise TrainingError(
            f"{folder} was begun with other settings: {'; '.join(changed)}. Go on without the change, as with "
            f"{resume_command(folder)}, or begin anew with another run.folder"
        )
