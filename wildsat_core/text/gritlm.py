"""GritLM-7B, the text encoder that WildSAT was trained with: 4,096 numbers a text, on a GPU.

Muennighoff et al., "Generative Representational Instruction Tuning" (arXiv:2402.09906). The package `gritlm` does the
work; this module sees to it that the result is right. Its attention must look both ways. The model's own code for that
no longer runs, and the stock Mistral classes of transformers do it only from version 5.2 on: 4.51 to 5.0 run, look one
way or let padding in, and give wrong embeddings without an error. So older versions are refused.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import InvalidInputError, MissingExtraError, UnsupportedVersionError
from wildsat_core.text.quiet import quiet_loading
from wildsat_core.torchvision_guard import guard_torchvision

PUBLISHED = "GritLM/GritLM-7B"
ENVIRONMENT_VARIABLE = "WILDSAT_GRITLM"
PROMPT = "<|embed|>\n"  # the package's own, for an empty instruction
MAX_TOKENS = 512  # of prompt and text together
BATCH_TEXTS = 32
FIRST_RIGHT_VERSION = (5, 2)


class GritLMEncoder:
    """Masked mean of the last layer over the text's own tokens, scaled to length 1; bfloat16 on a GPU."""

    name = "gritlm"

    def __init__(self, model: str | Path | None = None, device: str = "cpu", batch_texts: int = BATCH_TEXTS) -> None:
        """Load the model.

        Args:
            model: a folder or a name on Hugging Face; by default what $WILDSAT_GRITLM says, else GritLM-7B.
            device: such as "cuda".
            batch_texts: texts in one pass.

        Raises:
            MissingExtraError: the package gritlm is not installed.
            UnsupportedVersionError: transformers is of a version that gives wrong embeddings.
        """
        import transformers

        check_transformers_version(transformers.__version__)
        guard_torchvision()
        self.revision = str(model or os.environ.get(ENVIRONMENT_VARIABLE) or PUBLISHED)
        self._batch_texts = batch_texts
        self._model = _load(self.revision, device)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self._model.model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts; a text's embedding doesn't depend on what it is batched with.

        Returns:
            (B, 4096) float32 of length 1, in the order given.

        Raises:
            InvalidInputError: a text is blank: nothing would be left to average.
        """
        if any(not text.strip() for text in texts):
            raise InvalidInputError("a text to embed is blank", "q")
        vectors = np.zeros((len(texts), self.dim), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), self._batch_texts):
            rows = order[start : start + self._batch_texts]
            vectors[rows] = self._model.encode(
                [texts[i] for i in rows], batch_size=len(rows), instruction=PROMPT, max_length=MAX_TOKENS
            )
        return vectors


def check_transformers_version(version: str) -> None:
    """Refuse versions of transformers that are silently wrong for GritLM.

    Raises:
        UnsupportedVersionError: older than 5.2.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < FIRST_RIGHT_VERSION:
        raise UnsupportedVersionError(
            f"transformers {version} gives wrong GritLM embeddings without an error; "
            "version 5.2 or newer is needed: pip install 'transformers>=5.2,<6'"
        )


def _load(model: str, device: str) -> Any:  # noqa: ANN401 - gritlm.GritLM, untyped
    import torch

    try:
        from gritlm import GritLM
    except ImportError as err:
        raise MissingExtraError("gritlm", "gritlm", "the text encoder gritlm") from err
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model)
    # The published config names code of its own that newer versions of transformers can't run, and a sliding window
    # that the published embeddings were made without.
    if hasattr(config, "auto_map"):
        del config.auto_map
    config.sliding_window = None
    half = torch.device(device).type == "cuda"
    with quiet_loading(), contextlib.redirect_stdout(io.StringIO()):  # it prints what it made
        return GritLM(
            model, mode="embedding", config=config, device=device, dtype=torch.bfloat16 if half else torch.float32
        )
