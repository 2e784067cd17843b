"""The main job in a real browser: type a habitat, see ranked hits in the list and on the map."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tests.app.browser.conftest import box_of, follow, listed, parameters, search, until, wait_for_map
from tests.app.browser.fake_api import answer

pytestmark = pytest.mark.browser


def expected(**query: str) -> list[str]:
    return [feature["id"] for feature in answer(query)["features"]]


def test_a_typed_query_fills_list_and_map(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url)
    assert page.locator("#welcome").is_visible()
    search(page, "mangrove coast")
    page.wait_for_selector(".hit")
    assert listed(page) == expected(q="mangrove coast")
    assert not page.locator("#welcome").is_visible()
    assert "Best 20 hits among all 612 tiles" in page.inner_text("#status")
    wait_for_map(page, hits=20)
    assert parameters(page)["q"] == "mangrove coast"
    assert page.title().startswith("mangrove coast")


def test_an_example_runs_with_its_exclusion(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    page.get_by_text("tropical rainforest").first.click()
    page.wait_for_selector(".hit")
    assert listed(page) == expected(q="tropical rainforest", **{"not": "farmland"})


def test_hovering_the_list_marks_the_map_and_back(open_page: Any, fake_url: str) -> None:
    first = answer({"q": "dunes"})["features"][0]["properties"]
    page = open_page(f"{fake_url}/?q=dunes&view={first['lon']},{first['lat']},5&flat=1")
    wait_for_map(page, hits=20)
    page.locator(".hit").nth(2).hover()
    page.wait_for_selector(f"#map[data-hovered='{listed(page)[2]}']")
    box = box_of(page, "#map")
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    steps = itertools.cycle((0, 1))

    def marks_the_hit() -> bool:  # no hand is so still: a move that comes before the dots are drawn is not the last
        page.mouse.move(centre[0] + next(steps), centre[1])
        return bool(page.locator(f".hit.is-hovered[data-tile='{first['tile_id']}']").count())

    until(page, marks_the_hit)
    page.mouse.click(*centre)
    page.wait_for_selector(f".hit.is-selected[data-tile='{first['tile_id']}']")
    assert parameters(page)["tile"] == first["tile_id"]


def test_clicking_a_hit_selects_it_and_brings_it_into_sight(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=lakes")
    wait_for_map(page, hits=20)
    hit = answer({"q": "lakes"})["features"][3]["properties"]
    page.locator(".hit-main").nth(3).click()
    page.wait_for_selector(f"#map[data-selected='{hit['tile_id']}']")

    def shows_the_hit() -> bool:
        lon, lat, zoom = (float(part) for part in parameters(page)["view"].split(","))
        beside = abs((lon - hit["lon"] + 180) % 360 - 180)  # beside the card that tells about it
        return beside < 15 and lat == pytest.approx(hit["lat"], abs=2) and zoom >= 3.5

    until(page, shows_the_hit)


def test_the_view_narrows_the_search_and_lets_go(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=forest&view=15,5,3.2&flat=1")
    wait_for_map(page, hits=20)
    page.get_by_role("button", name="Search this view").click()
    until(page, lambda: "bbox" in parameters(page))
    west, south, east, north = (float(part) for part in parameters(page)["bbox"].split(","))
    assert west < 15 < east
    assert south < 5 < north
    assert east - west < 120
    inside = expected(q="forest", bbox=parameters(page)["bbox"])
    until(page, lambda: listed(page) == inside)
    page.get_by_role("button", name="Search everywhere").click()
    until(page, lambda: listed(page) == expected(q="forest"))


def test_a_link_restores_query_area_view_and_tile(open_page: Any, fake_url: str) -> None:
    tile = expected(q="reef", bbox="160,-40,-160,10")[1]
    page = open_page(f"{fake_url}/?q=reef&bbox=160,-40,-160,10&view=-178,-17,3&tile={tile}")
    wait_for_map(page)
    assert page.input_value("#q") == "reef"
    assert listed(page) == expected(q="reef", bbox="160,-40,-160,10")
    page.wait_for_selector(f".hit.is-selected[data-tile='{tile}']")
    assert parameters(page)["view"] == "-178,-17,3"


def test_back_and_forward_walk_through_searches(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=one", live_map=False)
    search(page, "two")
    until(page, lambda: listed(page) == expected(q="two"))
    page.go_back()
    until(page, lambda: listed(page) == expected(q="one"))
    assert page.input_value("#q") == "one"
    page.go_forward()
    until(page, lambda: listed(page) == expected(q="two"))


def test_results_stand_in_the_page_without_a_script(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, java_script_enabled=False)
    page.fill("#q", "high plateau")
    follow(page, page.get_by_role("button", name="Search").click)
    hits = page.locator(".hit")
    assert hits.count() == 20
    assert "Brazil" in hits.first.inner_text()
    assert page.locator(".hit img").first.get_attribute("alt").startswith("Satellite picture of Northern Brazil")
    follow(page, hits.first.get_by_role("link", name="More like this").click)
    assert "like=" in page.url
    assert page.locator(".hit").count() == 20
    assert "Blue Marble" in page.inner_text("#notice")


def test_show_more_continues_the_ranking(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=steppe", live_map=False)
    page.get_by_role("button", name="Show more").click()
    page.wait_for_selector("#hit-40")
    assert listed(page) == expected(q="steppe", k="40")


def test_works_under_a_path_prefix(open_page: Any, prefixed_url: str) -> None:
    page = open_page(f"{prefixed_url}/")
    search(page, "tundra")
    page.wait_for_selector(".hit")
    assert listed(page) == expected(q="tundra")
    wait_for_map(page, hits=20)
    assert re.match(rf"{re.escape(prefixed_url)}/\?q=tundra", page.url)
    loaded = page.locator(".hit img").first.evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert loaded == 32
