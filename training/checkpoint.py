"""A run's state on disk: safetensors and JSON, written whole or not at all, read back to the last bit.

<run>/config.json                    what was run
<run>/checkpoints/step-00000200/     module.safetensors, optimiser.safetensors, mean.safetensors (if any), state.json
<run>/LATEST                         name of the newest whole checkpoint
<run>/model/                         the best model so far, ready to serve
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.ema import WeightMean
from wildsat_core.errors import CheckpointError, TrainingError, WildsatError
from wildsat_core.files import is_disk_full
from wildsat_core.models.weights import load_exactly, read_safetensors

CONFIG_FILE, FOLDER, LATEST = "config.json", "checkpoints", "LATEST"
MODULE, OPTIMISER, MEAN, STATE = "module.safetensors", "optimiser.safetensors", "mean.safetensors", "state.json"

Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: optimiser steps done.
        best: highest validation score so far, -1 before the first.
        best_step: when it was reached.
        damaged: damaged pictures by message.
        reads: pictures read.
        ranks: processes that train together.
        data: fingerprint of the data set, empty when it is not known.
    """

    step: int = 0
    best: float = -1.0
    best_step: int = 0
    damaged: dict[str, int] = field(default_factory=dict)
    reads: int = 0
    ranks: int = 1
    data: str = ""


def save_checkpoint(
    run: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    mean: WeightMean | None,
    progress: Progress,
    keep: int,
) -> Path:
    """Write a checkpoint under a temporary name, rename it when whole, then point LATEST at it.

    Args:
        run: folder of the run.
        module: its whole state dict is kept, adapters as they are.
        optimiser: its state tensors and settings are kept, by the parameters' order.
        mean: the running mean of weights, if there is one.
        progress: how far the run is.
        keep: older checkpoints beyond so many are removed, after the new one is safe.

    Raises:
        TrainingError: the disk is full or can't be written; the last good checkpoint is as it was.
    """
    name = f"step-{progress.step:08d}"
    part = run / FOLDER / f".{name}.part"
    with disk_faults(run, part):
        part.mkdir(parents=True, exist_ok=True)
        _save(module.state_dict(), part / MODULE)
        tensors, settings = _optimiser_state(optimiser)
        _save(tensors, part / OPTIMISER)
        if mean is not None:
            _save(mean.values, part / MEAN)
        _write(part / STATE, json.dumps({"format": 1, "progress": asdict(progress), "optimiser": settings}))
        final = run / FOLDER / name
        if final.exists():
            shutil.rmtree(final)
        part.rename(final)
        _write(run / (LATEST + ".part"), name + "\n")
        (run / (LATEST + ".part")).replace(run / LATEST)
        _sync_folder(run)
    for old in sorted((run / FOLDER).glob("step-*"))[:-keep]:
        shutil.rmtree(old)
    return final


def load_checkpoint(
    run: Path, module: nn.Module, optimiser: torch.optim.Optimizer, mean: WeightMean | None
) -> Progress:
    """Read the newest checkpoint into a module and an optimiser built alike.

    Raises:
        CheckpointError: a file is damaged or does not fit.
        TrainingError: the checkpoint is of a run with other settings of the running mean.
    """
    folder = run / FOLDER / (run / LATEST).read_text(encoding="utf-8").strip()
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        progress, settings = Progress(**state["progress"]), state["optimiser"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise CheckpointError(f"{folder / STATE} can't be read: {err}") from err
    load_exactly(module, read_safetensors(folder / MODULE), str(folder / MODULE))
    _load_optimiser(optimiser, read_safetensors(folder / OPTIMISER), settings)
    if (mean is not None) != (folder / MEAN).is_file():
        raise TrainingError(f"{folder} and the config differ in whether there is a running mean; keep optimiser.ema")
    if mean is not None:
        saved = read_safetensors(folder / MEAN)
        mean.values = {name: saved[name].to(value.device) for name, value in mean.values.items()}
    return progress


def resume_command(run: Path) -> str:
    """How a run is gone on with."""
    return f"`{shlex.join(['wildsat', 'train', '--config', str(run / CONFIG_FILE), '--resume'])}`"


@contextmanager
def disk_faults(run: Path, part: Path) -> Iterator[None]:
    """Turn faults of the disk into one message, after removing what was half written."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as err:
        shutil.rmtree(part, ignore_errors=True)
        what = "the disk is full" if is_disk_full(err) else f"the disk can't be written ({err})"
        raise TrainingError(
            f"{what}: {part.parent} could not take a checkpoint; the last good one is intact. Make room and go on with "
            f"{resume_command(run)}"
        ) from err
    except WildsatError:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[Tensors, list[dict[str, Any]]]:
    """State tensors as "<number of parameter>.<name>", and the settings of each group of parameters."""
    content = optimiser.state_dict()
    tensors = {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in content["state"].items()
        for name, value in state.items()
    }
    return tensors, [{k: v for k, v in group.items() if _is_plain(v)} for group in content["param_groups"]]


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors, groups: list[dict[str, Any]]) -> None:
    state: dict[int, Tensors] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    own = optimiser.state_dict()["param_groups"]
    if [g["params"] for g in own] != [g["params"] for g in groups]:
        raise CheckpointError("the checkpoint's optimiser moves other parameters than this run; keep tuning and losses")
    merged = [mine | theirs for mine, theirs in zip(own, groups, strict=True)]
    optimiser.load_state_dict({"state": state, "param_groups": merged})
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:
                # The fused kernel walks weights and moments side by side in memory, and files keep no channels-last.
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _is_plain(value: Any) -> bool:  # noqa: ANN401
    return value is None or isinstance(value, (bool, int, float, str, list, tuple))


def _save(tensors: Tensors, path: Path) -> None:
    from safetensors.torch import save_file

    # Copies, because safetensors refuses tensors that share memory.
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
