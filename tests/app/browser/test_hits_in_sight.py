"""After every search the hits are in sight, whatever the map showed before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.app.browser.conftest import box_of, listed, parameters, search, until, wait_for_map

pytestmark = pytest.mark.browser

SOUTH_AMERICA = "bbox=-75,-25,-45,5"  # nine tiles of the canned service
SIBERIA = "bbox=85,45,125,75"


def tool(page: Any, words: str) -> Any:
    return page.locator("#map-tools").get_by_role("button", name=words)


def centre(page: Any) -> tuple[float, float]:
    lon, lat, _ = map(float, parameters(page)["view"].split(","))
    return lon, lat


def drag(page: Any, by: tuple[int, int] = (-320, 0)) -> None:
    box = box_of(page, "#map")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = parameters(page).get("view")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[0] / 2, y + by[1] / 2)
    page.mouse.move(x + by[0], y + by[1])
    page.wait_for_timeout(300)  # so that the map does not glide on
    page.mouse.up()
    until(page, lambda: parameters(page).get("view") != before)


@pytest.mark.parametrize("flat", ["", "&flat=1"])
def test_a_link_shows_its_hits_however_late_the_map_comes(open_page: Any, fake_url: str, flat: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&{SIBERIA}{flat}")  # the hits are in the page before the map's script has come
    wait_for_map(page, hits=12)
    tool(page, "Go to the hits").wait_for()
    until(page, lambda: 90 < centre(page)[0] < 120 and 50 < centre(page)[1] < 72)


def test_a_link_with_a_view_keeps_it_and_says_where_the_hits_are_not(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&{SIBERIA}&view=-60,-10,3")
    wait_for_map(page, hits=12)
    assert centre(page) == (-60, -10)
    tool(page, "12 hits are elsewhere").click()
    tool(page, "Go to the hits").wait_for()
    assert centre(page)[1] > 45


def test_words_turn_a_map_that_was_moved_and_filters_leave_it(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&{SOUTH_AMERICA}")
    wait_for_map(page, hits=9)
    drag(page)
    moved = centre(page)
    page.evaluate("document.getElementById('narrow').open = true")
    page.fill("#k", "5")
    page.press("#k", "Tab")
    until(page, lambda: len(listed(page)) == 5)
    page.wait_for_timeout(500)
    assert centre(page) == moved, "a filter leaves the map where the visitor moved it"
    search(page, "bog")
    until(page, lambda: -68 < centre(page)[0] < -52 and abs(centre(page)[1] + 10) < 10)


def test_a_map_that_is_moved_while_the_search_runs_stays(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&{SOUTH_AMERICA}")
    wait_for_map(page, hits=9)
    search(page, "slow bog")
    drag(page)
    moved = centre(page)
    until(page, lambda: "slow" in page.title())
    tool(page, "elsewhere").wait_for()
    assert centre(page) == moved


def test_a_selected_tile_that_is_no_hit_is_marked(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&{SOUTH_AMERICA}&tile=t0_0")
    page.wait_for_selector("#map[data-chosen='t0_0'][data-selected='']")
    page.locator(".hit-main").first.click()
    page.wait_for_selector(f"#map[data-chosen=''][data-selected='{listed(page)[0]}']")


def test_zooming_keeps_the_selected_tile_and_shows_pictures(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&{SOUTH_AMERICA}")
    wait_for_map(page, hits=9)
    first = listed(page)[0]
    page.locator(".hit-main").first.click()
    page.wait_for_selector("#map[data-draped]:not([data-draped='0'])")
    zoom: Callable[[], float] = lambda: float(parameters(page)["view"].split(",")[2])  # noqa: E731 - read twice below
    for _ in range(2):
        before = zoom()
        page.locator(".maplibregl-ctrl-zoom-in").click()
        until(page, lambda before=before: zoom() > before + 0.8)
    page.wait_for_timeout(1000)
    lon, lat = map(float, first.removeprefix("t").split("_"))
    assert abs(centre(page)[0] - lon) < 4
    assert abs(centre(page)[1] - lat) < 4
    page.wait_for_selector("#imagery-end >> text=one of its pixels is 7.4 km wide")
    box = box_of(page, "#map")
    page.mouse.dblclick(box["x"] + 60, box["y"] + box["height"] - 80)
    page.wait_for_timeout(800)
    assert parameters(page)["tile"] == first, "a double click zooms and lets go of nothing"


def test_nothing_is_labelled_behind_the_globe(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&{SIBERIA}&view=100,60,1.5")
    wait_for_map(page, hits=12)
    page.locator(".hit").first.hover()
    page.wait_for_selector(".maplibregl-popup")
    page.goto(f"{fake_url}/?q=fen&{SIBERIA}&view=-80,-40,1.5")
    wait_for_map(page, hits=12)
    page.locator(".hit").first.hover()
    page.wait_for_selector("#map[data-hovered]:not([data-hovered=''])")
    assert page.locator(".maplibregl-popup").count() == 0
