"""Every tile of a known Earth shows its place: in any coordinate system, orientation, type of number, mask and format.

A small part of it runs with the suite; `make test-imagery` runs all of it (WILDSAT_IMAGERY_EXAMPLES says how much).
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from indexer.sources.dataset import open_dataset
from indexer.sources.georeference import OffTheGlobeError
from indexer.sources.grid import KilometreGrid
from indexer.sources.pixels import Stretch
from indexer.sources.protocol import Candidate
from indexer.sources.raster import PixelGrid, RasterSource
from tests.indexer import known_earth as earth
from wildsat_core.errors import SourceError

EXAMPLES = int(os.environ.get("WILDSAT_IMAGERY_EXAMPLES", "0"))
FULL = EXAMPLES > 0
few = settings(
    max_examples=EXAMPLES or 25,
    deadline=None,
    database=None,
    derandomize=not FULL,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WINDOW = 32
TILE_PX = 24


def source_of(raster, path, grid, **options):
    """The source under test, set to give colours from 1 to 254 in eight bits."""
    bands = ("red", "green", "blue")[: raster.bands]
    stretch = Stretch(*earth.RANGES[raster.dtype])
    indexes = tuple(range(1, raster.bands + 1))
    open_dataset.cache_clear()
    return RasterSource(str(path), grid, bands=bands, band_indexes=indexes, stretch=stretch, **options)


def listed(source):
    return [c for c in source.candidates() if isinstance(c, Candidate)]


def spread(items, count):
    return items[:: max(len(items) // count, 1)]


def check_pixel_tiles(raster, path, most=6):
    """Tiles along the raster's own pixels: those pixels, where the file has data, in a box around their places."""
    source = source_of(raster, path, PixelGrid(WINDOW, WINDOW))
    tiles = listed(source)
    assert len(tiles) == len({c.tile.tile_id for c in tiles}) > 0
    for candidate in spread(tiles, most):
        row, column = (int(part) for part in re.search(r"-y(\d+)-x(\d+)", candidate.tile.tile_id).groups())
        check_box(raster, candidate.tile, column, row)
        cut = np.s_[row : row + WINDOW, column : column + WINDOW]
        hole = raster.hole[cut]
        reading = source.read(candidate)
        if np.isfinite(raster.centres[1][cut]).all():  # else what the file has there was not painted
            assert reading.missing == pytest.approx(hole.mean(), abs=1e-9)
            expected = np.where(hole, 0, source.stretch(raster.stored[(np.s_[:], *cut)]))
            assert np.array_equal(reading.pixels, expected)
        own = raster.transform @ earth.Affine.translation(column, row)
        assert np.allclose(reading.place.transform, own[:6], atol=1e-5 * abs(own.determinant) ** 0.5)


def check_box(raster, tile, column, row):
    """The box of a window holds its places, and little more."""
    at = np.linspace(0, WINDOW, 9)
    lon, lat = raster.lon_lat(*np.meshgrid(column + at, row + at))
    on_globe = np.isfinite(lat)
    lon, lat, box = lon[on_globe], lat[on_globe], tile.bbox
    slack = 0.03 * (lat.max() - lat.min()) + 1e-9
    assert box.south <= lat.min() + slack
    assert box.north >= lat.max() - slack
    if not on_globe.all():
        return
    near_pole = max(abs(lat.min()), abs(lat.max())) > 89.9
    assert near_pole or (lat.min() - box.south < 5 * slack and box.north - lat.max() < 5 * slack)
    if box.width_deg < 359.9:
        slack = 0.03 * box.width_deg + 1e-9
        eastwards = earth.turns_east(box.west - slack, lon)
        assert eastwards.max() <= box.width_deg + 2 * slack
        if not near_pole:
            assert eastwards.min() < 5 * slack
            assert eastwards.max() > box.width_deg - 5 * slack
    middle_row, middle_column = row + WINDOW // 2, column + WINDOW // 2
    true_m = earth.distance_m(
        *raster.lon_lat(middle_column, middle_row), *raster.lon_lat(middle_column, middle_row + 1)
    )
    assert 0.4 < tile.gsd_m / true_m < 2.5


def check_kilometre_tiles(raster, path, most=8, size_km=None):
    """Tiles on the grid of the globe: each pixel has the colour of its place, wherever the raster has it."""
    pixel_km = raster.pixel_rad * earth.EARTH_RADIUS_M / 1000
    size_km = size_km or min(max(pixel_km * 20, 0.2), 2000)
    grid = KilometreGrid(size_km, size_km)
    source = source_of(raster, path, grid, tile_px=TILE_PX)
    try:
        tiles = listed(source)
    except OffTheGlobeError:  # a box of degrees holds no part that is no place
        assert not np.isfinite(raster.centres[1]).all()
        return
    check_listing(raster, grid, {c.tile.tile_id for c in tiles})
    assert len(tiles) == len({c.tile.tile_id for c in tiles})
    assert tiles or raster.narrow_km < size_km  # no cell has its centre within a strip beside a pole
    for candidate in spread(tiles, most):
        tile, reading = candidate.tile, source.read(candidate)
        lon, lat = tile.lon_lat
        if abs(lat) > 85:
            row = int(re.search(r"-r(\d+)-", tile.tile_id).group(1))
            lon = float(re.search(r"-c(\d+)", tile.tile_id).group(1))
            cell = grid.cell(row, int(lon))
            places = earth.polar_pixels(cell.lon, cell.lat, size_km, TILE_PX)
        else:
            places = earth.box_pixels(tile.bbox, TILE_PX)
        check_colours(raster, reading, *places, size_km / TILE_PX / 6371)


def check_listing(raster, grid, ids):
    """Cells whose centre the raster holds are listed."""
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, raster.height, 40), rng.integers(0, raster.width, 40)
    for row, column in zip(rows, columns, strict=True):
        lon, lat = (axis[row, column] for axis in raster.centres)
        if not np.isfinite(lat):
            continue
        grid_row = round((lat + 90) / 180 * (grid.rows - 1))
        count = grid.columns(grid_row)
        cell = grid.cell(grid_row, int((lon + 180) % 360 / 360 * count) % count)
        at_column, at_row = raster.positions(cell.lon, cell.lat)
        if 0.5 < at_column < raster.width - 0.5 and 0.5 < at_row < raster.height - 0.5:
            assert any(grid.cell_id(cell) in tile_id for tile_id in ids), (cell, len(ids))


def check_colours(raster, reading, lon, lat, tile_pixel_rad):
    """Pixels of a resampled tile against the colours of their places."""
    wanted = earth.colours(lon, lat, raster.detail)[: raster.bands] * 255
    tolerance = 1.5 + raster.detail * earth.LEVELS * 255 * max(raster.pixel_rad, tile_pixel_rad) * 0.75
    read = reading.pixels.astype(float)
    valid = reading.pixels.any(axis=0)
    assert reading.missing == pytest.approx(1 - valid.mean(), abs=1e-9)
    inside, outside = _well_within(raster, lon, lat, tile_pixel_rad / raster.pixel_rad)
    # At an edge, or a hole's, the pixels that one is made of lie on one side of it.
    assert (np.abs(read - wanted) <= tolerance * np.where(inside, 1, 2))[:, valid].all()
    assert valid[inside].all(), f"{(~valid[inside]).sum()} pixels are missing"
    assert not valid[outside].any(), f"{valid[outside].sum()} pixels are made up"


def _well_within(raster, lon, lat, tile_pixels):
    """Where the raster has data all around, and where it has none, two pixels and more from any edge."""
    column, row = raster.positions(lon, lat)
    margin = 2.0 + 1.5 * tile_pixels
    first = raster.width // 4 if raster.mask != "none" else 0
    finite = np.isfinite(column) & np.isfinite(row)
    column, row = np.where(finite, column, -1e9), np.where(finite, row, -1e9)
    inside = (column > first + margin) & (column < raster.width - margin)
    inside &= (row > margin) & (row < raster.height - margin)
    beyond = np.ones(column.shape, bool)
    for turns in (-1, 0, 1):
        across, down = raster.positions(lon, lat, turns)
        with np.errstate(invalid="ignore"):
            outside = (across < first - margin) | (across > raster.width + margin)
            beyond &= outside | (down < -margin) | (down > raster.height + margin)
    if earth.is_degenerate(raster):  # a place may be in the raster twice
        beyond &= False
    # Where the globe is torn, the neighbours of a place lie elsewhere in the raster, or off it.
    off = ~np.isfinite(raster.centres[1])
    if off.any():
        inside &= ~_near(off, column, row, int(margin) + 1)
    return inside, beyond & finite


def _near(flags, column, row, margin):
    """Whether a flag is set within some pixels of each position."""
    near = np.zeros(column.shape, bool)
    height, width = flags.shape
    for dy in range(-margin, margin + 1):
        for dx in range(-margin, margin + 1):
            y = np.clip(row.astype(int) + dy, 0, height - 1)
            x = np.clip(column.astype(int) + dx, 0, width - 1)
            near |= flags[y, x]
    return near


@st.composite
def rasters(draw):
    crs = draw(st.sampled_from(sorted(earth.SYSTEMS)))
    west, south, east, north = earth.SYSTEMS[crs]
    lon = draw(st.floats(west, east))
    lat = draw(st.floats(south, north))
    pixel_m = earth.log_uniform(5, 3000, draw(st.floats(0, 1)))
    raster = earth.place(crs, (lon + 180) % 360 - 180, lat, pixel_m, draw(st.sampled_from(sorted(earth.TURNS))))
    return earth.with_values(raster, draw(st.sampled_from(sorted(earth.RANGES))), draw(st.sampled_from(earth.MASKS)))


def test_a_raster_over_the_antimeridian_is_read_on_both_sides_and_nowhere_else(tmp_path):
    raster = earth.place("EPSG:4326", 180, 0, 5, "mirrored")
    check_kilometre_tiles(raster, raster.write(tmp_path))


def test_a_raster_that_reaches_off_the_globe_is_cut_along_its_own_pixels_only(tmp_path):
    raster = earth.place("EPSG:6933", 0, 80, 3000, "mirrored")
    path = raster.write(tmp_path)
    check_pixel_tiles(raster, path)
    with pytest.raises(OffTheGlobeError, match="--tile-px"):
        listed(source_of(raster, path, KilometreGrid(60, 60), tile_px=TILE_PX))


@few
@given(raster=rasters())
def test_tiles_of_any_raster_show_their_place(raster, tmp_path):
    note(repr(raster))
    path = raster.write(tmp_path)
    check_pixel_tiles(raster, path)
    check_kilometre_tiles(raster, path)


SOME = ["EPSG:32614", "EPSG:4301", "EPSG:4807", "EPSG:3413", "EPSG:3857"]


@pytest.mark.parametrize("crs", sorted(earth.SYSTEMS) if FULL else SOME)
@pytest.mark.parametrize("turn", sorted(earth.TURNS) if FULL else ["north-up", "turned by 137"])
def test_each_system_either_way_up(crs, turn, tmp_path):
    west, south, east, north = earth.SYSTEMS[crs]
    lon = ((0.3 * west + 0.7 * east) + 180) % 360 - 180
    raster = earth.place(crs, lon, 0.4 * south + 0.6 * north, 40, turn)
    path = raster.write(tmp_path)
    check_pixel_tiles(raster, path)
    check_kilometre_tiles(raster, path)


# Half the world's width, and half its height, in the units of each system; its central meridian.
WORLDS = {
    "EPSG:4326": (180.0, 90.0),
    "EPSG:4269": (180.0, 90.0),
    "+proj=longlat +R=6371229 +no_defs": (180.0, 90.0),
    "EPSG:4806": (180.0, 90.0),  # degrees, but not from Greenwich
    "EPSG:4807": (200.0, 100.0),  # grads
    "EPSG:3857": (20037508.342789244, 20037508.342789244),
    "EPSG:3395": (20037508.342789244, 15000000.0),
    "EPSG:3832": (20037508.342789244, 18000000.0),
    "EPSG:32662": (20037508.342789244, 10018754.171394622),
    "+proj=eqc +lon_0=150 +datum=WGS84 +units=m +no_defs": (20037508.342789244, 10018754.171394622),
    "+proj=eqc +lon_0=-70 +R=6371000 +units=m +no_defs": (20015086.79602057, 10007543.398010286),
    "EPSG:6933": (17367530.445161372, 7314540.830638504),
    "+proj=mill +lon_0=10 +datum=WGS84 +units=m +no_defs": (20037508.342789244, 14675057.8548),
    "+proj=cea +lon_0=-70 +lat_ts=30 +datum=WGS84 +units=m +no_defs": (17367530.445161372, 7314540.830638504),
}
EDGES = {  # of the whole width and height, and of a pixel
    "exact": (0.0, 0.0),
    "a hair short": (-1e-7, 0.0),
    "a hair beyond": (1e-7, 0.0),
    "half a pixel beyond": (0.0, 0.5),
    "a pixel beyond": (0.0, 1.0),
}


def world(crs, edge, start=0.0, size=(144, 72)):
    """A raster of the whole world; `start` moves its west edge by a share of the globe."""
    half_x, half_y = WORLDS[crs]
    hair, pixels = EDGES[edge]
    width, height = size
    step_x, step_y = 2 * half_x * (1 + hair) / width, 2 * half_y * (1 + hair) / height
    extra = 2 * int(np.ceil(pixels))
    west = -half_x * (1 + hair) - pixels * step_x + start * 2 * half_x
    north = half_y * (1 + hair) + (pixels * step_y if half_y else 0)
    transform = earth.Affine(step_x, 0, west, 0, -step_y, north)
    if pixels == 0.5:  # gridline-registered: pixel centres on the edges
        return earth.KnownRaster(crs, transform, width + 1, height + 1)
    return earth.KnownRaster(crs, transform, width + extra, height + extra)


def painted_world(raster):
    """Colours of a world raster: beyond its edges, those of the places that lie there after a turn."""
    half_x, half_y = WORLDS[raster.crs]
    columns, rows = np.meshgrid(np.arange(raster.width) + 0.5, np.arange(raster.height) + 0.5)
    x, y = raster.transform @ (columns, rows)
    x = (x + half_x) % (2 * half_x) - half_x
    limit = half_y * (1 - 1e-9)
    inverse = ~raster.transform
    column, row = inverse @ (x, np.clip(y, -limit, limit))
    lon, lat = raster.lon_lat(column, row)
    assert np.isfinite(lat).all()
    return earth.colours(lon, lat, raster.detail)


def check_world(raster, tmp_path):
    values = np.rint(painted_world(raster) * 255).astype(np.uint8)
    raster = replace(raster)
    raster.__dict__["stored"] = values
    path = raster.write(tmp_path)
    grid = KilometreGrid(1500, 1500)
    source = source_of(raster, path, grid, tile_px=TILE_PX)
    tiles = listed(source)
    ids = [c.tile.tile_id for c in tiles]
    assert len(ids) == len(set(ids))
    top = np.degrees(np.arctan(np.sinh(np.pi))) if raster.crs in ("EPSG:3857", "EPSG:3395", "EPSG:3832") else 90.0
    if raster.crs in ("EPSG:3395", "EPSG:3832"):
        top = 78.0
    cells = [cell for cell in grid.cells() if abs(cell.lat) < top - 0.01]
    assert {f"known-{grid.cell_id(cell)}" for cell in cells} <= set(ids)
    for candidate in spread(tiles, 40 if FULL else 16):
        tile = candidate.tile
        if abs(tile.lon_lat[1]) > min(top - 8, 84):
            continue
        reading = source.read(candidate)
        wanted = earth.colours(*earth.box_pixels(tile.bbox, TILE_PX), raster.detail) * 255
        assert reading.missing == 0, tile
        tolerance = 2 + raster.detail * earth.LEVELS * 255 * raster.pixel_rad
        assert np.abs(reading.pixels - wanted).max() < tolerance, tile


@pytest.mark.parametrize("edge", sorted(EDGES))
@pytest.mark.parametrize(
    "crs", sorted(WORLDS) if FULL else ["EPSG:3857", "+proj=eqc +lon_0=150 +datum=WGS84 +units=m +no_defs"]
)
def test_a_world_raster_is_the_whole_world(crs, edge, tmp_path):
    check_world(world(crs, edge), tmp_path)


def test_the_seam_of_a_world_of_another_datum_is_no_meridian_and_all_the_same_read_right(tmp_path):
    check_world(world("EPSG:4807", "exact"), tmp_path)  # grads from Paris


@pytest.mark.parametrize("start", [0.5, 0.25, -0.5] if FULL else [0.5])
@pytest.mark.parametrize("crs", sorted(WORLDS) if FULL else ["EPSG:4269", "EPSG:3857", "EPSG:4326"])
def test_a_world_raster_may_begin_at_any_meridian(crs, start, tmp_path):
    check_world(world(crs, "exact", start), tmp_path)


def test_a_raster_that_goes_on_beyond_its_systems_range_is_read_on_both_sides(tmp_path):
    half = WORLDS["EPSG:3857"][0]
    raster = earth.KnownRaster("EPSG:3857", earth.Affine(5000, 0, half - 48 * 5000, 0, -5000, 200_000))
    path = raster.write(tmp_path)
    check_pixel_tiles(raster, path)
    source = source_of(raster, path, KilometreGrid(60, 60), tile_px=TILE_PX)
    tiles = listed(source)
    assert {c.tile.lon_lat[0] > 0 for c in tiles} == {True, False}
    whole = 0
    for candidate in tiles:
        box = candidate.tile.bbox
        wanted = earth.colours(*earth.box_pixels(box, TILE_PX), raster.detail) * 255
        reading = source.read(candidate)
        valid = reading.pixels.any(axis=0)
        tolerance = 1.5 + raster.detail * earth.LEVELS * 255 * raster.pixel_rad * 0.75
        assert np.abs(reading.pixels - wanted)[:, valid].max(initial=0) < tolerance
        whole += reading.missing == 0
    assert whole > 0.7 * len(tiles)


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "turn"),
    [
        ("EPSG:4326", 10, 50, "turned by 137"),  # numbers of places are numbers of pixels, too
        ("EPSG:4326", 180, -17, "turned by 20"),  # points on both sides of the antimeridian, as of an orbit there
        ("EPSG:32614", -98.4, 33.5, "sheared"),
    ],
)
def test_ground_control_points_place_every_tile(crs, lon, lat, turn, tmp_path):
    raster = earth.place(crs, lon, lat, 30, turn)
    check_kilometre_tiles(raster, earth.with_points(raster, raster.write(tmp_path)))


def every_format():
    """Each format with each type of number, and each mask that the type can have, in one band and in three."""
    plain = earth.place("EPSG:32614", -98.4, 33.5, 30)
    values = [(t, m) for t in sorted(earth.RANGES) for m in earth.MASKS if earth.with_values(plain, t, m).mask == m]
    return [(driver, bands, *value) for driver in sorted(earth.SUFFIXES) for bands in (1, 3) for value in values]


SOME_FORMATS = [
    ("COG", 3, "uint16", "alpha"),
    ("PNG", 3, "uint8", "alpha"),
    ("PNG", 3, "uint16", "none"),
    ("JP2OpenJPEG", 3, "uint16", "none"),
    ("WEBP", 3, "uint8", "alpha"),
    ("HFA", 3, "float32", "nodata"),
    ("ENVI", 3, "int16", "nodata"),
    ("netCDF", 1, "float32", "nan"),
    ("VRT", 3, "uint8", "internal mask"),
]


@pytest.mark.parametrize(("driver", "bands", "dtype", "mask"), every_format() if FULL else SOME_FORMATS)
def test_each_format_type_and_mask(driver, bands, dtype, mask, tmp_path):
    """Where the format can hold such a raster; if it lost its place or its mask, that is skipped, too."""
    raster = earth.with_values(earth.place("EPSG:32614", -98.4, 33.5, 30), dtype, mask)
    raster = replace(raster, driver=driver, bands=bands, creation=earth.LOSSLESS.get(driver, {}))
    try:
        path = raster.write(tmp_path)
    except Exception as err:  # noqa: BLE001 - whatever GDAL says of what a format can't hold
        pytest.skip(f"{driver} can't hold it: {str(err)[:80]}")
    if why := _lost(raster, path):
        try:
            tiles = listed(source_of(raster, path, PixelGrid(WINDOW, WINDOW)))
        except SourceError:
            pytest.skip(f"refused, as {driver} did not keep: {why}")
        if why == "place" and tiles:
            pytest.fail(f"{driver} lost the place, and the raster is indexed all the same")
        pytest.skip(f"{driver} did not keep: {why}")
    check_pixel_tiles(raster, path)
    check_kilometre_tiles(raster, path)


def _lost(raster, path):
    """What the format did not keep, by what GDAL says of the file; empty where it kept all."""
    import warnings

    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with rasterio.open(path) as kept:
                if kept.count < raster.bands:
                    return "bands"
                if kept.crs is None or not np.allclose(kept.transform, raster.transform, rtol=1e-6, atol=1e-5):
                    return "place" if kept.crs is None else "grid"  # some formats resample, or know few systems
                if not kept.crs.is_projected or kept.crs.to_dict().get("zone") != 14:
                    return "system"
                if (kept.width, kept.height) != (raster.width, raster.height):
                    return "size"
                indexes = list(range(1, raster.bands + 1))
                values = kept.read(indexes)
                if not np.array_equal(values[:, ~raster.hole], raster.stored[:, ~raster.hole]):
                    return "values"
                told = kept.dataset_mask() == 0
                if raster.mask == "alpha" and ColorInterp.alpha in kept.colorinterp:
                    told = kept.read(raster.bands + 1) == 0
                if raster.mask in ("nodata", "nan"):
                    told |= ~np.isfinite(values.astype(float)).all(axis=0)
                if not np.array_equal(told, raster.hole):
                    return "mask"
        except Exception as err:  # noqa: BLE001 - as above
            return f"anything: {err}"
    return ""


def test_the_bed_sees_what_is_wrong(tmp_path):
    """A file whose georeference is a pixel off, or mirrored, fails the checks that the right one passes."""
    raster = earth.place("EPSG:32614", -98.4, 33.5, 30)
    check_kilometre_tiles(raster, raster.write(tmp_path))
    moved = replace(raster, transform=raster.transform @ earth.Affine.translation(1.5, 0))
    mirrored = replace(raster, transform=raster.transform @ earth.Affine(-1, 0, raster.width, 0, 1, 0))
    for wrong in (moved, mirrored):
        wrong.__dict__["stored"] = raster.stored
        path = wrong.write(tmp_path, "wrong")
        with pytest.raises(AssertionError):
            check_kilometre_tiles(wrong, path)
        with pytest.raises(AssertionError):
            check_pixel_tiles(raster, path)
