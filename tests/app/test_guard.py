"""Limits on who may ask, how often, and how much at once."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from app.answers.exporting import FORMATS, ExportFormat
from app.errors import problem_of
from app.layers.body_limit import BodyLimitMiddleware
from app.layers.clients import TokenBuckets
from app.main import create_app
from app.policies import Body, Policy
from tests.app.conftest import ToyModel, toy_settings
from wildsat_core.errors import MissingExtraError

KEY, OTHER = "k" * 16, "o" * 16


@pytest.fixture
def serve(toy_folder: Path) -> Iterator[Callable[..., TestClient]]:
    """Start services with settings of the test's own."""
    clients: list[TestClient] = []

    def start(peer: str = "203.0.113.9", model: type = ToyModel, **values: object) -> TestClient:
        app = create_app(toy_settings(toy_folder, **values), lambda name: model())
        client = TestClient(app, raise_server_exceptions=False, client=(peer, 1234))
        clients.append(client.__enter__())
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def test_without_a_needed_key_only_page_and_health_answer(serve: Callable[..., TestClient]) -> None:
    client = serve(api_keys=(KEY,), require_key=True)
    refused = client.get("/search", params={"q": "forest"})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["content-type"] == "application/problem+json"
    for path in ("/livez", "/readyz", "/", "/?k=5&q=", "/static/js/main.js", "/docs", "/openapi.json"):
        assert client.get(path, headers={"Accept": "text/html"}).status_code == 200, path
    for path in ("/?q=forest&k=1000", "/?q=forest&q=", "/?not=water", "/?up=fiji"):
        assert client.get(path, headers={"Accept": "text/html"}).status_code == 401, "the page searches on the way"
    assert client.get("/?q=forest", headers={"X-API-Key": KEY}).status_code == 200
    for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
        assert client.get("/search", params={"q": "forest"}, headers=headers).status_code == 200
    assert client.get("/search", params={"q": "forest"}, headers={"X-API-Key": OTHER}).status_code == 401


def test_a_key_that_is_too_short_to_be_safe_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="at least 16 characters"):
        toy_settings(Path(), api_keys=("short",))


def test_a_client_beyond_its_rate_is_told_when_to_come_back(serve: Callable[..., TestClient]) -> None:
    client = serve(rate_per_minute=6, rate_burst=3, api_keys=(KEY,))
    assert [client.get("/collections").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.get("/collections")
    assert 1 <= int(refused.headers["retry-after"]) <= 11
    assert "allowed in" in refused.json()["detail"]
    assert client.get("/livez").status_code == 200, "health checks have no budget"
    assert client.get("/collections", headers={"X-API-Key": KEY}).status_code == 200, "a key has its own budget"


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(serve: Callable[..., TestClient]) -> None:
    def statuses(client: TestClient, *addresses: str) -> list[int]:
        return [client.get("/collections", headers={"X-Forwarded-For": a}).status_code for a in addresses]

    direct = serve(rate_per_minute=1, rate_burst=1)
    assert statuses(direct, "198.51.100.1", "198.51.100.2") == [200, 429], "the header is not believed"
    proxied = serve(peer="10.0.0.7", rate_per_minute=1, rate_burst=1, trusted_proxies=("10.0.0.0/8",))
    assert statuses(proxied, "198.51.100.1", "198.51.100.2", "198.51.100.1") == [200, 200, 429]
    # What the client itself wrote stands further left, and is not believed either.
    assert statuses(proxied, "1.1.1.1, 198.51.100.1", "2.2.2.2, 198.51.100.1, 10.0.0.8") == [429, 429]


@pytest.mark.parametrize(
    ("first", "second"), [("198.51.100.1:4711", "198.51.100.1:4712"), ("[2001:db8::1]:4711", "2001:db8::1")]
)
def test_a_port_does_not_make_another_client(serve: Callable[..., TestClient], first: str, second: str) -> None:
    client = serve(peer="10.0.0.7", rate_per_minute=1, rate_burst=1, trusted_proxies=("10.0.0.0/8",))
    statuses = [client.get("/collections", headers={"X-Forwarded-For": a}).status_code for a in (first, second)]
    assert statuses == [200, 429]


def test_an_ipv6_client_is_counted_by_its_network(serve: Callable[..., TestClient]) -> None:
    client = serve(peer="10.0.0.7", rate_per_minute=1, rate_burst=1, trusted_proxies=("10.0.0.0/8",))
    first = client.get("/collections", headers={"X-Forwarded-For": "2001:db8::1"}).status_code
    second = client.get("/collections", headers={"X-Forwarded-For": "2001:db8::2"}).status_code
    assert (first, second) == (200, 429)


def test_a_bucket_fills_up_steadily_and_never_beyond_its_burst() -> None:
    buckets = TokenBuckets(per_minute=60, burst=2)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]
    assert buckets.take("a", 1.0) == 0.0
    assert [buckets.take("a", 1000.0) > 0 for _ in range(3)] == [False, False, True]
    assert buckets.take("b", 0.0) == 0.0


class SlowModel(ToyModel):
    """Answers "slow" only when told to."""

    go_on = threading.Event()

    def embed_texts(self, texts: list[str]):
        if any("slow" in text for text in texts):
            self.go_on.wait(10)
        return super().embed_texts(texts)


@contextmanager
def in_background(*calls: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        SlowModel.go_on.set()
        for thread in threads:
            thread.join(timeout=20)


def test_overload_is_answered_at_once_with_a_time_to_retry(serve: Callable[..., TestClient]) -> None:
    client = serve(model=SlowModel, max_running=1, max_waiting=1, max_wait_s=10)
    SlowModel.go_on.clear()
    answers: dict[int, int] = {}

    def ask(number: int) -> None:
        answers[number] = client.get("/search", params={"q": f"slow {number}"}).status_code

    with in_background(lambda: ask(1), lambda: ask(2)):
        gate = client.app.state.gate
        deadline = time.monotonic() + 10
        while (gate.at_work, gate.waiting) != (1, 1) and time.monotonic() < deadline:
            time.sleep(0.01)
        started = time.monotonic()
        refused = client.get("/search", params={"q": "forest"})
        assert time.monotonic() - started < 2
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/livez").status_code == 200
    assert answers == {1: 200, 2: 200}
    assert (gate.at_work, gate.waiting) == (0, 0)


def test_waiting_for_a_place_ends(serve: Callable[..., TestClient]) -> None:
    client = serve(model=SlowModel, max_running=1, max_waiting=5, max_wait_s=0.2)
    SlowModel.go_on.clear()
    with in_background(lambda: client.get("/search", params={"q": "slow"})):
        while client.app.state.gate.at_work == 0:
            time.sleep(0.01)
        refused = client.get("/search", params={"q": "forest"})
        assert refused.status_code == 503
        assert "0.2 s" in refused.json()["detail"]


def test_requests_without_a_gate_do_not_queue_without_end(serve: Callable[..., TestClient]) -> None:
    client = serve(model=SlowModel, max_requests=1)
    SlowModel.go_on.clear()
    with in_background(lambda: client.get("/search", params={"q": "slow"})):
        while client.app.state.gate.at_work == 0:
            time.sleep(0.01)
        for path in ("/tiles/fiji", "/tiles/fiji/thumbnail.webp", "/collections", "/species"):
            refused = client.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), path
            assert "1 requests are under way" in refused.json()["detail"]
        assert [client.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
        assert client.post("/search", json={"terms": [{"text": "ice"}]}).status_code == 200
    for _ in range(3):
        assert client.get("/tiles/fiji").status_code == 200, "every place was given back"
        assert client.get("/tiles/nobody").status_code == 404


def test_an_export_holds_its_place_to_its_last_byte(
    serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(max_exports=1, max_wait_s=0.2)
    reading, go_on = threading.Event(), threading.Event()

    def slow(*args: object) -> Iterator[bytes]:
        yield b"first"
        reading.set()
        go_on.wait(10)
        yield b"last"

    monkeypatch.setitem(FORMATS, ExportFormat.CSV, replace(FORMATS[ExportFormat.CSV], write=slow))
    asked = {"q": "forest", "format": "csv"}
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.get, "/export", params=asked)
        assert reading.wait(10)
        refused = client.get("/export", params=asked)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/search", params={"q": "forest"}).status_code == 200, "searches go on"
        go_on.set()
        assert first.result().content == b"firstlast"
    assert client.get("/export", params=asked).status_code == 200


def test_a_failed_search_gives_its_place_back(serve: Callable[..., TestClient]) -> None:
    client = serve(max_running=1, max_waiting=0)
    for _ in range(3):
        assert client.get("/search", params={"like": "nobody"}).status_code == 404
    assert client.get("/search", params={"q": "forest"}).status_code == 200


def test_other_origins_may_call_only_where_they_are_named(serve: Callable[..., TestClient]) -> None:
    origin = {"Origin": "https://maps.example"}
    closed = serve(cors_origins=("none",)).get("/collections", headers=origin)
    assert "access-control-allow-origin" not in closed.headers
    assert closed.headers["cross-origin-resource-policy"] == "same-origin"
    client = serve(cors_origins=("https://maps.example",))
    assert client.get("/collections", headers=origin).headers["access-control-allow-origin"] == "https://maps.example"
    other = client.get("/collections", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    preflight = client.options("/search", headers=origin | {"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 200


class BrokenModel(ToyModel):
    """Fails in a way that nobody foresaw."""

    def embed_texts(self, texts: list[str]):
        raise RuntimeError("a secret detail")


def test_the_unforeseen_is_a_500_that_tells_nothing_but_its_id(
    serve: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(model=BrokenModel, cors_origins=("https://maps.example",))
    response = client.get("/search", params={"q": "x"}, headers={"Origin": "https://maps.example"})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert response.json()["request_id"] in caplog.text
    assert "a secret detail" in caplog.text
    assert "default-src" in response.headers["content-security-policy"]
    assert response.headers["access-control-allow-origin"] == "https://maps.example"
    assert client.head("/search", params={"q": "x"}).status_code == 500
    metrics = client.get("/metrics").text
    for method in ("GET", "HEAD"):
        assert f'wildsat_request_seconds_count{{method="{method}",route="/search",status="500"}} 1.0' in metrics


def test_what_is_not_installed_is_told_without_the_machines_paths(caplog: pytest.LogCaptureFixture) -> None:
    error = MissingExtraError("rasterio", "serve", "reading a GeoTIFF")
    told = problem_of(error, "an-id")
    assert (told["status"], told["detail"]) == (
        501,
        "reading a GeoTIFF needs a package that this service was installed without",
    )
    assert "pip install" in caplog.text


def test_queries_are_not_logged_unless_wanted(
    serve: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wildsat.access")
    serve().get("/search", params={"q": "secretbird"})
    assert "secretbird" not in "".join(r.getMessage() for r in caplog.records if r.name == "wildsat.access")
    serve(log_queries=True).get("/search", params={"q": "secretbird"})
    assert "secretbird" in "".join(r.getMessage() for r in caplog.records if r.name == "wildsat.access")


def test_links_work_below_a_path_prefix(toy_folder: Path) -> None:
    app = create_app(toy_settings(toy_folder), lambda name: ToyModel())
    with TestClient(app, root_path="/maps") as client:
        page = client.get("/maps/", params={"q": "forest", "k": 1}, headers={"Accept": "text/html"})
        assert 'src="/maps/static/js/main.js"' in page.text
        assert 'src="/maps/tiles/' in page.text
        collection = client.get("/maps/collections/demo").json()
        assert collection["links"][0]["href"].endswith("/maps/collections/demo")
        assert client.get("/maps/livez").status_code == 200


def test_guessing_keys_uses_up_the_rate_of_an_address(serve: Callable[..., TestClient]) -> None:
    client = serve(rate_per_minute=6, rate_burst=3, api_keys=(KEY,))
    guesses = [client.get("/collections", headers={"X-API-Key": f"guess{i}"}).status_code for i in range(5)]
    assert guesses == [401, 401, 401, 429, 429]
    assert client.get("/collections", headers={"X-API-Key": KEY}).status_code == 200


def test_bodies_that_come_slowly_or_hold_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.layers.body_limit.PATIENCE_S", 0.2)

    async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    app = BodyLimitMiddleware(reads_all, lambda scope: Policy(body=Body.JSON), json_bytes=100, upload_bytes=100)
    scope = {"type": "http", "path": "/search", "headers": [], "method": "POST"}

    async def ask(pause_s: float, size: int) -> int:
        async def receive() -> Message:
            await asyncio.sleep(pause_s)
            return {"type": "http.request", "body": b"x" * size, "more_body": True}

        async def send(message: Message) -> None:
            pytest.fail(f"{message} was sent")

        with pytest.raises(HTTPException) as refusal:
            await app(scope, receive, send)
        return refusal.value.status_code

    async def many() -> list[int]:
        return await asyncio.gather(*(ask(0.05, 30) for _ in range(40)))

    with ThreadPoolExecutor(1) as thread:  # the browser tests leave an event loop behind in the one that runs the tests
        assert thread.submit(lambda: asyncio.run(ask(0.12, 10))).result() == 408
        assert thread.submit(lambda: asyncio.run(ask(0.001, 60))).result() == 413
        # No more than 800 bytes are held at once.
        assert thread.submit(lambda: asyncio.run(many())).result().count(503) >= 10
    assert app.held == 0


def test_pages_of_named_origins_may_show_the_page_in_a_frame(serve: Callable[..., TestClient]) -> None:
    closed = serve().get("/").headers
    assert closed["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in closed["content-security-policy"]
    opened = serve(embed_origins=("https://blog.example",)).get("/", headers={"accept": "text/html"})
    assert "frame-ancestors https://blog.example" in opened.headers["content-security-policy"]
    assert "x-frame-options" not in opened.headers
    assert '"embed": true' in opened.text


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/search?q=ice&k=many", None, "k: must be a whole number, got 'many'"),
        ("/search?q=ice&blend=half", None, "blend: must be a number, got 'half'"),
        ("/search?q=ice&explain=perhaps", None, "explain: must be true or false, got 'perhaps'"),
        ("/search", {"terms": [{"text": "ice"}], "bbbox": 1}, "bbbox: there is no such field here, got 1"),
        ("/search", {"terms": [{"text": 3}]}, "terms.0.text: must be text, got 3"),
        ("/search", {"terms": [{"text": "ice"}], "k": 1.5}, "k: must be a whole number, got 1.5"),
        ("/stac/search", {"sortBy": [{"field": "id", "direction": "asc"}]}, "sortBy: there is no such field here"),
    ],
)
def test_what_is_malformed_is_said_in_plain_words(client: TestClient, path: str, body: dict | None, said: str) -> None:
    answer = client.get(path) if body is None else client.post(path, json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"].startswith(said)
