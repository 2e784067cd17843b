"""Answers given again from memory: the very same ones, to nobody who may not have them, and none that is over."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.layers import kept
from app.layers.kept import OVERHEAD_BYTES, Kept, KeptAnswers
from app.main import create_app
from tests.app.conftest import ROWS, ToyModel, toy_settings, write_rows
from tests.app.test_swap import wait_for

KEY = "a-key-of-sixteen-characters"


@pytest.fixture
def client(toy_folder: Path):
    with service(toy_folder) as client:
        yield client


def service(folder: Path, **settings: object) -> TestClient:
    return TestClient(create_app(toy_settings(folder, swap_interval_s=0.05, **settings), lambda name: ToyModel()))


def searched(client: TestClient) -> float:
    """How many searches were worked on."""
    found = client.app.state.metrics.registry.get_sample_value("wildsat_search_stage_seconds_count", {"stage": "scan"})
    return found or 0.0


@pytest.mark.parametrize(
    "path", ["/search?q=ice", "/tiles/congo/similar", "/tiles/congo/habitats", "/heatmap/0/0/0.png?q=ice"]
)
def test_the_same_question_gets_the_same_answer_from_memory(client: TestClient, path: str) -> None:
    first, again = client.get(path), client.get(path)
    assert (again.status_code, again.content) == (200, first.content)
    assert "Age" not in first.headers
    assert int(again.headers["Age"]) >= 0
    same = ("ETag", "Cache-Control", "Content-Type", "Content-Length", "Cross-Origin-Resource-Policy")
    assert [again.headers[name] for name in same] == [first.headers[name] for name in same]
    assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]


def test_what_is_answered_from_memory_is_not_worked_on_and_yet_counted(client: TestClient) -> None:
    for _ in range(3):
        client.get("/search?q=ice")
    assert searched(client) == 1
    labels = {"route": "/search", "method": "GET", "status": "200"}
    assert client.app.state.metrics.registry.get_sample_value("wildsat_request_seconds_count", labels) == 3


def test_packed_and_plain_answers_are_kept_apart(client: TestClient) -> None:
    plain, packed = (
        [client.get("/search?q=ice", headers={"Accept-Encoding": way}) for _ in range(2)]
        for way in ("identity", "gzip")
    )
    assert [answer.headers.get("Content-Encoding") for answer in (*plain, *packed)] == [None, None, "gzip", "gzip"]
    assert packed[1].content == packed[0].content
    assert plain[1].json()["features"] == packed[1].json()["features"]


def test_who_has_the_answer_is_told_so(client: TestClient) -> None:
    etag = client.get("/search?q=ice").headers["ETag"]
    told = client.get("/search?q=ice", headers={"If-None-Match": f'"other", {etag}'})
    assert (told.status_code, told.content, told.headers["ETag"]) == (304, b"", etag)
    assert told.headers["Cache-Control"] == "no-cache"
    assert client.get("/search?q=ice", headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_change_of_what_is_served_ends_what_was_kept(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS[:5])
    with service(tmp_path) as client:
        for _ in range(2):
            assert client.get("/search?q=ice").json()["total"] == 5
        write_rows(tmp_path, "demo", ROWS[5:])
        wait_for(lambda: client.get("/search?q=ice").json()["total"] == 6)
        write_rows(tmp_path, "other", ROWS[:2])  # and where the default stays, names may mean something now
        wait_for(lambda: client.get("/search?q=ice&collection=other").status_code == 200)


@pytest.mark.parametrize(
    ("ask", "counted"),
    [
        (lambda client: client.get("/search?q=motherboard"), True),  # no match, which a counter counts
        (lambda client: client.head("/search?q=ice"), False),
        (lambda client: client.post("/search", json={"terms": [{"text": "ice"}]}), False),
        (lambda client: client.get("/search?q=ice&k=0"), False),
        (lambda client: client.get("/tiles/congo"), False),
        (lambda client: client.get("/heatmap/0/0/0.png?q=ice", headers={"Range": "bytes=0-3"}), False),
        (lambda client: client.get("/export?q=ice"), False),
    ],
)
def test_other_answers_are_made_each_time(client: TestClient, ask, counted: bool) -> None:
    first, again = ask(client), ask(client)
    assert first.status_code == again.status_code
    assert "Age" not in again.headers
    registry = client.app.state.metrics.registry
    assert registry.get_sample_value("wildsat_searches_without_match_total") == (2 if counted else 0)


def test_a_kept_answer_needs_the_key_that_the_first_needed(toy_folder: Path) -> None:
    with service(toy_folder, api_keys=(KEY,), require_key=True) as client:
        key = {"X-API-Key": KEY}
        answers = [client.get("/heatmap/0/0/0.png?q=ice", headers=key) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert "public" not in answers[1].headers["Cache-Control"]
        assert client.get("/heatmap/0/0/0.png?q=ice").status_code == 401


def test_keeping_can_be_switched_off(toy_folder: Path) -> None:
    with service(toy_folder, max_kept_bytes=0) as client:
        assert "Age" not in [client.get("/search?q=ice") for _ in range(2)][1].headers
        assert searched(client) == 2


def test_a_large_answer_is_not_kept(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_OF_ONE", 100)
    assert "Age" not in [client.get("/search?q=ice") for _ in range(2)][1].headers


def an_answer(size: int) -> Kept:
    return Kept((), b"x" * size, '"tag"', None, 0.0)


def test_the_longest_unused_goes_first_and_the_bytes_are_bounded() -> None:
    state, answers = object(), KeptAnswers(3 * (OVERHEAD_BYTES + 10))
    assert answers.get(("0", b"", False), state) is None
    for number in range(3):
        answers.put((str(number), b"", False), state, an_answer(10))
    assert answers.get(("0", b"", False), state) is not None
    answers.put(("3", b"", False), state, an_answer(10))
    assert [number for number in range(4) if answers.get((str(number), b"", False), state)] == [0, 2, 3]
    assert answers.bytes == 3 * (OVERHEAD_BYTES + 10)
    answers.put(("4", b"", False), state, an_answer(10**6))  # more than all may have: nothing is left
    assert answers.bytes == 0


def test_an_answer_of_a_state_that_is_over_is_not_kept() -> None:
    before, after, answers = object(), object(), KeptAnswers(10**6)
    answers.get(("a", b"", False), before)
    answers.get(("b", b"", False), after)
    answers.put(("a", b"", False), before, an_answer(10))
    assert answers.get(("a", b"", False), after) is None
    answers.put(("a", b"", False), after, an_answer(10))
    assert answers.get(("a", b"", False), before) is None
    assert answers.bytes == 0
