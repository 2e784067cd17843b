"""Tiles as GeoJSON features: what other programs are strict about."""

import numpy as np
import pytest
import shapely

from wildsat_core.collection.tile_files import tiles_to_arrow, write_tiles
from wildsat_core.collection.tiles import SegmentTiles, TileTable
from wildsat_core.errors import CollectionFormatError
from wildsat_core.search.geojson import tile_feature, tile_geometry
from wildsat_core.types import BBox, Tile


def table_of(*tiles: Tile) -> TileTable:
    return TileTable.of([SegmentTiles.from_arrow(tiles_to_arrow(tiles))], np.ones(len(tiles), bool))


def test_stored_numbers_have_no_tail_of_their_32_bits():
    tile = table_of(Tile("a", BBox(0, 0, 1, 1), 0.6, "toy", cloud_cover=0.3)).tile(0)
    assert (tile.gsd_m, tile.cloud_cover) == (0.6, 0.3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_stored_numbers_that_are_none_are_unknown(value):
    tile = table_of(Tile("a", BBox(0, 0, 1, 1), value, "toy", cloud_cover=value)).tile(0)
    assert (tile.gsd_m, tile.cloud_cover) == (0.0, None)


@pytest.mark.parametrize("corner", ["west", "south", "east", "north"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 200.0])
def test_a_stored_box_that_is_not_on_the_globe_is_refused(tmp_path, corner, value):
    tile = Tile("a", BBox(0, 0, 1, 1), 10.0, "toy")
    object.__setattr__(tile.bbox, corner, value)
    write_tiles(tmp_path / "tiles.arrow", tiles_to_arrow([tile]))
    with pytest.raises(CollectionFormatError, match="not on the globe"):
        SegmentTiles.read(tmp_path / "tiles.arrow")


def test_coordinates_have_seven_decimals():
    third = 1 / 3
    outline = shapely.to_wkb(shapely.Polygon([(third, 0), (1, third), (0, 1)]))
    for tile in (
        Tile("a", BBox(third, third, 2 * third, 2 * third), 10.0, "toy"),
        Tile("b", BBox(0, 0, 1, 1), 10.0, "toy", footprint_wkb=outline),
    ):
        feature = tile_feature(tile)
        numbers = [*feature["bbox"], *np.ravel(feature["geometry"]["coordinates"])]
        assert all(number == round(number, 7) for number in numbers)
        assert 0.3333333 in numbers


def test_outer_rings_are_counter_clockwise_and_inner_ones_clockwise():
    ring, hole = [(0, 0), (0, 3), (3, 3), (3, 0)], [(1, 1), (2, 1), (2, 2), (1, 2)]
    outline = shapely.to_wkb(shapely.Polygon(ring, [hole]))
    for tile in (Tile("a", BBox(0, 0, 3, 3), 1.0, "toy", footprint_wkb=outline), Tile("b", BBox(0, 0, 3, 3), 1.0, "t")):
        polygon = shapely.geometry.shape(tile_geometry(tile))
        assert polygon.exterior.is_ccw
        assert not any(inner.is_ccw for inner in polygon.interiors)
        assert polygon.equals(shapely.from_wkb(outline) if tile.footprint_wkb else shapely.box(0, 0, 3, 3))


def test_a_layer_of_one_kind_has_it_for_every_tile():
    for box in (BBox(0, 0, 1, 1), BBox(179, 0, -179, 1)):
        geometry = tile_geometry(Tile("a", box, 1.0, "toy"), multi=True)
        assert geometry["type"] == "MultiPolygon"
        assert shapely.geometry.shape(geometry).area == pytest.approx(1 if box.west == 0 else 2)
