"""Files that are either whole or absent: written aside, flushed to disk, then renamed into place."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

TEMPORARY_PREFIX = ".tmp-"
_CHUNK_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fsync_path(path: Path) -> None:
    """Flush a file or a folder's entries to disk; a rename is only durable after its folder is flushed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(path: Path, text: str) -> None:
    """Replace a file by one with this text; a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    fsync_path(path.parent)


def write_array_atomically(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write a .npy file aside and rename it into place; the caller flushes the folder."""
    aside = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    with aside.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


@contextmanager
def folder_aside(parent: Path, name: str) -> Iterator[Path]:
    """A temporary folder beside its final place; removed when the block fails."""
    parent.mkdir(parents=True, exist_ok=True)
    aside = parent / f"{TEMPORARY_PREFIX}{name}"
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir()
    try:
        yield aside
    finally:
        if aside.exists():
            shutil.rmtree(aside)


def settle_folder(aside: Path, final: Path) -> None:
    """Flush every file of a temporary folder, then rename it into place."""
    for file in aside.iterdir():
        fsync_path(file)
    fsync_path(aside)
    aside.rename(final)
    fsync_path(final.parent)
