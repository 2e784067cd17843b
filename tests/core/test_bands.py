import pytest

from wildsat_core.bands import NINE_BANDS, PRITHVI, RGB, SENTINEL2, band_positions, select_bands
from wildsat_core.errors import InvalidInputError


def test_true_colour_has_its_published_places():
    assert band_positions(RGB, SENTINEL2) == (3, 2, 1)
    assert band_positions(RGB, PRITHVI) == (2, 1, 0)
    assert band_positions(NINE_BANDS, SENTINEL2) == (3, 2, 1, 4, 5, 6, 7, 11, 12)


def test_bands_that_a_model_has_no_channel_for_are_refused():
    with pytest.raises(InvalidInputError, match="no channel for b05, b06; its channels are blue, green"):
        band_positions(("red", "b05", "b06"), PRITHVI)
    with pytest.raises(InvalidInputError, match="named twice"):
        band_positions(("red", "red"), RGB)


def test_bands_are_picked_in_the_models_order_and_a_missing_one_is_an_error():
    assert select_bands(("blue", "green", "red", "b8a"), RGB) == (2, 1, 0)
    with pytest.raises(InvalidInputError, match="lacks the bands b11, b12; it has red, green"):
        select_bands(("red", "green"), ("red", "b11", "b12"))
    with pytest.raises(InvalidInputError, match="it has none"):
        select_bands((), RGB)
