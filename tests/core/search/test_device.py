"""The scan on a torch device finds what the exact scan on the CPU finds."""

import numpy as np
import pytest

from tests.core.search.fakes import DEVICES, FakeModel, random_collection
from tests.core.search.test_quantised import QUERIES, N, plan
from wildsat_core.collection import open_collection
from wildsat_core.collection.maintain import compact, delete_tiles
from wildsat_core.search.device import DeviceScan
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.plan import Plan
from wildsat_core.search.scan import score_rows

pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return random_collection(tmp_path_factory.mktemp("device") / "random", N, seed=11, segment_rows=1000)


@pytest.mark.parametrize("query", QUERIES)
def test_hits_are_those_of_the_exact_scan(collection, device, query):
    exact = SearchEngine(collection, FakeModel()).search(query)
    there = SearchEngine(collection, FakeModel(), device=device).search(query)
    assert there.backend == f"exact scan on {device}"
    assert [h.row for h in there.hits] == [h.row for h in exact.hits]
    np.testing.assert_allclose([h.score for h in there.hits], [h.score for h in exact.hits], atol=1e-5)
    close = 150 / N  # percent, a rank and a half: scores that differ in the last digit may change places
    np.testing.assert_allclose([h.percentile for h in there.hits], [h.percentile for h in exact.hits], atol=close)


def test_no_score_is_further_off_than_the_bound(collection, device):
    scan, plans = DeviceScan(collection, device, np.arange(N)), [Plan(())]
    for seed in range(20):
        random = np.random.default_rng(seed)
        spaces = (("text",), ("place",), ("text", "image"))[seed % 3]
        plans.append(plan(*((s, (random.standard_normal(8) * 10.0 ** (seed - 10)).astype(np.float32)) for s in spaces)))
    for asked, (scores, bound) in zip(plans, scan.scores(plans), strict=True):
        exact = score_rows(collection, asked.slopes, np.arange(N)) + np.float32(asked.constant)
        assert np.abs(scores - exact).max() <= bound
        lengths = [np.linalg.norm(slope) for slope in asked.slopes.values()]
        assert bound <= 1e-4 * (abs(asked.constant) + sum(lengths))  # few rows are within it of the best


def test_a_collection_without_a_tile_has_no_hit(tmp_path, device):
    first = random_collection(tmp_path / "emptied", 3)
    delete_tiles(tmp_path / "emptied", np.arange(3), generation=first.generation)
    compact(tmp_path / "emptied")
    empty = SearchEngine(open_collection(tmp_path / "emptied"), FakeModel(), device=device)
    assert not empty.search(QUERIES[0]).hits


def test_copies_of_segments_that_stay_are_taken_over(tmp_path, device, monkeypatch):
    monkeypatch.setattr("wildsat_core.search.device._COPIED_ROWS", 200)
    first = random_collection(tmp_path / "grows", 600, segment_rows=200)
    before = DeviceScan(first, device, np.arange(600))
    copies = before.copies("text")
    delete_tiles(tmp_path / "grows", np.arange(5), generation=first.generation)
    after = DeviceScan(open_collection(tmp_path / "grows"), device, np.arange(5, 600), before)
    assert len(copies) == 3
    assert all(new is old for new, old in zip(after.copies("text"), copies, strict=True))
