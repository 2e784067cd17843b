"""Behind proxies: whose word counts for address, scheme and host."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.layers.proxies import ProxiesMiddleware, read_address, read_network
from app.main import create_app
from tests.app.conftest import ToyModel, toy_settings


@pytest.fixture
def seen() -> Callable[..., dict]:
    """What an application sees of a request from a peer with some headers."""

    def ask(peer: str, trusted: tuple[str, ...], headers: dict[str, str | list[str]]) -> dict:
        import asyncio

        found = {}

        async def app(scope, receive, send):
            found.update(scope)

        raw = [(b"host", b"inside:8000")]
        for name, value in headers.items():
            lines = value if isinstance(value, list) else [value]
            raw += [(name.lower().encode(), line.encode()) for line in lines]
        scope = {"type": "http", "client": (peer, 5), "scheme": "http", "headers": raw}
        asyncio.run(ProxiesMiddleware(app, trusted)(scope, None, None))
        return {
            "client": found["client"][0],
            "scheme": found["scheme"],
            "host": [value.decode() for name, value in found["headers"] if name == b"host"],
        }

    return ask


TOLD = {"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "habitats.example"}
OUTSIDE = {"client": "198.51.100.1", "scheme": "https", "host": ["habitats.example"]}


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.0.0.7", "10.0.0.0/8"),
        ("::ffff:10.0.0.7", "10.0.0.0/8"),
        ("10.0.0.7", "::ffff:10.0.0.0/104"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::/10"),
    ],
)
def test_a_trusted_proxy_tells_address_scheme_and_host(seen, peer, trusted):
    assert seen(peer, (trusted,), TOLD) == OUTSIDE


@pytest.mark.parametrize("peer", ["11.0.0.7", "::ffff:11.0.0.7", "2001:db8::1", "testclient"])
def test_nobody_else_does(seen, peer):
    assert seen(peer, ("10.0.0.0/8",), TOLD) == {"client": peer, "scheme": "http", "host": ["inside:8000"]}


@pytest.mark.parametrize(
    "told",
    [
        {
            "X-Forwarded-For": "6.6.6.6, 198.51.100.1, 10.0.0.8",
            "X-Forwarded-Proto": "http, https, http",
            "X-Forwarded-Host": "evil.example, habitats.example, middle.example",
        },
        {
            "X-Forwarded-For": ["6.6.6.6", "198.51.100.1, 10.0.0.8"],
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "habitats.example",
        },
    ],
)
def test_with_two_proxies_what_the_outer_one_saw_counts_and_not_what_the_client_wrote(seen, told):
    assert seen("10.0.0.7", ("10.0.0.0/8",), told) == OUTSIDE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Host", "habitats.example/path"),
        ("X-Forwarded-Host", "a b"),
        ("X-Forwarded-Host", "user@habitats.example"),
        ("X-Forwarded-Host", "habitats.example:99999999"),
        ("X-Forwarded-Proto", "javascript"),
        ("X-Forwarded-Proto", ""),
    ],
)
def test_what_is_no_host_and_no_scheme_is_not_heeded(seen, name, value):
    assert seen("10.0.0.7", ("10.0.0.7",), {name: value}) == {
        "client": "10.0.0.7",
        "scheme": "http",
        "host": ["inside:8000"],
    }


def test_addresses_and_networks_have_one_form():
    assert str(read_address("::ffff:192.0.2.1")) == "192.0.2.1"
    assert read_address("unknown") is None
    assert str(read_network("::ffff:192.0.2.0/120")) == "192.0.2.0/24"
    assert str(read_network("2001:db8::1/64")) == "2001:db8::/64"
    with pytest.raises(ValueError, match="does not appear"):
        read_network("proxy")


def test_links_carry_what_the_proxy_told(toy_folder: Path):
    app = create_app(toy_settings(toy_folder, trusted_proxies=("10.0.0.7",)), lambda name: ToyModel())
    with TestClient(app, client=("10.0.0.7", 5)) as client:
        links = client.get("/?f=json", headers=TOLD).json()["links"]
    assert all(link["href"].startswith("https://habitats.example") for link in links)


def test_clients_of_mapped_addresses_are_told_apart(toy_folder: Path):
    settings = toy_settings(toy_folder, trusted_proxies=("10.0.0.7",), rate_per_minute=1, rate_burst=1)
    with TestClient(create_app(settings, lambda name: ToyModel()), client=("10.0.0.7", 5)) as client:
        addresses = ("::ffff:198.51.100.1", "::ffff:198.51.100.2", "198.51.100.1")
        answers = [client.get("/collections", headers={"X-Forwarded-For": a}).status_code for a in addresses]
    assert answers == [200, 200, 429]


@pytest.mark.parametrize("path", ["/search?q=forest&k=6", "/export?q=forest&format=csv", "/openapi.json", "/"])
def test_text_is_packed_for_those_who_take_it(client: TestClient, path: str):
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert "content-encoding" not in plain.headers
    if len(plain.content) >= 1024:
        assert packed.headers["content-encoding"] == "gzip"
        assert len(raw) < len(plain.content) / 2
        raw = gzip.decompress(raw)
    assert "accept-encoding" in packed.headers["vary"].lower()
    if path.startswith("/search"):
        assert [f["id"] for f in json.loads(raw)["features"]] == [f["id"] for f in plain.json()["features"]]
    head = client.head(path, headers={"Accept-Encoding": "gzip"})
    assert head.headers.get("content-encoding") == packed.headers.get("content-encoding")


def test_pictures_are_not_packed_again(client: TestClient):
    answer = client.get("/tiles/amazon/thumbnail.webp", headers={"Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.headers.get("content-encoding")) == (200, None)
