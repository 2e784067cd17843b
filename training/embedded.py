"""Embeddings of sentences, kept for the next run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wildsat_core.files import file_aside


def embed_sentences(texts: Sequence[str], folder: Path) -> NDArray[np.float32]:
    """(S, 384) embeddings of length 1 from minilm, kept in a folder under the hash of the texts that they are of."""
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]
    path = folder / f"embedded-{digest}.npy"
    if not path.is_file():
        from wildsat_core.text.minilm import MiniLMEncoder

        found = MiniLMEncoder().encode(texts).astype(np.float16)
        folder.mkdir(parents=True, exist_ok=True)
        with file_aside(path) as file:
            np.save(file, found)
    return np.asarray(np.load(path), dtype=np.float32)
