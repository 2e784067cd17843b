"""Tests of training/earth/mosaics.py and views.py."""

import numpy as np
import pytest
import torch

from training.earth.mosaics import Mosaic, crop_tiles
from training.earth.squares import KM_PER_DEG, TileTable
from training.mini.views import distort, load_views, make_views, save_views


@pytest.fixture
def earth():
    """One pixel a degree; red tells the longitude, green the latitude."""
    lon, lat = np.meshgrid(np.arange(-179.5, 180), np.arange(89.5, -90, -1))
    picture = np.stack([np.round((lon + 180) / 360 * 255), np.round((lat + 90) / 180 * 255), np.zeros_like(lon)], -1)
    return Mosaic.from_picture("bmng", picture.astype(np.uint8), depth=2)


def lon_of(pixel):
    return pixel[..., 0] / 255 * 360 - 180


def lat_of(pixel):
    return pixel[..., 1] / 255 * 180 - 90


def test_a_crop_shows_the_place_asked_for_north_up(earth):
    crop = earth.crop(-98.0, 33.5, 10 * KM_PER_DEG, 10).astype(float)
    assert lon_of(crop).mean() == pytest.approx(-98.0, abs=1.5)
    assert lat_of(crop).mean() == pytest.approx(33.5, abs=1.0)
    assert lat_of(crop[0]).mean() > lat_of(crop[-1]).mean()
    assert lon_of(crop[:, 0]).mean() < lon_of(crop[:, -1]).mean()


def test_a_crop_widens_in_degrees_towards_the_poles(earth):
    crop = earth.crop(0.0, 60.0, 20 * KM_PER_DEG, 20).astype(float)
    width = lon_of(crop[10, -1]) - lon_of(crop[10, 0])
    height = lat_of(crop[0, 10]) - lat_of(crop[-1, 10])
    assert width / height == pytest.approx(2.0, rel=0.1)


def test_a_crop_wraps_at_the_antimeridian(earth):
    reds = earth.crop(180.0, 0.0, 10 * KM_PER_DEG, 10)[5, :, 0].astype(int)
    assert reds[0] > 240
    assert reds[-1] < 15


@pytest.mark.parametrize("lat", [90.0, -90.0])
def test_a_crop_at_a_pole_stays_inside_the_picture(earth, lat):
    assert earth.crop(0.0, lat, 300.0, 8).shape == (8, 8, 3)


def test_crops_of_tiles_keep_their_order(earth):
    tiles = TileTable(np.asarray([-100.0, 100.0]), np.asarray([40.0, -40.0]), np.full(2, 300.0))
    crops = crop_tiles(earth, tiles, 4).astype(float)
    assert lon_of(crops[0]).mean() < 0 < lon_of(crops[1]).mean()
    assert lat_of(crops[0]).mean() > 0 > lat_of(crops[1]).mean()


def test_views_lie_near_their_tiles_and_are_read_again(earth, tmp_path):
    tiles = TileTable(np.asarray([179.9, 10.0]), np.asarray([60.0, 0.0]), np.full(2, 200.0))
    views = make_views(tiles, [earth, earth], 6)
    for table in views.tables:
        assert (np.abs(table.lat - tiles.lat) < 0.5).all()
        assert (np.abs((table.lon - tiles.lon + 180) % 360 - 180) < 1.0).all()
        assert ((table.side_km >= 140) & (table.side_km <= 300)).all()
    save_views(views, tmp_path)
    again = load_views(tmp_path)
    np.testing.assert_array_equal(again.pixels, views.pixels)
    np.testing.assert_array_equal(again.tables[1].side_km, views.tables[1].side_km)


def test_distortion_is_repeatable_and_keeps_the_range():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    torch.manual_seed(3)
    first = distort(pixels)
    torch.manual_seed(3)
    second = distort(pixels)
    assert first.shape == (5, 3, 8, 8)
    torch.testing.assert_close(first, second)
    assert first.min() >= 0
    assert first.max() <= 255
    assert not torch.equal(first, torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
