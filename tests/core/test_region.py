"""Tests of wildsat_core/region.py against brute force."""

import numpy as np

from wildsat_core.region import Region
from wildsat_core.types import BBox


def tiles(*boxes):
    return tuple(np.array(edge, float) for edge in zip(*boxes, strict=True))


def test_a_tile_lies_in_a_box_by_its_middle_or_by_holding_that_of_the_box():
    region = Region("peak", (BBox(10.0, 10.0, 10.4, 10.4),))
    inside = region.holds(*tiles((9, 9, 12, 12), (10.1, 10.1, 10.2, 10.2), (10.3, 10.3, 14, 14), (20, 9, 23, 12)))
    assert inside.tolist() == [True, True, False, False]


def test_a_box_goes_on_beyond_180_degrees():
    fiji = Region("Fiji", (BBox(176.0, -20.0, -178.0, -15.0),))
    inside = fiji.holds(
        *tiles((177, -18, 178, -17), (179.5, -18, 180.5, -17), (-179.5, -18, -178.5, -17), (0, -18, 1, -17))
    )
    assert inside.tolist() == [True, True, True, False]


def test_cells_agree_with_looking_at_each():
    rng = np.random.default_rng(5)
    cells = np.unique(rng.integers(0, 360 * 720, 4000))
    middle_lon, middle_lat = (cells % 720) / 2 - 179.75, 89.75 - (cells // 720) / 2
    west, south = rng.uniform(-180, 180, 500), rng.uniform(-90, 85, 500)
    east, north = west + rng.choice([0.1, 1.0, 5.0], 500), south + rng.choice([0.1, 1.0, 5.0], 500)
    found = Region("range", (BBox(-180, -90, 180, 90),), tuple(cells.tolist())).holds(west, south, east, north)
    lon, lat = ((west + east) / 2 + 180) % 360, (south + north) / 2
    own = np.isin((np.floor((90 - lat) * 2) * 720 + np.floor(lon * 2)).astype(int), cells)
    holds = [
        (((middle_lon - w) % 360 < e - w) & (middle_lat >= s) & (middle_lat < n)).any()
        for w, s, e, n in zip(west, south, east, north, strict=True)
    ]
    np.testing.assert_array_equal(found, own | np.array(holds))
    assert 50 < found.sum() < 450
