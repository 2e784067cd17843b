"""Map tiles painted of thumbnails: each tile at its place, in its colours, at every zoom."""

import datetime as dt
import io

import numpy as np
import pytest
from PIL import Image

from indexer.pipeline import tile_imagery
from indexer.pipeline.tile_imagery import MAP_TILE_PX, is_painted, publish_tile_imagery
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.collection.manifest import IMAGERY_FILE
from wildsat_core.collection.map_tiles import Imagery
from wildsat_core.mercator import map_tile_box
from wildsat_core.thumbnail import webp_thumbnail
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile

DEG = 0.0115  # 1.28 km
RED, GREEN, BLUE = (200, 40, 40), (40, 200, 40), (40, 40, 200)


def collection_of(root, boxes, thumbnails=True):
    """One tile of a colour for each (box, day, colour)."""
    tiles = [Tile(f"t{i}", BBox(*box), 10.0, "test", captured_on=day) for i, (box, day, _) in enumerate(boxes)]
    pictures = [
        webp_thumbnail(np.full((128, 128, 3), colour, np.uint8).transpose(2, 0, 1), 128) if thumbnails else None
        for *_, colour in boxes
    ]
    model = ModelRef("a-model", "0" * 64, "letters", "none")
    with CollectionWriter(root, root.name, model, {"text": SpaceSpec(2, "cosine")}, job="test") as writer:
        writer.add(tiles, {"text": np.eye(2, dtype=np.float32)[np.zeros(len(tiles), int)]}, pictures)
        writer.publish({"title": "A place", "attribution": "Somebody"})
    return root


def colour_at(imagery, zoom, lon, lat):
    """(R, G, B, A) of a place on the map of a zoom; None where there is no map tile."""
    across = 1 << zoom
    column = int((lon + 180) / 360 * across)
    row = next(row for row in range(across) if map_tile_box(zoom, column, row).south <= lat)
    picture = imagery.get(zoom, column, row)
    if picture is None:
        return None
    box = map_tile_box(zoom, column, row)
    x = (lon - box.west) / (box.east - box.west) * MAP_TILE_PX
    y = (box.north - lat) / (box.north - box.south) * MAP_TILE_PX
    return Image.open(io.BytesIO(picture)).convert("RGBA").getpixel((int(x), int(y)))


def is_near(colour, wanted):
    return colour is not None and colour[3] > 200 and np.abs(np.subtract(colour[:3], wanted)).max() < 30


@pytest.mark.parametrize(("lon", "lat"), [(22.6, -19.2), (-98.0, 60.0), (179.995, -16.8)])
def test_every_zoom_shows_each_tile_where_it_lies(tmp_path, lon, lat):
    east = lon + DEG if lon + DEG <= 180 else lon + DEG - 360
    further = east + DEG
    boxes = [((lon, lat - DEG, east, lat), None, RED), ((east, lat - DEG, further, lat), None, GREEN)]
    root = collection_of(tmp_path / "place", boxes)
    assert publish_tile_imagery(root) >= 6
    imagery = Imagery(root / IMAGERY_FILE)
    assert imagery.tile_px == MAP_TILE_PX
    least, most = imagery.zooms
    assert most - least == 5
    assert 12 <= most <= 15
    for zoom in range(most - 3, most + 1):
        for start, wanted in ((lon, RED), (east, GREEN)):
            middle = (start + DEG / 2 + 180) % 360 - 180
            assert is_near(colour_at(imagery, zoom, middle, lat - DEG / 2), wanted), (zoom, wanted)
    beside = colour_at(imagery, most, lon - DEG / 2, lat - DEG / 2)
    assert beside is None or beside[3] == 0
    manifest = open_collection(root).manifest
    assert manifest.imagery is not None
    assert imagery.metadata["attribution"] == "Somebody"
    crosses = further < lon
    assert imagery.bounds == (None if crosses else pytest.approx((lon, lat - DEG, further, lat)))


def test_the_newest_of_one_place_is_on_top(tmp_path):
    box = (10.0, 50.0, 10.0 + DEG, 50.0 + DEG)
    days = [(box, dt.date(2024, 7, 1), RED), (box, dt.date(2024, 8, 1), BLUE), (box, dt.date(2024, 6, 1), GREEN)]
    root = collection_of(tmp_path / "place", days)
    publish_tile_imagery(root)
    imagery = Imagery(root / IMAGERY_FILE)
    assert is_near(colour_at(imagery, imagery.zooms[1], 10.0 + DEG / 2, 50.0 + DEG / 2), BLUE)


def test_without_thumbnails_there_is_nothing_to_paint(tmp_path):
    root = collection_of(tmp_path / "place", [((10.0, 50.0, 10.1, 50.1), None, RED)], thumbnails=False)
    assert publish_tile_imagery(root) == 0
    assert open_collection(root).manifest.imagery is None


def squares(lon_lat, side=DEG):
    return [((lon, lat, lon + side, lat + side), None, RED) for lon, lat in lon_lat]


def test_of_tiles_far_apart_there_are_few_map_tiles_and_each_is_still_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(tile_imagery, "FEW_MAP_TILES", 40)
    places = [(-100 + 20.0 * column, -39.3 + 10.0 * row) for column in range(10) for row in range(9)]
    root = collection_of(tmp_path / "place", squares(places))
    assert 0 < publish_tile_imagery(root) <= len(places) // 2
    imagery = Imagery(root / IMAGERY_FILE)
    for lon, lat in places:
        assert colour_at(imagery, imagery.zooms[1], lon, lat) is not None


def test_of_very_many_tiles_the_finest_zooms_are_left_out(tmp_path, monkeypatch):
    side_by_side = squares([(10 + DEG * column, 50 + DEG * row) for column in range(12) for row in range(12)])
    root = collection_of(tmp_path / "place", side_by_side)
    whole = publish_tile_imagery(root)
    finest = Imagery(root / IMAGERY_FILE).zooms[1]
    monkeypatch.setattr(tile_imagery, "MOST_MAP_TILES", whole - 1)
    assert publish_tile_imagery(root) < whole
    imagery = Imagery(root / IMAGERY_FILE)
    assert imagery.zooms[1] == finest - 1
    assert is_near(colour_at(imagery, finest - 1, 10 + 6 * DEG, 50 + 6 * DEG), RED)


def test_one_large_tile_among_small_ones_is_not_laid_on_each_of_millions_of_map_tiles(tmp_path):
    root = collection_of(tmp_path / "place", [*squares([(10.0, 50.0)]), *squares([(-20.0, -20.0)], side=40.0)])
    assert publish_tile_imagery(root) <= tile_imagery.FEW_MAP_TILES
    imagery = Imagery(root / IMAGERY_FILE)
    assert imagery.zooms[1] <= 5
    assert is_near(colour_at(imagery, imagery.zooms[1], 1.0, 1.0), RED)


def test_what_is_painted_of_other_tiles_or_by_others_is_known(tmp_path):
    root = collection_of(tmp_path / "place", squares([(10.0, 50.0), (10.0 + DEG, 50.0)]))
    assert not is_painted(root)
    publish_tile_imagery(root)
    assert is_painted(root)
    delete_tiles(root, np.array([1]), generation=open_collection(root).generation)
    assert not is_painted(root)
    publish_tile_imagery(root)
    assert is_painted(root)
    (root / IMAGERY_FILE).write_bytes(b"no map tiles")
    assert not is_painted(root)
