"""What `wildsat index build --map-tiles` paints lies on the page's map."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.main import create_app
from app.settings import Settings
from indexer.commands.index import index
from tests.app.browser.conftest import box_of, wait_for_map
from tests.app.conftest import running
from tests.indexer.conftest import write_raster

pytestmark = pytest.mark.browser

ORANGE = (230, 120, 30)  # as nothing else on the map


def test_a_built_collection_lies_on_the_map_in_its_own_colours(open_page: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-9, 10, (3, 512, 512))
    values = (np.array(ORANGE)[:, None, None] + noise).astype(np.uint8)
    raster = write_raster(tmp_path / "field.tif", values, "EPSG:32614", 592_000, 3_707_000, 10)
    typed = ["build", "raster", "field", "-i", raster, "--tile-px", 128, "--model", "wildsat-s2", "--workers", 0,
             "--map-tiles", "--collections", tmp_path / "collections"]  # fmt: skip
    done = CliRunner().invoke(index, [str(one) for one in typed])
    assert done.exit_code == 0, done.output
    with running(create_app(Settings(collections=tmp_path / "collections"))) as url:
        page = open_page("about:blank")
        with page.expect_response("**/collections/field/imagery/*/*/*") as painted:
            page.goto(f"{url}/?view=-97.983,33.476,11&flat=1")
        assert painted.value.status == 200
        wait_for_map(page)
        page.wait_for_selector("#map[data-drawn='true']")
        assert np.abs(np.subtract(middle_of_map(page), ORANGE)).max() < 30


def middle_of_map(page: Any) -> tuple[int, ...]:
    """(R, G, B) of what is seen there."""
    box = box_of(page, "#map")
    clip = {"x": box["x"] + box["width"] / 2 - 8, "y": box["y"] + box["height"] / 2 - 8, "width": 16, "height": 16}
    seen = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    return tuple(np.asarray(seen).reshape(-1, 3).mean(0).round().astype(int).tolist())
