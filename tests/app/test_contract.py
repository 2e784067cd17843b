"""One contract: every address reads its URL and its body strictly, under a policy of its own."""

import json
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from app.main import ROUTERS, create_app
from app.policies import NOWHERE, POLICIES, Body, Cost, Directory, Key
from app.requests.parameters import PAGE_KEYS, RANKING, SearchParameters
from app.requests.reader import names_of
from app.routes.route import Route
from tests.app.conftest import ToyModel, picture, toy_settings

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
FILLED = {"tile_id": "fiji", "name": "demo", "z": "2", "x": "1", "y": "1"}
# One well-formed question for each address that needs one.
ASKED = {name: {"q": "forest"} for name in ("search", "changes", "export", "heatmap")} | {"suggest": {"up": "fiji"}}
READING = [route for route in ROUTES if "GET" in route.methods and route.name != "page"]


def address(route: APIRoute) -> str:
    return route.path_format.format_map(FILLED)


def refused(client: TestClient, route: APIRoute, parameters: list[tuple[str, str]]) -> dict:
    response = client.get(address(route), params=[*ASKED.get(route.name, {}).items(), *parameters])
    assert response.status_code == POLICIES[route.name].malformed, response.text
    return response.json()


@pytest.mark.parametrize("route", READING, ids=lambda route: route.name)
def test_an_unknown_parameter_is_refused_by_name_everywhere(client: TestClient, route: APIRoute) -> None:
    problem = refused(client, route, [("colection", "demo")])
    assert problem["parameter"] == "colection"
    if "collection" in names_of(route.model):
        assert "did you mean collection?" in problem["detail"]


@pytest.mark.parametrize("route", [r for r in READING if names_of(r.model)], ids=lambda route: route.name)
def test_a_repeated_parameter_is_refused_by_name_everywhere(client: TestClient, route: APIRoute) -> None:
    name = min(names_of(route.model) - set(ASKED.get(route.name, {})))
    assert refused(client, route, [(name, "1"), (name, "2")])["parameter"] == name


@pytest.mark.parametrize("path", ["/search", "/stac/search"])
def test_a_parameter_beside_a_body_is_refused_by_name(client: TestClient, path: str) -> None:
    response = client.post(f"{path}?collection=demo", json={"terms": [{"text": "forest"}]})
    assert (response.status_code, response.json()["parameter"]) == (400 if "stac" in path else 422, "collection")
    assert "belongs into the body" in response.json()["detail"]


def test_a_name_given_twice_in_a_body_is_refused(client: TestClient) -> None:
    body = '{"terms":[{"text":"forest"}],"filters":{"max_cloud":1,"max_cloud":0},"k":5}'
    response = client.post("/search", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["parameter"]) == (422, "max_cloud")


@pytest.mark.parametrize(
    ("data", "files", "parameter"),
    [
        ({"k": "5"}, 1, "k"),
        ({}, 2, "image"),
    ],
)
def test_form_fields_beside_the_picture_are_refused(client: TestClient, data: dict, files: int, parameter: str) -> None:
    sent = [("image", ("a.png", picture((9, 99, 9), "PNG", 16), "image/png"))] * files
    response = client.post("/search/image", data=data, files=sent)
    assert (response.status_code, response.json()["parameter"]) == (422, parameter)


def test_a_body_where_none_is_taken_is_refused(client: TestClient) -> None:
    response = client.request("GET", "/search", params={"q": "forest"}, content=json.dumps({"k": 1}))
    assert response.status_code == 400
    assert "takes no body" in response.json()["detail"]


def test_every_route_has_one_policy_and_every_policy_a_route() -> None:
    assert all(isinstance(route, Route) for route in ROUTES)
    names = {route.name for route in ROUTES}
    assert len({(route.name, route.endpoint) for route in ROUTES}) == len(names), "a name may have several paths only"
    assert set(POLICIES) == {*names, "static"}
    takes_a_body = {route.name for route in ROUTES if route.body_field is not None}
    assert takes_a_body == {name for name, policy in POLICIES.items() if policy.body is not Body.NONE}


@pytest.fixture(scope="module")
def directory() -> Directory:
    app = create_app(toy_settings(Path("nowhere"), root_path="/below"), lambda name: ToyModel())
    return app.state.directory


def scope(path: str, method: str = "GET") -> dict:
    return {"path": f"/below{path}", "root_path": "/below", "method": method}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_request_is_found_its_policy_before_it_is_routed(directory: Directory, route: APIRoute) -> None:
    for method in route.methods:
        assert directory.of(scope(address(route), method)) is POLICIES[route.name]
    if "GET" in route.methods:
        assert directory.of(scope(address(route), "HEAD")) is POLICIES[route.name]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/static/js/main.js", "static"),
        ("/openapi.json", "openapi"),
        ("/docs", "docs"),
        ("/docs/start.js", "start_script"),
    ],
)
def test_files_and_documents_have_a_policy_too(directory: Directory, path: str, name: str) -> None:
    assert directory.of(scope(path)) is POLICIES[name]


@pytest.mark.parametrize("path", ["/docs/secret", "/livezz", "/x/search/image", "/statics", "/collections/demo/x"])
def test_an_address_like_another_has_nothing_of_its_policy(directory: Directory, path: str) -> None:
    assert directory.of(scope(path)) is NOWHERE
    assert NOWHERE.key is Key.NEEDED
    assert NOWHERE.cost is Cost.QUICK


def test_what_ranks_is_marked_in_the_list_of_parameters() -> None:
    assert RANKING == ("q", "not", "terms", "like", "near", "species", "up", "down")
    assert not set(PAGE_KEYS) & names_of(SearchParameters)


def test_the_landing_page_can_be_asked_for(client: TestClient) -> None:
    answer = client.get("/?f=json", headers={"accept": "text/html"})
    assert answer.json()["type"] == "Catalog"
    assert client.get("/collections/demo?f=html").status_code == 400


def test_items_take_the_one_coordinate_system_and_no_other(client: TestClient) -> None:
    crs84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
    asked = {"bbox": "-62,-5,-59,-2", "bbox-crs": crs84, "crs": crs84}
    assert client.get("/collections/demo/items", params=asked).json()["numberMatched"] == 1
    for name in ("crs", "bbox-crs"):
        wrong = client.get("/collections/demo/items", params={name: "http://www.opengis.net/def/crs/EPSG/0/3857"})
        assert (wrong.status_code, wrong.json()["parameter"]) == (400, name)
    assert client.get("/collections/demo/items?collections=other").json()["parameter"] == "collections"


def test_the_page_learns_parameters_and_limits_from_the_service(toy_folder: Path) -> None:
    settings = toy_settings(toy_folder, max_export_rows=77, max_upload_bytes=4096)
    with TestClient(create_app(settings, lambda name: ToyModel())) as client:
        page = client.get("/?q=forest&fbclid=1&view=0,0,1", headers={"accept": "text/html"}).text
    told = json.loads(page.split('id="page-data">')[1].split("</script>")[0])["contract"]
    assert set(told["search"]) == names_of(SearchParameters)
    assert told["ranking"] == list(RANKING)
    assert (told["limits"]["export_rows"], told["limits"]["upload_bytes"]) == (77, 4096)
    assert told["countries"]["BRA"] == "Brazil"
    assert "left out: fbclid." in page
    assert f'max="{told["limits"]["k"]}"' in page


def test_the_document_says_what_the_policies_do(toy_folder: Path) -> None:
    def operations(**values: object) -> dict[str, dict]:
        app = create_app(toy_settings(toy_folder, **values), lambda name: ToyModel())
        return {op["operationId"]: op for ops in app.openapi()["paths"].values() for op in ops.values()}

    told, guarded = operations(), operations(require_key=True, api_keys="k" * 16)
    assert {} in told["search"]["security"]
    assert guarded["search"]["security"] == [{"key": []}, {"bearer": []}]
    assert {} in guarded["page"]["security"]
    assert "security" not in guarded["livez"]
    assert {name for name, op in told.items() if "304" in op["responses"]} == {
        name for name, policy in POLICIES.items() if policy.tagged
    }
    for name in ("thumbnail", "heatmap", "imagery"):
        for content in told[name]["responses"]["200"]["content"].values():
            assert content["schema"] == {"type": "string", "format": "binary"}


def test_every_json_answer_has_its_shape_in_the_document(client: TestClient) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for operation in operations.values():
            for kind, content in operation["responses"]["200"]["content"].items():
                if "json" in kind:
                    assert content["schema"].get("type") != "string", path


@pytest.mark.parametrize("name", [name for name, policy in POLICIES.items() if policy.tagged and name != "imagery"])
def test_a_tagged_answer_is_not_sent_twice(client: TestClient, name: str) -> None:
    route = next(route for route in ROUTES if route.name == name)
    first = client.get(address(route), params=ASKED.get(name, {}))
    again = client.get(address(route), params=ASKED.get(name, {}), headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"] == POLICIES[name].cache
