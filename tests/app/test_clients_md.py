"""The examples of docs/clients.md run as they stand, against a real service; a map that they write shows its tiles."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text("utf-8")
PYTHON, SHELL, R, QGIS = (
    re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL) for kind in ("python", "sh", "r", "python qgis")
)
PACKAGES = ("pystac_client", "rustac", "owslib", "geopandas", "duckdb", "sedonadb", "polars", "folium", "leafmap")
CLIENTS = Path(__file__).parents[2] / "build" / "clients"  # where `make test-clients` puts each that fits no other
PROGRAMS = ("ogrinfo", "ogr2ogr", "openapi-python-client")
ADDRESS = "http://localhost:8000"


def numbered(examples: list[str]) -> dict:
    return {"argvalues": examples, "ids": [f"example {number}" for number in range(len(examples))]}


def at(example: str, url: str) -> str:
    assert ADDRESS in example
    return example.replace(ADDRESS, url)


def program(name: str) -> str:
    """Where a program is: beside this Python, in an environment of its own, else where the system has it."""
    here = os.pathsep.join(map(str, (Path(sys.executable).parent, CLIENTS / name / "bin")))
    found = shutil.which(name, path=here) or shutil.which(name)
    return found or pytest.skip(f"{name} is not installed")


def output_of(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_python(example: str, folder: Path) -> None:
    """Run an example here, or where the package that it is about has an environment of its own."""
    named = [name for name in PACKAGES if re.search(rf"^(?:import|from) {name}\b", example, re.MULTILINE)]
    for package in named:
        apart = CLIENTS / package / "bin" / "python"
        if apart.exists():
            print(output_of([str(apart), "-c", example], folder))
            return
        pytest.importorskip(package)
    exec(compile(example, "clients.md", "exec"), {})


@pytest.mark.parametrize("example", **numbered(PYTHON))
def test_python_runs(
    live_url: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    run_python(at(example, live_url), tmp_path)
    wrote = capsys.readouterr().out.strip() or (tmp_path / "map.html").read_text()
    assert wrote not in ("", "[]", "0")


@pytest.mark.parametrize("example", **numbered(SHELL))
def test_shell_lines_run(live_url: str, example: str, tmp_path: Path) -> None:
    for line in at(example, live_url).splitlines():
        name = line.split()[0]
        told = output_of(["bash", "-c", line.replace(name, program(name), 1)], tmp_path)
        assert "ERROR" not in told
        if "ogrinfo" in line:
            assert re.search("OGRFeature|Feature Count: 6", told)


@pytest.mark.parametrize("example", **numbered(R))
def test_r_runs(live_url: str, example: str, tmp_path: Path) -> None:
    interpreter = program("Rscript")
    if subprocess.run([interpreter, "-e", "library(sf)"], capture_output=True).returncode:
        pytest.skip("R has no sf")
    (tmp_path / "example.R").write_text(at(example, live_url))
    told = output_of([interpreter, "example.R"], tmp_path)
    assert "Simple feature collection with 6 features" in told
    assert told.rstrip().endswith("[1] 6")


def test_every_program_has_an_example() -> None:
    assert [name for name in PACKAGES if f"import {name}" not in TEXT and f"from {name}" not in TEXT] == []
    assert [name for name in PROGRAMS if not any(name in example for example in SHELL)] == []
