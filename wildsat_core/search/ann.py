"""Approximate indexes for collections that outgrow the scan, built with FAISS and measured against the exact answer.

An index gives candidates; they are scored again from the stored vectors, so a hit's score is always exact and only its
presence is approximate. The measured recall is written into the manifest and told with every answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.durable import fsync_path, sha256_file
from wildsat_core.collection.maintain import publish_ann
from wildsat_core.collection.manifest import AnnInfo, FileInfo, Manifest
from wildsat_core.collection.reader import Collection
from wildsat_core.errors import CollectionFormatError, InvalidInputError
from wildsat_core.search.scan import best_first, score_rows
from wildsat_core.types import Space

KINDS: Final = ("ivfpq", "hnsw", "sq8")
CANDIDATES: Final = 400  # taken from the index for each space, then scored exactly

_BLOCK_ROWS = 65_536
_TRAINING_ROWS_PER_LIST = 64
_QUERIES = 200
_WORDS_PER_DIM = 4  # dimensions a byte of a product-quantised vector stands for

Floats = npt.NDArray[np.float32]


def build_ann(
    collection: Collection, space: Space, kind: str, *, least_recall: float = 0.95, wait_s: float = 0.0
) -> Manifest:
    """Build an index over the live rows of a space, measure it, and publish it as a new generation.

    Search settings are raised until the recall asked for is reached or the index is searched whole.

    Args:
        collection: the live generation.
        space: which vectors.
        kind: one of KINDS.
        least_recall: wanted recall@10 over queries held out from training, in (0, 1].
        wait_s: how long to wait for another writer when publishing.

    Raises:
        InvalidInputError: an unknown kind, or fewer live tiles than an index needs.
        CollectionFormatError: another generation was published meanwhile.
    """
    import faiss

    if kind not in KINDS:
        raise InvalidInputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}", "kind")
    rows = np.flatnonzero(collection.tiles.live)
    if len(rows) < 1000:
        raise InvalidInputError(f"an index needs at least 1000 tiles, {collection.name!r} has {len(rows)}", "kind")
    rng = np.random.default_rng(0)
    index, settings = _empty_index(kind, collection.spaces[space].dim, len(rows))
    sample = np.sort(rng.choice(rows, min(len(rows), _training_rows(len(rows))), replace=False))
    index.train(collection.vectors(space, sample))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        index.add_with_ids(collection.vectors(space, block), block)
    queries = _held_out_queries(collection, space, rows, rng)
    truth = _exact_best(collection, space, queries, rows)
    search, recalls = _tune(index, settings, queries, truth, least_recall, collection, space)
    path = collection.root / "ann" / f"{space}-{collection.generation + 1}-{kind}.faiss"
    path.parent.mkdir(exist_ok=True)
    aside = path.with_name(f".tmp-{path.name}")
    faiss.write_index(index, str(aside))
    fsync_path(aside)
    aside.replace(path)
    found = AnnInfo(
        kind=kind,
        file=path.name,
        info=FileInfo.of(path),
        search=search,
        recall_at_10=recalls[0],
        recall_at_20=recalls[1],
    )
    return publish_ann(collection, {space: found}, wait_s=wait_s)


class AnnIndex:
    """An opened index: candidates for a query vector. Settings go with each call, so threads don't disturb each other.

    Raises:
        CollectionFormatError: the file is not the one that the manifest names; FAISS is not asked to read it then.
    """

    def __init__(self, root: Path, info: AnnInfo) -> None:
        """Check the file's hash before FAISS parses it: FAISS trusts what it reads."""
        import faiss

        path = root / "ann" / info.file
        if not path.is_file() or sha256_file(path) != info.info.sha256:
            raise CollectionFormatError(f"{path} is missing or damaged; build it again with `wildsat index ann`")
        self.info = info
        self._index = faiss.read_index(str(path))

    def candidates(self, query: Floats, count: int) -> npt.NDArray[np.int64]:
        """Up to `count` rows that are likely among the best for a (D,) query, in no order."""
        return _search(self._index, self.info.kind, self.info.search, query[None], count)[0]


def _empty_index(kind: str, dim: int, rows: int) -> tuple[Any, list[dict[str, int]]]:
    """An untrained index for inner products, and its search settings from fast to thorough."""
    import faiss

    lists = int(np.clip(4 * math.sqrt(rows), 16, 65_536))
    lists = min(lists, max(rows // _TRAINING_ROWS_PER_LIST, 1))
    ip = faiss.METRIC_INNER_PRODUCT
    if kind == "hnsw":
        graph = faiss.IndexIDMap2(faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, 32, ip))
        return graph, [{"efSearch": ef} for ef in (64, 128, 256, 512, 1024)]
    coarse = faiss.IndexFlatIP(dim)
    if kind == "sq8":
        index = faiss.IndexIVFScalarQuantizer(coarse, dim, lists, faiss.ScalarQuantizer.QT_8bit, ip)
    else:
        index = faiss.IndexIVFPQ(coarse, dim, lists, max(dim // _WORDS_PER_DIM, 1), 8, ip)
    coarse.this.disown()
    index.own_fields = True
    probes = sorted({min(lists, 2**i) for i in range(2, 17)})
    return index, [{"nprobe": p} for p in probes]


def _training_rows(rows: int) -> int:
    return int(min(rows, max(_TRAINING_ROWS_PER_LIST * 4 * math.sqrt(rows), 10_000)))


def _held_out_queries(
    collection: Collection, space: Space, rows: npt.NDArray[np.int64], rng: np.random.Generator
) -> Floats:
    """Query vectors (Q, D) like those of searches: tiles' vectors moved off by noise of half their length."""
    chosen = np.sort(rng.choice(rows, min(_QUERIES, len(rows)), replace=False))
    vectors = collection.vectors(space, chosen)
    noise = rng.standard_normal(vectors.shape).astype(np.float32) / np.float32(math.sqrt(vectors.shape[1]))
    return np.asarray(vectors + 0.5 * noise * np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _exact_best(
    collection: Collection, space: Space, queries: Floats, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """(Q, 20) exact best rows, found in one pass over the vectors."""
    best_rows = np.empty((len(queries), 0), np.int64)
    best_scores = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        scores = np.concatenate([best_scores, queries @ collection.vectors(space, block).T], axis=1)
        held = np.concatenate([best_rows, np.broadcast_to(block, (len(queries), len(block)))], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :20]
        best_rows, best_scores = np.take_along_axis(held, order, 1), np.take_along_axis(scores, order, 1)
    return best_rows


def _tune(
    index: Any,  # noqa: ANN401 - a FAISS index
    settings: list[dict[str, int]],
    queries: Floats,
    truth: npt.NDArray[np.int64],
    least_recall: float,
    collection: Collection,
    space: Space,
) -> tuple[dict[str, int], tuple[float, float]]:
    """The fastest setting that reaches the recall, and its recall@10 and @20 after exact scoring."""
    kind = "hnsw" if "efSearch" in settings[0] else "ivf"
    recalls = (0.0, 0.0)
    for search in settings:
        found = _search(index, kind, search, queries, CANDIDATES)
        recalls = _recalls(found, queries, truth, collection, space)
        if recalls[0] >= least_recall:
            break
    return search, recalls


def _recalls(
    found: list[npt.NDArray[np.int64]],
    queries: Floats,
    truth: npt.NDArray[np.int64],
    collection: Collection,
    space: Space,
) -> tuple[float, float]:
    shares = np.zeros((len(queries), 2))
    for i, unordered in enumerate(found):
        rows = np.sort(unordered)
        scores = score_rows(collection, {space: queries[i]}, rows)
        best = rows[best_first(scores, rows, 20)]
        for j, k in enumerate((10, 20)):
            shares[i, j] = len(set(best[:k]) & set(truth[i, :k])) / k
    mean = shares.mean(axis=0)
    return round(float(mean[0]), 4), round(float(mean[1]), 4)


def _search(
    index: Any,  # noqa: ANN401 - a FAISS index
    kind: str,
    search: Mapping[str, int],
    queries: Floats,
    count: int,
) -> list[npt.NDArray[np.int64]]:
    """Rows found for each query; FAISS pads short answers with -1, which is dropped before any look-up."""
    import faiss

    if kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(efSearch=max(search["efSearch"], count))
    else:
        parameters = faiss.SearchParametersIVF(nprobe=search["nprobe"])
    _, ids = index.search(np.ascontiguousarray(queries, np.float32), count, params=parameters)
    return [row[row >= 0] for row in ids]
