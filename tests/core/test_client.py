"""The Python client, against a real service on loopback and against one that fails on purpose."""

# ruff: noqa: F811 - a fixture's name is its argument's name
import asyncio
import datetime as dt
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from tests.app.conftest import live_url, picture, toy_folder  # noqa: F401 - fixtures of the service's tests
from wildsat_core.client import AsyncClient, Client, ServiceError, ServiceUnreachableError
from wildsat_core.client import http as module
from wildsat_core.errors import MissingExtraError


def run(ask: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run in a thread of its own: the browser tests leave an event loop behind in the one that runs the tests."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(ask())).result()


ANSWER = {
    "type": "FeatureCollection", "query": {}, "collection": "demo", "generation": 1, "model": "toy", "notice": None,
    "attribution": None, "matched": 0, "total": 0, "returned": 0, "no_match": False,
    "backend": "exact scan", "features": [],
}  # fmt: skip


def test_a_search_gives_typed_hits(live_url: str) -> None:
    with Client(live_url) as client:
        answer = client.search("water", k=2, blend=0, from_="2023-01-01")
        first = answer.hits[0]
        assert (first.tile_id, first.rank, first.country) == ("fiji", 1, "FJI")
        assert first.captured_on == dt.date(2023, 7, 9)
        assert first.bbox == (179.5, -18.0, -179.5, -17.0)
        assert (answer.matched, answer.total, answer.collection) == (5, 6, "demo")
        assert answer.backend == "exact scan"


def test_every_method_speaks_to_the_real_service(live_url: str, tmp_path: Path) -> None:
    with Client(live_url + "/") as client:
        assert client.tile("sahara").country_name in ("Algeria", None)
        assert client.similar("sahara", k=1).hits[0].tile_id == "texas"
        assert "desert" in client.habitats("sahara")[0].phrase
        assert client.thumbnail("sahara")[8:12] == b"WEBP"
        (collection,) = client.collections()
        assert (collection.name, collection.stac["id"], collection.tiles) == ("demo", "demo", 6)
        assert (collection.spaces, collection.bbox) == (("text", "place"), (-180.0, -18.0, 180.0, 90.0))
        assert {tile.tile_id for tile in client.suggest("forest", count=2, up=["congo"], down=["sahara"])}
        assert client.species("snow leo")[0].scientific_name == "Panthera uncia"
        assert client.query({"terms": [{"text": "ice", "weight": 2}], "k": 1}).hits[0].tile_id == "arctic"
        assert client.search_image(picture((220, 10, 10), "PNG", 16), k=1).hits[0].tile_id == "sahara"
        (tmp_path / "a.png").write_bytes(picture((220, 10, 10), "PNG", 16))
        assert client.search_image(tmp_path / "a.png", k=1).hits[0].tile_id == "sahara"
        path = client.export(tmp_path / "hits.csv", "forest", format="csv", limit=3)
        assert path.read_text().count("\n") == 4
        assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_all_hits_come_over_as_many_pages_as_it_takes(live_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    with Client(live_url) as client:
        assert [hit.rank for hit in client.search_all("forest")] == [1, 2, 3, 4, 5, 6]
        assert [hit.rank for hit in client.search_all("forest", most=3)] == [1, 2, 3]


def test_the_async_client_does_the_same(live_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 4)

    async def ask() -> None:
        async with AsyncClient(live_url) as client:
            answers = await asyncio.gather(*(client.search(word, k=1, blend=0) for word in ("desert", "ice", "water")))
            assert [answer.hits[0].tile_id for answer in answers] == ["sahara", "arctic", "fiji"]
            assert [hit.rank async for hit in client.search_all("forest")] == [1, 2, 3, 4, 5, 6]
            assert (await client.tile("fiji")).tile_id == "fiji"
            assert len(await client.habitats("fiji", k=2)) == 2
            assert len((await client.similar("fiji", k=4)).hits) == 4
            assert (await client.thumbnail("fiji"))[8:12] == b"WEBP"
            assert (await client.collections())[0].name == "demo"
            assert len(await client.suggest(count=3, up="congo", down="sahara")) == 3
            path = await client.export(tmp_path / "hits.csv", "forest", format="csv", limit=3)
            assert path.read_text().count("\n") == 4
            assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []
            with pytest.raises(ServiceError, match="100000"):
                await client.export(tmp_path / "no.csv", "forest", limit=10**6)
            assert (await client.species("jaguar"))[0].common_name == "jaguar"
            assert (await client.query({"up": ["fiji"]})).total == 6
            found = await client.search_image(picture((220, 10, 10), "PNG", 16), k=1)
            assert found.hits[0].tile_id == "sahara"
            with pytest.raises(ServiceError):
                await client.search()

    run(ask)


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


SAHARA = {"type": "Polygon", "coordinates": [[[0, 20], [20, 20], [20, 30], [0, 30], [0, 20]]]}


class Drawn:
    """A geometry of another library."""

    __geo_interface__ = SAHARA


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"countries": ["BRA", "COD"]}, {"amazon", "congo"}),
        ({"countries": {"BRA"}}, {"amazon"}),
        ({"bbox": (170, -30.0, -170, 1e-7)}, {"fiji"}),
        ({"circle": (-98, 33.5, 100)}, {"texas"}),
        ({"months": range(1, 2)}, {"sahara"}),
        ({"months": [7]}, {"amazon", "fiji"}),
        ({"from_": dt.date(2024, 2, 1), "to": dt.date(2024, 7, 31)}, {"amazon", "texas"}),
        ({"area": SAHARA}, {"sahara"}),
        ({"area": Drawn()}, {"sahara"}),
        ({"terms": [{"text": "ice", "weight": -1}], "up": ["congo", "amazon"], "k": 1}, {"congo", "amazon"}),
        ({"k": 1, "near": [0, 89], "q": None, "explain": True}, {"arctic"}),
    ],
)
def test_values_may_be_given_as_python_has_them(live_url: str, params: dict, expected: set) -> None:
    with Client(live_url) as client:
        answer = client.search(**{"q": "forest", **params})
    assert {hit.tile_id for hit in answer.hits} <= expected
    assert len(answer.hits) == min(len(expected), params.get("k", 20))


def test_a_query_may_hold_days_and_arrays(live_url: str) -> None:
    days, places = {"from": dt.date(2024, 1, 1)}, np.array([10.0, 1 / 3])
    with Client(live_url) as client:
        answer = client.query({"terms": [{"place": places}, {"text": "water"}], "filters": days, "k": np.int64(3)})
        assert {hit.captured_on.year for hit in answer.hits if hit.captured_on} == {2024}
        with pytest.raises(TypeError, match="it is no JSON"):
            client.query({"terms": object()})
        with pytest.raises(TypeError, match="k and offset can't be given: `most` says"):
            next(client.search_all("water", k=3, offset=1))


def test_shares_are_typed_and_add_up(live_url: str) -> None:
    with Client(live_url) as client:
        hit = client.search("forest", not_="water", explain=True, k=1).hits[0]
        assert client.search("forest", k=1).hits[0].shares == ()
    assert {(share.term, share.space) for share in hit.shares} >= {("forest", "text"), ("water", "place")}
    assert sum(share.value for share in hit.shares) == pytest.approx(hit.score, abs=1e-4)


def test_pages_of_two_generations_are_not_mixed(live_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    with Client(live_url) as client:
        page = client.search("forest", k=2).geojson
    pages = [httpx.Response(200, json=page), httpx.Response(200, json={**page, "generation": 2})]
    handle, _ = answering(*pages)
    with Client("http://service", transport=httpx.MockTransport(handle)) as client:
        hits = client.search_all("forest")
        assert [next(hits).rank, next(hits).rank] == [1, 2]
        with pytest.raises(ServiceError, match="from generation 1 to 2 after 2 hits") as caught:
            next(hits)
        assert caught.value.status == 409


def test_a_wait_longer_than_anyone_wants_is_told_and_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waits.append))
    handle, seen = answering(httpx.Response(429, headers={"Retry-After": "31"}, json={"detail": "too many"}))
    with (
        Client("http://service", transport=httpx.MockTransport(handle)) as client,
        pytest.raises(ServiceError, match="too many") as caught,
    ):
        client.search("x")
    assert (caught.value.retry_after_s, len(seen), waits) == (31.0, 1, [])


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("31", 31.0),
        ("Tue, 14 Nov 2023 22:14:00 GMT", 40.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_a_service_may_name_seconds_or_a_moment(monkeypatch: pytest.MonkeyPatch, said: str, seconds: float) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda _: None, time=lambda: 1_700_000_000.0))
    handle, _ = answering(*[httpx.Response(429, headers={"Retry-After": said}, json={}) for _ in range(9)])
    with (
        Client("http://service", transport=httpx.MockTransport(handle)) as client,
        pytest.raises(ServiceError) as caught,
    ):
        client.search("x")
    assert caught.value.retry_after_s == seconds


def test_a_refusal_names_parameter_and_request(live_url: str) -> None:
    with Client(live_url) as client, pytest.raises(ServiceError, match="four numbers") as caught:
        client.search("x", bbox="1,2")
    assert (caught.value.status, caught.value.parameter) == (422, "bbox")
    assert caught.value.request_id


def answering(*answers: httpx.Response | Exception) -> tuple[Callable[[httpx.Request], httpx.Response], list]:
    queue, seen = list(answers), []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = queue.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle, seen


def test_an_overloaded_service_is_asked_again_after_the_time_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waits.append))
    monkeypatch.setattr(module.random, "uniform", lambda low, high: low)
    busy = httpx.Response(503, headers={"Retry-After": "2"}, json={})
    handle, seen = answering(
        busy, httpx.ConnectError("refused"), httpx.Response(429, json={}), httpx.Response(200, json=ANSWER)
    )
    with Client("http://service", "k" * 16, transport=httpx.MockTransport(handle)) as client:
        assert client.search("x").hits == ()
    assert waits == [2.0, 0.5, 1.0]
    assert len(seen) == 4
    assert seen[0].headers["x-api-key"] == "k" * 16


def test_the_async_client_asks_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def no_sleep(seconds: float) -> None:
        waits.append(seconds)

    # In the client's eyes only: a real server may be running in another thread.
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=no_sleep))
    monkeypatch.setattr(module.random, "uniform", lambda low, high: low)
    handle, _ = answering(httpx.ConnectError("refused"), httpx.Response(503, json={}), httpx.Response(200, json=ANSWER))

    async def ask() -> None:
        async with AsyncClient("http://service", transport=httpx.MockTransport(handle)) as client:
            assert (await client.search("x")).total == 0

    run(ask)
    assert waits == [0.25, 0.5]


def test_trying_again_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    handle, seen = answering(*[httpx.Response(503, json={"detail": "overloaded"})] * 2)
    with (
        Client("http://service", retries=1, transport=httpx.MockTransport(handle)) as client,
        pytest.raises(ServiceError, match="overloaded"),
    ):
        client.search("x")
    assert len(seen) == 2
    handle, _ = answering(httpx.ConnectError("refused"))
    with (
        Client("http://service", retries=0, transport=httpx.MockTransport(handle)) as client,
        pytest.raises(ServiceUnreachableError, match="http://service/search: refused"),
    ):
        client.search("x")


def test_a_refusal_that_is_no_problem_document_still_has_a_sentence() -> None:
    handle, _ = answering(httpx.Response(502, text="<html>bad gateway</html>"))
    with (
        Client("http://service", retries=0, transport=httpx.MockTransport(handle)) as client,
        pytest.raises(ServiceError, match="answered 502"),
    ):
        client.search("x")


def test_a_path_prefix_is_kept() -> None:
    handle, seen = answering(httpx.Response(200, json=ANSWER))
    with Client("http://service/maps/", transport=httpx.MockTransport(handle)) as client:
        client.search("a b")
    assert str(seen[0].url) == "http://service/maps/search?q=a+b"


def test_hits_become_a_geodataframe(live_url: str) -> None:
    pytest.importorskip("geopandas")
    with Client(live_url) as client:
        frame = client.search("forest").to_geodataframe()
    assert list(frame["rank"]) == [1, 2, 3, 4, 5, 6]
    assert frame.crs.to_epsg() == 4326


def test_without_geopandas_the_command_to_install_it_is_named(live_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with Client(live_url) as client, pytest.raises(MissingExtraError, match=r"pip install .*\[geo\]"):
        client.search("forest").to_geodataframe()


def client_of(*responses: httpx.Response | Exception) -> tuple[Client, list[httpx.Request]]:
    """A client of a service that answers so, one after the other, and what it was asked."""
    left, asked = list(responses), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return Client("http://habitats.example/below", transport=httpx.MockTransport(answer)), asked


def test_redirects_are_followed() -> None:
    moved = httpx.Response(308, headers={"Location": "https://habitats.example/below/search?q=ice"})
    client, asked = client_of(moved, httpx.Response(200, json=ANSWER))
    assert client.search("ice").total == 0
    assert asked[1].url.scheme == "https"


@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_that_has_lost_the_service_is_asked_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    client, asked = client_of(*[httpx.Response(status, text="<html>Bad Gateway")] * 3, httpx.Response(200, json=ANSWER))
    assert client.search("ice").total == 0
    assert len(asked) == 4
    for wait, least in zip(waits, (0.25, 0.5, 1.0), strict=True):
        assert least <= wait <= 1.25 * least, "longer each time, and not all clients at the same moment"


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, html="<html>Please sign in</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"features": [{}]}),
        httpx.Response(200, json=None),
        httpx.Response(204),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(403, html="<html>Forbidden</html>"),
        httpx.Response(500, content=b"\xff"),
        httpx.Response(400, json=["problem"]),
        httpx.Response(308, headers={"Location": "http://habitats.example/below/search"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
        httpx.DecodingError("not gzip"),
    ],
    ids=repr,
)
def test_whatever_a_proxy_answers_is_one_of_two_exceptions(
    response: httpx.Response | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    client, _ = client_of(response)
    asks = (
        lambda: client.search("ice"),
        lambda: client.query({"terms": [{"text": "ice"}]}),
        lambda: client.tile("a"),
        lambda: client.habitats("a"),
        lambda: client.thumbnail("a"),
        lambda: client.heatmap(0, 0, 0, "ice"),
        lambda: list(client.items("demo")),
        client.collections,
        client.species,
        lambda: client.suggest("ice", up="a"),
    )
    for ask in asks:
        with pytest.raises((ServiceError, ServiceUnreachableError)):
            ask()


@pytest.mark.parametrize(
    ("day", "written"),
    [
        (dt.date(2024, 7, 1), "2024-07-01"),
        (dt.datetime(2024, 7, 1, 12), "2024-07-01"),
        (dt.datetime(2024, 7, 1, 23, tzinfo=dt.timezone(dt.timedelta(hours=-5))), "2024-07-02"),
        (np.datetime64("2024-07-01T12:00"), "2024-07-01"),
        ("2024-07-01", "2024-07-01"),
    ],
)
def test_days_may_be_given_as_python_has_them(day: object, written: str) -> None:
    client, asked = client_of(httpx.Response(200, json=ANSWER))
    client.search("ice", from_=day)
    client.query({"terms": [{"text": "ice"}], "filters": {"from": day}} if not isinstance(day, np.datetime64) else {})
    assert asked[0].url.params["from"] == written
    if not isinstance(day, np.datetime64):
        assert f'"{written}"' in asked[1].content.decode()


def test_a_pandas_timestamp_is_a_day() -> None:
    pandas = pytest.importorskip("pandas")
    client, asked = client_of(httpx.Response(200, json=ANSWER))
    client.search("ice", from_=pandas.Timestamp("2024-07-01 12:00"))
    assert asked[0].url.params["from"] == "2024-07-01"


def test_items_and_heat_map_come_from_the_real_service(live_url: str) -> None:
    with Client(live_url) as client:
        assert len({item["id"] for item in client.items("demo", limit=2)}) == 6
        assert [item["id"] for item in client.items("demo", filter="country = 'BRA'")] == ["amazon"]
        assert client.heatmap(0, 0, 0, "ice")[1:4] == b"PNG"

    async def ask() -> None:
        async with AsyncClient(live_url) as client:
            assert len([item async for item in client.items("demo", limit=4)]) == 6
            assert (await client.heatmap(0, 0, 0, "ice"))[1:4] == b"PNG"

    run(ask)
