"""Any model of the sentence-transformers library, by its name or folder: `st:<name>`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import MissingExtraError, ModelNotFoundError
from wildsat_core.text.quiet import quiet_loading
from wildsat_core.torchvision_guard import guard_torchvision

PREFIX = "st:"


class SentenceTransformersEncoder:
    """The library's own pooling, scaled to length 1."""

    def __init__(self, model: str, device: str = "cpu") -> None:
        """Load a model by name or folder.

        Raises:
            MissingExtraError: the library is not installed.
            ModelNotFoundError: there is no such model, or it can't be fetched.
        """
        guard_torchvision()
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as err:
            extra = "sentence-transformers"
            raise MissingExtraError("sentence_transformers", extra, f"the text encoder {PREFIX}{model}") from err
        self.name = f"{PREFIX}{model}"
        try:
            with quiet_loading():
                self._model = SentenceTransformer(model, device=device)
        except (OSError, ValueError) as err:
            raise ModelNotFoundError(f"no sentence-transformers model {model!r} can be loaded: {err}") from err

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self._model.get_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts, (B, E) float32 of length 1, in the order given."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)
