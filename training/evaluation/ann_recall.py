"""What each approximate index would miss of a collection, and what it costs; the collection stays as it is."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wildsat_core.collection.reader import open_collection
from wildsat_core.search.ann import build_ann
from wildsat_core.types import Space


@dataclass(frozen=True, slots=True)
class IndexFigures:
    """One index over one space.

    Attributes:
        kind: of the index.
        recall_at_10, recall_at_20: share of the exact best that it finds, over queries held out from its training; of
            queries like tiles and of queries of any direction, the worse.
        search: the setting that reached it.
        file_bytes: size of the index.
        build_s: wall time of building and measuring.
    """

    kind: str
    recall_at_10: float
    recall_at_20: float
    search: dict[str, int]
    file_bytes: int
    build_s: float


def measure_indexes(root: Path, space: Space, kinds: Sequence[str], least_recall: float) -> list[IndexFigures]:
    """Build each index over a copy of a collection, whose files are shared where the disk can.

    Raises:
        InvalidInputError: an unknown kind, one that this machine can't build, or too few tiles.
        CollectionFormatError: there is no collection at `root`.
    """
    found = []
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="wildsat-ann-", dir=root.resolve().parent) as folder:
            copy = Path(folder) / root.resolve().name
            shutil.copytree(root, copy, copy_function=_shared, ignore=shutil.ignore_patterns("ann", "LOCK"))
            began = time.perf_counter()
            built = build_ann(open_collection(copy), space, kind, least_recall=least_recall).ann[space]
            seconds = round(time.perf_counter() - began, 2)
            size = (copy / "ann" / built.file).stat().st_size
            found.append(IndexFigures(kind, built.recall_at_10, built.recall_at_20, built.search, size, seconds))
    return found


def _shared(source: str, copy: str) -> None:
    """A second name for a file, which nothing here changes; a copy where the disk knows no such names."""
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)
