"""What only a live map shows, on one: a map that starts costs seconds where WebGL runs in software."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.app.browser.conftest import box_of, listed, parameters, until, wait_for_map

pytestmark = pytest.mark.browser

SOUTH_AMERICA = "bbox=-75,-25,-45,5"  # nine tiles of the canned service


@pytest.fixture(scope="module")
def page(chromium: Any, fake_url: str) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1000, "height": 600}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{fake_url}/?q=fen&{SOUTH_AMERICA}")
    wait_for_map(page, hits=9)
    yield page
    context.close()


def test_the_map_is_on_paper_with_the_question(page: Any) -> None:
    page.evaluate("void (window.print = () => { document.body.dataset.printed = 'true' })")
    page.locator("#takeaway summary").click()
    page.get_by_role("button", name="Print the list").click()
    page.wait_for_selector("body[data-printed]", state="attached")
    assert page.locator("#print-title").text_content() == "fen"
    address = page.get_attribute("#print-map", "src")
    assert address.startswith("data:image/jpeg;base64,")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))
    drawn = box_of(page, "#map canvas")
    assert pixels.shape[:2] == (drawn["height"], drawn["width"])
    assert pixels.std(axis=(0, 1)).max() > 10, "land, sea and dots, and no empty canvas"


def test_a_box_dragged_with_shift_judges_the_hits_in_it(page: Any) -> None:
    box = box_of(page, "#map")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.keyboard.down("Shift")
    page.mouse.move(x - 200, y - 200)
    page.mouse.down()
    page.mouse.move(x + 100, y + 100, steps=3)
    page.mouse.move(x + 200, y + 200)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_selector(".place >> text=9 hits in the box")
    hits = set(listed(page))
    page.locator(".place").get_by_role("button", name="Good matches").click()
    until(page, lambda: set(parameters(page).get("up", "").split(",")) == hits)
    assert page.locator(".place").count() == 0
    page.get_by_role("button", name="Remove 9 good matches").click()
    until(page, lambda: "up" not in parameters(page))


def test_the_whole_globe_is_searched_as_the_circle_that_is_seen(page: Any) -> None:
    page.get_by_role("button", name="Search everywhere").click()
    until(page, lambda: "bbox" not in parameters(page))
    for _ in range(5):
        page.locator(".maplibregl-ctrl-zoom-out").click()
        page.wait_for_timeout(100)
    until(page, lambda: float(parameters(page)["view"].split(",")[2]) < 1)
    page.get_by_role("button", name="Search this view").click()
    until(page, lambda: "circle" in parameters(page))
    assert "bbox" not in parameters(page)
    lon, lat, km = map(float, parameters(page)["circle"].split(","))
    view = [float(part) for part in parameters(page)["view"].split(",")]
    assert (lon, lat) == pytest.approx((view[0], view[1]), abs=0.02)
    assert 8_000 < km < 10_050, "the side that is seen: a quarter of the way round the Earth, less what is at the rim"
    assert page.locator("[data-keys='circle']").count() == 1
