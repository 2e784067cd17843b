"""QGIS itself, without a screen, on a real service: layers as docs/clients.md has them, refreshed after a change."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from tests.app.conftest import ROWS, ToyModel, running, toy_settings, write_rows
from tests.app.test_clients_md import QGIS, at
from tests.app.test_swap import wait_for
from wildsat_core.collection import open_collection
from wildsat_core.collection.maintain import delete_tiles

PYTHON = "/usr/bin/python3"  # distributions put QGIS's modules beside their own Python


def qgis_python() -> str:
    try:
        subprocess.run([PYTHON, "-c", "import qgis.core"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("QGIS is not installed (apt install python3-qgis)")
    return PYTHON


def test_layers_are_read_drawn_and_refreshed(tmp_path: Path) -> None:
    python, everything = qgis_python(), {row[0] for row in ROWS}
    write_rows(tmp_path, "demo", ROWS)
    (example,) = QGIS
    with running(create_app(toy_settings(tmp_path, swap_interval_s=0.05), lambda name: ToyModel())) as url:
        (tmp_path / "example").write_text(at(example, url))
        command = [python, str(Path(__file__).with_name("qgis_layers.py")), str(tmp_path / "example")]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"HOME": str(tmp_path)}
        ) as program:
            try:
                told = json.loads(program.stdout.readline())
                collection = open_collection(tmp_path / "demo")
                delete_tiles(collection.root, [collection.row_of(told["hits"][0])], generation=1)
                wait_for(lambda: httpx.get(f"{url}/collections/demo/items").json()["numberMatched"] == 5)
                again = json.loads(program.communicate("\n", timeout=60)[0])
            finally:
                program.kill()
    assert told["valid"] == {"tiles": True, "hits": True, "heat-map": True}
    assert set(told["tiles"]) == everything
    assert (told["in_a_box"], told["across_180"]) == (["amazon"], ["fiji"])
    assert told["system"] == "EPSG:4326"
    assert set(told["hits"]) == everything
    assert {"wildsat:rank", "wildsat:percentile", "datetime"} <= set(told["columns"])
    assert min(told["colours"].values()) > 1, "something is drawn"
    assert again["hits"] == told["hits"][1:]
    assert set(again["tiles"]) == everything - {told["hits"][0]}
