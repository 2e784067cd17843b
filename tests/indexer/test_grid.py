import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.sources.grid import KilometreGrid
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import great_circle_km
from wildsat_core.types import BBox

COARSE = KilometreGrid(size_km=900, step_km=600)


def test_number_of_cells_is_the_area_of_the_globe_over_the_area_of_a_step():
    grid = KilometreGrid(200, 130)
    assert grid.count() == pytest.approx(510_065_600 / 130**2, rel=0.01)


def test_every_place_is_within_a_steps_diagonal_of_a_centre():
    cells = list(COARSE.cells())
    lon, lat = np.array([c.lon for c in cells]), np.array([c.lat for c in cells])
    rng = np.random.default_rng(1)
    for place_lon, z in zip(rng.uniform(-180, 180, 300), rng.uniform(-1, 1, 300), strict=True):
        nearest = great_circle_km(place_lon, math.degrees(math.asin(z)), lon, lat).min()
        assert nearest <= 600 / math.sqrt(2) * 1.01


def test_no_two_cells_share_an_id_or_a_centre():
    cells = list(COARSE.cells())
    assert len({COARSE.cell_id(c) for c in cells}) == len(cells)
    assert len({(round(c.lon, 9), round(c.lat, 9)) for c in cells}) == len(cells)


def test_each_pole_is_the_centre_of_one_cell_that_spans_all_longitudes():
    cells = list(COARSE.cells())
    for lat in (90.0, -90.0):
        (pole,) = [c for c in cells if c.lat == lat]
        assert pole.bbox.width_deg == 360.0


def test_cells_at_the_antimeridian_reach_over_it():
    equator = [c for c in COARSE.cells() if abs(c.lat) < 3]
    assert equator[0].bbox.crosses_antimeridian
    assert equator[-1].bbox.crosses_antimeridian


def test_ids_name_the_grid_so_that_two_grids_never_share_one():
    fine, coarse = KilometreGrid(2.56, 2.56), KilometreGrid(2.56, 1.28)
    assert fine.cell_id(fine.cell(5, 0)) != coarse.cell_id(coarse.cell(5, 0))
    assert COARSE.cell_id(COARSE.cell(3, 2)) == "900x600km-r0003-c0002"


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90))
def test_a_box_gives_the_cells_whose_centre_lies_in_it(west, a, east, b):
    box = BBox(west, min(a, b), east, max(a, b))

    def inside(cell):
        across = cell.lon >= west or cell.lon <= east if west > east else west <= cell.lon <= east
        return across and box.south <= cell.lat <= box.north

    expected = {(c.row, c.column) for c in COARSE.cells() if inside(c)}
    found = [(c.row, c.column) for c in COARSE.cells(box)]
    assert set(found) == expected
    assert len(found) == len(expected) == COARSE.count(box)


@pytest.mark.parametrize(
    ("size", "step"), [(0, 1), (1, 0), (-1, 1), (math.nan, 1), (1, math.inf), (9000, 1), (1, 1e-9)]
)
def test_a_size_or_step_that_no_globe_has_is_refused(size, step):
    with pytest.raises(InvalidInputError, match=r"(tile|step)-km"):
        KilometreGrid(size, step)


@pytest.mark.parametrize(
    "box",
    [
        None,
        BBox(10, 40, 20, 50),
        BBox(170, -20, -170, -10),
        BBox(10, 10, 10.1, 80),
        BBox(-180, 89.99, 180, 90),
        BBox(-180, -90, 180, 90),
        BBox(10, 10, 10.0001, 10.0001),
    ],
)
@pytest.mark.parametrize("at_most", [200, 16_384])
def test_blocks_hold_every_cell_once_and_are_small_and_compact(box, at_most):
    grid = KilometreGrid(150, 130)
    blocks = list(grid.blocks(box, at_most))
    assert len({block.key for block in blocks}) == len(blocks)
    assert all(0 < block.cells <= at_most for block in blocks)
    parts = [list(grid.cells_of(block, box)) for block in blocks]
    assert [len(part) for part in parts] == [block.cells for block in blocks]
    assert sorted((c.row, c.column) for part in parts for c in part) == sorted(
        (c.row, c.column) for c in grid.cells(box)
    )
    if box is None and at_most == 200:
        spans = [(max(c.row for c in part) - min(c.row for c in part) + 1) for part in parts]
        assert max(spans) <= 14  # the square root of 200
        assert len(blocks) < 1.5 * grid.count() / at_most


def test_cells_of_a_block_come_square_by_square():
    grid = KilometreGrid(20, 20)
    [block] = grid.blocks(BBox(10, 40, 30, 55))
    cells = list(grid.cells_of(block, BBox(10, 40, 30, 55)))
    far = [
        max(c.lat for c in chunk) - min(c.lat for c in chunk)
        for chunk in (cells[i : i + 36] for i in range(0, len(cells), 36))
    ]
    assert np.median(far) < 6 * 20 / 111


def test_rows_far_from_a_small_box_are_not_walked(monkeypatch):
    looked = []
    latitude = KilometreGrid.latitude
    monkeypatch.setattr(KilometreGrid, "latitude", lambda self, row: looked.append(row) or latitude(self, row))
    grid = KilometreGrid(0.1, 0.1)
    assert len(list(grid.cells(BBox(10, 50, 10.01, 50.01)))) == grid.count(BBox(10, 50, 10.01, 50.01)) > 70
    assert len(looked) < 500
