import datetime as dt
import pickle

import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
from PIL import Image
from rasterio.enums import ColorInterp

from indexer.sources.dataset import open_dataset
from indexer.sources.folder import FolderSource
from indexer.sources.grid import KilometreGrid
from indexer.sources.pixels import Stretch
from indexer.sources.protocol import Candidate, LeftOut
from indexer.sources.raster import PixelGrid, RasterSource
from tests.indexer.conftest import write_raster
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import BBox

GRID = KilometreGrid(size_km=800, step_km=800)


def by_centre(source):
    return {c.tile.lon_lat: c for c in source.candidates()}


def test_a_kilometre_tile_shows_the_ground_in_its_box(globe):
    source = RasterSource(str(globe), GRID, tile_px=32)
    for candidate in list(source.candidates())[40:400:60]:
        reading, box = source.read(candidate), candidate.tile.bbox
        assert reading.missing == 0
        assert reading.pixels.shape == (3, 32, 32)
        rows = box.north - (np.arange(32) + 0.5) / 32 * (box.north - box.south)
        green = reading.pixels[1].mean(axis=1)
        assert np.abs(green - (rows + 90) / 180 * 250).max() < 1.5  # north is up


def test_a_tile_across_the_antimeridian_is_whole(globe):
    source = RasterSource(str(globe), GRID, tile_px=32)
    crossing = [c for c in source.candidates() if c.tile.bbox.crosses_antimeridian and abs(c.tile.lon_lat[1]) < 80]
    assert len(crossing) > 20
    for candidate in crossing:
        reading, box = source.read(candidate), candidate.tile.bbox
        lon = box.west + (np.arange(32) + 0.5) / 32 * box.width_deg
        expected = (np.cos(np.radians(lon)) + 1) * 127
        assert reading.missing == 0
        assert np.abs(reading.pixels[0].mean(axis=0) - expected).max() < 2.5


def test_the_poles_are_tiles_without_holes(globe):
    source = RasterSource(str(globe), GRID, tile_px=32)
    tiles = list(source.candidates())
    for candidate, green in ((tiles[0], 250), (tiles[-1], 0)):
        reading = source.read(candidate)
        assert reading.missing == 0
        assert reading.pixels[1, 16, 16] == pytest.approx(green, abs=3)  # the pole itself is in the middle
        assert abs(float(reading.pixels[1, 16, 0]) - green) > 3  # and its neighbourhood around it


def test_listing_is_the_same_each_time_and_counted(globe):
    source = RasterSource(str(globe), GRID, area=BBox(170, -30, -150, 30))
    ids = [c.tile.tile_id for c in source.candidates()]
    assert ids == [c.tile.tile_id for c in pickle.loads(pickle.dumps(source)).candidates()]
    assert len(set(ids)) == len(ids) == source.count() > 10
    assert all(i.startswith("globe-800x800km-r") for i in ids)


def test_a_picture_without_georeference_needs_an_extent(globe, tmp_path):
    path = tmp_path / "world map (1).png"
    with rasterio.open(globe) as raster:
        Image.fromarray(raster.read().transpose(1, 2, 0)).save(path)
    with pytest.raises(SourceError, match="--extent"):
        RasterSource(str(path), GRID)
    with pytest.raises(InvalidInputError, match="must have width and height"):
        RasterSource(str(path), GRID, extent=BBox(5, 45, 5, 48))
    placed = RasterSource(str(path), GRID, extent=BBox(-180, -90, 180, 90), tile_px=32)
    same = RasterSource(str(globe), GRID, tile_px=32)
    a, b = list(placed.candidates())[100], list(same.candidates())[100]
    assert a.tile.bbox == b.tile.bbox
    assert a.tile.tile_id.startswith("world-map-1-")
    assert np.array_equal(placed.read(a).pixels, same.read(b).pixels)


def test_a_tiff_without_georeference_is_placed_by_its_extent(tmp_path):
    values = np.random.default_rng(1).integers(1, 255, (3, 40, 40)).astype(np.uint8)
    path = tmp_path / "bare.tif"
    Image.fromarray(values.transpose(1, 2, 0)).save(path)
    source = RasterSource(str(path), PixelGrid(20, 20), extent=BBox(-98, 33, -96, 35))
    tiles = [c.tile for c in source.candidates()]
    assert [t.bbox.as_tuple() for t in tiles[:2]] == [(-98, 34, -97, 35), (-97, 34, -96, 35)]
    assert np.array_equal(source.read(list(source.candidates())[3]).pixels, values[:, 20:, 20:])


@pytest.fixture
def utm(tmp_path):
    """100 x 70 pixels of 10 m in UTM 14 N near 33.5 N, 98 W, uint16, with a corner of nodata."""
    values = np.random.default_rng(2).integers(100, 3000, (4, 70, 100)).astype(np.uint16)
    values[:, :30, :30] = 0
    return write_raster(tmp_path / "utm.tif", values, "EPSG:32614", 592_000, 3_707_000, 10, nodata=0), values


def test_pixel_tiles_are_the_files_own_pixels_and_the_last_are_flush(utm):
    path, values = utm
    source = RasterSource(str(path), PixelGrid(32, 32), band_indexes=(3, 2, 1), captured_on=dt.date(2023, 7, 1))
    tiles = list(source.candidates())
    assert source.count() == len(tiles) == 3 * 4
    last = tiles[-1]
    assert last.tile.tile_id == "utm-32px-y00038-x00068-20230701"
    assert np.array_equal(source.read(last).pixels, values[[2, 1, 0], 38:70, 68:100])
    assert last.tile.gsd_m == pytest.approx(10)
    assert last.tile.captured_on == dt.date(2023, 7, 1)


def test_the_outline_of_a_projected_tile_is_exact_and_within_its_box(utm):
    source = RasterSource(str(utm[0]), PixelGrid(32, 32))
    tile = next(source.candidates()).tile
    outline = shapely.from_wkb(tile.footprint_wkb)
    assert tile.bbox.west < -98.0 + 0.1
    assert 33.4 < tile.bbox.south < 33.6
    assert shapely.box(*tile.bbox.as_tuple()).buffer(1e-9).contains(outline)
    assert outline.area < shapely.box(*tile.bbox.as_tuple()).area  # it is turned a little


def test_missing_pixels_are_measured_and_a_stretch_makes_bytes(utm):
    source = RasterSource(str(utm[0]), PixelGrid(32, 32), stretch=Stretch(0, 3000))
    first, second = list(source.candidates())[:2]
    reading = source.read(first)
    assert reading.missing == pytest.approx(30 * 30 / 32**2)
    assert reading.pixels.dtype == np.uint8
    assert source.read(second).missing == 0


def test_a_nodata_value_may_be_given(utm, tmp_path):
    path = write_raster(tmp_path / "nine.tif", np.full((3, 8, 8), 9, np.uint8), "EPSG:4326", 10, 50, 0.1)
    tile = next(RasterSource(str(path), PixelGrid(8, 8)).candidates())
    assert RasterSource(str(path), PixelGrid(8, 8)).read(tile).missing == 0
    assert RasterSource(str(path), PixelGrid(8, 8), nodata=9).read(tile).missing == 1


def test_kilometre_tiles_of_a_projected_raster_lie_within_it(tmp_path):
    values = np.random.default_rng(3).integers(1, 255, (3, 300, 300)).astype(np.uint8)
    path = write_raster(tmp_path / "utm1.tif", values, "EPSG:32614", 592_000, 3_707_000, 100)
    source = RasterSource(str(path), KilometreGrid(5, 5))
    tiles = list(source.candidates())
    assert len(tiles) == pytest.approx(36, abs=10)
    readings = [source.read(tile) for tile in tiles]
    assert readings[0].pixels.shape == (3, 50, 50)  # the raster's own 100 m
    assert sum(r.missing == 0 for r in readings) >= 16  # those that don't reach over an edge
    assert max(r.missing for r in readings) < 0.8


def test_a_projected_raster_across_the_antimeridian_lists_few_tiles(tmp_path):
    values = np.ones((3, 100, 100), np.uint8)
    path = write_raster(tmp_path / "fiji.tif", values, "EPSG:32701", 120_000, 8_130_000, 1000)
    tiles = [c.tile for c in RasterSource(str(path), KilometreGrid(20, 20)).candidates()]
    assert 9 <= len(tiles) <= 36
    assert {t.lon_lat[0] > 0 for t in tiles} == {True, False}


def test_an_area_that_does_not_meet_the_raster_is_refused(utm):
    source = RasterSource(str(utm[0]), GRID, area=BBox(10, 40, 11, 41))
    with pytest.raises(InvalidInputError, match="does not meet"):
        list(source.candidates())


def test_an_unusable_file_or_band_is_named(utm, tmp_path):
    with pytest.raises(SourceError, match="nowhere"):
        RasterSource(str(tmp_path / "nowhere.tif"), GRID)
    with pytest.raises(SourceError, match="has 4 bands"):
        RasterSource(str(utm[0]), GRID, band_indexes=(3, 4, 5))


def test_a_damaged_file_is_an_error_of_its_tile(utm, tmp_path):
    path = tmp_path / "cut.tif"
    path.write_bytes(utm[0].read_bytes()[:20_000])
    source = RasterSource(str(path), PixelGrid(32, 32))
    last = list(source.candidates())[-1]
    with pytest.raises(SourceError, match="can't be read"):
        source.read(last)


def test_an_alpha_band_is_the_mask_and_not_a_second_one(tmp_path):
    values = np.full((4, 100, 100), 100, np.uint8)
    values[:, :, :50] = 0
    values[3, :, 50:] = 255
    path = write_raster(tmp_path / "rgba.tif", values, "EPSG:4326", 10, 50, 0.01, photometric="RGB", alpha="YES")
    source = RasterSource(str(path), KilometreGrid(20, 20))
    readings = [source.read(candidate) for candidate in source.candidates()]
    assert min(reading.missing for reading in readings) == 0
    assert max(reading.missing for reading in readings) == 1
    assert set(np.unique([reading.pixels.max() for reading in readings])) == {0, 100}


@pytest.mark.parametrize("in_file", [True, False])
def test_nodata_is_kept_out_of_resampling(tmp_path, in_file):
    values = np.full((3, 100, 100), 100, np.uint8)
    values[:, 30:60, 30:60] = 9
    path = write_raster(tmp_path / "nine.tif", values, "EPSG:4326", 10, 50, 0.01, nodata=9 if in_file else None)
    source = RasterSource(str(path), KilometreGrid(20, 20), nodata=None if in_file else 9, tile_px=33)
    readings = [source.read(candidate) for candidate in source.candidates()]
    assert {0, 100} == {int(v) for reading in readings for v in np.unique(reading.pixels)}
    assert 0 < max(reading.missing for reading in readings) <= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 13])
@pytest.mark.parametrize("alpha", [False, True])
def test_missing_pixels_are_seen_whatever_the_bands(tmp_path, dtype, bands, alpha):
    values = np.full((bands + alpha, 100, 100), 100, dtype)
    hole = np.s_[:, 30:60, 30:60]
    values[hole if not alpha else np.s_[-1:, 30:60, 30:60]] = 0
    path = write_raster(tmp_path / "hole.tif", values, "EPSG:4326", 10, 50, 0.01, nodata=None if alpha else 0)
    if alpha:
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [*file.colorinterp[:-1], ColorInterp.alpha]
    what = {"band_indexes": (1,), "bands": ("any",), "stretch": Stretch(-200, 200)}
    squares = RasterSource(str(path), PixelGrid(50, 50), **what)
    readings = [squares.read(candidate) for candidate in squares.candidates()]
    assert [r.missing for r in readings] == pytest.approx([0.16, 0.08, 0.08, 0.04])
    assert all((r.pixels == 0).mean() == pytest.approx(r.missing) for r in readings)
    cells = RasterSource(str(path), KilometreGrid(12, 12), tile_px=32, **what)
    readings = [cells.read(candidate) for candidate in cells.candidates()]
    plain = RasterSource(str(_plain_hole(tmp_path)), KilometreGrid(12, 12), tile_px=32, **what)
    assert [r.missing for r in readings] == [plain.read(candidate).missing for candidate in plain.candidates()]
    assert all((r.pixels == 0).mean() == pytest.approx(r.missing) for r in readings)


def _plain_hole(folder):
    """The picture of the test above in one band of bytes, whose mask GDAL makes itself."""
    values = np.full((1, 100, 100), 100, np.uint8)
    values[:, 30:60, 30:60] = 0
    return write_raster(folder / "plain.tif", values, "EPSG:4326", 10, 50, 0.01, nodata=0)


def test_a_disk_seen_from_space_is_cut_where_it_shows_the_globe(tmp_path):
    values = np.random.default_rng(0).integers(1, 255, (3, 110, 110)).astype(np.uint8)
    crs = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"
    path = write_raster(tmp_path / "disk.tif", values, crs, -5_500_000, 5_500_000, 100_000)
    source = RasterSource(str(path), PixelGrid(10, 10))
    listed = list(source.candidates())
    tiles = [c.tile for c in listed if isinstance(c, Candidate)]
    off = [c for c in listed if isinstance(c, LeftOut)]
    assert len(listed) == 121
    assert {c.reason for c in off} == {"off the globe"}
    assert 4 <= len(off) < 40
    outlines = [shapely.from_wkb(t.footprint_wkb) for t in tiles if t.footprint_wkb]
    assert 60 < len(outlines) < len(tiles)
    assert np.isfinite([outline.bounds for outline in outlines]).all()
    with pytest.raises(SourceError, match=r"reaches off the globe .* --tile-px"):
        list(RasterSource(str(path), KilometreGrid(500, 500)).candidates())
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    with pytest.raises(SourceError, match="not tied to the Earth"):
        RasterSource(str(write_raster(tmp_path / "local.tif", values, local, 100, 100, 2)), PixelGrid(10, 10))


@pytest.mark.parametrize("west", [-180, 0, 60, 180, -360])
def test_a_globe_in_degrees_may_begin_anywhere(globe, tmp_path, west):
    with rasterio.open(globe) as raster:
        values = np.roll(raster.read(), -2 * (west + 180), axis=2)
    source = RasterSource(str(write_raster(tmp_path / "g.tif", values, "EPSG:4326", west, 90, 0.5)), GRID, tile_px=32)
    usual = RasterSource(str(globe), GRID, tile_px=32)
    for moved, tile in list(zip(source.candidates(), usual.candidates(), strict=True))[::23]:
        assert moved.tile.bbox == tile.tile.bbox
        reading = source.read(moved)
        assert reading.missing == 0
        difference = np.abs(reading.pixels.astype(int) - usual.read(tile).pixels)[:2]  # blue is noise
        assert difference.mean() < 1  # two seams lie elsewhere


@pytest.mark.parametrize("by_extent", [True, False])
def test_a_raster_in_degrees_over_180_keeps_what_lies_beyond(tmp_path, by_extent):
    values = np.broadcast_to(np.arange(1, 201), (3, 100, 200)).astype(np.uint8)  # value: column
    path = write_raster(tmp_path / "fiji.tif", values, None if by_extent else "EPSG:4326", 170, -12, 0.1)
    extent = BBox(170, -22, -170, -12) if by_extent else None
    source = RasterSource(str(path), KilometreGrid(50, 50), extent=extent, tile_px=32)
    whole = 0
    for candidate in source.candidates():
        reading, box = source.read(candidate), candidate.tile.bbox
        if reading.missing:
            continue
        whole += 1
        expected = ((candidate.tile.lon_lat[0] - 170) % 360) / 0.1 + 0.5  # value at the tile's centre
        assert reading.pixels.mean() == pytest.approx(expected, abs=0.6), box
    assert whole > 0.7 * source.count()


def test_next_years_raster_of_the_same_name_has_tiles_of_its_own(utm):
    def ids(date, grid):
        return [c.tile.tile_id for c in RasterSource(str(utm[0]), grid, captured_on=date).candidates()]

    for grid in (PixelGrid(32, 32), KilometreGrid(0.3, 0.3)):
        undated, before, after = (ids(date, grid) for date in (None, dt.date(2022, 7, 1), dt.date(2023, 7, 1)))
        assert not set(before) & set(after)
        assert before == [f"{tile_id}-20220701" for tile_id in undated]


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "ground"),
    [
        ("EPSG:32632", 9, 60, 10.0),  # as its system counts, though not to the last millimetre
        ("EPSG:6933", 9, 70, 25.27),  # cylindrical, of equal area: true at 30 degrees
        ("EPSG:3857", 9, 60, 5.0),
        ("+proj=moll +lon_0=0 +datum=WGS84", 150, 60, 20.53),  # sheared, far from its meridian
    ],
)
def test_pixels_are_as_long_as_on_the_ground(crs, lon, lat, ground, tmp_path):
    (x,), (y,) = rasterio.warp.transform("EPSG:4326", crs, [lon], [lat])
    path = write_raster(tmp_path / "it.tif", np.ones((3, 30, 30), np.uint8), crs, x - 150, y + 150, 10)
    tile = next(RasterSource(str(path), PixelGrid(30, 30)).candidates()).tile
    assert tile.gsd_m == pytest.approx(ground, rel=0.01)
    assert open_dataset(str(path)).georeference.pixel_m() == pytest.approx(ground, rel=0.01)
    assert FolderSource(str(tmp_path)).candidates().__next__().tile.gsd_m == tile.gsd_m


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3031", -90), ("EPSG:3413", 90)])
def test_a_small_raster_over_a_pole_lists_the_cells_around_it_and_not_those_of_the_globe(crs, pole, tmp_path):
    path = write_raster(tmp_path / "it.tif", np.ones((3, 96, 96), np.uint8), crs, -48_000, 48_000, 1000)
    grid = KilometreGrid(20, 20)
    source = RasterSource(str(path), grid, tile_px=16)
    tiles = [c.tile for c in source.candidates()]
    assert 20 < len(tiles) < 60  # 96 x 96 km hold 23 of them
    assert all(abs(tile.lon_lat[1] - pole) < 0.8 for tile in tiles)
    assert any(abs(tile.bbox.north if pole > 0 else tile.bbox.south) == 90 for tile in tiles)
    around = BBox(170, -90, -170, 90)  # a part of it, on both sides of the antimeridian
    some = [c.tile for c in RasterSource(str(path), grid, tile_px=16, area=around).candidates()]
    assert {tile.tile_id for tile in some} < {tile.tile_id for tile in tiles}
    assert {tile.lon_lat[0] > 0 for tile in some} == {True, False}
    assert source.count() >= len(tiles)


def test_rows_that_run_along_parallels_have_their_length(tmp_path):
    with rasterio.open(
        *(tmp_path / "turned.tif", "w"),
        driver="GTiff",
        width=30,
        height=30,
        count=3,
        dtype="uint8",
        crs="EPSG:4326",
        transform=rasterio.Affine(0, 0.001, 10, -0.001, 0, 60),
    ) as out:
        out.write(np.ones((3, 30, 30), np.uint8))
    tile = next(RasterSource(str(tmp_path / "turned.tif"), PixelGrid(30, 30)).candidates()).tile
    assert tile.gsd_m == pytest.approx(55.8, rel=1e-3)  # a thousandth of a degree of longitude at 60 degrees


def test_metres_of_a_mercator_raster_are_the_grounds(tmp_path):
    values = np.ones((3, 300, 300), np.uint8)
    path = write_raster(tmp_path / "merc.tif", values, "EPSG:3857", 1_000_000, 8_399_738, 10)  # from 60 N southwards
    tile = next(RasterSource(str(path), PixelGrid(100, 100)).candidates()).tile
    assert tile.gsd_m == pytest.approx(5, rel=1e-3)
    square = next(RasterSource(str(path), KilometreGrid(0.5, 0.5)).candidates())
    assert square.locator[0] == 100


def test_a_tile_around_a_pole_is_its_parallel_and_has_no_outline_in_degrees(tmp_path):
    values = np.ones((3, 300, 300), np.uint8)
    path = write_raster(tmp_path / "polar.tif", values, "EPSG:3995", -1_500_000, 1_500_000, 10_000)
    tiles = [c.tile for c in RasterSource(str(path), PixelGrid(100, 100)).candidates()]
    assert (tiles[4].bbox.width_deg, tiles[4].bbox.north, tiles[4].footprint_wkb) == (360, 90, None)
    assert all(shapely.is_valid(shapely.from_wkb(t.footprint_wkb)) for t in tiles if t.footprint_wkb)


@pytest.fixture
def noisy(tmp_path):
    """The same noise of 10 m pixels twice: without overviews, and with overviews that kept one pixel in four, in 16.

    Half the noise lies around 100, half around 140; a hole without data is in the north-west.
    """
    values = np.random.default_rng(4).integers(80, 121, (3, 1024, 1024)).astype(np.uint8)
    values[:, :, 512:] += 40
    values[:, :200, :200] = 0
    place = ("EPSG:32614", 592_000, 3_707_000, 10)
    plain, coarser = (write_raster(tmp_path / n, values, *place, nodata=0, tiled=True) for n in ("a.tif", "b.tif"))
    with rasterio.open(coarser, "r+") as out:
        out.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    return str(plain), str(coarser)


@pytest.mark.parametrize(("tile_px", "from_overview"), [(256, False), (136, False), (100, True), (32, True)])
def test_coarse_tiles_are_made_from_overviews_and_fine_ones_from_the_pixels(noisy, tile_px, from_overview):
    plain, coarser = (RasterSource(path, KilometreGrid(2.56, 2.56), tile_px=tile_px) for path in noisy)
    for one, other in zip(plain.candidates(), coarser.candidates(), strict=True):
        full, quick = plain.read(one), coarser.read(other)
        assert quick.missing == pytest.approx(full.missing, abs=0.02)
        assert quick.pixels.mean() == pytest.approx(full.pixels.mean(), abs=1.5)
        # One pixel in four, taken as it is, keeps the noise that a mean of four lessens.
        noise, lessened = (np.abs(np.diff(pixels.astype(int))).mean() for pixels in (quick.pixels, full.pixels))
        assert (noise > 1.2 * lessened) == from_overview
        assert np.array_equal(quick.pixels, full.pixels) == (not from_overview)


def test_a_tile_near_a_pole_is_made_from_an_overview_too(tmp_path):
    values = np.random.default_rng(5).integers(1, 255, (3, 512, 512)).astype(np.uint8)
    path = write_raster(tmp_path / "polar.tif", values, "EPSG:3995", -256_000, 256_000, 1000, tiled=True)
    source = RasterSource(str(path), KilometreGrid(200, 200), tile_px=32)
    [cell] = [c for c in source.candidates() if c.tile.bbox.south > 88.5]
    before = source.read(cell).pixels
    with rasterio.open(path, "r+") as out:
        out.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    open_dataset.cache_clear()
    after = source.read(cell).pixels
    assert after.std() > 1.2 * before.std()
    assert after.mean() == pytest.approx(before.mean(), abs=6)


@pytest.mark.parametrize("grid", [KilometreGrid(300, 300), PixelGrid(16, 8)])
def test_partitions_of_a_raster_hold_every_tile_once(globe, grid, monkeypatch):
    monkeypatch.setattr("indexer.sources.raster.MOST_IN_PARTITION", 400)
    source = RasterSource(str(globe), grid, tile_px=32 if isinstance(grid, KilometreGrid) else None)
    partitions = list(source.partitions())
    parts = [[c.tile.tile_id for c in source.candidates(partition)] for partition in partitions]
    assert [len(part) for part in parts] == [partition.at_most for partition in partitions]
    assert len({partition.key for partition in partitions}) == len(partitions)
    assert sorted(i for part in parts for i in part) == sorted(c.tile.tile_id for c in source.candidates())
