"""Tests of wildsat_core/location/position.py."""

import numpy as np
import pytest
import torch

from wildsat_core.location.position import PositionEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(1)
    return PositionEncoder(dim=6, waves=8, width=16, depth=2).eval()


def test_both_sides_of_the_antimeridian_are_one_place(encoder):
    east, west = encoder(torch.tensor([[180.0, -17.0], [-180.0, -17.0]]))
    torch.testing.assert_close(east, west, atol=1e-3, rtol=1e-3)


def test_a_pole_is_one_place_at_any_longitude(encoder):
    vectors = encoder(torch.tensor([[-98.0, 90.0], [12.0, 90.0]]))
    torch.testing.assert_close(vectors[0], vectors[1], atol=1e-3, rtol=1e-3)


def test_longitude_comes_first(encoder):
    features = encoder.position_features(torch.tensor([[-98.0, 33.5]]))[0, :3].numpy()
    lon, lat = np.radians(-98.0), np.radians(33.5)
    expected = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_waves_are_equal_in_every_encoder_and_survive_half_precision(encoder):
    other = PositionEncoder(dim=6, waves=8, width=16, depth=2)
    torch.testing.assert_close(encoder.waves, other.waves, atol=0, rtol=0)
    torch.testing.assert_close(encoder.waves, encoder.waves.half().float(), atol=0, rtol=0)


def test_waves_span_the_asked_range():
    numbers = PositionEncoder(waves=16, lowest=2.0, highest=50.0).waves.norm(dim=0)
    assert float(numbers.min()) == pytest.approx(2.0, rel=1e-2)
    assert float(numbers.max()) == pytest.approx(50.0, rel=1e-2)


def test_a_range_of_waves_turned_round_is_refused():
    with pytest.raises(ValueError, match="lowest"):
        PositionEncoder(lowest=9.0, highest=3.0)
