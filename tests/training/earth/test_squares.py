"""Tests of training/earth/squares.py."""

import numpy as np
import pytest

from training.earth.squares import TileTable, grid_tiles, held_out, land_shares, land_tiles, overlap


def table(*rows):
    lon, lat, side = np.asarray(rows, float).T
    return TileTable(lon, lat, side)


def test_a_tile_over_the_antimeridian_holds_land_of_both_sides(six_cells):
    shares = land_shares(six_cells, table((180.0, -16.75, 100.0))).toarray()[0]
    assert (shares > 0).sum() == 2
    assert shares.sum() == pytest.approx(1.0)


def test_overlap_is_the_share_of_the_tiles_area(six_cells):
    # the cell around Manaus is 0.25 degrees wide and all land; a square of half a degree holds it once
    row = int(np.argmin(np.abs(six_cells.lat + 3.1)))
    lon, lat = float(six_cells.lon[row]), float(six_cells.lat[row])
    side = 0.5 * 111.19
    found = overlap(six_cells, table((lon, lat, side))).toarray()[0, row]
    assert found == pytest.approx(0.25 * 0.25 / (0.5 * 0.5 / np.cos(np.radians(lat))), rel=1e-3)


def test_a_tile_without_land_has_no_shares(six_cells):
    assert land_shares(six_cells, table((0.0, -50.0, 200.0))).nnz == 0


def test_only_tiles_with_land_are_kept(six_cells):
    kept = land_tiles(six_cells, table((0.0, -50.0, 50.0), (-60.1, -3.1, 50.0)))
    assert kept.lon.tolist() == [-60.1]


def test_the_grid_is_even_in_kilometres_and_has_no_duplicates():
    tiles = grid_tiles()
    assert len(np.unique(tiles.lon_lat.round(6), axis=0)) == len(tiles)
    counts = dict(zip(*np.unique(tiles.lat.round(6), return_counts=True), strict=True))
    nearest = {wanted: min(counts, key=lambda lat: abs(lat - wanted)) for wanted in (0, 60)}
    ratio = counts[nearest[60]] / counts[nearest[0]]
    assert ratio == pytest.approx(np.cos(np.radians(nearest[60])) / np.cos(np.radians(nearest[0])), rel=0.02)
    assert (np.abs(tiles.lon) <= 180).all()


def test_a_shifted_grid_shares_no_centre():
    plain, shifted = grid_tiles().lon_lat.round(4), grid_tiles(shift=0.5).lon_lat.round(4)
    assert not {tuple(row) for row in plain} & {tuple(row) for row in shifted}


def test_about_a_quarter_is_held_out_in_whole_blocks():
    lon, lat = np.meshgrid(np.arange(-179.5, 180), np.arange(-89.5, 90))
    held = held_out(lon.ravel(), lat.ravel()).reshape(lon.shape)
    assert 0.15 < held.mean() < 0.35
    blocks = held.reshape(12, 15, 24, 15)
    assert np.isin(blocks.mean((1, 3)), [0.0, 1.0]).all()
