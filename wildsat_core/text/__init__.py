"""Text encoders: texts in, embeddings (B, E) out, before any model's text head."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wildsat_core.errors import ModelNotFoundError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class TextEncoder(Protocol):
    """Anything that turns texts into embeddings."""

    @property
    def name(self) -> str:
        """The name in a model's config, such as "minilm"."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts, (B, E) float32 of length 1; an empty list gives (0, E)."""
        ...


def load_text_encoder(name: str, device: str = "cpu", cache: str | Path | None = None) -> TextEncoder:
    """Load a text encoder by the name that a model's config gives. It remembers what it has encoded.

    Args:
        name: "minilm", "gritlm" or "st:<name of a sentence-transformers model>".
        device: where it runs.
        cache: file that keeps embeddings between runs, by default what $WILDSAT_TEXT_CACHE names, if anything.

    Raises:
        ModelNotFoundError: no such encoder.
        MissingExtraError: its package is not installed.
        UnsupportedVersionError: a package that it needs is of a version that gives wrong results.
    """
    from wildsat_core.text.cache import CachedTextEncoder

    path = cache or os.environ.get("WILDSAT_TEXT_CACHE") or None
    return CachedTextEncoder(_load(name, device), path=path)


def _load(name: str, device: str) -> TextEncoder:
    if name == "minilm":
        from wildsat_core.text.minilm import MiniLMEncoder

        return MiniLMEncoder(device=device)
    if name == "gritlm":
        from wildsat_core.text.gritlm import GritLMEncoder

        return GritLMEncoder(device=device)
    if name.startswith("st:") and len(name) > len("st:"):
        from wildsat_core.text.st import SentenceTransformersEncoder

        return SentenceTransformersEncoder(name.removeprefix("st:"), device=device)
    raise ModelNotFoundError(
        f"no text encoder is called {name!r}; there are minilm, gritlm and st:<name of a sentence-transformers model>"
    )
