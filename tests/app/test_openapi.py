"""The OpenAPI document is kept: whatever is asked, no 5xx and no answer that it does not describe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.main import create_app
from tests.app.conftest import ROWS, ToyModel, picture, toy_settings

schemathesis = pytest.importorskip("schemathesis")

DOCUMENT = create_app(toy_settings(Path("nowhere")), lambda name: ToyModel()).openapi()
MODES = list(schemathesis.GenerationMode)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]

# A pattern can't say that south is below north or that a tile exists, so well-formed input may be refused.
LEFT_OUT = {"positive_data_acceptance"}
CHECKS = [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ not in LEFT_OUT]


# What is put in place of the drawn is right; schemathesis takes the bytes of a picture for no string.
ANSWER_CHECKS = [check for check in CHECKS if check.__name__ != "negative_data_rejection"]

EASY = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

# What a document can't know: the toy collection has no imagery.
WITHOUT_AN_ANSWER = {
    ("/collections/{name}/imagery/{z}/{x}/{y}", "get"),
    ("/collections/{name}/imagery/tilejson.json", "get"),
}
TILES = st.sampled_from([row[0] for row in ROWS])
PATHS = {"tile_id": TILES, "name": st.just("demo"), "z": st.just(2), "x": st.integers(0, 3), "y": st.integers(0, 3)}
# Every other parameter is left as drawn where one can't refuse the rest, and left out where it could.
KEPT = ("k", "offset", "floor", "steps", "count", "format", "explain", "limit", "blend", "max_cloud", "months")
TERMS = [{"text": "forest", "weight": 2}, {"tile": "fiji"}, {"species": "jaguar"}, {"place": [0, 89]}]
QUESTION = {"terms": st.lists(st.sampled_from(TERMS), min_size=1, max_size=3), "k": st.integers(1, 9)}
BODIES = {
    "/search": st.fixed_dictionaries(QUESTION),
    "/changes": st.fixed_dictionaries(QUESTION, optional={"format": st.just("csv")}),
    "/stac/search": st.fixed_dictionaries({}, optional={"collections": st.just(["demo"]), "limit": st.integers(1, 9)}),
    "/search/image": st.just({"image": picture((200, 20, 20), "PNG", 16)}),
}


def make_real(case: schemathesis.Case, draw: Callable[[st.SearchStrategy], Any]) -> None:
    """Put ids, names and questions that the toy collection knows in place of random ones."""
    for name in case.path_parameters:
        case.path_parameters[name] = draw(PATHS[name])
    known = {parameter.name for parameter in case.operation.query}
    asked = {name: value for name, value in (case.query or {}).items() if name in KEPT}
    asked |= {"q": "forest"} if "q" in known else {}
    asked |= {"up": draw(TILES)} if "up" in known else {}
    asked |= {"collection": "demo"} if "collection" in known else {}
    case.query = asked
    if case.path in BODIES and case.method == "POST":
        case.body = draw(BODIES[case.path])


# A longer head is refused by the HTTP server with a reset that may overtake its answer: the service never sees it.
MOST_IN_URL = 60_000


def url_of(case: schemathesis.Case) -> str:
    asked = case.as_transport_kwargs(base_url="http://localhost")
    return requests.Request("GET", asked["url"], params=asked.get("params")).prepare().url


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=[f"{method} {path}" for path, method in OPERATIONS])
def test_no_server_error_and_no_answer_beyond_the_document(live_url: str, path: str, method: str) -> None:
    operation = SCHEMA[path][method.upper()]
    statuses = set()

    @EASY
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in MODES)))
    def ask(case: schemathesis.Case) -> None:
        assume(len(url_of(case)) < MOST_IN_URL)
        case.call_and_validate(base_url=live_url, checks=CHECKS, timeout=30)

    @EASY
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE), data=st.data())
    def ask_for_what_is_there(case: schemathesis.Case, data: st.DataObject) -> None:
        make_real(case, data.draw)
        statuses.add(case.call_and_validate(base_url=live_url, checks=ANSWER_CHECKS, timeout=30).status_code)

    ask()
    ask_for_what_is_there()
    assert 200 in statuses or (path, method) in WITHOUT_AN_ANSWER


def test_the_page_takes_every_field_of_its_form_empty_and_says_so(live_url: str) -> None:
    parameters = {one["name"]: one["schema"] for one in DOCUMENT["paths"]["/"]["get"]["parameters"]}
    assert all(any(way.get("const") == "" for way in schema["anyOf"]) for schema in parameters.values())
    assert requests.get(live_url, params=dict.fromkeys(parameters, ""), timeout=30).status_code == 200


def test_pictures_are_declared_as_what_they_are() -> None:
    def kinds(path: str) -> set[str]:
        return set(DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"])

    assert kinds("/tiles/{tile_id}/thumbnail.webp") == {"image/webp"}
    assert kinds("/heatmap/{z}/{x}/{y}.png") == {"image/png"}
    assert kinds("/collections/{name}/imagery/{z}/{x}/{y}") == {"image/jpeg", "image/png", "image/webp"}


def test_every_operation_lists_the_same_problems() -> None:
    for path, method in OPERATIONS:
        answers = DOCUMENT["paths"][path][method]["responses"]
        for status in ("404", "422", "429", "503"):
            assert "application/problem+json" in answers[status]["content"], (path, status)
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]
