"""The OpenAPI document is kept: whatever is asked, no 5xx and no answer that it does not describe."""

from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.main import create_app
from tests.app.conftest import ToyModel, toy_settings

schemathesis = pytest.importorskip("schemathesis")

DOCUMENT = create_app(toy_settings(Path("nowhere")), lambda name: ToyModel()).openapi()
MODES = list(schemathesis.GenerationMode)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]

# A pattern can't say that south is below north or that a tile exists, so well-formed input may be refused.
LEFT_OUT = {"positive_data_acceptance"}
CHECKS = [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ not in LEFT_OUT]


# A longer head is refused by the HTTP server with a reset that may overtake its answer: the service never sees it.
MOST_IN_URL = 60_000


def url_of(case: schemathesis.Case) -> str:
    asked = case.as_transport_kwargs(base_url="http://localhost")
    return requests.Request("GET", asked["url"], params=asked.get("params")).prepare().url


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=[f"{method} {path}" for path, method in OPERATIONS])
def test_no_server_error_and_no_answer_beyond_the_document(live_url: str, path: str, method: str) -> None:
    operation = SCHEMA[path][method.upper()]

    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in MODES)))
    def ask(case: schemathesis.Case) -> None:
        assume(len(url_of(case)) < MOST_IN_URL)
        case.call_and_validate(base_url=live_url, checks=CHECKS, timeout=30)

    ask()


def test_every_operation_lists_the_same_problems() -> None:
    for path, method in OPERATIONS:
        answers = DOCUMENT["paths"][path][method]["responses"]
        for status in ("404", "422", "429", "503"):
            assert "application/problem+json" in answers[status]["content"], (path, status)
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]
