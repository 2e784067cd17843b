import numpy as np
import pytest

from indexer.sources import Reading
from indexer.sources.pixels import Stretch, fault_of
from wildsat_core.errors import InvalidInputError


def test_stretch_maps_low_to_0_and_high_to_255_and_clips_the_rest():
    values = np.array([[[0, 100, 600, 1100, 65535]]], np.uint16)
    assert Stretch(100, 1100)(values).tolist() == [[[0, 0, 128, 255, 255]]]


def test_stretch_makes_nan_zero():
    assert Stretch(0, 1)(np.array([[[np.nan, 1.0]]], np.float32)).tolist() == [[[0, 255]]]


def test_stretch_reads_back_what_it_prints():
    assert Stretch.parse(str(Stretch(0, 3000))) == Stretch(0, 3000)


@pytest.mark.parametrize("text", ["3000", "0,1,2", "a,b", "5,5", "9,1", "nan,1", "0,inf"])
def test_a_stretch_that_is_not_low_below_high_is_refused(text):
    with pytest.raises(InvalidInputError, match="stretch"):
        Stretch.parse(text)


def picture(value=None, dtype=np.uint8):
    pixels = np.random.default_rng(0).integers(1, 255, (3, 4, 4)).astype(dtype)
    if value is not None:
        pixels[:] = value
    return pixels


def test_only_tiles_that_show_something_are_taken():
    nan = picture(dtype=np.float32)
    nan[0, 0, 0] = np.nan
    coloured = picture()
    coloured[:] = np.array([10, 20, 30], np.uint8)[:, None, None]
    assert fault_of(Reading(picture()), 0.3) is None
    assert fault_of(Reading(picture(), missing=0.31), 0.3) == "no data"
    assert fault_of(Reading(nan), 0.3) == "not finite"
    assert fault_of(Reading(picture(0)), 0.3) == "all zero"
    assert fault_of(Reading(coloured), 0.3) == "one colour"
