"""New generations, new and broken collections, while the service runs."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from tests.app.conftest import ROWS, ToyModel, toy_settings, write_rows
from wildsat_core.errors import CollectionFormatError, ModelMismatchError
from wildsat_core.types import BBox, ModelRef


def service(folder: Path, model: type = ToyModel) -> TestClient:
    app = create_app(toy_settings(folder, swap_interval_s=0.05), lambda name: model())
    return TestClient(app, raise_server_exceptions=False)


def wait_for(claim: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait until a claim is true; ever longer between two looks, so that what is waited for has the processor."""
    started = time.monotonic()
    while not claim():
        waited = time.monotonic() - started
        assert waited < seconds, "it did not come true in time"
        time.sleep(min(0.01 + waited / 20, 0.3))
    return time.monotonic() - started


def some_tiles(start: int, count: int) -> list:
    return [
        (f"new-{i}", BBox(-170 + i % 300, 10, -169.5 + i % 300, 10.5), None, None, None, (0.1 * (i % 7), 0.2, 0.1, 0.5))
        for i in range(start, start + count)
    ]


def test_a_new_generation_is_served_without_a_failed_or_mixed_answer(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)
    totals = {1: 6}
    stop, bad = threading.Event(), []
    with service(tmp_path) as client:

        def search_on() -> None:
            while not stop.is_set():
                answer = client.get("/search", params={"q": "ice", "k": 1000})
                body = answer.json()
                whole = answer.status_code == 200 and len(body["features"]) == body["total"] == body["matched"]
                if not whole or totals.get(body["generation"], body["total"]) != body["total"]:
                    bad.append(body)

        searchers = [threading.Thread(target=search_on) for _ in range(3)]
        for searcher in searchers:
            searcher.start()
        for generation in (2, 3, 4):
            totals[generation] = totals[generation - 1] + 50
            write_rows(tmp_path, "demo", some_tiles(50 * generation, 50))

            def served(wanted: int = generation) -> bool:
                return client.get("/readyz").json()["collections"][0]["generation"] == wanted

            wait_for(served)
        stop.set()
        for searcher in searchers:
            searcher.join()
    assert not bad, bad[:1]


def test_a_collection_that_appears_or_goes_is_noticed(tmp_path: Path) -> None:
    with service(tmp_path) as client:
        not_ready = client.get("/readyz")
        assert (not_ready.status_code, not_ready.headers["retry-after"]) == (503, "1")
        assert client.get("/search", params={"q": "x"}).status_code == 503
        assert client.get("/livez").status_code == 200
        write_rows(tmp_path, "other", ROWS)
        wait_for(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/search", params={"q": "x"}).json()["collection"] == "other", "the only one is the default"
        shutil.rmtree(tmp_path / "other")
        wait_for(lambda: client.get("/readyz").status_code == 503)


def test_a_broken_new_generation_leaves_the_old_one_serving(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_rows(tmp_path, "demo", ROWS)
    with service(tmp_path) as client:
        (tmp_path / "demo" / "CURRENT").write_text("7\n")
        wait_for(lambda: client.get("/readyz").json()["refused"] == ["demo"])
        answer = client.get("/search", params={"q": "forest"}).json()
        assert answer["generation"] == 1
        assert "7.json is missing" in caplog.text
        (tmp_path / "demo" / "CURRENT").write_text("1\n")
        wait_for(lambda: client.get("/readyz").json()["refused"] == [])


def test_a_broken_default_collection_stops_the_start_and_names_the_file(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)
    vectors = next((tmp_path / "demo").rglob("text.npy"))
    vectors.write_bytes(vectors.read_bytes()[:-4])
    with pytest.raises(CollectionFormatError, match=r"text\.npy"), service(tmp_path):
        pass


def test_another_broken_collection_is_kept_out_and_the_rest_served(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)
    write_rows(tmp_path, "other", ROWS)
    manifest = tmp_path / "other" / "generations" / "1.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"format_version": 99}))
    with service(tmp_path) as client:
        assert client.get("/readyz").json()["refused"] == ["other"]
        refused = client.get("/search", params={"q": "x", "collection": "other"})
        assert (refused.status_code, "'other' can't be served" in refused.json()["detail"]) == (503, True)
        assert client.get("/search", params={"q": "x"}).status_code == 200


class StrangerModel(ToyModel):
    """Another model than the one that made the collections."""

    ref = ModelRef("stranger", "1" * 64, "words", "as they come")


def test_a_collection_of_another_model_is_refused_naming_both(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)
    with pytest.raises(ModelMismatchError, match=r"toy.*stranger"), service(tmp_path, StrangerModel):
        pass


def test_a_collection_that_comes_back_from_a_backup_is_served_again(tmp_path: Path) -> None:
    served, backup = tmp_path / "served", tmp_path / "backup"
    write_rows(served, "demo", ROWS)
    write_rows(served, "other", ROWS)
    with service(served) as client:
        (served / "other").rename(backup)
        wait_for(lambda: len(client.get("/readyz").json()["collections"]) == 1)
        shutil.copytree(backup, tmp_path / "copy")
        (tmp_path / "copy").rename(served / "other")
        wait_for(lambda: len(client.get("/readyz").json()["collections"]) == 2)
        assert client.get("/search", params={"q": "ice", "collection": "other"}).json()["total"] == 6
        (served / "other" / "CURRENT").write_text("9\n")
        wait_for(lambda: client.get("/readyz").json()["refused"] == ["other"])
        shutil.rmtree(served / "other")
        wait_for(lambda: client.get("/readyz").json()["refused"] == [])
