"""Painted percentiles against a pixel-by-pixel computation, and the colours."""

import io

import numpy as np
import pytest
import shapely
from PIL import Image

from tests.core.search.fakes import REF, SPACES, FakeModel, random_collection, unit
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.heatmap import MAX_LATITUDE, TILE_PX, map_tile_bbox, mercator, paint, ramp
from wildsat_core.search.pixels import PixelSums
from wildsat_core.search.query import Filters, Query, TextTerm
from wildsat_core.types import BBox, Tile

QUERY = Query((TextTerm("dunes"),))


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return SearchEngine(random_collection(tmp_path_factory.mktemp("heat") / "random", 60, seed=3), FakeModel())


def painted_slowly(engine, z, x, y, percentile):
    """Mean percentile per pixel, tile by tile."""
    total, count = np.zeros((2, TILE_PX, TILE_PX))
    tiles, world = engine.collection.tiles, 2**z * TILE_PX
    for row in np.flatnonzero(~np.isnan(percentile)):
        if tiles.south[row] >= MAX_LATITUDE or tiles.north[row] <= -MAX_LATITUDE:
            continue
        edges = (mercator(tiles.west[row], tiles.north[row]), mercator(tiles.east[row], tiles.south[row]))
        (left, top), (right, bottom) = (tuple(float(v) * world for v in corner) for corner in edges)
        if not tiles.is_box[row] and min(right - left, bottom - top) >= 4:
            covered = centres_inside(tiles.outlines(np.array([row]))[0], z, x, y)
            total[covered] += percentile[row]
            count[covered] += 1
            continue
        left, top, right, bottom = (round(v) for v in (left, top, right, bottom))
        ys = slice(max(top - y * TILE_PX, 0), max(max(bottom, top + 1) - y * TILE_PX, 0))
        for turn in (0, -world):
            x0, x1 = left + turn - x * TILE_PX, max(right, left + 1) + turn - x * TILE_PX
            xs = slice(max(x0, 0), max(x1, 0))
            total[ys, xs] += percentile[row]
            count[ys, xs] += 1
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def centres_inside(outline, z, x, y):
    """Whose centre lies inside, the outline's edges being straight on the map."""
    on_map = shapely.transform(outline, lambda lon_lat: np.column_stack(mercator(lon_lat[:, 0], lon_lat[:, 1])))
    at = (np.arange(TILE_PX) + 0.5) / TILE_PX
    return shapely.contains_xy(on_map, *np.meshgrid((x + at) / 2**z, (y + at) / 2**z))


@pytest.mark.parametrize(
    ("z", "x", "y"), [(3, 4, 0), (4, 9, 15), (3, 0, 3), (3, 7, 3), (4, 0, 7), (4, 15, 8), (5, 16, 15), (9, 511, 256)]
)
def test_pixels_hold_the_mean_percentile_of_the_tiles_over_them(engine, z, x, y):
    field = engine.heat(QUERY)
    slow = painted_slowly(engine, z, x, y, engine.percentiles(QUERY))
    np.testing.assert_allclose(field.grid(z, x, y), slow, atol=1e-3)


def test_outlines_are_painted_as_they_are(tmp_path):
    shell = [(10, 10), (20, 10.5), (21, 21), (11, 20), (10, 10)]
    hole = [(13, 13), (17, 13.2), (17, 17), (13, 16.8), (13, 13)]
    across = shapely.MultiPolygon([shapely.box(170, -20, 180, -10), shapely.box(-180, -20, -175, -10)])
    slanted = shapely.Polygon([(30, 0), (38, 2), (36, 10), (28, 8)])
    shapes = [(shapely.Polygon(shell, [hole]), None), (shapely.Polygon(shell[::-1], [hole[::-1]]), None)]
    shapes += [(across, BBox(170, -20, -175, -10)), (slanted, None)]
    tiles = [
        Tile(f"t{i}", box or BBox(*shape.bounds), 10.0, "test", footprint_wkb=shapely.to_wkb(shape))
        for i, (shape, box) in enumerate(shapes)
    ]
    with CollectionWriter(tmp_path / "outlines", "outlines", REF, SPACES) as out:
        out.add(tiles, {space: unit(np.random.default_rng(0), len(tiles)) for space in SPACES})
        out.publish()
    engine = SearchEngine(open_collection(tmp_path / "outlines"), FakeModel())
    field = engine.heat(QUERY)
    for z, x, y in ((3, 4, 3), (4, 8, 7), (4, 9, 7), (5, 17, 14), (4, 15, 8), (4, 0, 8)):
        slow = painted_slowly(engine, z, x, y, engine.percentiles(QUERY))
        assert (~np.isnan(slow)).any()
        np.testing.assert_allclose(field.grid(z, x, y), slow, atol=1e-3)


def test_slanted_neighbours_share_no_pixel_and_leave_none_between_them():
    first = np.array([[i * 9 + j * 2, j * 7 + i] for i in range(-4, 30) for j in range(-4, 40)])
    closed = (first[:, None] + [[0, 0], [9, 1], [11, 8], [2, 7], [0, 0]]) * 0.97 + 0.123
    count = len(closed)
    x, y = closed.reshape(-1, 2).T
    painted = PixelSums(64)
    painted.add_rings(x, y, np.repeat(np.arange(count), 5), np.zeros(count, bool), np.ones(count))
    _, ones = painted._crossings.reshape(2, 65, 65).cumsum(2)
    assert (ones[:64, :64] == 1).all()


def test_low_zoom_is_the_average_of_the_zoom_below(engine):
    field = engine.heat(QUERY)
    four = np.block([[field.grid(3, 2 * x + i, 2 + j) for i in (0, 1)] for x in (1,) for j in (0, 1)])
    assert four.shape == (2 * TILE_PX, 2 * TILE_PX)
    blocks = four.reshape(TILE_PX, 2, TILE_PX, 2)
    known = (~np.isnan(blocks)).sum(axis=(1, 3))
    mean = np.where(known, np.nansum(blocks, axis=(1, 3)) / np.maximum(known, 1), np.nan)
    np.testing.assert_allclose(field.grid(2, 1, 1), mean, atol=1e-3)


def test_tiles_that_the_filters_leave_out_are_not_painted(engine):
    query = Query(QUERY.terms, Filters(bbox=BBox(-180, -90, 180, -45)))
    south, percentile = engine.heat(query), engine.percentiles(query)
    north_rows = engine.collection.tiles.south > -45
    assert np.isnan(percentile[north_rows]).all()
    assert (~np.isnan(percentile)).any()
    assert np.isnan(south.grid(1, 0, 0)[:40]).all()


def test_the_same_query_is_scored_once(engine):
    assert engine.heat(QUERY) is engine.heat(QUERY)


def test_nothing_to_rank_by_is_refused(engine):
    with pytest.raises(InvalidInputError, match="something to rank by"):
        engine.heat(Query())


def test_below_the_floor_and_where_nothing_is_the_picture_is_transparent():
    grid = np.array([[np.nan, 10.0, 74.9, 75.0, 87.5, 100.0]], np.float32)
    picture = np.asarray(Image.open(io.BytesIO(paint(grid, 75.0))).convert("RGBA"))[0]
    assert list(picture[:3, 3]) == [0, 0, 0]
    colours = ramp(255)
    np.testing.assert_array_equal(picture[3:], colours[[0, 127, 254]])


def test_the_ramps_lightness_only_rises():
    rgb = ramp(64)[:, :3] / 255.0  # coarser than the rounding to eight bits
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > 0).all()
    assert luminance[-1] > 10 * luminance[0]


@pytest.mark.parametrize("bad", [(-1, 0, 0), (23, 0, 0), (2, 4, 0), (2, 0, -1)])
def test_map_tiles_outside_the_pyramid_are_refused(bad):
    with pytest.raises(InvalidInputError, match="map tile"):
        map_tile_bbox(*bad)


@pytest.mark.parametrize("floor", [-1.0, 100.0, float("nan")])
def test_a_floor_out_of_range_is_refused(floor):
    with pytest.raises(InvalidInputError, match="floor"):
        paint(np.zeros((1, 1), np.float32), floor)
