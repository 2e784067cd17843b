"""Maps in other pages: TileJSON, cross-origin pictures, ranges; and exports that slow readers don't hold up."""

import io
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.answers.ranges import Store, Written
from app.main import create_app
from tests.app.conftest import ROWS, ToyModel, picture, running, toy_settings, write_rows
from tests.app.test_swap import wait_for
from wildsat_core.collection.map_tiles import MapTile, write_map_tiles

ELSEWHERE = {"Origin": "https://maps.example"}


@pytest.fixture(scope="module")
def with_imagery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection whose map tiles have 512 pixels."""
    folder = tmp_path_factory.mktemp("collections")
    write_rows(folder, "demo", ROWS)
    metadata = {"name": "toy", "format": "png", "minzoom": "0", "maxzoom": "3"}
    tile = MapTile(0, 0, 0, picture((9, 9, 9), "PNG", 512))
    write_map_tiles(folder / "demo" / "imagery.mbtiles", [tile], metadata)
    return folder


def serve(folder: Path, **settings: object) -> TestClient:
    return TestClient(create_app(toy_settings(folder, **settings), lambda name: ToyModel()))


def test_tilejson_leads_to_pictures_of_the_size_that_it_tells(with_imagery: Path) -> None:
    with serve(with_imagery) as client:
        for address, side, zooms in (
            ("/heatmap/tilejson.json?q=desert&floor=50", 256, (0, 14)),
            ("/collections/demo/imagery/tilejson.json", 512, (0, 3)),
        ):
            told = client.get(address).json()
            assert (told["tilejson"], told["tileSize"]) == ("3.0.0", side)
            assert (told["minzoom"], told["maxzoom"]) == zooms
            assert told["attribution"] == "Nobody"
            tile = client.get(told["tiles"][0].format(z=0, x=0, y=0))
            assert Image.open(io.BytesIO(tile.content)).size == (side, side)
        assert "floor=50" in client.get("/heatmap/tilejson.json?q=desert&floor=50").json()["tiles"][0]
        assert client.get("/heatmap/tilejson.json").status_code == 422
        entry = client.get("/collections/demo").json()["wildsat"]["imagery"]
        assert entry["tile_px"] == 512


PICTURES = ("/tiles/fiji/thumbnail.webp", "/heatmap/0/0/0.png?q=ice", "/collections/demo/imagery/0/0/0")


def test_other_pages_may_show_pictures_and_get_answers_where_no_key_is_needed(with_imagery: Path) -> None:
    with serve(with_imagery) as client:
        for path in (*PICTURES, "/search?q=ice", "/collections", "/stac/search", "/heatmap/tilejson.json?q=ice"):
            answer = client.get(path, headers=ELSEWHERE)
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            assert answer.headers["access-control-allow-origin"] == "*"
        asked = ELSEWHERE | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
        assert client.options("/export", headers=asked).status_code == 200
        asked["Access-Control-Request-Method"] = "POST"
        assert client.options("/search", headers=asked).status_code == 400


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({"cors_origins": ("none",)}, None),
        ({"require_key": True, "api_keys": ("k" * 16,)}, None),
        (
            {"require_key": True, "api_keys": ("k" * 16,), "cors_origins": ("https://maps.example",)},
            "https://maps.example",
        ),
        ({"cors_origins": ("https://other.example",)}, None),
    ],
)
def test_an_operator_decides_which_pages_may(with_imagery: Path, settings: dict, allowed: str | None) -> None:
    with serve(with_imagery, **settings) as client:
        answer = client.get("/tiles/fiji/thumbnail.webp", headers=ELSEWHERE | {"X-API-Key": "k" * 16})
        assert answer.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    "path", [*PICTURES, "/export?q=ice", "/export?q=ice&format=csv", "/export?q=ice&format=geoparquet"]
)
def test_pictures_and_exports_can_be_read_in_parts(with_imagery: Path, path: str) -> None:
    with serve(with_imagery) as client:
        client.headers["Accept-Encoding"] = "identity"
        whole = client.get(path)
        size = len(whole.content)
        assert (whole.headers["accept-ranges"], int(whole.headers["content-length"])) == ("bytes", size)
        for asked, start, stop in (
            ("bytes=0-9", 0, 10), ("bytes=10-", 10, size), ("bytes=-7", size - 7, size), ("bytes=5-999999999", 5, size),
        ):  # fmt: skip
            part = client.get(path, headers={"Range": asked})
            assert (part.status_code, part.content) == (206, whole.content[start:stop])
            assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
            assert part.headers["etag"] == whole.headers["etag"]
        beyond = client.get(path, headers={"Range": f"bytes={size}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
        for asked in ("bytes=0-1,3-4", "lines=0-1", "bytes=-", "bytes=x-"):
            assert client.get(path, headers={"Range": asked}).content == whole.content
        stale = client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
        assert (stale.status_code, stale.content) == (200, whole.content)
        head = client.head(path)
        assert (int(head.headers["content-length"]), head.content) == (size, b"")
        assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_an_export_is_written_once_for_all_its_parts(with_imagery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr("app.routes.export.Written", lambda pieces: written.append(1) or Written(pieces))
    with serve(with_imagery) as client:
        for start in range(5):
            client.get("/export?q=ice&format=geoparquet", headers={"Range": f"bytes={start}-"})
    assert written == [1]


def test_a_disk_without_room_is_said_to_be_one(with_imagery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(pieces: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/secret")

    monkeypatch.setattr("app.routes.export.Written", full)
    with serve(with_imagery) as client:
        answer = client.get("/export?q=ice")
        assert (answer.status_code, "no room" in answer.json()["detail"]) == (503, True)
        assert "secret" not in answer.text


def test_the_store_keeps_no_more_than_its_size() -> None:
    store = Store(most_bytes=100)
    kept = [Written([b"x" * 40]) for _ in range(5)]
    for number, file in enumerate(kept):
        store.put(str(number), file)
    assert [store.get(str(number)) is not None for number in range(5)] == [False, False, False, True, True]
    assert kept[0].read(0, 3) == b"xxx", "whoever reads it still can"
    store.put("large", Written([b"x" * 200]))
    assert store.get("large") is None


def test_readers_that_do_not_read_stop_no_export(tmp_path: Path) -> None:
    many = [(f"t{i:04}", ROWS[0][1], None, None, None, (0.1 + i % 7, 0.2, 0.1, 0.5)) for i in range(5000)]
    write_rows(tmp_path, "demo", many)
    app = create_app(toy_settings(tmp_path, max_exports=2), lambda name: ToyModel())
    gate = app.state.export_gate
    with running(app) as url, ExitStack() as idle:
        place = urlsplit(url)
        for number in range(4):  # each is sent more than a socket holds, and takes nothing
            connection = idle.enter_context(socket.create_connection((place.hostname, place.port)))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(f"GET /export?q=ice&limit={4000 + number % 2} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_for(lambda: gate.at_work + gate.waiting > 0)
        wait_for(lambda: gate.at_work + gate.waiting == 0)  # while none of them has read a byte
        assert httpx.get(f"{url}/export?q=ice&limit=10", timeout=20).status_code == 200
