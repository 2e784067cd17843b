"""Finds and loads models: shipped with the program, converted or pulled by the user, or any model directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wildsat_core.errors import ModelNotFoundError
from wildsat_core.models.config import CONFIG_FILE

if TYPE_CHECKING:
    import torch

    from wildsat_core.models.model import WildSATModel

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"


def model_home() -> Path:
    """Where converted and pulled models are kept: $WILDSAT_MODEL_DIR, or a folder of the user's cache."""
    return Path(os.environ.get("WILDSAT_MODEL_DIR") or Path.home() / ".cache" / "wildsat" / "models")


def installed_models() -> dict[str, Path]:
    """Names and directories of the models that can be loaded now; the user's own hide shipped ones of the same name."""
    found: dict[str, Path] = {}
    for home in (PRETRAINED, model_home()):
        if home.is_dir():
            found.update({d.name: d for d in sorted(home.iterdir()) if (d / CONFIG_FILE).is_file()})
    return found


def find_model(name_or_dir: str | Path) -> Path:
    """The directory of a model given by name or by path.

    Raises:
        ModelNotFoundError: neither an installed name nor a model directory.
    """
    path = Path(name_or_dir)
    if (path / CONFIG_FILE).is_file():
        return path
    installed = installed_models()
    if str(name_or_dir) in installed:
        return installed[str(name_or_dir)]
    raise ModelNotFoundError(
        f"no model {str(name_or_dir)!r} is installed and it is not a model directory; "
        f"installed: {', '.join(installed) or 'none'}"
    )


def load_model(name_or_dir: str | Path, device: str | torch.device = "cpu") -> WildSATModel:
    """Load a model, ready to embed.

    Raises:
        ModelNotFoundError: no such model.
        CheckpointError: its files are damaged or don't fit each other.
    """
    from wildsat_core.models.model import WildSATModel

    return WildSATModel.open(find_model(name_or_dir), device)
