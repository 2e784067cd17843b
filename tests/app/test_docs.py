"""The documentation is held to the code."""

import re
from pathlib import Path

import pytest

from app.errors import STATUS_OF
from app.main import create_app
from app.requests.parameters import SearchParameters
from app.settings import Settings
from tests.app.conftest import ToyModel, toy_settings
from wildsat_core.search.scorer import ANN_ROWS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def openapi() -> dict:
    return create_app(toy_settings(Path("nowhere")), lambda name: ToyModel()).openapi()


def test_every_route_is_in_api_md(openapi: dict) -> None:
    text = (DOCS / "api.md").read_text()
    missing = [
        f"{method.upper()} {path}"
        for path, methods in openapi["paths"].items()
        for method in methods
        if f"`{method.upper()} {path}`" not in text
    ]
    assert not missing


def test_api_md_names_no_route_that_is_not_there(openapi: dict) -> None:
    known = {f"{method.upper()} {path}" for path, methods in openapi["paths"].items() for method in methods}
    known |= {"GET /", "GET /docs", "GET /openapi.json"}
    named = set(re.findall(r"`((?:GET|POST) /[^`?]*)`", (DOCS / "api.md").read_text()))
    assert named <= known


def test_every_search_parameter_and_status_is_in_api_md() -> None:
    text = (DOCS / "api.md").read_text()
    names = [field.alias or name for name, field in SearchParameters.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in text] == []
    assert [status for status in STATUS_OF.values() if f"| {status} |" not in text] == []


def test_every_setting_with_its_default_is_in_running_md() -> None:
    rows = dict(re.findall(r"^\| `(WILDSAT_\w+)` \| (.*?) \|", (DOCS / "running.md").read_text(), re.MULTILINE))
    wanted = {f"WILDSAT_{name.upper()}": field.default for name, field in Settings.model_fields.items()}
    assert set(rows) == set(wanted)
    for name, default in wanted.items():
        if isinstance(default, bool):
            assert rows[name] == f"`{str(default).lower()}`", name
        elif isinstance(default, int | float):
            assert rows[name] == f"`{default:g}`" or rows[name] == f"`{default}`", name


def test_approximate_indexes_serve_from_as_many_tiles_on_as_the_engine_says() -> None:
    assert Settings.model_fields["ann_rows"].default == ANN_ROWS


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WILDSAT_CORS_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("WILDSAT_RATE_PER_MINUTE", "30")
    settings = Settings()
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.rate_per_minute == 30.0
    monkeypatch.setenv("WILDSAT_TRUSTED_PROXIES", "not-a-network")
    with pytest.raises(ValueError, match="not-a-network"):
        Settings()
