"""`make test-package`: the wheel in environments that were empty, filled from the package index as a user would.

It takes minutes and the network, so `make test` leaves it out; tests/test_package.py looks at the same wheel without.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINS = ["--constraint", str(ROOT / "constraints.txt")]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("WILDSAT_", "PYTHON"))}
PORT = 8931


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """From the source archive, in isolation, as `python -m build` makes it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def ask(path: str) -> bytes:
    asked = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", headers={"Accept": "text/html, */*"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return answer.read()


def wait_until_ready(process: subprocess.Popen, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the demo ended"
        try:
            ask("/readyz")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError(f"the demo was not ready in {seconds} s")


@pytest.mark.timeout(1800)
def test_the_demo_runs_where_only_the_wheel_and_what_it_asks_for_are(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *PINS, f"wildsat[demo] @ {wheel.as_uri()}", cwd=tmp_path)
    with (tmp_path / "demo.log").open("w") as log:
        command = [tmp_path / "env" / "bin" / "wildsat", "demo", "--port", str(PORT)]
        process = subprocess.Popen(command, cwd=tmp_path, env=CLEAN, stdout=log, stderr=log)
        try:
            wait_until_ready(process, 1200)
            hits = json.loads(ask("/search?q=mangrove+coast&k=5"))["features"]
            page = ask("/?q=mangrove+coast").decode()
            script = ask("/static/js/main.js")
            library = ask("/static/vendor/maplibre-gl/dist/maplibre-gl.mjs")
        finally:
            process.terminate()
            process.wait(60)
    assert len(hits) == 5
    assert hits[0]["properties"]["tile_id"] in page
    assert script
    assert len(library) > 100_000


@pytest.mark.timeout(600)
def test_uv_installs_the_base_and_an_editable_clone(wheel, tmp_path):
    venv.create(tmp_path / "tools", with_pip=True)
    run(tmp_path / "tools" / "bin" / "python", "-m", "pip", "install", "--quiet", "uv", cwd=tmp_path)
    uv = tmp_path / "tools" / "bin" / "uv"
    for name, what in (("base", [wheel]), ("clone", ["--editable", ROOT])):
        run(uv, "venv", "--quiet", "--python", sys.executable, name, cwd=tmp_path)
        python = tmp_path / name / "bin" / "python"
        run(uv, "pip", "install", "--quiet", "--python", python, *PINS, *what, cwd=tmp_path)
        printed = run(python, "-c", "import wildsat_core.client as c; print(c.__file__)", cwd=tmp_path)
        assert str(tmp_path if name == "base" else ROOT) in printed
        failed = subprocess.run(
            [tmp_path / name / "bin" / "wildsat", "serve"], cwd=tmp_path, env=CLEAN, capture_output=True, text=True
        )
        assert failed.returncode == 1
        assert f"Install it with: uv pip install --python {python} " in failed.stderr
