"""The page on the real service: six tiles, a model that knows four words, nothing canned."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.app.browser.conftest import follow, listed, parameters, search, until, wait_for_map

pytestmark = pytest.mark.browser

PAGE_WEIGHT_LIMIT = 600_000  # bytes over the wire, without imagery


def test_a_typed_habitat_is_found_listed_and_mapped(open_page: Any, live_url: str) -> None:
    page = open_page(live_url)
    search(page, "forest")
    page.wait_for_selector(".hit")
    assert listed(page)[0] in ("amazon", "congo")
    assert len(listed(page)) == 6
    assert "Six made-up tiles." in page.inner_text("#notice")
    wait_for_map(page, hits=6)
    page.locator(".hit-main").first.click()
    page.wait_for_selector(f"#map[data-selected='{listed(page)[0]}']")
    page.wait_for_selector("#detail >> text=Tiles most like this one")
    page.wait_for_selector(".shares li")
    assert "looks like it" in page.inner_text("#detail")


def test_every_filter_and_term_reaches_the_service(open_page: Any, live_url: str) -> None:
    narrowed = "bbox=170,-30,-170,0&from=2023-01-01&to=2024-12-31&months=7&max_cloud=0.5&countries=FJI&spacing_km=10"
    page = open_page(f"{live_url}/?q=forest&not=desert&{narrowed}", live_map=False)
    until(page, lambda: listed(page) == ["fiji"])
    assert page.locator(".chip.filter").count() == 6
    until(page, lambda: page.inner_text("[data-keys='months'] .chip-count") == "2")
    page.fill("#add-term", "-water")
    page.keyboard.press("Enter")
    until(page, lambda: "terms" in parameters(page))
    until(page, lambda: listed(page) == ["fiji"])
    assert not page.locator("#message").is_visible()


def test_a_link_keeps_every_parameter_that_the_service_takes(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=forest&max_per_country=1&tiles=amazon,fiji&offset=1", live_map=False)
    until(page, lambda: len(listed(page)) == 1)
    labels = page.locator(".chip.filter .chip-label").all_inner_texts()
    assert labels == ["Only 2 chosen tiles", "At most 1 of a country", "From hit 2 on"]
    page.get_by_role("button", name="Remove From hit 2 on").click()
    until(page, lambda: len(listed(page)) == 2)
    assert parameters(page) == {"q": "forest", "max_per_country": "1", "tiles": "amazon,fiji"}


def test_leaving_something_out_is_a_question_of_its_own(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?not=desert", live_map=False)
    until(page, lambda: len(listed(page)) == 6)
    assert listed(page)[-1] == "sahara"
    assert not page.locator("#welcome").is_visible()


def test_what_a_link_has_too_much_is_named(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=forest&utm_source=letter", live_map=False)
    assert page.inner_text("#ignored") == "The link has what means nothing here, and was left out: utm_source."
    until(page, lambda: len(listed(page)) == 6)
    search(page, "desert")
    until(page, lambda: page.locator("#ignored").count() == 0)
    page.goto(f"{live_url}/?q=forest&q=desert")
    assert page.inner_text("#message p").startswith("q: must be given only once")


def test_what_was_read_from_the_words_is_shown_and_taken_back(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=forest+in+Brazil", live_map=False)
    until(page, lambda: listed(page) == ["amazon"])
    assert page.locator("#understood .chip-label").all_inner_texts() == ["Only in Brazil"]
    page.get_by_role("button", name="Take back: Only in Brazil").click()
    until(page, lambda: len(listed(page)) == 6)
    assert parameters(page)["undo"] == "country:brazil"
    page.get_by_role("button", name="Remove Taken back: brazil").click()
    until(page, lambda: listed(page) == ["amazon"])
    search(page, "desert in Algeria")
    until(page, lambda: listed(page) == ["sahara"])
    assert parameters(page) == {"q": "desert in Algeria"}


def test_a_misspelt_word_is_offered_right(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=mangrve+forest", live_map=False)
    page.locator("#understood").get_by_role("button", name="mangrove forest").click()
    until(page, lambda: parameters(page)["q"] == "mangrove forest")
    until(page, lambda: not page.locator("#understood").is_visible())


def test_words_of_another_language_are_told_in_place(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=ich+suche+einen+Ort+mit+vielen+alten+Eichen", live_map=False)
    page.wait_for_selector("#message >> text=This seems to be German. Only English is understood", timeout=10_000)
    search(page, "forest")
    until(page, lambda: not page.locator("#message").is_visible())


def test_thumbs_bring_tiles_to_judge(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=forest", live_map=False)
    page.locator(".hit").first.get_by_role("button", name="Good match").click()
    until(page, lambda: "up" in parameters(page))
    page.wait_for_selector("#judge li")


def test_the_heat_map_is_painted(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=desert&view=12,14,1")  # the whole globe takes the fewest map tiles
    wait_for_map(page, hits=6)
    with page.expect_response("**/heatmap/*/*/*.png?q=desert") as caught:
        page.get_by_role("button", name="Heat map").click()
    assert caught.value.status == 200


def test_a_picture_of_sand_finds_the_desert(open_page: Any, live_url: str) -> None:
    page = open_page(live_url, live_map=False)
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (220, 30, 10)).save(out, "PNG")
    page.set_input_files("#picture-file", {"name": "sand.png", "mimeType": "image/png", "buffer": out.getvalue()})
    page.wait_for_selector("#hits .hit")
    assert listed(page)[0] == "sahara"


def test_hits_are_downloaded_as_geojson(open_page: Any, live_url: str, tmp_path: Path) -> None:
    page = open_page(f"{live_url}/?q=ice", live_map=False)
    page.get_by_text("Export").click()
    with page.expect_download() as caught:
        page.locator("#export-hits").get_by_role("link", name="GeoJSON").click()
    caught.value.save_as(tmp_path / "hits.geojson")
    hits = json.loads((tmp_path / "hits.geojson").read_text("utf-8"))["features"]
    assert hits[0]["properties"]["tile_id"] == "arctic"


def test_the_list_stands_without_a_script(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/", java_script_enabled=False)
    page.fill("#q", "desert")
    follow(page, page.get_by_role("button", name="Search").click)
    assert page.locator(".hit").first.get_attribute("data-tile") == "sahara"
    assert "k=" in page.url  # the empty fields of the form travel too, and are taken as not given


def test_a_refusal_is_shown_as_the_page(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=ice&bbox=1,2,3", live_map=False)
    assert "bbox" in page.inner_text("#message")
    assert page.locator("#q").is_visible()


def test_words_about_no_place_are_no_match(open_page: Any, live_url: str) -> None:
    page = open_page(f"{live_url}/?q=motherboard", live_map=False)
    assert "Nothing here really matches" in page.inner_text("#message")
    page.wait_for_selector("html[data-ready]", state="attached")
    assert not page.locator(".hit-fit").first.is_visible(), "no hit is called a fair match beside that"
    search(page, "forest")
    page.locator(".hit-fit").first.wait_for()


def test_the_page_is_light_and_nothing_in_it_moves_while_it_loads(open_page: Any, live_url: str) -> None:
    page = open_page("about:blank")
    page.add_init_script(  # what moved, and its top and height before and after, px
        "window.moved = []; new PerformanceObserver(list => { for (const { value, sources } of list.getEntries())"
        " window.moved.push([value, ...sources.map(({ node, previousRect: was, currentRect: is }) =>"
        " [node?.id || node?.className, was.top, was.height, is.top, is.height])]) })"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.send("Emulation.setCPUThrottlingRate", {"rate": 6})  # the page is read in pieces, as on an old laptop
    received: list[float] = []
    client.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(f"{live_url}/?q=forest")
    wait_for_map(page, hits=6)
    print(f"page weight {sum(received) / 1e6:.2f} MB")
    assert 0 < sum(received) < PAGE_WEIGHT_LIMIT
    assert page.evaluate("window.moved") == []
