"""ETags: whatever decides an answer changes its tag, so that nobody keeps an answer that is over."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from app.answers import etags
from app.answers.etags import etag_of
from app.main import create_app
from tests.app.conftest import ROWS, ToyModel, toy_settings, write_rows
from tests.core.collection.conftest import overwrite_manifest
from wildsat_core.collection import open_collection
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.collection.manifest import Manifest, read_current_manifest, read_identity

KEPT = ("/search?q=forest", "/tiles/congo/similar", "/tiles/congo/habitats", "/heatmap/0/0/0.png?q=forest")


def tag(root: Path, manifest: Manifest, *asked: object) -> str:
    """ETag of what was asked of a folder whose live generation has this manifest."""
    overwrite_manifest(root, manifest)
    return etag_of(SimpleNamespace(manifest=manifest, identity=read_identity(root)), *asked)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: {"name": "other"},
        lambda manifest: {"generation": manifest.generation + 1},
        lambda manifest: {"created_at": manifest.created_at + dt.timedelta(microseconds=1)},  # built anew
        lambda manifest: {"model": replace(manifest.model, weights_sha256="1" * 64)},
        lambda manifest: {"provenance": {}},
    ],
)
def test_each_thing_that_decides_an_answer_decides_its_tag(
    toy_folder: Path, tmp_path: Path, change: Callable[[Manifest], dict]
) -> None:
    manifest = read_current_manifest(toy_folder / "demo")
    asked = ("search", {"q": "x"})
    assert tag(tmp_path / "a", manifest, *asked) == tag(tmp_path / "b", manifest, *asked)
    assert tag(tmp_path / "a", manifest.model_copy(update=change(manifest))) != tag(tmp_path / "b", manifest)


def test_what_is_asked_and_the_program_decide_the_tag(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_current_manifest(toy_folder / "demo")
    asked = [(), ("search",), ("search", {"q": "x"}), ("search", {"q": "y"}), ("heatmap", {"q": "x"})]
    before = [tag(tmp_path, manifest, *parts) for parts in asked]
    assert len(set(before)) == len(asked)
    monkeypatch.setattr(etags, "__version__", "0.0.0")
    assert not set(before) & {tag(tmp_path, manifest, *parts) for parts in asked}


def test_an_answer_of_the_generation_before_is_not_taken_for_one_of_this(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)

    def answers(kept: dict[str, str]) -> dict[str, tuple[int, str]]:
        with TestClient(create_app(toy_settings(tmp_path), lambda name: ToyModel())) as client:
            told = {path: client.get(path, headers={"If-None-Match": kept.get(path, "")}) for path in KEPT}
        return {path: (answer.status_code, answer.headers["etag"]) for path, answer in told.items()}

    first = {path: etag for path, (_, etag) in answers({}).items()}
    assert {status for status, _ in answers(first).values()} == {304}
    collection = open_collection(tmp_path / "demo")
    delete_tiles(tmp_path / "demo", collection.tiles.rows_of(["texas"]), generation=1)
    assert {status for status, _ in answers(first).values()} == {200}
