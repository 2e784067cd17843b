"""The page's files: compressed for who can read that, revalidated, and never of a wrong type."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from app.static_files import PageFiles

SCRIPT = b"export const answer = 42;\n" * 100


@pytest.fixture
def files(tmp_path: Path) -> TestClient:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "map.mjs").write_bytes(SCRIPT)
    (tmp_path / "own.js").write_bytes(SCRIPT)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG" + bytes(500))
    return TestClient(Starlette(routes=[Mount("/static", PageFiles(directory=tmp_path))]))


def test_text_is_compressed_for_who_takes_it(files: TestClient) -> None:
    with files.stream("GET", "/static/vendor/map.mjs", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(raw) < len(SCRIPT) / 5
    assert gzip.decompress(raw) == SCRIPT


def test_others_get_the_plain_file(files: TestClient) -> None:
    answer = files.get("/static/own.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert answer.content == SCRIPT
    assert answer.headers["vary"] == "Accept-Encoding"
    part = files.get("/static/own.js", headers={"accept-encoding": "gzip", "range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, SCRIPT[:10])
    assert "content-encoding" not in files.get("/static/picture.png", headers={"accept-encoding": "gzip"}).headers


def test_an_unchanged_file_is_not_sent_again_and_a_changed_one_is(files: TestClient, tmp_path: Path) -> None:
    first = files.get("/static/own.js", headers={"accept-encoding": "gzip"})
    assert first.headers["cache-control"] == "no-cache"
    again = files.get("/static/own.js", headers={"accept-encoding": "gzip", "if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    (tmp_path / "own.js").write_bytes(b"changed now")
    changed = files.get("/static/own.js", headers={"accept-encoding": "gzip", "if-none-match": first.headers["etag"]})
    assert (changed.status_code, changed.content) == (200, b"changed now")


def test_what_is_not_there_is_404(files: TestClient) -> None:
    assert files.get("/static/none.js", headers={"accept-encoding": "gzip"}).status_code == 404
