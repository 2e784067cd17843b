"""Time on the page: a slider of months, two days of one place, and what changed."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.app.browser.conftest import listed, parameters, until
from tests.app.browser.fake_api import answer
from tests.app.browser.test_accessibility import violations

pytestmark = pytest.mark.browser


def test_the_slider_of_months_sets_the_days_by_keyboard_alone(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&to=2024-06-15", live_map=False)
    page.locator("#narrow summary").click()
    first, last = page.get_by_label("First month"), page.get_by_label("Last month")
    assert (first.get_attribute("aria-valuetext"), last.get_attribute("aria-valuetext")) == (
        "January 2000",
        "June 2024",
    )
    first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    until(page, lambda: parameters(page).get("from") == "2000-04-01")
    assert page.inner_text("#time-said") == "April 2000 to June 2024"
    assert parameters(page)["to"] == "2024-06-30"
    assert page.locator(".chip.filter .chip-label").all_inner_texts() == ["2000-04-01 to 2024-06-30"]
    last.focus()
    page.keyboard.press("Home")  # pushes the other along
    until(page, lambda: "from" not in parameters(page))
    assert parameters(page)["to"] == "2000-01-31"
    page.get_by_role("button", name="Remove Until 2000-01-31").click()
    until(page, lambda: page.inner_text("#time-said") == "all 300 months")
    assert last.input_value() == "299"


def test_two_days_of_a_place_are_compared(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&months=6&changes=any", live_map=False)
    page.wait_for_selector(".hit.is-change")
    page.locator(".hit-main").first.click()
    with page.expect_response("**/search?*tiles=*") as caught:
        page.get_by_role("button", name="Compare two days").click()
    asked = parse_qs(urlsplit(caught.value.url).query)
    tile = listed(page)[0]
    assert (asked["tiles"], asked["q"], "months" in asked) == ([f"{tile},{tile}_later"], ["fen"], False)
    page.wait_for_selector("#days-said >> text=For your question: fits")
    page.evaluate("document.getElementById('narrow').open = true")
    assert violations(page) == [], "of the slider, the list of changes and the dialog"
    assert page.get_by_label("Earlier day").input_value() == tile
    page.get_by_label("Earlier day").select_option("1 Dec 2004")
    until(page, lambda: page.inner_text("#days-said") == "")
    assert f"{tile}_later" in page.locator("#days-pair img").first.get_attribute("src")


def test_what_changed_is_a_list_of_places_on_two_days(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&spacing_km=300", live_map=False)
    page.get_by_role("button", name="What changed").click()
    page.wait_for_selector(".hit.is-change")
    assert parameters(page) == {"q": "fen", "changes": "any"}, "what is of single hits goes"
    assert listed(page) == [feature["id"] for feature in answer({"q": "fen"})["features"]]
    first = page.locator(".hit").first
    assert first.locator(".hit-day").all_inner_texts() == ["1 Jul 1999", "1 Jul 2004"]
    assert first.locator(".hit-fit").inner_text() == "Fits better than before (+0.70)"
    assert page.inner_text("#status") == "20 of 612 places with pictures of two days"
    page.get_by_label("What changed").select_option("What fits less")
    until(page, lambda: "Fits less" in page.locator(".hit-fit").first.inner_text())
    page.locator("#before").select_option("2004")
    page.locator("#after").select_option("2004")
    page.get_by_role("heading", name="No place was visited twice").wait_for()
    page.get_by_role("button", name="At any time").click()
    page.wait_for_selector(".hit.is-change")
    assert parameters(page) == {"q": "fen", "changes": "loss"}
    page.locator(".hit-main").first.click()
    page.wait_for_selector("#detail >> text=Why rank 1: fits less than before (−0.70)")
    page.get_by_role("button", name="Back to the hits").click()
    page.wait_for_selector(".hit:not(.is-change)")
    assert parameters(page) == {"q": "fen"}
    page.go_back()
    page.wait_for_selector(".hit.is-change")


def test_a_link_to_what_changed_is_restored_and_taken_along(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&changes=gain&before=2019-06", live_map=False)
    page.wait_for_selector(".hit.is-change")
    assert page.locator("#before").input_value() == "2019-06"
    asked = "/changes?q=fen&direction=gain&before=2019-06"
    assert page.locator("#export-hits a").get_attribute("href") == asked
    page.get_by_role("button", name="Show more").click()
    page.wait_for_selector("#hit-40")


def test_the_real_service_knows_time_and_says_where_no_place_was_visited_twice(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=forest", live_map=False)
    page.locator("#narrow summary").click()
    page.get_by_label("First month").focus()
    page.keyboard.press("End")
    until(page, lambda: parameters(page).get("from") == "2024-08-01")
    until(page, lambda: listed(page) == ["congo"])
    page.get_by_role("button", name="What changed").click()
    page.get_by_role("heading", name="No place was visited twice").wait_for()
