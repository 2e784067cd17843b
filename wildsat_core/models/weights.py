"""Weights in files and in modules: read whole, checked key by key, never half-loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from wildsat_core.errors import CheckpointError, ModelNotFoundError


def load_exactly(
    module: nn.Module, weights: dict[str, torch.Tensor], what: str, may_miss: frozenset[str] = frozenset()
) -> None:
    """Copy weights into a module; every key and shape must fit.

    Args:
        module: built for these weights.
        weights: by key; half-precision weights are widened to the module's own type.
        what: the file or model that they come from, for the message.
        may_miss: the keys that may be absent; the module keeps its own values there.

    Raises:
        CheckpointError: a key is missing, unknown or of another shape; all are named. The module is then unchanged.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - weights.keys() - may_miss)
    unknown = sorted(weights.keys() - own.keys())
    misshapen = sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    faults = []
    if missing:
        faults.append(f"missing {_names(missing)}")
    if unknown:
        faults.append(f"unknown {_names(unknown)}")
    if misshapen:
        shapes = [f"{k} {tuple(weights[k].shape)} instead of {tuple(own[k].shape)}" for k in misshapen]
        faults.append("of another shape " + _names(shapes))
    if faults:
        raise CheckpointError(f"{what} does not fit {type(module).__name__}: {'; '.join(faults)}")
    module.load_state_dict(weights, strict=not may_miss)


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        ModelNotFoundError: there is no such file.
        CheckpointError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelNotFoundError(f"{path.parent} is not a model directory: it has no {path.name}")
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as err:
        raise CheckpointError(f"{path} is damaged: {err}; convert or pull the model again") from err
    return weights


def write_safetensors(weights: dict[str, torch.Tensor], path: Path, *, half: bool = False) -> str:
    """Write a safetensors file by an atomic rename and return its hash.

    Args:
        weights: by key.
        path: of the file.
        half: store float32 as float16, for models that are shipped; loading widens them again.
    """
    from safetensors.torch import save_file

    part = path.with_name(path.name + ".part")
    # Copies, because safetensors refuses tensors that share memory.
    stored = {key: value.detach().cpu().clone().contiguous() for key, value in weights.items()}
    if half:
        stored = {key: value.half() if value.dtype == torch.float32 else value for key, value in stored.items()}
    part.touch()
    mode = part.stat().st_mode  # as the user's umask has it; safetensors makes files that nobody else may read
    save_file(stored, part)
    part.chmod(mode)
    digest = file_sha256(part)
    part.replace(path)
    return digest


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def no_random_weights() -> Iterator[None]:
    """Modules built inside don't draw random weights, which takes seconds for a large one that is about to be loaded.

    Their parameters hold nothing of use: load all of them (`load_exactly` without `may_miss`) before use.
    """
    with _SkipDraws():
        yield


class _SkipDraws(TorchFunctionMode):
    """Answers initialisers with the tensor as it is, and in-place draws with the middle of their range.

    The middle, and not whatever was in memory, because some initialisers draw again until every number is in a range.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function gives
        given = dict(kwargs or {})
        if "tensor" in given:  # this is how the functions of torch.nn.init announce themselves
            return given["tensor"]
        name = getattr(func, "__name__", "")
        if name == "normal_":
            return args[0].fill_(given.get("mean", args[1] if len(args) > 1 else 0.0))
        if name == "uniform_":
            low = given.get("from", args[1] if len(args) > 1 else 0.0)
            return args[0].fill_((low + given.get("to", args[2] if len(args) > 2 else 1.0)) / 2)
        return func(*args, **given)


def _names(keys: list[str], most: int = 8) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return f"{len(keys)} ({', '.join(keys[:most])}{more})"
