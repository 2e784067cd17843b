"""GET and POST /changes and the client's method for it: a place that was visited twice, what is refused, pages."""

import asyncio
import csv
import datetime as dt
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.requests.forms import period
from tests.app.conftest import ToyModel, picture, toy_settings, write_rows
from wildsat_core.client import AsyncClient, ChangesAnswer, Client, ServiceError
from wildsat_core.search.changes import Period
from wildsat_core.types import BBox

FELLED, SOWN, ONCE = BBox(-61, -4, -60, -3), BBox(179.5, -18, -179.5, -17), BBox(20, -1, 21, 0)
DAYS = [dt.date(2019, 7, 1), dt.date(2021, 1, 15), dt.date(2023, 7, 9)]
FOREST, SAND, BOTH = (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.6, 0.6, 0.0, 0.0)
ROWS = [
    ("felled-2019", FELLED, DAYS[0], 0.1, "BRA", FOREST),
    ("felled-2021", FELLED, DAYS[1], 0.1, "BRA", BOTH),
    ("felled-2023", FELLED, DAYS[2], 0.1, "BRA", SAND),
    ("sown-2019", SOWN, DAYS[0], 0.5, "FJI", SAND),
    ("sown-2021", SOWN, DAYS[1], 0.5, "FJI", BOTH),
    ("once", ONCE, DAYS[0], 0.0, "COD", FOREST),
    ("undated", FELLED, None, 0.0, "BRA", FOREST),
]
SAND_PICTURE = ("sand.png", picture((220, 190, 120), "PNG", 16), "image/png")
FELLED_ROW, SOWN_ROW = ("felled-2019", "felled-2023"), ("sown-2019", "sown-2021")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    root = tmp_path_factory.mktemp("visits")
    write_rows(root, "demo", ROWS)
    write_rows(root, "undated", [(name, box, None, *rest) for name, box, _, *rest in ROWS])
    with TestClient(create_app(toy_settings(root), lambda name: ToyModel()), raise_server_exceptions=False) as client:
        yield client


def changed(client: TestClient, **asked: object) -> list[tuple[str, str]]:
    answer = client.get("/changes", params={"q": "forest", **asked})
    assert answer.status_code == 200, answer.text
    places = [feature["properties"] for feature in answer.json()["features"]]
    assert [place["rank"] for place in places] == list(range(1, 1 + len(places)))
    for place in places:
        assert place["difference"] == pytest.approx(place["after"]["score"] - place["before"]["score"], abs=2e-6)
    return [(place["before"]["tile_id"], place["after"]["tile_id"]) for place in places]


def test_places_are_ranked_by_what_changed(client: TestClient) -> None:
    assert changed(client) == [FELLED_ROW, SOWN_ROW]
    assert changed(client, direction="loss") == [FELLED_ROW, SOWN_ROW]
    assert changed(client, direction="gain") == [SOWN_ROW, FELLED_ROW]
    assert set(changed(client, after="2021")) == {("felled-2019", "felled-2021"), SOWN_ROW}
    assert changed(client, before="2020/..", after="2023-07/2023-12") == [("felled-2021", "felled-2023")]


def test_filters_narrow_both_days(client: TestClient) -> None:
    assert changed(client, months="7") == [FELLED_ROW]
    assert changed(client, countries="FJI") == changed(client, bbox="170,-30,-170,0") == [SOWN_ROW]
    assert changed(client, max_cloud=0.2, to="2022-01-01") == [("felled-2019", "felled-2021")]
    area = '{"type":"Polygon","coordinates":[[[-62,-5],[-59,-5],[-59,-2],[-62,-2],[-62,-5]]]}'
    assert changed(client, area=area, filter="cloud_cover < 0.3") == [FELLED_ROW]


def test_pages_go_on_where_the_last_ended(client: TestClient) -> None:
    first = client.get("/changes?q=forest&k=1").json()
    assert (first["matched"], first["returned"], first["total"]) == (2, 1, 7)
    following = next(link["href"] for link in first["links"] if link["rel"] == "next")
    second = client.get(following).json()
    assert [feature["id"] for feature in (*first["features"], *second["features"])] == ["felled-2023", "sown-2021"]
    assert [link["rel"] for link in second["links"]] == ["self", "prev"]


def test_a_body_asks_what_a_url_does_and_more(client: TestClient) -> None:
    text, sand = {"text": "forest"}, {"vector": [0.0, 1.0, 0.0, 0.0], "space": "text"}
    asked = {"direction": "loss", "before": "2019", "k": 1, "offset": 1}
    by_url = client.get("/changes", params={"q": "forest"} | asked).json()
    by_body = client.post("/changes", json={"terms": [text]} | asked).json()
    assert by_body["features"] == by_url["features"]
    assert by_body["links"] == [], "no URL asks the same"
    by_vector = client.post("/changes", json={"terms": [sand], "filters": {"countries": ["BRA"]}}).json()
    assert [place["id"] for place in by_vector["features"]] == ["felled-2023"]
    assert by_vector["features"][0]["properties"]["difference"] > 0, "there is more sand now"
    picture = client.post("/search/image", files={"image": SAND_PICTURE}).json()["query"]["terms"]
    by_picture = client.get("/changes", params={"terms": picture})
    assert by_picture.status_code == 200, "the vector of a picture asks, too"


def test_changes_are_a_table_too(client: TestClient) -> None:
    asked = {"q": "forest", "direction": "loss", "format": "csv"}
    answer = client.get("/changes", params=asked)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="changes-demo-1.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["before_tile_id"], row["after_tile_id"]) for row in rows] == [FELLED_ROW, SOWN_ROW]
    assert (rows[0]["rank"], rows[0]["before_captured_on"], rows[0]["after_country"]) == ("1", "2019-07-01", "BRA")
    told = client.get("/changes", params=asked | {"format": "geojson"}).json()["features"][0]["properties"]
    assert float(rows[0]["difference"]) == told["difference"]
    assert float(rows[0]["after_score"]) == told["after"]["score"]
    assert "q=forest" in rows[0]["question"]
    assert client.post("/changes", json={"terms": [{"text": "forest"}], "format": "csv"}).text.count("\r\n") == 3
    assert client.get("/changes", params=asked, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"explain": True}, "explain"),
        ({"spacing_km": 5}, "spacing_km"),
        ({"filters": {"min_percentile": 50}}, "filters.min_percentile"),
        ({"before": "June"}, "before"),
        ({"terms": []}, "terms"),
        ({"format": "xml"}, "format"),
    ],
)
def test_a_body_is_refused_by_name(client: TestClient, asked: dict, parameter: str) -> None:
    answer = client.post("/changes", json={"terms": [{"text": "forest"}]} | asked)
    assert (answer.status_code, answer.json()["parameter"]) == (422, parameter)


@pytest.mark.parametrize(
    ("asked", "parameter", "said"),
    [
        ({}, "q", "say what to search for"),
        ({"q": "forest", "min_percentile": "90"}, "min_percentile", "no such parameter here"),
        ({"q": "forest", "spacing_km": "90"}, "spacing_km", "no such parameter here"),
        ({"q": "forest", "before": "June"}, "before", "a year, a month or a day"),
        ({"q": "forest", "before": "2019-13"}, "before", "month must be in 1..12"),
        ({"q": "forest", "after": "2021/2019"}, "after", "must not end before it begins"),
        ({"q": "forest", "from": "2022-01-01", "before": "2019"}, "from", "no day is left between 2022-01-01 and 2019"),
        ({"q": "forest", "collection": "undated"}, "collection", "days of the tiles of 'undated' are not known"),
    ],
)
def test_what_can_not_be_answered_is_refused_by_name(
    client: TestClient, asked: dict[str, str], parameter: str, said: str
) -> None:
    answer = client.get("/changes", params=asked)
    assert (answer.status_code, answer.json()["parameter"]) == (422, parameter)
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2020", "2020-01-01", "2020-12-31"),
        ("2020-02", "2020-02-01", "2020-02-29"),
        ("2021-02-03", "2021-02-03", "2021-02-03"),
        ("2019-06/2020-11", "2019-06-01", "2020-11-30"),
        ("../2020", None, "2020-12-31"),
        ("2020-05/..", "2020-05-01", None),
        ("../..", None, None),
    ],
)
def test_a_period_is_as_long_as_it_is_written(text: str, first: str | None, last: str | None) -> None:
    assert period(text) == Period(*(dt.date.fromisoformat(day) if day else None for day in (first, last)))


@pytest.fixture
def through(client: TestClient) -> httpx.MockTransport:
    """The way from a client to the service, without a network between."""

    def answer(request: httpx.Request) -> httpx.Response:
        kind = {"content-type": request.headers["content-type"]} if request.content else {}
        found = client.request(request.method, str(request.url), content=request.content, headers=kind)
        return httpx.Response(found.status_code, content=found.content, headers={"content-type": "application/json"})

    return httpx.MockTransport(answer)


def test_the_clients_ask_what_a_url_does_not_hold(through: httpx.MockTransport) -> None:
    with Client("http://testserver", transport=through) as asking:
        sand = asking.search_image(SAND_PICTURE[1]).terms
        assert [len(term["vector"]) for term in sand] == [4], "the picture is not kept; its vector asks"
        assert asking.query({"terms": sand}).terms == sand
        assert asking.search("forest").terms == []
        body = {"terms": sand, "direction": "gain", "before": DAYS[0], "filters": {"countries": ("BRA",)}}
        found = asking.query_changes(body)
        with pytest.raises(ServiceError, match="min_percentile"):
            asking.query_changes(body | {"filters": {"min_percentile": 50}})
    assert [(place.before.tile_id, place.after.tile_id) for place in found.changes] == [FELLED_ROW]
    assert found.changes[0].difference > 0, "there is more sand now"

    async def at_once() -> ChangesAnswer:
        async with AsyncClient("http://testserver", transport=through) as asking:
            return await asking.query_changes(body)

    # A loop of its own: the driver of the browser tests leaves one running in this thread.
    with ThreadPoolExecutor(1) as apart:
        assert apart.submit(asyncio.run, at_once()).result().changes == found.changes


def test_the_client_gives_typed_changes(through: httpx.MockTransport) -> None:
    with Client("http://testserver", transport=through) as asking:
        found = asking.changes("forest", before=2019, direction="loss", countries=["BRA", "FJI"])
    first = found.changes[0]
    assert (first.before.captured_on, first.after.captured_on) == (DAYS[0], DAYS[2])
    assert (first.before.tile_id, first.after.tile_id, first.rank) == (*FELLED_ROW, 1)
    assert first.difference == pytest.approx(first.after.score - first.before.score, abs=2e-6)
    assert first.difference < 0
    assert first.before.bbox == (-61, -4, -60, -3)
    assert (found.matched, found.total, found.collection) == (2, 7, "demo")


def test_the_page_offers_time_only_where_there_is_some(client: TestClient) -> None:
    for collection, offered in (("demo", True), ("undated", False)):
        page = client.get(f"/?q=forest&collection={collection}", headers={"accept": "text/html"}).text
        assert ['id="time-from"' in page, 'id="changes-open"' in page] == [offered, offered]
    assert 'max="48"' in client.get("/?collection=demo", headers={"accept": "text/html"}).text, "July 2019 to July 2023"
