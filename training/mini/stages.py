"""Trained parts kept in the work folder, so that a run that was cut off goes on after the last whole part."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from torch import nn

log = logging.getLogger(__name__)


class Stages:
    """Remembers modules by name, as long as they were trained under the same settings.

    Args:
        folder: where they are kept; None keeps nothing.
        settings: everything that decides the weights, as text; parts made under others are made again.
    """

    def __init__(self, folder: Path | None, settings: str) -> None:
        """Only remember."""
        self._folder, self._settings = folder, settings

    def run(self, name: str, part: nn.Module, train: Callable[[], object]) -> None:
        """Fill `part` with what was kept under a name, or train it, in place, and keep it."""
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        if self._folder is None:
            train()
            return
        path = self._folder / f"{name}.safetensors"
        if path.exists():
            with safe_open(path, framework="pt") as file:
                same = (file.metadata() or {}).get("settings") == self._settings
            if same:
                part.load_state_dict(load_file(path))
                log.info("%s was trained already: read from %s", name, path)
                return
        train()
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file(
            {key: value.contiguous() for key, value in part.state_dict().items()}, partial, {"settings": self._settings}
        )
        partial.replace(path)
