"""What Ray finds in the environment when it is imported."""

import os
import sys

import pytest

from wildsat_core.ray_cluster import settle_environment


@pytest.mark.parametrize(
    ("kept", "told", "imported", "mode"),
    [
        (False, {}, False, None),
        (True, {}, False, "token"),
        (False, {"RAY_AUTH_TOKEN": "abc"}, False, "token"),
        (True, {"RAY_AUTH_MODE": "disabled"}, False, "disabled"),
        (True, {"RAY_AUTH_TOKEN_PATH": "/none/such"}, False, None),
        (True, {}, True, None),  # too late: Ray has read its settings
    ],
)
def test_a_token_that_is_there_is_shown(monkeypatch, tmp_path, kept, told, imported, mode):
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    monkeypatch.setattr(sys, "modules", {name: it for name, it in sys.modules.items() if name != "ray"})
    if imported:
        sys.modules["ray"] = None
    if kept:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("abc")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_AUTH_MODE", told.get("RAY_AUTH_MODE", ""))  # put back whatever is set
    if "RAY_AUTH_MODE" not in told:
        del os.environ["RAY_AUTH_MODE"]
    settle_environment()
    assert os.environ.get("RAY_AUTH_MODE") == mode
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
