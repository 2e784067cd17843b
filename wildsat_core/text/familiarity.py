"""Whether a text is about anything that the model knows of places: the ground for answering "nothing matches".

The scores of hits can't tell: some tile is always the nearest to "a bowl of ramen", and by about as much as to a true
habitat. What tells is how near the text lies to those that the model was trained on. A small sample of them travels
with the model, as embeddings of its text encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import CheckpointError
from wildsat_core.files import file_aside

Vectors = npt.NDArray[np.float32]

FAMILIARITY_FILE = "familiarity.safetensors"
KEY = "known"


class Familiarity:
    """Compares a text's raw embedding with a sample of known texts.

    Args:
        known: (M, E) embeddings of known texts; scaled to length 1 here.
        nearest: how many of the nearest known texts count.
        threshold: a text whose mean cosine with those is lower is unfamiliar.

    Raises:
        CheckpointError: no known texts, or a `nearest` outside of 1 to their number.
    """

    def __init__(self, known: npt.NDArray[np.floating[Any]], nearest: int, threshold: float) -> None:
        """Keep the known texts in float32, of length 1."""
        if known.ndim != 2 or not 1 <= nearest <= len(known):
            raise CheckpointError(
                f"familiarity needs (M, E) known texts and 1 <= nearest <= M, got {known.shape} and {nearest}"
            )
        values = known.astype(np.float32)
        self.known = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
        self.nearest = nearest
        self.threshold = threshold

    def of(self, embeddings: npt.NDArray[np.floating[Any]]) -> Vectors:
        """Mean cosine of each text with its nearest known texts, (B,).

        Args:
            embeddings: (B, E) raw embeddings, before the text head; any length.
        """
        values = np.atleast_2d(embeddings).astype(np.float32)
        values = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
        cosines = values @ self.known.T  # (B, E) @ (E, M)
        nearest = np.partition(cosines, -self.nearest, axis=1)[:, -self.nearest :]
        return np.asarray(nearest.mean(1), dtype=np.float32)

    def is_unfamiliar(self, embedding: npt.NDArray[np.floating[Any]]) -> bool:
        """Whether one text, (E,), is about nothing that the model knows."""
        return bool(self.of(embedding)[0] < self.threshold)

    def save(self, directory: str | Path) -> dict[str, Any]:
        """Write the known texts beside a model, and return what its config keeps under `no_match`."""
        from safetensors.numpy import save

        with file_aside(Path(directory) / FAMILIARITY_FILE) as file:  # safetensors' own files nobody else may read
            file.write(save({KEY: np.ascontiguousarray(self.known.astype(np.float16))}))
        return {
            "kind": "familiarity",
            "file": FAMILIARITY_FILE,
            "nearest": self.nearest,
            "threshold": round(self.threshold, 4),
        }

    @classmethod
    def open(cls, directory: str | Path, settings: Mapping[str, Any]) -> Familiarity:
        """Read what `save` wrote.

        Args:
            directory: the model directory.
            settings: `no_match` of the model's config.

        Raises:
            CheckpointError: another kind of calibration, or its file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if settings.get("kind") != "familiarity":
            raise CheckpointError(f"unknown calibration {settings.get('kind')!r}; known is 'familiarity'")
        path = Path(directory) / FAMILIARITY_FILE
        try:
            known = load_file(path)[KEY]
        except (OSError, KeyError, SafetensorError) as err:
            raise CheckpointError(f"{path} is missing or damaged: {err}; convert or pull the model again") from err
        return cls(known, int(settings["nearest"]), float(settings["threshold"]))
