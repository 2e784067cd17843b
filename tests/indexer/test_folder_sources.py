"""Folders of pictures, SatlasPretrain trees and web map tiles."""

import datetime as dt
import json
import os
import re
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image, ImageOps

from indexer.cluster.build import build_collection
from indexer.commands.sources import FolderOptions
from indexer.pipeline.options import BuildOptions
from indexer.sources.folder import FolderSource, find_table
from indexer.sources.picture import read_picture
from indexer.sources.pixels import Stretch
from indexer.sources.places import slug
from indexer.sources.protocol import LeftOut, NotAPictureError, UnreachableError
from indexer.sources.satlas import SatlasSource
from indexer.sources.xyz import XyzSource
from tests.indexer.conftest import write_raster
from wildsat_core.collection import open_collection
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.ids import is_tile_id
from wildsat_core.mercator import map_tile_box, map_tiles_in
from wildsat_core.types import BBox


def picture(seed=0, side=32, bands=3):
    return np.random.default_rng(seed).integers(1, 255, (side, side, bands)).astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)


@pytest.fixture
def pictures(tmp_path):
    """Two PNG pictures with a table, and a georeferenced GeoTIFF."""
    save(tmp_path / "prairie.png", picture(1))
    save(tmp_path / "islands" / "fiji.png", picture(2))
    deep = np.random.default_rng(3).integers(0, 3000, (4, 64, 64)).astype(np.uint16)
    write_raster(tmp_path / "utm.tif", deep, "EPSG:32614", 592_000, 3_707_000, 10)
    (tmp_path / "index.csv").write_text(
        "file,lon,lat,date,cloud,gsd_m\n"
        "prairie.png,-98.0,33.5,2021-06-01,0.1,10\n"
        "islands/fiji.png,179.999,-17.5,,,100\n"
        "utm.tif,,,2022-01-01,,\n"
    )
    return tmp_path


def test_a_table_places_pictures_without_georeference(pictures):
    source = FolderSource(str(pictures), find_table(str(pictures)))
    prairie, fiji, utm = source.candidates()
    assert source.count() == 3
    assert prairie.tile.tile_id == "prairie-2021-06-01"
    assert prairie.tile.captured_on == dt.date(2021, 6, 1)
    assert (prairie.tile.gsd_m, prairie.tile.cloud_cover) == (10, pytest.approx(0.1))
    assert prairie.tile.lon_lat == (pytest.approx(-98), pytest.approx(33.5))
    assert (prairie.tile.bbox.north - prairie.tile.bbox.south) * 111.195 == pytest.approx(0.32, rel=1e-3)
    assert fiji.tile.tile_id == "islands-fiji"
    assert fiji.tile.bbox.crosses_antimeridian
    assert utm.tile.gsd_m == pytest.approx(10)
    assert utm.tile.footprint_wkb is not None
    assert np.array_equal(source.read(prairie).pixels, picture(1).transpose(2, 0, 1))


def test_without_a_table_every_georeferenced_picture_is_a_tile(tmp_path):
    for name in ("b.tif", "a.tif"):
        write_raster(tmp_path / name, picture().transpose(2, 0, 1), "EPSG:4326", -98, 34, 0.001)
    source = FolderSource(str(tmp_path), band_indexes=(3, 2, 1), stretch=Stretch(0, 300))
    tiles = list(source.candidates())
    assert [c.tile.tile_id for c in tiles] == ["a", "b"]
    assert np.array_equal(source.read(tiles[0]).pixels[0], Stretch(0, 300)(picture().transpose(2, 0, 1)[2:])[0])


def test_a_picture_without_a_place_is_left_out_and_says_what_is_needed(pictures, model, tmp_path):
    found = [fault for fault in FolderSource(str(pictures)).candidates() if isinstance(fault, LeftOut)]
    assert {fault.reason for fault in found} == {"no place"}
    assert all("--gsd-m" in fault.what for fault in found)
    for path in pictures.rglob("*.tif"):
        path.unlink()
    with pytest.raises(SourceError, match="--gsd-m"):
        build_collection(FolderSource(str(pictures)), model, tmp_path / "c", BuildOptions(workers=0), {})
    write_raster(pictures / "placed.tif", picture().transpose(2, 0, 1), "EPSG:4326", 10, 50, 0.001)
    report = build_collection(
        FolderSource(str(pictures)), model, tmp_path / "c", BuildOptions(workers=0, batch_tiles=4), {}
    )
    assert (report.added, report.left_out["no place"]) == (1, len(found))
    assert "has no place" in report.text()


def test_columns_of_a_table_are_found_by_their_usual_names_and_bad_rows_left_out(pictures):
    (pictures / "index.csv").write_text(
        "Item ID;Filename;Longitude;Latitude;Datetime;cloud_cover;GSD\n"
        "a/b;prairie.png;-98;33.5;2023-08-01T01:00:00+02:00;0.1;10\n"
        "c;prairie.png;180.1;33.5;;;10\n"
    )
    good, bad = FolderSource(str(pictures), str(pictures / "index.csv")).candidates()
    assert good.tile.tile_id.startswith("a-b-")
    assert (good.tile.captured_on.isoformat(), good.tile.cloud_cover) == ("2023-07-31", 0.1)
    assert (bad.reason, "line 3: longitude" in bad.what) == ("bad row", True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../outside.png,1,2,,,10", "outside"),
        ("prairie.png,200,33.5,,,10", "line 2: longitude"),
        ("prairie.png,-98,33.5,June,,10", "line 2"),
        ("prairie.png,-98,33.5,,55,10", "line 2: cloud cover is a share from 0 to 1, got 55"),
        (",-98,33.5,,,10", "line 2: the row names no file"),
        ("a\0b.png,-98,33.5,,,10", "line 2: .*null"),
    ],
)
def test_a_wrong_row_of_the_table_is_named(pictures, row, message):
    (pictures / "index.csv").write_text(f"file,lon,lat,date,cloud,gsd_m\n{row}\n", encoding="latin-1")
    [fault] = FolderSource(str(pictures), str(pictures / "index.csv")).candidates()
    assert fault.reason == "bad row"
    assert re.search(message, fault.what)


def test_a_table_that_is_no_text_is_refused(pictures):
    (pictures / "index.csv").write_text("file,lon,lat\nprärie.png,1,2\n", encoding="latin-1")
    with pytest.raises(SourceError, match="is not UTF-8"):
        list(FolderSource(str(pictures), str(pictures / "index.csv")).candidates())


def test_missing_and_damaged_pictures_and_ids_given_twice_are_counted(pictures, model, tmp_path, caplog):
    (pictures / "broken.png").write_bytes((pictures / "prairie.png").read_bytes()[:20])
    (pictures / "index.csv").write_text(
        "file,lon,lat,gsd_m,id\n"
        "gone.png,-98,33.5,10,a\nbroken.png,-98,33.5,10,b\ngone.tif,,,,c\n"
        "prairie.png,-98,33.5,10,d\nislands/fiji.png,179.999,-17.5,10,d\n"
    )
    source = FolderSource(str(pictures), str(pictures / "index.csv"))
    report = build_collection(source, model, tmp_path / "kept", BuildOptions(workers=0), {})
    counted = {reason: n for reason, n in report.left_out.items() if n}
    assert (report.added, counted) == (1, {"not a picture": 3, "id given twice": 1})
    assert "gone.png can't be read" in caplog.text
    assert "gone.tif can't be opened" in caplog.text


def test_a_row_that_is_too_short_names_no_file(pictures):
    (pictures / "index.csv").write_text("lon,lat,file\n-98,33.5\n")
    [fault] = FolderSource(str(pictures), str(pictures / "index.csv")).candidates()
    assert "line 2: the row names no file" in fault.what


def test_pictures_that_a_found_table_does_not_name_are_told(pictures, caplog):
    assert not caplog.records
    write_raster(pictures / "more.tif", picture().transpose(2, 0, 1), "EPSG:4326", -98, 34, 0.001)
    source = FolderOptions(input=str(pictures)).source()
    assert (source.count(), len(caplog.records)) == (3, 1)
    assert "index.csv, which does not name 1 of the folder's pictures: --table none" in caplog.text
    assert FolderOptions(input=str(pictures), table="none").source().count() == 4


def test_values_that_are_not_finite_are_missing(tmp_path):
    values = picture().transpose(2, 0, 1).astype(np.float32)
    values[1, :16], values[2, 16:24] = np.nan, np.inf
    write_raster(tmp_path / "a.tif", values, "EPSG:4326", -98, 34, 0.001)
    source = FolderSource(str(tmp_path), stretch=Stretch(0, 255))
    reading = source.read(next(source.candidates()))
    assert reading.missing == 0.75
    assert not reading.pixels[:, :24].any()


def test_a_box_limits_a_folder(pictures):
    near = FolderSource(str(pictures), find_table(str(pictures)), area=BBox(179, -18, -179, -17))
    assert [c.tile.tile_id for c in near.candidates()] == ["islands-fiji"]


def test_a_table_without_files_or_a_folder_that_is_not_there_is_refused(pictures):
    (pictures / "index.csv").write_text("path,lon\n")
    with pytest.raises(SourceError, match="no column 'file'"):
        list(FolderSource(str(pictures), str(pictures / "index.csv")).candidates())
    with pytest.raises(SourceError, match="not a folder"):
        FolderSource(str(pictures / "nowhere"))


def test_a_palette_picture_is_read_in_its_colours(tmp_path):
    colours = np.repeat(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), 2, axis=0)
    Image.fromarray(colours).quantize(2).save(tmp_path / "p.png")
    (tmp_path / "index.csv").write_text("file,lon,lat\np.png,-98,33.5\n")
    source = FolderSource(str(tmp_path), str(tmp_path / "index.csv"), gsd_m=10)
    assert np.array_equal(source.read(next(source.candidates())).pixels, colours.transpose(2, 0, 1))


@pytest.fixture
def satlas(tmp_path):
    """Two scenes, one tile each, and a band beside the colours."""
    for scene, place in (("uuid-b", "1866_3287"), ("uuid-a", "8191_4600")):
        save(tmp_path / "s2" / scene / "tci" / f"{place}.png", picture(4, 512))
        save(tmp_path / "s2" / scene / "b08" / f"{place}.png", picture(5, 512, 1))
    (tmp_path / "times.json").write_text(json.dumps({"uuid-b": "2020-07-04T17:01:00+00:00"}))
    return tmp_path


def test_satlas_names_are_places_and_its_index_gives_dates(satlas):
    source = SatlasSource(str(satlas / "s2"), str(satlas / "times.json"))
    first, second = source.candidates()
    assert first.tile.tile_id == "satlas-uuid-a-8191_4600"
    assert first.tile.bbox.east == 180.0
    assert first.tile.captured_on is None
    lon, lat = second.tile.lon_lat
    assert (lon, lat) == (pytest.approx(-97.97, abs=0.05), pytest.approx(33.5, abs=0.5))
    assert second.tile.captured_on == dt.date(2020, 7, 4)
    assert second.tile.gsd_m == pytest.approx(9.555 * np.cos(np.radians(lat)), rel=0.01)
    assert np.array_equal(source.read(second).pixels, picture(4, 512).transpose(2, 0, 1))


def test_satlas_bands_lie_beside_the_colours_and_a_missing_one_is_an_error(satlas):
    source = SatlasSource(str(satlas / "s2"), bands=("red", "b08"), area=BBox(-99, 30, -97, 36))
    (candidate,) = source.candidates()
    assert np.array_equal(source.read(candidate).pixels[1], picture(5, 512, 1)[..., 0])
    (satlas / "s2" / "uuid-b" / "b08" / "1866_3287.png").unlink()
    with pytest.raises(SourceError, match="b08"):
        source.read(candidate)


def test_an_index_of_dates_of_another_form_is_refused(satlas):
    (satlas / "times.json").write_text('["2020-07-04"]')
    with pytest.raises(SourceError, match="image names to ISO times"):
        SatlasSource(str(satlas / "s2"), str(satlas / "times.json"))


def test_map_tiles_tile_the_world():
    assert map_tile_box(0, 0, 0).as_tuple() == pytest.approx((-180, -85.0511, 180, 85.0511), abs=1e-4)
    assert map_tile_box(1, 1, 0).as_tuple() == pytest.approx((0, 0, 180, 85.0511), abs=1e-4)
    assert len(list(map_tiles_in(BBox(-180, -90, 180, 90), 3))) == 64
    assert list(map_tiles_in(BBox(170, -40, -170, 40), 2)) == []  # no centre in it
    assert list(map_tiles_in(BBox(130, 0, -130, 40), 2)) == [(0, 1), (3, 1)]


def jpeg(seed):
    import io

    buffer = io.BytesIO()
    Image.fromarray(picture(seed, 256)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def mbtiles(tmp_path):
    """Zoom 2, two map tiles: the north-west corner of the map and the one below it."""
    path = tmp_path / "map.mbtiles"
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data)")
        file.execute("INSERT INTO tiles VALUES (1, 0, 0, ?)", (jpeg(9),))
        file.executemany("INSERT INTO tiles VALUES (2, 0, ?, ?)", [(3, jpeg(1)), (2, jpeg(2))])
    file.close()
    return path


def test_mbtiles_count_rows_from_the_south(mbtiles):
    source = XyzSource(str(mbtiles))
    top, below = source.candidates()
    assert source.count() == 2
    assert [top.tile.tile_id, below.tile.tile_id] == ["map-2-0-0", "map-2-0-1"]
    assert top.tile.bbox.north > 85
    assert np.array_equal(source.read(top).pixels, picture(1, 256).transpose(2, 0, 1))


def test_what_is_no_map_tile_is_left_out_and_the_others_are_indexed(tmp_path, model):
    save(tmp_path / "map" / "3" / "1" / "1.png", picture(1, 512))
    save(tmp_path / "map" / "3" / "9" / "1.png", picture(1))
    (tmp_path / "map" / "3" / "1" / "2.png").write_bytes(b"")
    (tmp_path / "map" / "3" / "2").write_text("no folder")
    report = build_collection(
        XyzSource(str(tmp_path / "map")), model, tmp_path / "c", BuildOptions(workers=0, batch_tiles=4), {}
    )
    assert (report.added, dict(report.left_out)["unreadable"], report.left_out["off the map"]) == (1, 1, 1)
    [tile] = open_collection(tmp_path / "c").tiles.tiles_at(np.array([0]))
    assert tile.gsd_m == pytest.approx(
        2 * 3.14159265 * 6_378_137 / 8 / 512 * np.cos(np.radians(tile.lon_lat[1])), rel=0.05
    )
    with pytest.raises(SourceError, match="no map tiles of zoom 9"):
        list(XyzSource(str(tmp_path / "map"), zoom=9).candidates())


def test_damaged_mbtiles_are_told(mbtiles):
    with sqlite3.connect(mbtiles) as file:
        file.execute("UPDATE tiles SET tile_data = NULL")
    source = XyzSource(str(mbtiles))
    with pytest.raises(SourceError, match="has no map tile"):
        source.read(next(source.candidates()))


def test_a_folder_of_map_tiles_gives_the_same_tiles(mbtiles, tmp_path):
    for row, seed in ((0, 1), (1, 2)):
        path = tmp_path / "map" / "2" / "0" / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed))
    folder, file = XyzSource(str(tmp_path / "map")), XyzSource(str(mbtiles))
    for a, b in zip(folder.candidates(), file.candidates(), strict=True):
        assert a.tile == b.tile
        assert np.array_equal(folder.read(a).pixels, file.read(b).pixels)


BUSY = []  # statuses that the next requests are answered with


@pytest.fixture
def map_server():
    """Serves every map tile of zoom 2 but those of column 3; those of column 2 are a redirect elsewhere."""
    BUSY.clear()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            _, zoom, column, row = self.path.removesuffix(".png").split("/")
            self.send_response(BUSY.pop(0) if BUSY else {"3": 404, "2": 302}.get(column, 200))
            self.send_header("Retry-After", "0")
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            self.wfile.write(jpeg(int(row)) if zoom == "2" else b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_map_tiles_are_fetched_from_an_allowed_host_only(map_server, monkeypatch):
    address = f"http://{map_server}/{{z}}/{{x}}/{{y}}.png"
    globe = BBox(-180, -85, 180, 85)
    with pytest.raises(InvalidInputError, match=f"WILDSAT_XYZ_HOSTS={map_server}"):
        XyzSource(address, 2, globe)
    monkeypatch.setenv("WILDSAT_XYZ_HOSTS", map_server)
    source = XyzSource(address, 2, globe)
    tiles = list(source.candidates())
    assert source.count() == len(tiles) == 16
    assert tiles[0].tile.tile_id == f"{map_server.replace(':', '-')}-2-0-0"
    assert np.array_equal(source.read(tiles[4]).pixels, picture(1, 256).transpose(2, 0, 1))
    with pytest.raises(SourceError, match="404"):
        source.read(tiles[3])
    with pytest.raises(SourceError, match="302"):  # a redirect could lead to a host that is not allowed
        source.read(tiles[2])


def test_a_busy_server_of_map_tiles_is_asked_again_and_given_up_in_the_end(map_server, monkeypatch):
    source = XyzSource(f"http://{map_server}/{{z}}/{{x}}/{{y}}.png", 2, BBox(-180, -85, 180, 85), hosts=(map_server,))
    first = next(source.candidates())
    BUSY.extend([429, 503])
    assert np.array_equal(source.read(first).pixels, picture(0, 256).transpose(2, 0, 1))
    assert not BUSY
    BUSY.extend([503] * 9)
    with pytest.raises(UnreachableError, match="answered 503"):
        source.read(first)
    assert len(BUSY) == 5
    monkeypatch.setattr("indexer.sources.tile_stores.PATIENCE_S", (0.0, 0.0))
    nobody = XyzSource("http://127.0.0.1:9/{z}/{x}/{y}", 2, BBox(0, 0, 90, 85), hosts=("127.0.0.1:9",))
    with pytest.raises(UnreachableError, match="can't be fetched"):
        nobody.read(next(nobody.candidates()))


@pytest.mark.parametrize(
    "address", ["file:///etc/{z}/{x}/{y}", "ftp://host/{z}/{x}/{y}", "http://evil@host/{z}/{x}/{y}"]
)
def test_other_schemes_and_hosts_are_refused(address):
    with pytest.raises(InvalidInputError, match="not allowed"):
        XyzSource(address, 2, BBox(0, 0, 1, 1), hosts=("evil",))


def test_an_address_needs_all_three_places_a_zoom_and_an_area():
    with pytest.raises(InvalidInputError, match=r"needs \{z\}"):
        XyzSource("http://h/{z}/{x}.png", 2, BBox(0, 0, 1, 1), hosts=("h",))
    with pytest.raises(InvalidInputError, match=r"has \{key\} in it"):
        XyzSource("http://h/{z}/{x}/{y}?key={key}", 2, BBox(0, 0, 1, 1), hosts=("h",))
    with pytest.raises(InvalidInputError, match="--zoom and --bbox"):
        XyzSource("http://h/{z}/{x}/{y}.png", None, None, hosts=("h",))


def test_a_file_that_is_not_map_tiles_is_refused(tmp_path):
    path = Path(tmp_path / "text.mbtiles")
    path.write_text("hello" * 100)
    with pytest.raises(SourceError, match="not an MBTiles"):
        list(XyzSource(str(path)).candidates())
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no map tiles"):
        list(XyzSource(str(tmp_path / "empty")).candidates())


def test_partitions_of_a_folder_hold_every_picture_once(pictures, monkeypatch):
    monkeypatch.setattr("indexer.sources.folder.MOST_IN_PARTITION", 2)
    source = FolderSource(str(pictures))
    partitions = list(source.partitions())
    parts = [list(source.candidates(partition)) for partition in partitions]
    assert [len(part) for part in parts] == [partition.at_most for partition in partitions]
    assert [found for part in parts for found in part] == list(source.candidates())


def test_pictures_of_any_name_have_ids_of_their_own(tmp_path):
    names = ["森林.png", "海.png", "a b.png", "a-b.png", "_c.png", "x" * 200 + ".png"]
    for name in names:
        write_raster(tmp_path / name, np.ones((3, 8, 8), np.uint8), "EPSG:4326", 10, 50, 0.001)
    tiles = [c.tile for c in FolderSource(str(tmp_path)).candidates()]
    assert len({tile.tile_id for tile in tiles}) == len(names)
    assert all(is_tile_id(tile.tile_id) for tile in tiles)
    assert {tile.href for tile in tiles} == {*names}
    (tmp_path / os.fsdecode(b"bytes\xff.png")).write_bytes((tmp_path / names[0]).read_bytes())
    assert [c.reason for c in FolderSource(str(tmp_path)).candidates() if isinstance(c, LeftOut)] == ["not a picture"]
    assert is_tile_id(slug("森林"))
    table = tmp_path / "tiles.csv"
    table.write_text("file,date\n" + "".join(f"{name},2023-06-0{i + 1}\n" for i, name in enumerate(names)))
    dated = [c.tile.tile_id for c in FolderSource(str(tmp_path), table=str(table)).candidates()]
    assert len(set(dated)) == len(names)
    assert all(map(is_tile_id, dated))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp"])
def test_a_picture_that_a_table_places_is_turned_as_cameras_note_it(tmp_path, turn, suffix):
    note = Image.Exif()
    note[0x0112] = turn
    blocks = np.kron(picture()[:3, :5], np.ones((8, 8, 1), np.uint8))
    path = tmp_path / f"a.{suffix}"
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95, "subsampling": 0}}.get(suffix, {})
    Image.fromarray(blocks).save(path, exif=note, **options)
    (tmp_path / "index.csv").write_text(f"file,lon,lat,gsd_m\n{path.name},10,0,10\n")
    source = FolderSource(str(tmp_path), find_table(str(tmp_path)))
    [candidate] = source.candidates()
    pixels = source.read(candidate).pixels
    with Image.open(path) as stored:
        seen = np.asarray(ImageOps.exif_transpose(stored).convert("RGB")).transpose(2, 0, 1)
    assert pixels.shape == seen.shape
    assert np.abs(pixels.astype(int) - seen).max() <= (4 if suffix == "jpg" else 0)
    box = candidate.tile.bbox
    assert (box.width_deg > box.north - box.south) == (turn < 5)


def test_links_to_pictures_and_folders_are_followed_and_names_that_lead_out_are_not(tmp_path):
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    root.mkdir()
    elsewhere.mkdir()
    for name in ("a", "b"):
        write_raster(elsewhere / f"{name}.tif", picture().transpose(2, 0, 1), "EPSG:4326", 10, 50, 0.001)
    (root / "linked.tif").symlink_to(elsewhere / "a.tif")
    (root / "sub").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    assert [c.tile.href for c in FolderSource(str(root)).candidates()] == ["linked.tif", "sub/a.tif", "sub/b.tif"]
    (root / "index.csv").write_text(f"file\nlinked.tif\nsub/b.tif\n../elsewhere/a.tif\n{elsewhere}/a.tif\n")
    found = list(FolderSource(str(root), str(root / "index.csv")).candidates())
    assert [c.tile.href for c in found[:2]] == ["linked.tif", "sub/b.tif"]
    assert all("lies outside of" in left.what for left in found[2:])
    assert len(found) == 4


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_is_left_out_and_says_so(tmp_path, suffix):
    first, *others = (Image.fromarray(np.full((16, 16, 3), 40 * i, np.uint8)) for i in range(1, 4))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=others)
    with pytest.raises(NotAPictureError, match="animat"):
        read_picture(str(tmp_path / f"a.{suffix}"), None)


def test_further_pages_of_a_tiff_are_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("indexer.sources.view._told_of_pages", [])
    first, *others = (Image.fromarray(np.full((16, 16, 3), 40 * i, np.uint8)) for i in range(1, 4))
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    for _ in range(2):
        assert read_picture(str(tmp_path / "a.tif"), None).pixels.max() == 40
    assert caplog.text.count("has 3 pages, of which the first is read") == 1
