"""The prefix pass on a device never rules out a row that is among the best, whatever the vectors and the question."""

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.search.fakes import DEVICES
from wildsat_core.search.device import DeviceScan
from wildsat_core.search.device_prefix import DevicePrefixes, _Wanted
from wildsat_core.search.plan import Part, Plan
from wildsat_core.search.prefix import MOST_LEFT, Rotation
from wildsat_core.search.scan import exact_scores

DIM = 72
SPACES = ("text", "place")

pytestmark = pytest.mark.parametrize("device", DEVICES)


@dataclass
class Some:
    """What scans ask of a collection whose vectors, (N, D) in each space, are dealt out to segments."""

    of: dict
    cuts: tuple

    def __post_init__(self):
        self.tiles = range(len(self.of["text"]))
        self.spaces = {space: SimpleNamespace(dim=DIM, dtype="float16") for space in self.of}
        edges = [0, *self.cuts, len(self.tiles)]
        self.offsets = np.array(edges)
        segments = [SimpleNamespace(id=f"{first}-{last}", rows=last - first) for first, last in pairwise(edges)]
        self.manifest = SimpleNamespace(segments=segments)

    def vector_parts(self, space):
        return np.split(self.of[space], list(self.cuts))

    def vectors(self, space, rows):
        return self.of[space][rows].astype(np.float32)


class Rotations(dict):
    def of(self, space):
        return self.get(space)


def spread(rng, rows, decay, scale=0.0, twins=True):
    """float16 vectors that get shorter from direction to direction, some of them the same."""
    spectrum = 10.0 ** (scale - decay * np.arange(DIM) / 20)
    vectors = (rng.standard_normal((rows, DIM)) * spectrum).clip(-6e4, 6e4).astype(np.float16)
    if twins:
        vectors[1::7] = vectors[: len(vectors[1::7])]
    return vectors


def prefixes(vectors, queries, device, cuts=()):
    """Of vectors in each space, with rotations that some of them and the queries gave."""
    collection = Some(vectors, cuts)
    rotations = Rotations(
        {
            space: Rotation.between(mine[len(mine) // 3 :].astype(np.float32), queries.astype(np.float64))
            for space, mine in vectors.items()
        }
    )
    return DevicePrefixes(DeviceScan(collection, device, np.arange(0)), rotations)


def plan(**slopes):
    return Plan(tuple(Part("", space, slope, 1.0, 0.5, 1.0) for space, slope in slopes.items()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(-6, 6), st.floats(-1, 2), st.booleans())
def test_no_score_is_above_its_bound(device, seed, scale, decay, outlier):
    rng = np.random.default_rng(seed)
    vectors = spread(rng, 300, decay, scale)
    vectors[:, 0] += np.float16(1e-3)  # none is all zeros
    if outlier:
        vectors[7] = np.float16(6e4)  # beyond what the sample told of the tiles' reach
    found = prefixes({"text": vectors}, rng.standard_normal((50, DIM)), device, cuts=(100, 299))
    turn = found._rotations["text"].of_tiles
    slopes = rng.standard_normal((4, DIM), np.float32)
    # Turned, these are as two of the rows: nothing is lost between their scores and the bounds of those.
    slopes[2:] = vectors[[7, 90]].astype(np.float32) @ turn @ turn.T
    slopes *= np.float32(10.0 ** rng.uniform(-3, 3)) / np.linalg.norm(slopes, axis=1, keepdims=True)
    plans = [plan(text=slope) for slope in slopes]
    for asked, bounds, slack in zip(plans, *found.bounds(plans), strict=True):
        exact = vectors.astype(np.float64) @ asked.slopes["text"].astype(np.float64) + asked.constant
        assert (bounds.cpu().numpy().astype(np.float64) + slack >= exact).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 5, 63, 400, 1500]),
    st.sampled_from([1, 3, 20, 200, 2000]),
    st.sampled_from([0.0, 0.05, 0.5, 0.97, 1.0]),
    st.sampled_from([SPACES, ("text",)]),
    st.sampled_from([0.0, 0.6, 1.5]),
)
def test_the_best_are_left(device, seed, rows, count, share, spaces, decay):
    """Of all rows and of those that filters leave, none or one among them; more are wanted than there are, too."""
    rng = np.random.default_rng(seed)
    vectors = {space: spread(rng, rows, decay) for space in SPACES}
    found = prefixes(
        vectors, spread(rng, 30, decay, twins=False), device, cuts=tuple(sorted({rows // 3, rows // 2} - {0}))
    )
    passing = np.flatnonzero(rng.random(rows) < share) if share < 1 else np.arange(rows)
    asked = plan(**{space: spread(rng, 1, decay)[0].astype(np.float32) * rng.choice([1, -1e-3]) for space in spaces})
    left = found.left(passing, asked, count)
    exact = exact_scores(found._scan.collection, asked, passing)
    if left is None:
        assert count < len(passing)  # else all may be scored
        return
    those, scores, off = left
    assert (np.diff(those) > 0).all()
    assert set(passing[np.lexsort((passing, -exact))[:count]]) <= set(those) <= set(passing)
    assert np.abs(scores - exact[np.searchsorted(passing, those)]).max(initial=0) <= off


def test_nearly_all_are_ruled_out_where_vectors_are_as_a_models(device):
    rng = np.random.default_rng(0)
    vectors = {space: spread(rng, 20_000, 1.0) for space in SPACES}
    found = prefixes(vectors, spread(rng, 300, 1.0), device, cuts=(12_000,))
    for spaces in (SPACES, ("place",)):
        asked = plan(**{space: spread(rng, 1, 1.0)[0].astype(np.float32) for space in spaces})
        those, _, _ = found.left(np.arange(20_000), asked, 20)
        assert len(those) < 20_000 // MOST_LEFT // 10


def test_loose_bounds_of_a_few_rows_do_not_hide_what_the_best_reach(device, monkeypatch):
    """More rows than four times the hits have the highest bounds and low scores; what the best reach is found still."""
    monkeypatch.setattr("wildsat_core.search.prefix.LEADERS", 16)
    rows, count, loose = 4096, 20, 120
    vectors = np.zeros((rows, DIM), np.float16)
    vectors[:, 0] = np.random.default_rng(0).random(rows)
    vectors[: loose + count, 0] = np.repeat([-5, 9], [loose, count])
    bounds = torch.from_numpy(vectors[:, 0].astype(np.float32)).to(device)
    bounds[:loose] = 10
    wanted = _Wanted(np.arange(rows), plan(text=np.eye(DIM, dtype=np.float32)[0]), count)
    those, _, _ = prefixes({"text": vectors}, vectors, device)._chosen(wanted, bounds, 0.0)
    np.testing.assert_array_equal(those, np.arange(loose + count))


def test_vectors_that_are_no_longer_than_before_keep_their_prefixes(device, monkeypatch):
    monkeypatch.setattr("wildsat_core.search.device._COPIED_ROWS", 100)
    rng = np.random.default_rng(0)
    vectors = spread(rng, 400, 1.0)
    vectors = vectors[np.argsort(-np.linalg.norm(vectors.astype(np.float32), axis=1))]  # the longest is there at first
    before = prefixes({"text": vectors[:300]}, vectors, device, cuts=(100, 200))
    old = before._copies_of("text")
    for longer, kept in ((1, 3), (4096, 0)):
        grown = np.concatenate([vectors[:300], vectors[300:] * np.float16(longer)])
        scan = DeviceScan(Some({"text": grown}, (100, 200, 300)), device, np.arange(0), before._scan)
        after = DevicePrefixes(scan, before._rotations, before)
        assert sum(new is one for new, one in zip(after._copies_of("text"), old, strict=False)) == kept
        those, _, _ = after.left(np.arange(400), plan(text=vectors[0].astype(np.float32)), 1)
        assert np.argmax(grown.astype(np.float32) @ vectors[0].astype(np.float32)) in those
