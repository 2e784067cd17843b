import numpy as np
import pytest
import shapely

from wildsat_core.countries import Countries, Country
from wildsat_core.land import LandMask
from wildsat_core.types import BBox


@pytest.fixture
def mask():
    """Cells of 10 degrees; land: the eastern hemisphere's northern half, and one cell just west of the antimeridian."""
    land = np.zeros((18, 36), bool)
    land[:9, 18:] = True
    land[9, 35] = True  # 170..180 E, 10..0 S
    return LandMask.from_cells(land)


def test_share_of_land_is_the_share_of_cells(mask):
    boxes = [BBox(0, 0, 90, 90), BBox(-90, 0, 90, 90), BBox(-180, -90, 180, 90), BBox(-90, -90, 0, 0)]
    assert mask.share(boxes) == pytest.approx([1.0, 0.5, (9 * 18 + 1) / (18 * 36), 0.0])


def test_a_box_across_the_antimeridian_counts_both_sides(mask):
    assert mask.share([BBox(170, -10, -170, 0)]) == pytest.approx([0.5])
    assert mask.share([BBox(160, 0, -160, 10)]) == pytest.approx([0.5])


def test_a_box_smaller_than_a_cell_takes_the_cell_under_it(mask):
    boxes = [BBox(45.0, 44.9, 45.1, 45.0), BBox(-45.1, 45.0, -45.0, 45.1), BBox(10.0, 90.0, 10.1, 90.0)]
    assert mask.share(boxes).tolist() == [1.0, 0.0, 1.0]


def test_no_boxes_give_no_shares(mask):
    assert mask.share([]).shape == (0,)


def test_a_small_box_on_a_coast_is_compared_with_the_outlines_themselves():
    land = [
        shapely.box(10.004, 50.004, 12, 52),
        shapely.box(179.9, -17.05, 180, -17),
        shapely.box(-180, -17.05, -179.95, -17),
    ]
    mask = LandMask.from_countries(Countries([Country(f"C{i}", "", outline) for i, outline in enumerate(land)]))
    at_sea, half, inland = BBox(9.97, 50.02, 10.0, 50.05), BBox(9.994, 50.02, 10.014, 50.04), BBox(11, 51, 11.02, 51.02)
    assert mask.share([at_sea, half, inland]).tolist() == [0.0, pytest.approx(0.5), 1.0]
    assert mask.share([BBox(179.8, -17.05, -179.9, -17)]) == pytest.approx([0.5])
    large = BBox(9, 49, 12, 52)  # counted in cells: by their middles, or those on the coast whole
    assert mask.share([large]) == pytest.approx([(19 * 20 + 20) / 900], abs=0.003)
    assert mask.share([large], generous=True) == pytest.approx([4 / 9])
    assert mask.share([half], generous=True) == pytest.approx([0.5])
