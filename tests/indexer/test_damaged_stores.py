"""Parquet and MBTiles files cut or changed anywhere, catalogues that answer nonsense: errors of ours only."""

import contextlib
import datetime as dt
import io
import json
import random
import sqlite3
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexer.pipeline.left_out import FAULTS
from indexer.pipeline.reading import ReadOptions, read_chunk
from indexer.sources import tile_stores
from indexer.sources.majortom import MajorTomSource, _open
from indexer.sources.protocol import Candidate, LeftOut
from indexer.sources.scenes import search_scenes
from indexer.sources.xyz import XyzSource
from indexer.vectors.files import GivenVectors, VectorFiles
from tests.indexer.stac_server import StacServer, send
from wildsat_core.errors import SourceError
from wildsat_core.types import BBox, ModelRef, SpaceSpec

PLACES = 20


def png():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(1, 255, (16, 16, 3)).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def damaged(data):
    """The bytes cut at many places, and with one byte, or sixteen, changed at many."""
    rng = random.Random(2)
    yield from (data[: len(data) * i // PLACES] for i in range(PLACES))
    for width in (1, 16):
        for _ in range(PLACES):
            at = rng.randrange(len(data) - width)
            yield data[:at] + rng.randbytes(width) + data[at + width :]


def read_all(source):
    """Every tile of a source that can be read."""
    for found in source.candidates():
        assert isinstance(found, Candidate | LeftOut)
        if isinstance(found, Candidate):
            with contextlib.suppress(SourceError):
                source.read(found)


def majortom(path):
    cells = [f"{i}U_{i}R" for i in range(8)]
    facts = {"grid_cell": cells, "product_id": cells, "timestamp": ["2023-06-01"] * 8}
    places = {"centre_lat": np.linspace(0, 50, 8), "centre_lon": np.linspace(0, 50, 8)}
    pq.write_table(pa.table({**facts, **places, "thumbnail": [png()] * 8}), path, row_group_size=4)
    return lambda: read_all(MajorTomSource(str(path)))


def vectors(path):
    lon = np.linspace(0, 50, 8)
    rows = {
        "id": [f"t{i}" for i in range(8)],
        "lon": lon,
        "lat": lon,
        "embedding": [[0.1, 0.2, float(i)] for i in lon],
    }
    pq.write_table(pa.table(rows), path)
    given = GivenVectors("embedding", "image", SpaceSpec(3, "cosine"), ModelRef("m", "", "", ""))
    return lambda: list(VectorFiles(path, given).read())


def mbtiles(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("create table metadata(name, value)")
        db.execute("insert into metadata values('bounds', '-180,-85,180,85')")
        db.execute("create table tiles(zoom_level integer, tile_column integer, tile_row integer, tile_data blob)")
        db.executemany("insert into tiles values(6, ?, ?, ?)", [(i, j, png()) for i in range(3) for j in range(3)])
        db.commit()
    return lambda: read_all(XyzSource(str(path)))


@pytest.mark.parametrize("make", [majortom, vectors, mbtiles])
def test_damage_anywhere_is_an_error_of_ours_or_of_a_tile(make, tmp_path):
    path = tmp_path / "it"
    read = make(path)
    whole = path.read_bytes()
    read()
    refused = 0
    for data in damaged(whole):
        path.write_bytes(data)
        for cache in (_open, tile_stores._mbtiles):
            cache.cache_clear()
        try:
            read()
        except SourceError:
            refused += 1
    assert refused >= PLACES // 3


ODD_ROWS = [
    *[(None, 1, 1, b""), ("x", 1, 1, b""), (b"6", 1, 1, b""), (-1, 1, 1, b""), (25, 1, 1, png()), (2**62, 1, 1, png())],
    *[(6, None, 2, b""), (6, "y", 2, b""), (6, 1.5, 2, png()), (6, -1, 2, png()), (6, 2, -1, png())],
]


def test_odd_rows_of_map_tiles_are_left_out_counted_and_named(tmp_path):
    mbtiles(tmp_path / "a.mbtiles")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.mbtiles")) as db:
        db.executemany("insert into tiles values(?, ?, ?, ?)", ODD_ROWS)
        db.executemany("insert into tiles values(?, ?, ?, ?)", [(6, 64, 2, png()), (6, 2, 2**40, png())])  # no place
        db.executemany("insert into tiles values(?, ?, ?, ?)", [(6, 1, 1, png()), (6, 1, 1, b"cut")])
        db.executemany("insert into tiles values(?, ?, ?, ?)", [(6, 7, 7, None), (6, 9, 9, "text"), (6, 8, 8, b"GIF")])
        db.commit()
    source = XyzSource(str(tmp_path / "a.mbtiles"))
    found = list(source.candidates())
    assert [c for p in source.partitions() for c in source.candidates(p)] == found
    reasons = Counter(c.reason for c in found if isinstance(c, LeftOut))
    assert reasons == {"bad row": len(ODD_ROWS), "off the map": 2, "id given twice": 2}
    assert {"bad row", "off the map"} < FAULTS
    told = " ".join(c.what for c in found if isinstance(c, LeftOut))
    assert all(words in told for words in ("zoom 'x'", "zoom 25", "column 1.5", "row -1", "6/1/1 stands 3 times"))
    tiles = [c for c in found if isinstance(c, Candidate)]
    assert len(tiles) == len({c.tile.tile_id for c in tiles}) == 12
    chunk = read_chunk(source, ReadOptions(), tiles)
    assert (len(chunk.tiles), chunk.left_out["unreadable"]) == (9, 3)
    assert len(chunk.left_out.names["unreadable"]) == 3


def test_the_finest_zoom_of_map_tiles_is_the_one_that_they_tell(tmp_path):
    mbtiles(tmp_path / "a.mbtiles")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.mbtiles")) as db:
        db.execute("insert into tiles values(20, 1, 1, ?)", (png(),))
        for told, finest in (("20", 20), ("6", 6), ("19", 6), ("2", 20), ("many", 20)):
            db.execute("delete from metadata where name = 'maxzoom'")
            db.execute("insert into metadata values('maxzoom', ?)", (told,))
            db.commit()
            assert XyzSource(str(tmp_path / "a.mbtiles")).provenance()["zoom"] == finest


def test_what_is_no_tile_in_a_folder_of_map_tiles_is_counted_and_named(tmp_path):
    names = ["6/1/1.png", "6/1/02.png", "6/1/1@2x.png", "6/1/1.jpg", "6/1/y3.png", "6/1/-4.png", "6/1/٣.png"]
    names += ["6/x/1.png", "6/01/1.png", "6/5.png", "6/99/1.png", "6/1/70.png", "2023/1/1.png"]
    names += ["6/1/notes.txt", "6/.hidden/1.png", "6/1/.1.png"]  # nothing that anybody takes for tiles
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png())
    source = XyzSource(str(tmp_path), scene="a")
    found = list(source.candidates())
    assert [c for p in source.partitions() for c in source.candidates(p)] == found
    assert sorted(c.tile.tile_id for c in found if isinstance(c, Candidate)) == ["a-6-1-1", "a-6-1-2"]
    reasons = Counter(c.reason for c in found if isinstance(c, LeftOut))
    assert reasons == {"bad row": 6, "off the map": 2, "id given twice": 2}
    told = " ".join(c.what for c in found if isinstance(c, LeftOut))
    assert all(name in told for name in ("y3.png", "-4.png", "6/x", "6/01", "6/5.png", "1@2x.png"))


@pytest.fixture
def server(tmp_path):
    with StacServer(tmp_path) as running:
        yield running


LANDING = {"type": "Catalog", "stac_version": "1.0.0", "id": "x", "description": "x", "links": []}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>log in</html>"),
        (200, b""),
        (200, b"[]"),
        (200, b"null"),
        (200, b'"text"'),
        (200, b"{}"),
        (200, b'{"type": "Feature"}'),
        (200, b'{"type": "Catalog", "links": null}'),
        (200, json.dumps(LANDING).encode()),
        (200, json.dumps({**LANDING, "stac_version": 1, "links": [{"rel": "search"}]}).encode()),
        (200, b"\xff\xfe\x00"),
        (401, b"no"),
        (404, b"no"),
        (500, b"no"),
        (301, b"no"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_catalogue_that_answers_nonsense_is_said_so(server, status, body, monkeypatch):
    monkeypatch.setattr("indexer.sources.stac_api.RETRIES", {"total": 0})
    monkeypatch.setattr(server, "_landing", None)
    monkeypatch.setattr("tests.indexer.stac_server.send_json", lambda *_: None)
    monkeypatch.setattr(server, "_fails", lambda handler: send(handler, status, body, "application/json") or True)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:\d+\S* (can't be searched as a STAC API|does not answer as)"):
        search(server)


@pytest.mark.parametrize(
    "page",
    [
        b"[]",
        b"null",
        b"{}",
        b'{"features": 3}',
        b'{"features": {"a": 1}}',
        b'{"features": [null, 3, "x", [], {}]}',
        b'{"features": [{"id": 1, "properties": [], "assets": [], "geometry": 3}]}',
        b'{"features": [{"id": "a", "properties": {"datetime": 3}, "assets": {"visual": 1}, "geometry": {}}]}',
        b'{"features": [], "links": 3}',
        b'{"features": [], "links": [{"rel": "next"}]}',
        b"<html>",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_search_that_answers_nonsense_leaves_it_out_or_is_said_so(server, page, monkeypatch):
    monkeypatch.setattr(server, "_search", lambda handler, _: send(handler, 200, page, "application/geo+json"))
    with contextlib.suppress(SourceError):
        assert all(isinstance(found, LeftOut) for found in search(server))


def search(server):
    day = dt.date(2023, 1, 1)
    return list(search_scenes(server.url, "sentinel-2-l2a", BBox(0, 0, 1, 1), day, day, 1.0, [["visual"]]))
