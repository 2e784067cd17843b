"""The examples of docs/clients.md run as they stand, against a real service."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PACKAGES = ("pystac_client", "rustac", "owslib", "geopandas", "duckdb", "folium")


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"example {number}" for number in range(len(EXAMPLES))])
def test_an_example_runs(
    live_url: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for package in PACKAGES:
        if re.search(rf"^(?:import|from) {package}\b", example, re.MULTILINE):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    assert "http://localhost:8000" in example
    exec(compile(example.replace("http://localhost:8000", live_url), "clients.md", "exec"), {})
    wrote = capsys.readouterr().out.strip() or (tmp_path / "map.html").read_text()
    assert wrote not in ("", "[]", "0")


def test_every_package_has_an_example() -> None:
    assert [package for package in PACKAGES if f"import {package}" not in TEXT and f"from {package}" not in TEXT] == []
