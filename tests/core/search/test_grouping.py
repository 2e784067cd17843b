"""Scores are the same to the last bit however rows are grouped: by shards, segments, blocks or filters."""

import numpy as np
import pytest

from tests.core.search.fakes import REF, SPACES, FakeModel, random_tile, unit
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.query import Filters, Query, TextTerm
from wildsat_core.search.scan import products


@pytest.mark.parametrize("dim", [7, 64, 256, 513])
def test_a_rows_product_does_not_depend_on_the_rows_around_it(dim):
    rng = np.random.default_rng(dim)
    vectors, slope = rng.standard_normal((501, dim)).astype(np.float32), rng.standard_normal(dim).astype(np.float32)
    whole = products(vectors, slope)
    for size in (1, 2, 3, 7, 8, 64, 500):
        grouped = [products(vectors[i : i + size], slope) for i in range(0, len(vectors), size)]
        np.testing.assert_array_equal(np.concatenate(grouped), whole)
    np.testing.assert_allclose(whole, vectors.astype(np.float64) @ slope, atol=1e-3)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The same tiles and vectors in segments of 300 and of 41 rows."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("grouping")
    tiles, vectors = [random_tile(rng, i) for i in range(300)], {space: unit(rng, 300) for space in SPACES}
    for size in (300, 41):
        with CollectionWriter(folder / f"of-{size}", "cut", REF, SPACES, segment_rows=size) as out:
            for first in range(0, 300, size):
                part = slice(first, first + size)
                out.add(tiles[part], {space: rows[part] for space, rows in vectors.items()})
            out.publish()
    return [open_collection(folder / f"of-{size}") for size in (300, 41)]


@pytest.mark.parametrize("exact_scan_rows", [10, 1_000])
def test_a_hits_score_and_shares_are_the_same_under_any_filter_and_any_segments(cut, exact_scan_rows):
    engines = [SearchEngine(collection, FakeModel(), exact_scan_rows=exact_scan_rows) for collection in cut]
    plan, found = engines[0].plan(Query((TextTerm("mangrove coast"),))), []
    for engine in engines:
        # The moments' last bits are those of sums over segments: the plan is the same for both.
        engine.plan = lambda query: plan
        for count in (300, 250, 20, 1):
            filters = Filters(tile_ids=frozenset(f"tile-{i}" for i in range(count)))
            hits = engine.search(Query((TextTerm("mangrove coast"),), filters, k=300, explain=True)).hits
            assert len(hits) == count
            found.append({hit.tile.tile_id: (hit.score, hit.percentile, hit.shares) for hit in hits})
    assert all(some.items() <= found[0].items() for some in found)
