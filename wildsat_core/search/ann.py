"""Approximate indexes for collections that outgrow the scan, built with FAISS and measured against the exact answer.

An index gives candidates; they are scored again from the stored vectors, so a hit's score is always exact and only its
presence is approximate. The measured recall is written into the manifest and told with every answer.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.maintain import publish_ann
from wildsat_core.collection.manifest import AnnInfo, FileInfo, Manifest
from wildsat_core.collection.reader import Collection
from wildsat_core.errors import CollectionFormatError, InvalidInputError
from wildsat_core.files import advice_when_full, file_aside, fsync_path, sha256_file
from wildsat_core.search.scan import best_first, score_rows
from wildsat_core.types import Space

CPU_KINDS: Final = ("ivfpq", "hnsw", "sq8")
KINDS: Final = (*CPU_KINDS, "cagra", "flat-gpu")
CANDIDATES: Final = 400  # taken from the index for each space, then scored exactly

_BLOCK_ROWS = 65_536
_WRITE_BYTES = 1 << 22
_TRAINING_ROWS_PER_LIST = 64
_QUERIES = 200
_GRAPH_DEGREE = 64  # of CAGRA
_GRAPH_SETTINGS = [{"efSearch": ef} for ef in (64, 128, 256, 512, 1024, 2048, 4096)]
# efConstruction of HNSW. With FAISS's 40, texts, which are like no tile, miss many: recall in the demo's place space is
# 0.824 at efSearch 512, with 200 it is 1.000.
_GRAPH_EFFORT = 200
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
        kind: one of KINDS. "ivfpq" and "sq8" are filled on a GPU where FAISS has one; "cagra" needs one.
        least_recall: wanted recall@10 over queries held out from training, in (0, 1].
        wait_s: how long to wait for another writer when publishing.

    Raises:
        InvalidInputError: an unknown kind, one that this FAISS can't build, or fewer live tiles than an index needs.
        CollectionFormatError: another generation was published meanwhile.
        DiskFullError: there is no room for the file.
    """
    _check_kind(kind)
    rows = np.flatnonzero(collection.tiles.live)
    if len(rows) < 1000:
        raise InvalidInputError(f"an index needs at least 1000 tiles, {collection.name!r} has {len(rows)}", "kind")
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(rows, min(len(rows), _training_rows(len(rows))), replace=False))
    if kind == "cagra":
        index, settings = _cagra_index(collection.vectors(space, rows), rows), _GRAPH_SETTINGS
    else:
        index, settings = _filled_index(kind, collection, space, rows, sample)
    queries = _held_out_queries(collection, space, rows, rng)
    truth = _exact_best(collection, space, queries, rows)
    search, recalls = _tune(index, settings, queries, truth, least_recall, collection, space)
    path = collection.root / "ann" / f"{space}-{collection.generation + 1}-{kind}-{secrets.token_hex(4)}.faiss"
    with advice_when_full(collection.root):
        _write_index(index, path)
    found = AnnInfo(
        kind=kind,
        file=path.name,
        info=FileInfo.of(path),
        search=search,
        recall_at_10=recalls[0],
        recall_at_20=recalls[1],
    )
    return publish_ann(collection, {space: found}, wait_s=wait_s)


def _write_index(index: Any, path: Path) -> None:  # noqa: ANN401 - a FAISS index
    """Write a FAISS file aside and rename it.

    Python writes it: FAISS itself would not tell that the last bytes found no room.
    """
    import faiss

    path.parent.mkdir(exist_ok=True)
    with file_aside(path) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, _WRITE_BYTES))
    fsync_path(path.parent)


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
        """Up to `count` rows that are likely among the best for a (D,) query, in no order.

        Rows that were deleted after it was built may be among them.
        """
        return _search(self._index, self.info.search, query[None], count)[0]


def _check_kind(kind: str) -> None:
    """Refuse what can't be built, or need not be, before anything is read."""
    import faiss

    if kind not in KINDS:
        raise InvalidInputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}", "kind")
    if kind == "flat-gpu":
        raise InvalidInputError(
            "an exact index on a GPU needs no file: serve with WILDSAT_DEVICE=cuda and the engine keeps the vectors in "
            "the GPU's memory and scans them there, under any filter",
            "kind",
        )
    if kind == "cagra" and not (hasattr(faiss, "GpuIndexCagra") and _gpus()):
        raise InvalidInputError(
            f"cagra is built on a GPU, by the cuVS build of FAISS: this is faiss {faiss.__version__} "
            f"{'with' if hasattr(faiss, 'GpuIndexCagra') else 'without'} CAGRA, and it sees {_gpus()} GPUs; put "
            "faiss-gpu-cuvs in the place of faiss-cpu on a machine with a GPU, or build hnsw, which is searched alike",
            "kind",
        )


def _gpus() -> int:
    """GPUs that FAISS can build on; its CPU package has none of the names."""
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def _filled_index(
    kind: str, collection: Collection, space: Space, rows: npt.NDArray[np.int64], sample: npt.NDArray[np.int64]
) -> tuple[Any, list[dict[str, int]]]:
    """A trained index that holds `rows`, in the processor's memory, and its search settings."""
    import faiss

    index, settings = _empty_index(kind, collection.spaces[space].dim, len(rows))
    on_gpu = kind != "hnsw" and _gpus() > 0  # FAISS builds HNSW on the CPU only
    if on_gpu:
        options = faiss.GpuClonerOptions()
        options.useFloat16 = True  # of look-up tables: those of 64 codes fit no GPU's shared memory otherwise
        resources = faiss.StandardGpuResources()  # must outlive the index
        index = faiss.index_cpu_to_gpu(resources, 0, index, options)
    index.train(collection.vectors(space, sample))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        index.add_with_ids(collection.vectors(space, block), block)
    return (faiss.index_gpu_to_cpu(index) if on_gpu else index), settings


def _cagra_index(vectors: Floats, rows: npt.NDArray[np.int64]) -> Any:  # noqa: ANN401 - a FAISS index
    """A graph made by CAGRA on a GPU from (N, D) vectors, as an HNSW graph of one level that a CPU searches."""
    import faiss

    resources, config = faiss.StandardGpuResources(), faiss.GpuIndexCagraConfig()
    config.graph_degree, config.intermediate_graph_degree = _GRAPH_DEGREE, 2 * _GRAPH_DEGREE
    on_gpu = faiss.GpuIndexCagra(resources, vectors.shape[1], faiss.METRIC_INNER_PRODUCT, config)
    on_gpu.train(vectors)  # which adds them, too
    graph = faiss.IndexHNSWCagra(vectors.shape[1], _GRAPH_DEGREE // 2, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexIDMap2(graph)  # takes an empty index only; the graph comes afterwards
    on_gpu.copyTo(graph)
    faiss.copy_array_to_vector(rows, index.id_map)
    index.ntotal = graph.ntotal
    index.construct_rev_map()
    graph.this.disown()
    index.own_fields = True
    return index


def _empty_index(kind: str, dim: int, rows: int) -> tuple[Any, list[dict[str, int]]]:
    """An untrained index for inner products, and its search settings from fast to thorough."""
    import faiss

    lists = int(np.clip(4 * math.sqrt(rows), 16, 65_536))
    lists = min(lists, max(rows // _TRAINING_ROWS_PER_LIST, 1))
    ip = faiss.METRIC_INNER_PRODUCT
    if kind == "hnsw":
        graph = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, 32, ip)
        graph.hnsw.efConstruction = _GRAPH_EFFORT
        index = faiss.IndexIDMap2(graph)
        graph.this.disown()
        index.own_fields = True
        return index, _GRAPH_SETTINGS
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
    """Query vectors (Q, D): half like tiles, half of any direction.

    The first are tiles' vectors moved off by noise of half their length, as of a picture. A text's vector lies far from
    all tiles' and its best ones are spread over many lists, which queries like tiles would not show.
    """
    chosen = np.sort(rng.choice(rows, _QUERIES // 2, replace=False))
    vectors = collection.vectors(space, chosen)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    like, any_way = rng.standard_normal((2, *vectors.shape)).astype(np.float32) / np.float32(vectors.shape[1] ** 0.5)
    return np.asarray(np.concatenate([vectors + 0.5 * like * lengths, any_way]), np.float32)


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
    recalls = (0.0, 0.0)
    for search in settings:
        found = _search(index, search, queries, CANDIDATES)
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
    worse = shares.reshape(2, -1, 2).mean(axis=1).min(axis=0)  # of the queries like tiles and the others
    return round(float(worse[0]), 4), round(float(worse[1]), 4)


def _search(
    index: Any,  # noqa: ANN401 - a FAISS index
    search: Mapping[str, int],
    queries: Floats,
    count: int,
) -> list[npt.NDArray[np.int64]]:
    """Rows found for each query; FAISS pads short answers with -1, which is dropped before any look-up."""
    import faiss

    if "efSearch" in search:
        parameters = faiss.SearchParametersHNSW(efSearch=max(search["efSearch"], count))
    else:
        parameters = faiss.SearchParametersIVF(nprobe=search["nprobe"])
    _, ids = index.search(np.ascontiguousarray(queries, np.float32), count, params=parameters)
    return [row[row >= 0] for row in ids]
