"""Precomputes the text embeddings of a training set, in batches, going on where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.data.tables import EMBEDDINGS, TrainingSet, open_dataset, write_about
from wildsat_core.errors import InvalidInputError
from wildsat_core.text import TextEncoder

logger = logging.getLogger(__name__)

PART = EMBEDDINGS + ".part.npy"


def embed_texts(
    folder: str | Path, encoder: TextEncoder, *, batch: int = 256, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write `text_embeddings.safetensors`, one row a text.

    Rows gather in a plain array on disk, so that a large encoder's hours are not lost to an interruption: rows that
    are not zero are there already.

    Args:
        folder: of the data set.
        encoder: its name is kept in `dataset.json`.
        batch: texts at a time.
        progress: called with rows done and rows in all.

    Returns:
        How many texts were embedded now.

    Raises:
        InvalidInputError: a text is missing, so that it can't be embedded.
    """
    from safetensors.numpy import save_file

    dataset = open_dataset(folder)
    texts = dataset.texts.column("text").to_pylist()
    blank = sum(not text for text in texts)
    if blank:
        raise InvalidInputError(f"{blank} of {len(texts)} texts are blank; their embeddings can't be made here")
    part = dataset.folder / f"{_as_file_name(encoder.name)}.{PART}"
    table = _open_part(part, len(texts), encoder.dim)
    todo = np.flatnonzero(~table.any(axis=1))
    for start in range(0, len(todo), batch):
        rows = todo[start : start + batch]
        table[rows] = encoder.encode([texts[i] for i in rows])
        table.flush()
        if progress is not None:
            progress(len(texts) - len(todo) + start + len(rows), len(texts))
    written = dataset.folder / (EMBEDDINGS + ".part")
    save_file({"embeddings": np.ascontiguousarray(table)}, written)
    _keep_earlier(dataset, encoder.name)
    written.replace(dataset.folder / EMBEDDINGS)
    write_about(dataset.folder, dataset.about.model_copy(update={"text_encoder": encoder.name}))
    del table
    part.unlink()
    return len(todo)


def _keep_earlier(dataset: TrainingSet, encoder: str) -> None:
    """Another encoder's embeddings may have taken hours of a GPU: they are renamed, not replaced."""
    earlier, file = dataset.about.text_encoder, dataset.folder / EMBEDDINGS
    if earlier in (None, encoder) or not file.exists():
        return
    kept = file.rename(dataset.folder / f"{_as_file_name(str(earlier))}.{EMBEDDINGS}")
    logger.warning("the embeddings of %s were there; they now lie in %s", earlier, kept)


def _as_file_name(encoder: str) -> str:
    return encoder.replace("/", "_").replace(":", "_")


def _open_part(path: Path, rows: int, dim: int) -> np.memmap[tuple[int, ...], np.dtype[np.float32]]:
    if path.is_file():
        found = np.lib.format.open_memmap(path, mode="r+")
        if found.shape == (rows, dim) and found.dtype == np.float32:
            return found
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dim))
