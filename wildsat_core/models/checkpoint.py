"""Reads published `.pth`, `.pt` and `.ckpt` files without running anything that is in them.

Such files are pickles, and a pickle can ask for any function to be called. Here torch's restricted reader
(`weights_only=True`) reads them; it knows tensors and plain containers. Beyond these it is told of
`argparse.Namespace`, in which WildSAT's checkpoints keep their options, and of inert stand-ins for the objects that
training frameworks leave beside the weights (schedulers, optimisers, callbacks): a stand-in bears the name, imports
nothing and drops what it is given. A file that asks for anything else is refused, with the name.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, is_zipfile

import torch

from wildsat_core.errors import CheckpointError

# Names under these packages are replaced by stand-ins: they describe how training went, not what the model is.
SKIPPED_PACKAGES = ("torch.optim.", "lightning.", "lightning_fabric.", "pytorch_lightning.", "numpy.", "pathlib.")
MAX_STAND_INS = 64

_BLOCKED = re.compile(r"GLOBAL (\S+) was not an allowed global|unsupported GLOBAL (\S+) whose module")


class Skipped:
    """Stands where a file had an object that is not needed and was not made."""

    def __new__(cls, *_: object, **__: object) -> Skipped:
        """Take any arguments and keep none."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Drop the state."""

    def __repr__(self) -> str:
        """Say what it is."""
        return "<skipped object>"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a torch checkpoint onto the CPU.

    Returns:
        The file's dictionary. Objects of training frameworks are replaced by `Skipped`.

    Raises:
        CheckpointError: not a torch file, damaged, not a dictionary, or it asks for a class or function that is not
            allowed; the message names it, and it was not called.
    """
    stand_ins: dict[str, Callable[..., Any]] = {}
    while True:
        try:
            content = _load(Path(path), stand_ins)
            break
        except UnpicklingError as err:
            name = _blocked_name(err)
            if name is None:
                raise CheckpointError(f"{path} can't be read safely: {_reason(err)}") from None
            if not name.startswith(SKIPPED_PACKAGES) or name in stand_ins or len(stand_ins) >= MAX_STAND_INS:
                raise CheckpointError(
                    f"{path} asks for {name}, which a weight file has no need of; nothing was run. "
                    "Don't load this file with other tools unless you trust where it came from"
                ) from None
            # A class of its own for each name, since the reader looks classes up by value.
            stand_ins[name] = type("Skipped", (Skipped,), {})
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, BadZipFile, TypeError, AttributeError) as err:
            raise CheckpointError(f"{path} can't be read as a torch checkpoint: {err}") from err
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a dictionary of weights")
    return dict(content)


def state_dict_of(content: dict[str, Any], key: str | None, what: str) -> dict[str, torch.Tensor]:
    """Take a state dict out of a checkpoint, without the `module.` that data-parallel training puts before each key.

    Args:
        content: of `read_checkpoint`.
        key: where the state dict is, None when the file is one.
        what: the file, for the message.

    Raises:
        CheckpointError: it is not there, or holds something other than tensors.
    """
    state = content if key is None else content.get(key)
    if not isinstance(state, dict) or not state:
        raise CheckpointError(
            f"{what} has no weights{'' if key is None else f' under {key!r}'}; it has {sorted(content)}"
        )
    odd = [name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, torch.Tensor)]
    if odd:
        raise CheckpointError(
            f"{what} holds things that are not tensors among its weights: {', '.join(map(str, odd[:5]))}"
        )
    return {name.removeprefix("module."): value for name, value in state.items()}


def without_prefix(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The entries under a prefix, named without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def _load(path: Path, stand_ins: dict[str, Callable[..., Any]]) -> Any:  # noqa: ANN401 - whatever the file holds
    allowed: list[Any] = [argparse.Namespace, (_empty_dict, "collections.defaultdict"), (dict, "builtins.dict")]
    allowed += [(stand_in, name) for name, stand_in in stand_ins.items()]
    with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        # Mapped files are read where they are needed: a table of text embeddings is larger than small machines' memory.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))


def _empty_dict(*_: object) -> OrderedDict[Any, Any]:
    """Optimisers keep their state in a defaultdict; torch's reader fills only plain and ordered ones."""
    return OrderedDict()


def _reason(err: UnpicklingError) -> str:
    """The line of torch's message that says what is wrong, without its advice to read the file unsafely."""
    lines = str(err).split("WeightsUnpickler error:")[-1].strip().splitlines()
    return lines[0] if lines and "weights_only" not in lines[0] else "it is not a file that torch.save wrote"


def _blocked_name(err: UnpicklingError) -> str | None:
    found = _BLOCKED.search(str(err))
    return None if found is None else found.group(1) or found.group(2)
