"""Map tiles that are numbered in any way lie where they are, or are refused; never upside down."""

import io
import json
import sqlite3

import numpy as np
import pytest
from PIL import Image

from indexer.sources.tile_schemes import SCHEMES, TileScheme
from indexer.sources.xyz import XyzSource
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.mercator import map_tile_box, map_tiles_in
from wildsat_core.types import BBox

NEW_ZEALAND = map_tile_box(7, 125, 79)  # 41..39 S
GLOBE = BBox(-180, -90, 180, 90)


def picture(seed=0):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(1, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels.transpose(2, 0, 1)


def folder(root, *places, **documents):
    for zoom, column, row in places:
        path = root / str(zoom) / str(column) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture()[0])
    for name, text in documents.items():
        (root / name.replace("_", ".")).write_text(text if isinstance(text, str) else json.dumps(text))
    return str(root)


def mbtiles(path, places, **metadata):
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
        file.executemany("INSERT INTO metadata VALUES (?, ?)", metadata.items())
        file.execute("CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB)")
        file.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", [(*place, picture()[0]) for place in places])
    file.close()
    return str(path)


def tilemap(srs="EPSG:3857", profile="mercator", sets=""):
    return (
        f'<?xml version="1.0"?><TileMap version="1.0.0"><SRS>{srs}</SRS><TileFormat width="256" height="256"/>'
        f'<TileSets profile="{profile}">{sets}</TileSets></TileMap>'
    )


def only(*arguments, **options):
    [candidate] = XyzSource(*arguments, **options).candidates()
    return candidate.tile


@pytest.mark.parametrize(
    ("row", "documents"),
    [
        (79, {}),
        (127 - 79, {"tilemapresource_xml": tilemap()}),
        (127 - 79, {"tilemapresource_xml": tilemap("OSGEO:41001", "global-mercator")}),
        (127 - 79, {"tilemapresource_xml": tilemap("EPSG:900913", "")}),
        (127 - 79, {"tiles_json": {"scheme": "tms"}}),
        (79, {"metadata_json": {"scheme": "xyz", "bounds": [172, -42, 174, -39]}}),
        (79, {"metadata_json": {"name": "a thing"}}),
    ],
)
def test_a_folder_is_read_by_the_document_beside_its_tiles(row, documents, tmp_path):
    tile = only(folder(tmp_path / "map", (7, 125, row), **documents))
    assert tile.bbox == NEW_ZEALAND
    assert tile.tile_id == "map-7-125-79"  # numbered from the north, whatever the scheme


@pytest.mark.parametrize(
    ("row", "metadata"),
    [
        (127 - 79, {}),
        (127 - 79, {"scheme": "tms"}),
        (79, {"scheme": "xyz"}),
        (127 - 79, {"bounds": "-180,-85,180,85"}),
        (127 - 79, {"bounds": "171,-41.5,174,-39", "crs": "EPSG:3857"}),
    ],
)
def test_an_mbtiles_file_is_read_by_its_metadata(row, metadata, tmp_path):
    assert only(mbtiles(tmp_path / "map.mbtiles", [(7, 125, row)], **metadata)).bbox == NEW_ZEALAND


@pytest.mark.parametrize(
    ("row", "metadata"),
    [
        (79, {"bounds": "171,-41.5,174,-39"}),  # rows from the north, against the specification
        (127 - 79, {"bounds": "171,-41.5,174,-39", "scheme": "xyz"}),  # as some copying programs leave it
    ],
)
def test_metadata_that_contradict_each_other_are_refused_and_a_word_decides(row, metadata, tmp_path):
    path = mbtiles(tmp_path / "map.mbtiles", [(7, 125, row)], **metadata)
    with pytest.raises(
        SourceError, match=r"says that its tiles lie within .*outside; .*--scheme xyz .* or --scheme tms"
    ):
        list(XyzSource(path).candidates())
    assert only(path, scheme="xyz" if row == 79 else "tms").bbox == NEW_ZEALAND


@pytest.mark.parametrize(
    ("scheme", "place", "box"),
    [
        ("xyz-geodetic", (0, 0, 0), (-180, -90, 0, 90)),
        ("xyz-geodetic", (1, 3, 0), (90, 0, 180, 90)),
        ("tms-geodetic", (1, 3, 0), (90, -90, 180, 0)),
        ("tms-geodetic", (7, 251, 35), (172.96875, -40.78125, 174.375, -39.375)),
    ],
)
def test_geodetic_tiles_are_squares_of_degrees(scheme, place, box, tmp_path):
    tile = only(folder(tmp_path / "map", place), scheme=scheme)
    assert tile.bbox.as_tuple() == box
    assert tile.gsd_m == pytest.approx((box[3] - box[1]) / 64 * 111_195, rel=1e-3)
    assert tile.tile_id.startswith("map-180deg-")


def test_a_geodetic_tilemap_begins_with_two_tiles_or_with_one(tmp_path):
    for name, per_pixel, box in (
        ("two", 0.703125, (0, -90, 180, 90)),
        ("one", 1.40625, None),
    ):
        sets = f'<TileSet href="0" units-per-pixel="{per_pixel}" order="0"/>'
        document = tilemap("EPSG:4326", "geodetic", sets)
        path = folder(tmp_path / name, (0, 1 if box else 0, 0), tilemapresource_xml=document)
        [candidate] = XyzSource(path).candidates()
        assert candidate.tile.bbox.as_tuple() == (box or (-180, -90, 180, 90))
    # Of the one tile that holds all, the northern half lies beyond the pole and is cut off.
    assert np.array_equal(XyzSource(path).read(candidate).pixels, picture()[1][:, 32:])
    assert candidate.tile.gsd_m == pytest.approx(180 / 32 * 111_195, rel=1e-3)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (tilemap("EPSG:32759", "raster"), "own pixels"),
        (tilemap("", "none"), "own pixels"),
        (tilemap("EPSG:32759", ""), "only Web Mercator and degrees"),
        (tilemap("EPSG:4326", "geodetic", '<TileSet units-per-pixel="0.5" order="0"/>'), "not 180 or 360"),
        ("no xml", "can't be read.*--scheme"),
    ],
)
def test_a_tilemap_that_is_not_known_is_refused_and_a_word_decides(document, message, tmp_path):
    path = folder(tmp_path / "map", (7, 125, 79), tilemapresource_xml=document)
    with pytest.raises(SourceError, match=message):
        XyzSource(path)
    assert only(path, scheme="xyz").bbox == NEW_ZEALAND


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "pbf"}, "vectors"),
        ({"scheme": "zyx"}, "'zyx'"),
        ({"crs": "EPSG:2193"}, "only Web Mercator and degrees"),
    ],
)
def test_mbtiles_that_are_not_known_are_refused(metadata, message, tmp_path):
    with pytest.raises(SourceError, match=message):
        XyzSource(mbtiles(tmp_path / "map.mbtiles", [(7, 125, 79)], **metadata))


def test_an_address_may_count_rows_from_the_south():
    area = BBox(172, -41, 174, -39)
    for template, scheme, row in (
        ("http://h/{z}/{x}/{y}.png", None, 79),
        ("http://h/{z}/{x}/{-y}.png", None, 127 - 79),
        ("http://h/{z}/{x}/{y}.png", "tms", 127 - 79),
    ):
        candidates = list(XyzSource(template, 7, area, hosts=("h",), scheme=scheme).candidates())
        found = {c.tile.bbox: c.locator.row for c in candidates}
        assert found[NEW_ZEALAND] == row


def test_an_unknown_scheme_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="--scheme must be one of xyz, tms"):
        XyzSource(folder(tmp_path / "map", (0, 0, 0)), scheme="wmts")


@pytest.mark.parametrize("scheme", [*SCHEMES.values(), TileScheme("south", "geodetic", 360.0)])
@pytest.mark.parametrize("area", [GLOBE, BBox(170, -40, -170, 40), BBox(0, 0, 0.001, 0.001), BBox(-20, 60, 47, 90)])
def test_the_tiles_of_an_area_are_those_centred_in_it(scheme, area):
    for zoom in range(4):
        everywhere = [(x, y) for y in range(scheme.rows(zoom)) for x in range(scheme.columns(zoom))]
        boxes = {place: scheme.box(zoom, *place) for place in everywhere}
        inside = {
            place
            for place, box in boxes.items()
            if box is not None
            and area.south <= box.centre[1] <= area.north
            and (box.centre[0] - area.west) % 360 <= area.width_deg
        }
        assert {(x, y) for x in scheme.columns_in(area, zoom) for y in scheme.rows_in(area, zoom)} == inside


def test_a_mercator_scheme_agrees_with_the_map():
    for area in (GLOBE, BBox(172, -41, 174, -39), BBox(170, -40, -170, 40)):
        scheme = SCHEMES["xyz"]
        places = [(x, y) for y in scheme.rows_in(area, 5) for x in scheme.columns_in(area, 5)]
        assert sorted(places) == sorted(map_tiles_in(area, 5))


@pytest.mark.parametrize("kind", ["folder", "file", "address"])
def test_partitions_are_small_squares_that_hold_every_tile_once(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("indexer.sources.tile_stores.SQUARE", 4)
    monkeypatch.setattr("indexer.sources.tile_stores.MOST_IN_PARTITION", 16)
    places = [(5, x, y) for x in range(9) for y in range(20 if x == 4 else 7)]
    if kind == "folder":
        source = XyzSource(folder(tmp_path / "map", *places))
    elif kind == "file":
        source = XyzSource(mbtiles(tmp_path / "map.mbtiles", places))
    else:
        source = XyzSource("http://h/{z}/{x}/{y}.png", 5, BBox(-180, 60, -60, 85), hosts=("h",))
        places = list(source.candidates())
    partitions = list(source.partitions())
    assert len(partitions) > 3
    assert len({p.key for p in partitions}) == len(partitions)
    listed = [list(source.candidates(partition)) for partition in partitions]
    assert all(0 < len(part) == partition.at_most <= 16 for part, partition in zip(listed, partitions, strict=True))
    ids = [c.tile.tile_id for part in listed for c in part]
    assert len(set(ids)) == len(ids) == len(places)
    assert ids == [c.tile.tile_id for c in source.candidates()]
