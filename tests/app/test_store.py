"""A service over collections in object storage, asked over HTTP."""

import threading
from pathlib import Path

import httpx
import pytest
import uvicorn

from app.main import create_app
from app.settings import Settings
from tests.app.conftest import ROWS, ToyModel, write_rows
from tests.app.test_swap import some_tiles, wait_for
from wildsat_core.collection.copies import copies_of
from wildsat_core.collection.mirror import mirrored
from wildsat_core.collection.store import open_store


def publish(store: str, name: str, rows: list) -> None:
    """Add rows, as another machine does."""
    mirrored(store, name)
    write_rows(copies_of(store), name, rows)


@pytest.fixture
def served(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The address of a service that looks into the store ten times a second, with a cache of its own."""
    publish(s3, "demo", ROWS)
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "service"))
    settings = Settings(store=s3, store_interval_s=0.1, swap_interval_s=0.05)
    app = create_app(settings, lambda name: ToyModel())
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "cache"))
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_service_answers_from_the_store_and_sees_what_others_publish(served: str, s3: str, tmp_path: Path) -> None:
    with httpx.Client(base_url=served) as client:
        found = client.get("/search", params={"q": "ice"}).json()
        assert (found["total"], found["generation"]) == (6, 1)
        picture = client.get("/tiles/fiji/thumbnail.webp")
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/webp")
        publish(s3, "demo", some_tiles(0, 50))
        publish(s3, "other", ROWS)
        wait_for(lambda: client.get("/search", params={"q": "ice"}).json()["generation"] == 2)
        assert client.get("/search", params={"q": "ice"}).json()["total"] == 56
        wait_for(lambda: client.get("/search", params={"q": "ice", "collection": "other"}).status_code == 200)
        store = open_store(s3)
        store.delete([one.key for one in store.listed("other/")])
        wait_for(lambda: client.get("/search", params={"q": "ice", "collection": "other"}).status_code == 404)
        assert client.get("/search", params={"q": "ice"}).status_code == 200
    assert list((tmp_path / "service").rglob("text.npy"))


def test_a_damaged_new_generation_leaves_the_old_one_serving(served: str, s3: str, caplog) -> None:
    store = open_store(s3)
    with httpx.Client(base_url=served) as client:
        put = store.put
        store.put = lambda key, content: put(key, b"not these" if key.endswith("/text.npy") else content)
        publish(s3, "demo", some_tiles(0, 50))
        store.put = put
        wait_for(lambda: "text.npy is damaged" in caplog.text)
        assert client.get("/search", params={"q": "ice"}).json()["generation"] == 1
