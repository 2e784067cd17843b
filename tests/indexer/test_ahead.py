"""What neighbouring tiles need of a file on a server comes in few requests, and then they need no more."""

import datetime as dt

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine

from indexer.pipeline.reading import CHUNK_TILES, ReadOptions, read_chunk, read_chunks
from indexer.sources.ahead import PixelWindow, runs_of_blocks, windows_of
from indexer.sources.dataset import open_dataset
from indexer.sources.grid import KilometreGrid
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.sources.sentinel2 import Sentinel2Source
from tests.indexer.conftest import write_raster
from tests.indexer.stac_server import scene
from wildsat_core.types import BBox


@pytest.mark.parametrize("seed", range(20))
def test_runs_hold_the_blocks_that_windows_touch_and_no_others(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2)
    block = tuple(rng.integers(1, 20, 2).tolist())
    corners = rng.integers(-10, 60, (rng.integers(0, 5), 2))
    windows = [
        PixelWindow(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, rng.integers(0, 25, (9, 2)), strict=False)
    ]
    wanted = set()
    for left, top, right, bottom in windows:
        wanted |= {
            (y // block[0], x // block[1])
            for y in range(max(top, 0), min(bottom, height))
            for x in range(max(left, 0), min(right, width))
        }
    given = []
    runs = list(runs_of_blocks(windows, (height, width), block, 10**6))
    for left, top, right, bottom in runs:
        assert left % block[1] == top % block[0] == 0
        assert bottom == min(top + block[0], height)
        given += [(top // block[0], x // block[1]) for x in range(left, right, block[1])]
        assert right == width or right % block[1] == 0
    assert sorted(given) == sorted(wanted)
    side_by_side = {(row, column) for row, column in wanted if (row, column - 1) not in wanted}
    assert len(runs) == len(side_by_side)


def test_no_more_blocks_than_there_is_room_for_are_fetched():
    windows = [PixelWindow(0, 0, 50, 30)]
    assert [tuple(run) for run in runs_of_blocks(windows, (30, 50), (10, 10), 7)] == [(0, 0, 50, 10), (0, 10, 20, 20)]
    assert list(runs_of_blocks(windows, (30, 50), (10, 10), 0)) == []


def test_a_box_that_is_not_in_the_plane_of_the_system_has_no_window():
    bounds = np.array([[10.0, 49, 11, 50], [-170, -80, -169, -79]])
    [window] = windows_of(bounds, "+proj=gnom +lat_0=50 +lon_0=10", ~Affine.scale(1000, -1000), 100)
    assert window.left < 0 < window.right


@pytest.mark.parametrize("grid", [KilometreGrid(2.56, 2.56), PixelGrid(256, 256)])
def test_tiles_of_a_cloud_optimised_file_take_a_fifth_of_a_request_each(server, grid):
    open_dataset.cache_clear()
    values = np.random.default_rng(0).integers(1, 255, (1, 2048, 8192), np.uint8)
    path = write_raster(server.folder / "plain.tif", values, "EPSG:32614", 500_000, 4_000_000, 10)
    options = {"blocksize": 512, "compress": "none", "overviews": "none"}
    rasterio.shutil.copy(path, server.folder / "cog.tif", driver="COG", **options)
    px = 256 if isinstance(grid, KilometreGrid) else None
    part = BBox(-98.8, 36.0, -98.6, 36.15)  # of a wide file, so that its rows of blocks are far from one another
    source = RasterSource(f"{server.url}/cog.tif", grid, bands=("any",), tile_px=px, area=part)
    candidates = [c for part in source.partitions() for c in source.candidates(part)]
    tiles = sum(len(c.tiles) for c in read_chunks(source, candidates, ReadOptions(thumbnail_px=None), workers=0))
    open_dataset.cache_clear()
    assert tiles > 30
    assert len(server.ranges) <= 0.2 * tiles


def test_what_was_fetched_is_all_that_tiles_need(server):
    area = scene(server, "one", "2022-06-01", 1.0, 1200, cog=True)
    day = dt.date(2022, 6, 1)
    check_nothing_more_is_asked(server, Sentinel2Source(server.url, area, day, day, KilometreGrid(2.56, 2.56)))


@pytest.mark.parametrize("grid", [KilometreGrid(0.64, 0.64), KilometreGrid(1.28, 1.28)])
def test_so_is_that_of_a_file_with_a_mask_and_overviews(server, grid):
    values = np.random.default_rng(0).integers(1, 255, (3, 512, 512), np.uint8)
    path = write_raster(server.folder / "plain.tif", values, "EPSG:32614", 592_000, 3_707_000, 10)
    with rasterio.open(path, "r+") as plain:
        plain.write_mask(np.tile(np.arange(512) > 100, (512, 1)))
    rasterio.shutil.copy(path, server.folder / "cog.tif", driver="COG", blocksize=128, compress="deflate")
    check_nothing_more_is_asked(server, RasterSource(f"{server.url}/cog.tif", grid, tile_px=64))


def check_nothing_more_is_asked(server, source):
    open_dataset.cache_clear()
    some = list(source.candidates())[:CHUNK_TILES]
    source.prepare(some)
    asked = len(server.ranges)
    assert asked
    missing = [source.read(candidate).missing for candidate in some]
    assert min(missing) < 0.5
    assert len(server.ranges) == asked


def test_what_can_not_be_fetched_is_told_by_the_tiles(server):
    area = scene(server, "one", "2022-06-01", 1.0, 1200)
    day = dt.date(2022, 6, 1)
    source = Sentinel2Source(server.url, area, day, day, KilometreGrid(2.56, 2.56))
    some = list(source.candidates())[:3]
    (server.folder / "one-visual.tif").unlink()
    chunk = read_chunk(source, ReadOptions(), some)
    assert chunk.left_out.as_dict() == {"unreadable": 3}
