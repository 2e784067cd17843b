"""Who may import whom: the rooms of the project, held to their rule."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"wildsat_core", "app", "indexer", "training"}
HEAVY = ["torch", "transformers", "faiss", "rasterio", "shapely", "pyarrow", "timm", "fastapi"]


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports, anywhere in it."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            rooms.add(node.module.split(".")[0])
    return rooms & ROOMS


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_itself_and_the_core_only(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    allowed = {room, "wildsat_core"}
    found = {str(f.relative_to(ROOT)): imported_rooms(f) - allowed for f in files}
    assert {f: rooms for f, rooms in found.items() if rooms} == {}


def test_importing_the_core_loads_nothing_heavy():
    code = (
        "import sys, wildsat_core, wildsat_core.types, wildsat_core.errors, wildsat_core.geo, wildsat_core.area;"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"
