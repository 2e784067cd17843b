"""What the page says when things are slow, wrong, empty or absent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.browser.conftest import box_of, parameters, search, until, wait_for_map
from tests.app.browser.fake_api import answer

pytestmark = pytest.mark.browser


def test_waiting_says_what_is_being_done(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    search(page, "slow bog")
    page.wait_for_selector("#results[aria-busy='true'] .skeleton")
    assert "slow bog" in page.inner_text("#status")
    page.wait_for_selector(".hit")
    assert page.get_attribute("#results", "aria-busy") == "false"


def test_an_old_answer_never_overwrites_a_newer_one(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    search(page, "slow bog")
    search(page, "quick fen")
    page.wait_for_selector(".hit")
    page.wait_for_timeout(1800)
    first = answer({"q": "quick fen"})["features"][0]["id"]
    assert page.locator(".hit").first.get_attribute("data-tile") == first


def test_a_failure_says_so_and_can_be_tried_again(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    search(page, "broken")
    page.wait_for_selector("#message >> text=The search failed.")
    assert "req-1" in page.inner_text("#message")
    with page.expect_response("**/search?**"):
        page.get_by_role("button", name="Try again").click()


def test_a_refusal_shows_the_service_s_sentence(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    search(page, "refused")
    page.wait_for_selector("#message >> text=q must not be refused")
    assert page.get_by_role("button", name="Try again").count() == 0


def test_a_lost_connection_is_told_apart(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    page.wait_for_selector("html[data-ready]", state="attached")
    page.context.set_offline(True)
    search(page, "fjord")
    page.wait_for_selector("#message >> text=could not be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".hit")
    assert not page.locator("#message").is_visible()


def test_without_any_map_the_list_still_works(open_page: Any, fake_url: str) -> None:
    page = open_page("about:blank", live_map=False)
    page.route("**/stillmap.js", lambda route: route.abort())
    page.goto(f"{fake_url}/?q=fjord")
    page.wait_for_selector("#map-note >> text=The map could not be loaded")
    page.wait_for_selector(".hit")


def test_no_match_is_said_and_filters_can_be_dropped(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=nothing+at+all&bbox=0,0,30,30", live_map=False)
    assert "Nothing here really matches" in page.inner_text("#message")
    page.get_by_role("button", name="Search without filters").click()
    until(page, lambda: "bbox" not in parameters(page))


def test_an_area_without_tiles_says_what_to_loosen(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=heath&bbox=1,1,2,2", live_map=False)
    page.wait_for_selector("#message >> text=No tile passes the filters")
    assert "the area" in page.inner_text("#message")


def test_without_webgl_the_list_still_works(open_page: Any, fake_url: str) -> None:
    page = open_page("about:blank")
    page.add_init_script(
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        "  return /webgl/.test(kind) ? null : real.call(this, kind, ...rest); };"
    )
    page.goto(f"{fake_url}/?q=marsh")
    page.wait_for_selector("#map-fallback[data-hits='20'] canvas")
    assert "still map" in page.inner_text("#map-note")
    assert page.locator(".hit").count() == 20
    search(page, "meadow")
    page.wait_for_selector(f".hit[data-tile='{answer({'q': 'meadow'})['features'][0]['id']}']")


def test_without_installed_assets_the_list_still_works(open_page: Any, fake_url: str) -> None:
    page = open_page("about:blank")
    page.route("**/vendor/**", lambda route: route.fulfill(status=404, body=""))
    page.goto(f"{fake_url}/?q=marsh")
    page.wait_for_selector("#map-fallback[data-hits='20'] canvas")
    search(page, "meadow")
    page.wait_for_selector(f".hit[data-tile='{answer({'q': 'meadow'})['features'][0]['id']}']")


def test_the_theme_follows_the_system_until_chosen(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, color_scheme="dark", live_map=False)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.click("#theme")
    light = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == light


def test_keys_alone_search_and_walk_the_hits(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url)
    page.keyboard.press("/")
    page.keyboard.type("cloud forest")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#hit-2.is-selected")
    wait_for_map(page, hits=20)
    page.wait_for_selector("#map[data-selected]:not([data-selected=''])")
    page.keyboard.press("Escape")
    page.wait_for_selector("#hit-2:not(.is-selected)")


def test_about_opens_as_a_dialog_and_closes(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    page.click("#about-open")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#about").is_visible()


def test_the_list_fits_a_phone(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=estuary", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert box_of(page, ".hit")["y"] < 740
    stage = lambda: box_of(page, ".stage")  # noqa: E731 - read twice below
    assert stage()["height"] > 200, "map and list share the screen"
    page.locator("#sheet-handle").click()
    until(page, lambda: box_of(page, "#sheet")["height"] > 600)
    page.locator("#sheet-handle").click()
    until(page, lambda: stage()["height"] > 500)
    page.locator("#sheet-handle").click()
    for menu in ("Filters", "Export"):
        page.locator("summary", has_text=menu).click()
        box = box_of(page, ".narrow-body:visible, .menu-body:visible")
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        page.keyboard.press("Escape")
    page.locator(".hit-main").first.click()
    page.locator("#detail").get_by_role("button", name="Close").click()  # nothing lies over it
    until(page, lambda: "tile" not in parameters(page))


# Width and height of what can be pressed, with the margin around it that takes the touch too, px.
TARGETS = """elements => elements.filter(e => e.checkVisibility({visibilityProperty: true})).map(e => {
  const box = e.getBoundingClientRect(), around = getComputedStyle(e, "::after");
  const more = around.content !== "none" && around.position === "absolute" ? -2 * parseFloat(around.top) : 0;
  return [e.id || e.title || e.textContent.trim() || e.className, box.width + more, box.height + more];
})"""


@pytest.mark.parametrize("width", [390, 820])
def test_nothing_to_be_pressed_by_a_finger_is_small(open_page: Any, fake_url: str, width: int) -> None:
    page = open_page(f"{fake_url}/?q=fen&not=farm&heat=60", live_map=False, viewport={"width": width, "height": 900},
                     has_touch=True, is_mobile=True)  # fmt: skip
    page.locator(".hit").first.wait_for()
    page.locator(".hit-actions button").nth(1).click()
    page.wait_for_selector("#judge:not([hidden]) button")
    pressed = ":is(button, summary, select, a.tool, a.brand, label.upload, input:not([type=file], .visually-hidden))"

    def small(inside: str) -> list[Any]:
        return [t for t in page.locator(f"{inside} {pressed}").evaluate_all(TARGETS) if min(t[1:]) < 43.5]

    assert small("body") == []
    for menu in ("Filters", "Export"):
        page.locator("summary", has_text=menu).click()
        page.locator(".narrow-body:visible, .menu-body:visible").wait_for()
        assert small(":is(.narrow-body, .menu-body)") == []
        page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_scrolls_by_is_not_seen_above_the_question(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.locator(".hit").first.wait_for()
    page.evaluate("document.getElementById('panel').scrollTo(0, 400)")
    found = page.evaluate(
        """() => {
          const box = document.querySelector(".search-box").getBoundingClientRect();
          const corners = [[box.left + 0.5, 0.5], [box.right - 0.5, 0.5], [box.left + 0.5, box.top - 5]];
          return corners.map(([x, y]) => Boolean(document.elementFromPoint(x, y)?.closest(".search-box")));
        }"""
    )
    assert found == [True, True, True], "the strip above it is whole, its corners too"


def test_what_is_found_is_said_once(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.wait_for_selector("html[data-ready]", state="attached")
    page.evaluate(
        """window.spoken = [];
        for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]")) {
          const hear = () => {
            const busy = region.getAttribute("aria-busy") === "true";
            if (!busy && region.checkVisibility() && region.textContent) window.spoken.push(region.textContent);
          };
          new MutationObserver(hear).observe(region, { childList: true, characterData: true, subtree: true });
        }"""
    )
    search(page, "slow bog")  # long enough for the words that tell of waiting, which are not read out
    page.wait_for_selector("#status[aria-busy='true']")
    until(page, lambda: page.title().startswith("slow bog"))
    page.wait_for_timeout(100)
    assert page.evaluate("window.spoken") == ["Best 20 hits among all 612 tiles"]
