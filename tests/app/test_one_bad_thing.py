"""One bad thing stays one bad thing: a damaged file, folder or number spoils its own answers and nothing else."""

import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from tests.app.conftest import MODEL, ROWS, SPACES, ToyModel, picture, toy_settings, write_rows
from tests.app.test_swap import service, wait_for
from wildsat_core.collection import CollectionWriter
from wildsat_core.collection.connections import MOST_IDLE, FileReader
from wildsat_core.collection.map_tiles import MapTile, write_map_tiles
from wildsat_core.types import BBox, Tile

METADATA = {"name": "toy", "format": "png", "minzoom": "0", "maxzoom": "1"}


def add_imagery(root: Path, colour: tuple[int, int, int] = (1, 2, 3)) -> Path:
    path = root / "imagery.mbtiles"
    write_map_tiles(path, [MapTile(0, 0, 0, picture(colour, "PNG", 256))], METADATA)
    return path


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = b"\0" * (len(content) // 2)
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def no_pictures(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("UPDATE metadata SET value = 'pbf' WHERE name = 'format'")
    file.close()


def odd_zooms(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("UPDATE metadata SET value = 'all' WHERE name = 'maxzoom'")
    file.close()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [damage, cut, no_pictures, odd_zooms, Path.unlink, a_folder])
def test_spoilt_imagery_costs_the_imagery_alone(
    tmp_path: Path, spoil: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    write_rows(tmp_path, "demo", ROWS)
    spoil(add_imagery(tmp_path / "demo"))
    with service(tmp_path) as client, caplog.at_level(logging.WARNING):
        for path in ("/collections", "/collections/demo", "/", "/readyz", "/search?q=ice", "/metrics"):
            for accept in ("text/html", "application/json"):
                assert client.get(path, headers={"Accept": accept}).status_code == 200, path
        for _ in range(20):
            assert client.get("/collections/demo/imagery/0/0/0").status_code == 404
    said = [record for record in caplog.records if "imagery" in record.getMessage()]
    assert len(said) == (0 if spoil in (Path.unlink, a_folder) else 1)


def test_imagery_that_comes_goes_or_is_exchanged_is_noticed(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)
    with service(tmp_path) as client:
        answers = []
        for colour in ((1, 2, 3), (200, 2, 3)):
            add_imagery(tmp_path / "demo", colour)
            wait_for(lambda: client.get("/collections/demo/imagery/0/0/0").status_code == 200)
            wait_for(lambda: client.get("/collections/demo/imagery/0/0/0").content not in answers)
            answers.append(client.get("/collections/demo/imagery/0/0/0").content)
        (tmp_path / "demo" / "imagery.mbtiles").unlink()
        wait_for(lambda: client.get("/collections/demo/imagery/0/0/0").status_code == 404)
        assert client.get("/collections/demo").json()["wildsat"]["imagery"] is None


def test_a_picture_file_damaged_while_it_is_served_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_rows(tmp_path, "demo", ROWS)
    write_rows(tmp_path, "good", ROWS)
    with service(tmp_path) as client, caplog.at_level(logging.WARNING):
        for path in (tmp_path / "demo" / "segments").glob("*/thumbs.bin"):
            damage(path)
        for _ in range(20):
            refused = client.get("/tiles/fiji/thumbnail.webp?collection=demo")
            assert refused.status_code == 503
            assert str(tmp_path) not in refused.text
            assert client.get("/tiles/fiji/thumbnail.webp?collection=good").status_code == 200
    assert len([record for record in caplog.records if "thumbs" in record.getMessage()]) == 1


def folder_for_current(root: Path) -> None:
    (root / "CURRENT").unlink()
    (root / "CURRENT").mkdir()


def folder_for_manifest(root: Path) -> None:
    path = root / "generations" / "1.json"
    path.unlink()
    path.mkdir()


def folder_for_table(root: Path) -> None:
    (path,) = (root / "segments").glob("*/tiles.arrow")
    path.unlink()
    path.mkdir()


def deep_manifest(root: Path) -> None:
    (root / "generations" / "1.json").write_text("[" * 100_000)
    (root / "CURRENT").write_text("1\n")


def loop_for_current(root: Path) -> None:
    (root / "CURRENT").unlink()
    (root / "CURRENT").symlink_to("CURRENT")


def another_name(root: Path) -> None:
    root.rename(root.with_name("Übung 1"))


def bytes_for_name(root: Path) -> None:
    root.rename(root.with_name(os.fsdecode(b"b\xff\xed\xa0\x80")))


def unforeseen(root: Path) -> None:
    (root / "CURRENT").write_text("1\n")
    manifest = json.loads((root / "generations" / "1.json").read_text())
    manifest["model"]["name"] = "breaks"
    (root / "generations" / "1.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "spoil",
    [
        folder_for_current, folder_for_manifest, folder_for_table, deep_manifest, loop_for_current, another_name,
        bytes_for_name, unforeseen,
    ],
)  # fmt: skip
def test_a_bad_folder_is_named_once_and_the_others_are_served(
    tmp_path: Path, spoil: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    def load(name: str) -> ToyModel:
        if name == "breaks":
            raise ZeroDivisionError(name)
        return ToyModel()

    write_rows(tmp_path, "demo", ROWS)
    write_rows(tmp_path, "bad", ROWS)
    spoil(tmp_path / "bad")
    app = create_app(toy_settings(tmp_path, swap_interval_s=0.05), load)
    with TestClient(app) as client, caplog.at_level(logging.WARNING):
        write_rows(tmp_path, "later", ROWS)  # comes after the bad one by name
        wait_for(lambda: client.get("/search?q=ice&collection=later").status_code == 200)
        for _ in range(3):
            app.state.catalog.refresh()
        for path in ("/", "/collections", "/readyz", "/search?q=ice", "/metrics"):
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert str(tmp_path) not in answer.text
        assert len(client.get("/readyz").json()["refused"]) == 1
    said = [record for record in caplog.records if "can't be served" in record.getMessage()]
    assert len(said) == 1


def test_a_folder_exchanged_for_another_of_the_same_generation_is_served(tmp_path: Path) -> None:
    write_rows(tmp_path / "one", "demo", ROWS)
    write_rows(tmp_path / "two", "demo", ROWS[:3])
    shutil.copytree(tmp_path / "one", tmp_path / "live")
    with service(tmp_path / "live") as client:
        before = client.get("/search", params={"q": "ice"})
        assert before.json()["total"] == 6
        (tmp_path / "live" / "demo").rename(tmp_path / "aside")
        shutil.copytree(tmp_path / "two" / "demo", tmp_path / "live" / "demo")
        wait_for(lambda: client.get("/search", params={"q": "ice"}).json().get("total") == 3)
        again = client.get("/search", params={"q": "ice"}, headers={"If-None-Match": before.headers["etag"]})
        assert (again.status_code, again.json()["generation"]) == (200, before.json()["generation"])


def test_a_collection_that_was_refused_is_served_once_it_is_repaired(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)
    write_rows(tmp_path, "other", ROWS)
    (path,) = (tmp_path / "other" / "segments").glob("*/text.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with service(tmp_path) as client:
        assert client.get("/readyz").json()["refused"] == ["other"]
        path.write_bytes(whole)  # the same generation, the same manifest
        wait_for(lambda: client.get("/readyz").json()["refused"] == [])
        assert client.get("/search", params={"q": "ice", "collection": "other"}).status_code == 200


def test_a_generation_that_failed_and_was_taken_back_is_no_longer_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)
    current = tmp_path / "demo" / "CURRENT"
    good = current.read_text()
    with service(tmp_path) as client:
        current.write_text("7\n")
        wait_for(lambda: client.get("/readyz").json()["refused"] == ["demo"])
        assert client.get("/search", params={"q": "ice"}).status_code == 200
        current.write_text(good)
        wait_for(lambda: client.get("/readyz").json()["refused"] == [])


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_hundred_collections_take_few_descriptors(tmp_path: Path) -> None:
    """Forty threads and a hundred files would be four thousand, were each thread to keep its own."""
    paths = []
    for number in range(100):
        paths.append(tmp_path / f"{number}.sqlite")
        with sqlite3.connect(paths[-1]) as file:
            file.execute("CREATE TABLE t (x)")
        file.close()
    readers = [FileReader(path) for path in paths]
    before = open_files()
    for _ in range(3):
        for reader in readers:
            with reader.connection() as connection:
                connection.execute("SELECT * FROM t").fetchall()
    assert open_files() - before <= MOST_IDLE
    del reader, readers
    assert open_files() <= before


def test_nested_reads_of_one_file_have_a_connection_each(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "f.sqlite") as file:
        file.execute("CREATE TABLE t (x)")
    file.close()
    reader = FileReader(tmp_path / "f.sqlite")
    with reader.connection() as one, reader.connection() as other:
        assert one is not other
    with reader.connection() as again:
        assert again in (one, other)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d\ude00"])
def test_texts_that_are_no_unicode_reach_every_answer_readably(tmp_path: Path, text: str) -> None:
    write_rows(tmp_path, "demo", ROWS, {"title": text, "notice": text, "attribution": text, "description": text})
    path = tmp_path / "demo" / "generations" / "1.json"
    written = json.loads(path.read_text())
    written["provenance"] |= {"title": text, "depth": float("nan")}  # as another program may have written it
    path.write_text(json.dumps(written))
    (tmp_path / "demo" / "CURRENT").write_text("1\n")
    with service(tmp_path) as client:
        for asked in ("/", "/collections", "/collections/demo", "/collections/demo/items", "/search?q=ice",
                      "/tiles/fiji", "/export?q=ice", "/export?q=ice&format=stac"):  # fmt: skip
            answer = client.get(asked, headers={"Accept": "application/json"})
            assert answer.status_code == 200, asked
            json.loads(answer.content.decode("utf-8"), parse_constant=pytest.fail)
        for asked in ("/", "/?q=ice"):
            assert client.get(asked, headers={"Accept": "text/html"}).status_code == 200
        assert client.get("/export?q=ice&format=geoparquet").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"\\ud800": 1}', b'{"terms": [{"text": "\\ud800"}]}', b'{"terms": [{"species": "\\ud800"}]}',
        b'{"terms": [{"tile": "\\ud800"}]}', b'{"collection": "\\ud800"}', b'{"filters": {"area": {"\\ud800": 1}}}',
        b'{"ids": ["\\ud800"]}', b'{"filter": "id = \'\\ud800\'"}', b'{"sortby": [{"field": "\\ud800"}]}',
        b'{"fields": {"include": ["\\ud800"]}}', b'{"filter": {"op": "=", "args": ["\\ud800", {"property": "id"}]}}',
        b'{"intersects": {"type": "\\ud800"}}', b'{"datetime": "\\ud800"}', b'{"after": "demo/00000000-\\ud800"}',
        b'{"terms": [{"text": "x"}], "k": 1e400}', b'{"terms": [{"vector": [1e39], "space": "text"}]}',
    ],
)  # fmt: skip
def test_texts_and_numbers_that_are_none_are_refused_readably(client: TestClient, body: bytes) -> None:
    for path in ("/search", "/stac/search"):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 404, 422)
        json.loads(answer.content.decode("utf-8"))


def test_the_largest_vectors_give_numbers(client: TestClient) -> None:
    body = {"terms": [{"vector": [3e38, -3e38, 3e38, 3e38], "space": "text", "weight": 10}]}
    answer = client.post("/search", json=body)
    assert answer.status_code in (200, 422)
    json.loads(answer.content, parse_constant=pytest.fail)


def test_names_of_files_that_are_no_unicode_can_be_stored(tmp_path: Path) -> None:
    tile = Tile("a", BBox(0, 0, 1, 1), 10.0, "pictures \udcff", "a\udcff.tif")
    with CollectionWriter(tmp_path / "demo", "demo", MODEL, SPACES) as writer:
        writer.add([tile], {space: np.eye(1, 4, dtype=np.float32) for space in SPACES})
        writer.publish(provenance={"title": "\udcff"})
    with service(tmp_path) as client:
        (hit,) = client.get("/search?q=ice").json()["features"]
        assert hit["properties"]["source"] == "pictures \\udcff"
