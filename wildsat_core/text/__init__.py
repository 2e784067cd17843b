"""Text encoders: texts in, embeddings (B, E) out, before any model's text head."""

from __future__ import annotations

from collections.abc import Sequence
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


def load_text_encoder(name: str, device: str = "cpu") -> TextEncoder:
    """Load a text encoder by the name that a model's config gives.

    Raises:
        ModelNotFoundError: no such encoder.
        MissingExtraError: its package is not installed.
    """
    if name == "minilm":
        from wildsat_core.text.minilm import MiniLMEncoder

        return MiniLMEncoder(device=device)
    raise ModelNotFoundError(
        f"no text encoder is called {name!r}; there are minilm, gritlm and st:<name of a sentence-transformers model>"
    )
