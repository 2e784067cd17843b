"""Approximate indexes: measured recall, exact scores, and never a row that is not there."""

import errno
import math
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.core.search.fakes import FakeModel, random_collection
from wildsat_core.collection.maintain import compact, delete_tiles, verify
from wildsat_core.collection.reader import open_collection
from wildsat_core.errors import CollectionFormatError, DiskFullError, InvalidInputError
from wildsat_core.search import ann
from wildsat_core.search.ann import CPU_KINDS, build_ann
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.query import Filters, Query, TextTerm
from wildsat_core.types import BBox

N = 4000
TEXT = Query((TextTerm("dunes"),), blend=0.0, k=10)


@pytest.fixture(scope="module", params=CPU_KINDS)
def built(request, tmp_path_factory):
    """A collection with two segments, a deleted tile and an index of each kind over the text space."""
    folder = tmp_path_factory.mktemp("ann") / "random"
    collection = random_collection(folder, N, seed=2, segment_rows=2500)
    delete_tiles(folder, np.array([17]), generation=collection.generation)
    build_ann(open_collection(folder), "text", request.param, least_recall=0.9)
    return folder


@pytest.fixture
def root(built, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(built, tmp_path / "random")


def test_hits_come_from_the_index_with_exact_scores_and_the_recall_it_promises(root):
    collection = open_collection(root)
    info = collection.manifest.ann["text"]
    assert info.recall_at_10 >= 0.9
    exact, quick = SearchEngine(collection, FakeModel()), SearchEngine(collection, FakeModel(), ann_rows=0)
    shares = []
    for i in range(20):
        query = Query((TextTerm(f"habitat {i}"),), blend=0.0, k=10)
        want, got = exact.search(query), quick.search(query)
        assert got.backend == f"approximate ({info.kind}, recall@10 {info.recall_at_10:.3f})"
        assert got.matched == N - 1
        known = {h.row: h.score for h in exact.search(Query(query.terms, blend=0.0, k=1000)).hits}
        assert all(h.score == pytest.approx(known[h.row], abs=1e-4) for h in got.hits if h.row in known)
        shares.append(len({h.row for h in want.hits} & {h.row for h in got.hits}) / 10)
    assert np.mean(shares) >= 0.85


@pytest.mark.parametrize(
    "query",
    [
        Query(TEXT.terms, Filters(bbox=BBox(0, -90, 90, 90)), blend=0.0, k=10),
        Query(TEXT.terms, Filters(min_percentile=50.0), blend=0.0, k=10),
        Query(TEXT.terms, blend=0.5, k=10),  # there is no index of the place space
        Query(TEXT.terms, blend=0.0, k=500),  # deeper than the index is asked
    ],
)
def test_what_the_index_can_not_answer_is_scanned(root, query):
    collection = open_collection(root)
    want = SearchEngine(collection, FakeModel()).search(query)
    got = SearchEngine(collection, FakeModel(), ann_rows=0).search(query)
    assert got.backend == "exact scan"
    assert [h.row for h in got.hits] == [h.row for h in want.hits]


def test_a_later_generation_starts_without_the_index_and_verify_knows_its_file(root):
    manifest = open_collection(root).manifest
    path = root / "ann" / manifest.ann["text"].file
    assert verify(root) == []
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert any(path.name in problem for problem in verify(root))
    with pytest.raises(CollectionFormatError, match="build it again"):
        SearchEngine(open_collection(root), FakeModel(), ann_rows=0)
    path.write_bytes(whole)
    assert compact(root).ann == {}


def engines_without(root, rows):
    """The exact engine and the one with the index, after deleting some rows."""
    info = open_collection(root).manifest.ann["text"]
    delete_tiles(root, np.array(rows), generation=open_collection(root).generation)
    collection = open_collection(root)
    assert collection.manifest.ann["text"] == info
    return SearchEngine(collection, FakeModel()), SearchEngine(collection, FakeModel(), ann_rows=0)


def best_rows(root, count):
    return [h.row for h in SearchEngine(open_collection(root), FakeModel()).search(replace(TEXT, k=count)).hits]


def test_deleting_keeps_the_index_which_passes_over_what_is_gone(root):
    gone = best_rows(root, 20)
    exact, quick = engines_without(root, gone)
    want, got = exact.search(TEXT), quick.search(TEXT)
    assert got.backend.startswith("approximate")
    assert not {h.row for h in got.hits} & set(gone)
    assert len({h.row for h in want.hits} & {h.row for h in got.hits}) >= 9


def test_where_much_of_what_the_index_proposes_is_gone_the_scan_answers(root):
    exact, quick = engines_without(root, best_rows(root, 300))
    want, got = exact.search(TEXT), quick.search(TEXT)
    assert got.backend == "exact scan"
    assert [h.row for h in got.hits] == [h.row for h in want.hits]


def test_what_drops_an_index_says_so(root, caplog):
    kind = open_collection(root).manifest.ann["text"].kind
    compact(root)
    assert f"`wildsat index ann random --kind {kind} --space text`" in caplog.text


def test_a_full_disk_is_told_and_publishes_nothing(tmp_path, monkeypatch):
    collection = random_collection(tmp_path / "random", 1000)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="nothing was published: make room"):
        build_ann(collection, "text", "sq8")
    assert open_collection(tmp_path / "random").manifest.ann == {}


def test_too_few_tiles_and_unknown_kinds_are_refused(tmp_path):
    collection = random_collection(tmp_path / "random", 50)
    with pytest.raises(InvalidInputError, match="at least 1000"):
        build_ann(collection, "text", "hnsw")
    with pytest.raises(InvalidInputError, match="one of ivfpq, hnsw, sq8"):
        build_ann(collection, "text", "annoy")


def test_what_only_a_gpu_can_do_is_refused_here_naming_what_is_needed(tmp_path):
    collection = random_collection(tmp_path / "random", 50)
    with pytest.raises(InvalidInputError, match="WILDSAT_DEVICE=cuda"):
        build_ann(collection, "text", "flat-gpu")
    import faiss

    if hasattr(faiss, "GpuIndexCagra") and faiss.get_num_gpus():
        pytest.skip("this FAISS builds CAGRA")
    with pytest.raises(InvalidInputError, match=r"with(out)? CAGRA, and it sees 0 GPUs; put faiss-gpu-cuvs"):
        build_ann(collection, "text", "cagra")


def test_the_recall_told_is_that_of_the_queries_which_are_like_no_tile_when_it_is_smaller(tmp_path):
    collection = random_collection(tmp_path / "random", 1000)
    queries = ann._held_out_queries(collection, "text", np.arange(1000), np.random.default_rng(0))
    truth = ann._exact_best(collection, "text", queries, np.arange(1000))
    half = len(queries) // 2
    nearest = (queries @ collection.vectors("text", np.arange(1000)).T).max(axis=1) / np.linalg.norm(queries, axis=1)
    assert nearest[:half].mean() > nearest[half:].mean()
    found = [truth[i] if i < half else truth[i, :5] for i in range(len(queries))]  # 5 of 10, 5 of 20
    assert ann._recalls(found, queries, truth, collection, "text") == (0.5, 0.25)


@pytest.mark.parametrize("rows", [100, 20_000, 10**6, 10**8])
def test_lists_are_trained_on_enough_tiles_each_and_no_more_than_there_are(rows):
    lists = 4 * math.sqrt(rows)
    trained = ann._training_rows(rows)
    assert trained <= rows
    assert trained == rows or trained >= int(ann._TRAINING_ROWS_PER_LIST * lists)
    assert trained <= max(10_000, ann._TRAINING_ROWS_PER_LIST * lists)
