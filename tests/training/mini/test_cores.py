"""Tests of training/mini/cores.py."""

import numpy as np
import pytest

from training.earth.squares import TileTable
from training.mini.bank import FULL, Bank
from training.mini.cores import surroundings, weigh_cores


@pytest.fixture
def row_of_tiles():
    """Five tiles 400 km apart on the equator, and one far away."""
    lon = np.asarray([0.0, 3.6, 7.2, 10.8, 14.4, 180.0])
    return TileTable(lon, np.zeros(6), np.full(6, 200.0))


def test_neighbours_within_reach_share_a_row_of_weight(row_of_tiles):
    near = surroundings(row_of_tiles).toarray()
    np.testing.assert_allclose(near.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(near[1], [1 / 3, 1 / 3, 1 / 3, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(near[5], [0, 0, 0, 0, 0, 1])


def test_the_midst_keeps_its_share_and_the_edge_loses(row_of_tiles):
    shares = np.asarray([[0, 1, 1, 1, 0, 0]], np.uint8) * FULL
    weighed = weigh_cores(Bank(["x"], ["atom"], np.asarray([0]), shares), row_of_tiles).shares[0]
    assert weighed.tolist() == [0, 170, 255, 170, 0, 0]


def test_a_lone_tile_is_not_lost(row_of_tiles):
    shares = np.asarray([[0, 0, 0, 0, 0, 1]], np.uint8) * 200
    weighed = weigh_cores(Bank(["x"], ["atom"], np.asarray([0]), shares), row_of_tiles).shares[0]
    assert weighed.tolist() == [0, 0, 0, 0, 0, 200]
