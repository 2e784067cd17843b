"""What the page offers beyond the main job, each as a visitor does it."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from PIL import Image

from tests.app.browser.conftest import box_of, listed, parameters, search, until, wait_for_map
from tests.app.browser.fake_api import PICTURE_TERM, answer

pytestmark = pytest.mark.browser


def chip_labels(page: Any, kind: str) -> list[str]:
    return page.locator(f".chip.{kind} .chip-label").all_inner_texts()


def test_each_filter_is_a_chip_with_its_count_and_can_be_removed(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&bbox=0,0,50,40&months=6,7&spacing_km=300", live_map=False)
    assert chip_labels(page, "filter") == ["View 0° N, 0° E to 40° N, 50° E", "Jun, Jul", "300 km apart"]
    inside = answer({"q": "fen", "bbox": "0,0,50,40"})["matched"]
    until(page, lambda: page.inner_text("[data-keys='bbox'] .chip-count") == str(inside))
    page.get_by_role("button", name="Remove Jun, Jul").click()
    until(page, lambda: "months" not in parameters(page))
    assert parameters(page)["bbox"] == "0,0,50,40"


def test_filter_fields_set_the_address(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.locator("#narrow summary").click()
    page.fill("#from", "2020-05-01")
    page.select_option("#min_percentile", label="Best 1 %")
    page.locator("label:has([data-month='3'])").click()
    page.locator("#country").press_sequentially("Brasi")
    page.wait_for_selector("#country-list option[value='Brazil']", state="attached")
    page.fill("#country", "Brasil")
    page.locator("#country").press("Tab")
    until(page, lambda: parameters(page).get("countries") == "BRA")
    set_ = parameters(page)
    assert (set_["from"], set_["min_percentile"], set_["months"]) == ("2020-05-01", "99", "3")
    assert chip_labels(page, "filter") == ["Brazil", "Since 2020-05-01", "Mar", "Only the top 1 %"]
    assert box_of(page, ".hit")["y"] < 400, "filters don't push the hits away"
    page.fill("#country", "Kenya")
    page.locator("#country").press("Tab")
    page.wait_for_selector("#said >> text=The collection has no tile in Kenya.")
    page.fill("#country", "Okavango")
    page.locator("#country").press("Tab")
    until(page, lambda: parameters(page).get("area_name") == "Okavango Delta")
    assert parameters(page)["bbox"] == "22,-20.6,24,-18.3"
    page.fill("#k", "100000")
    page.locator("#k").press("Tab")
    page.wait_for_selector("#said >> text=Hits to show: ")


def zipped_shapefile() -> bytes:
    """One polygon with a hole, as Esri's description has it, in a packed zip with its projection."""
    rings = [[(1, 1), (1, 5), (5, 5), (5, 1), (1, 1)], [(2, 2), (3, 2), (3, 3), (2, 2)]]
    points = [place for ring in rings for place in ring]
    record = struct.pack("<i4d2i2i", 5, 1, 1, 5, 5, 2, len(points), 0, 5)
    record += b"".join(struct.pack("<2d", *place) for place in points)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("park.shp", bytes(100) + struct.pack(">2i", 1, len(record) // 2) + record)
        packed.writestr("park.prj", 'GEOGCS["WGS 84"]')
    return out.getvalue()


def test_an_uploaded_area_narrows_the_search(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    square = {"type": "Polygon", "coordinates": [[[0, 0], [30, 0], [30, 20], [0, 20], [0, 0]]]}
    document = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": square}]}
    page.set_input_files(
        "#area-file", {"name": "a.geojson", "mimeType": "application/json", "buffer": json.dumps(document).encode()}
    )
    until(page, lambda: "area" in parameters(page))
    assert json.loads(parameters(page)["area"]) == square
    page.set_input_files("#area-file", {"name": "b.json", "mimeType": "application/json", "buffer": b"not json"})
    page.wait_for_selector("#said >> text=neither GeoJSON nor KML")
    until(page, lambda: page.inner_text("#status").startswith("Best "))  # what is said takes no place of what was found
    coordinates = "0,0,0 10,10,0 10,0,0 0,10,0 0,0,0"  # a figure of eight
    kml = (
        "<kml xmlns='http://www.opengis.net/kml/2.2'><Placemark><Polygon><outerBoundaryIs><LinearRing><coordinates>"
        f"{coordinates}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark></kml>"
    )
    page.set_input_files("#area-file", {"name": "park.kml", "mimeType": "", "buffer": kml.encode()})
    page.wait_for_selector("#said >> text=The outline crossed itself; it was split where it does.")
    assert [len(rings[0]) for rings in json.loads(parameters(page)["area"])["coordinates"]] == [4, 4]
    assert chip_labels(page, "filter") == ["park.kml"]
    page.set_input_files("#area-file", {"name": "park.zip", "mimeType": "", "buffer": zipped_shapefile()})
    until(page, lambda: parameters(page).get("area_name") == "park.zip")
    assert json.loads(parameters(page)["area"]) == {
        "type": "Polygon",
        "coordinates": [[[1, 1], [1, 5], [5, 5], [5, 1], [1, 1]], [[2, 2], [3, 2], [3, 3], [2, 2]]],
    }


def test_an_area_is_drawn_on_the_map(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&flat=1&view=10,10,3")
    wait_for_map(page, hits=20)
    page.locator("#narrow summary").click()
    page.click("#area-draw")
    box = box_of(page, "#map")
    for x, y in [(0.4, 0.6), (0.6, 0.6), (0.5, 0.35)]:
        page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        page.wait_for_timeout(400)  # slower than a double click
    page.get_by_role("button", name="Finish").click()
    until(page, lambda: "area" in parameters(page))
    assert not page.locator("#draw-bar").is_visible()
    ring = json.loads(parameters(page)["area"])["coordinates"][0]
    assert len(ring) == 4
    assert ring[0] == ring[-1]
    assert all(-60 < lon < 80 and -50 < lat < 60 for lon, lat in ring)


def test_thumbs_move_the_result_and_are_taken_back(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    first, second = listed(page)[:2]
    page.locator(".hit").nth(0).get_by_role("button", name="Good match").click()
    until(page, lambda: parameters(page).get("up") == first)
    until(page, lambda: listed(page) == [f["id"] for f in answer({"q": "fen", "up": first})["features"]])
    page.evaluate("history.back()")
    until(page, lambda: "up" not in parameters(page))
    until(page, lambda: listed(page)[:2] == [first, second])
    page.locator(".hit").nth(1).get_by_role("button", name="Poor match").click()
    until(page, lambda: parameters(page).get("down") == second)
    page.get_by_role("button", name="Remove 1 poor match").click()
    until(page, lambda: "down" not in parameters(page))


def test_after_a_thumb_the_next_tiles_to_judge_are_offered(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&up=t10_20", live_map=False)
    page.wait_for_selector("#judge:visible")
    assert page.locator("#judge li").count() == 4
    page.locator("#judge li").first.get_by_role("button", name="Poor match").click()
    until(page, lambda: parameters(page).get("down") == answer({"q": "unsure"})["features"][0]["id"])


def test_words_are_added_weighed_and_turned_round(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.fill("#add-term", "-farmland")
    page.keyboard.press("Enter")
    until(page, lambda: json.loads(parameters(page).get("terms", "[]")) == [{"text": "farmland", "weight": -1}])
    page.get_by_role("button", name="More weight for farmland").click()
    until(page, lambda: json.loads(parameters(page)["terms"])[0]["weight"] == -0.5)
    page.get_by_role("button", name="More weight for farmland").click()
    until(page, lambda: json.loads(parameters(page)["terms"])[0]["weight"] == 0.5)
    until(
        page,
        lambda: listed(page) == [f["id"] for f in answer({"q": "fen", "terms": parameters(page)["terms"]})["features"]],
    )
    page.get_by_role("button", name="Remove farmland").click()
    until(page, lambda: "terms" not in parameters(page))


ASK_ANEW = {
    "typed": lambda page: search(page, "bog"),
    "more like a hit": lambda page: page.locator(".hit [data-slot=like]").nth(1).click(),
    "more like the tile": lambda page: page.locator("#detail").get_by_role("button", name="More like this").click(),
    "a species": lambda page: (page.fill("#q", "jag"), page.get_by_role("option", name="Jaguar Panthera").click()),
}


@pytest.mark.parametrize("way", ASK_ANEW)
def test_a_new_question_drops_all_that_was_asked_and_keeps_the_filters(open_page: Any, fake_url: str, way: str) -> None:
    old = {"q": "fen", "terms": '[{"text":"lake"}]', "species": "jaguar", "up": "t10_20", "down": "t20_20"}
    kept = {"months": "6,7", "countries": "BRA", "max_cloud": "0.5", "blend": "0.4", "k": "5", "vs": "swamp"}
    chosen = {"tile": "t0_0"} if way == "more like the tile" else {}
    page = open_page(f"{fake_url}/?{urlencode(old | kept | chosen)}", live_map=False)
    page.wait_for_selector(".hit")
    ASK_ANEW[way](page)
    until(page, lambda: parameters(page).get("q") != "fen")
    left = {key: value for key, value in parameters(page).items() if key not in kept}
    assert len(left) == 1, left
    assert left != {"species": "jaguar"} or way == "a species"
    assert {key: parameters(page).get(key) for key in kept} == kept


def test_spreading_out_sets_the_spacing(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.get_by_role("button", name="Spread out").click()
    until(page, lambda: parameters(page).get("spacing_km") == "500")
    page.get_by_role("button", name="Spread out").click()
    until(page, lambda: "spacing_km" not in parameters(page))


def test_more_like_this_asks_for_the_tile(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    tile = listed(page)[2]
    page.locator(".hit").nth(2).get_by_role("link", name="More like this").click()
    until(page, lambda: parameters(page) == {"like": tile})
    assert chip_labels(page, "term") == ["Like this tile"]


def test_a_picture_is_a_question(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (20, 120, 60)).save(out, "PNG")
    page.set_input_files("#picture-file", {"name": "bog.png", "mimeType": "image/png", "buffer": out.getvalue()})
    until(page, lambda: listed(page) == [f["id"] for f in answer({"q": "picture bog.png"})["features"]])
    assert chip_labels(page, "term") == ["Like bog.png"]
    page.get_by_role("button", name="Remove the picture").click()
    page.wait_for_selector("#welcome:visible")


def test_a_picture_is_painted_and_exported_like_words(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url)
    wait_for_map(page, hits=0)
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (20, 120, 60)).save(out, "PNG")
    page.set_input_files("#picture-file", {"name": "bog.png", "mimeType": "image/png", "buffer": out.getvalue()})
    wait_for_map(page, hits=20)
    with page.expect_response("**/heatmap/*/*/*.png?*") as painted:
        page.get_by_role("button", name="Heat map").click()
    export = page.locator("#export-hits a").first.get_attribute("href")
    for address in (painted.value.url, export):
        assert parse_qs(urlsplit(address).query)["terms"] == [PICTURE_TERM]
    assert "terms" not in parameters(page)
    page.get_by_role("button", name="Remove the picture").click()
    page.wait_for_selector("#map[data-heat='']")


def test_a_dropped_picture_is_a_question(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (90, 80, 60)).save(out, "PNG")
    carried = page.evaluate_handle(
        """bytes => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], "dune.png", { type: "image/png" }));
            return carried;
        }""",
        list(out.getvalue()),
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": carried})
    assert "is-dropping" in (page.get_attribute("body", "class") or "")
    page.dispatch_event("body", "drop", {"dataTransfer": carried})
    until(page, lambda: listed(page) == [f["id"] for f in answer({"q": "picture dune.png"})["features"]])
    assert chip_labels(page, "term") == ["Like dune.png"]
    assert "is-dropping" not in (page.get_attribute("body", "class") or "")


def test_pictures_are_large_stretched_and_honest_and_the_choice_is_kept(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    picture = page.locator(".hit img").first
    look = (
        "picture => [picture.clientWidth, getComputedStyle(picture).filter, getComputedStyle(picture).imageRendering]"
    )
    until(page, lambda: picture.evaluate(look)[1] != "none")
    width, _, rendering = picture.evaluate(look)
    assert width >= 128
    assert rendering == "pixelated", "32 pixels are shown as they are"
    page.get_by_role("button", name="True brightness").click()
    assert picture.evaluate(look)[1] == "none"
    page.get_by_role("button", name="Grid").click()
    assert picture.evaluate(look)[0] >= 150
    page.reload()
    until(page, lambda: picture.evaluate(look)[2] == "pixelated")
    assert picture.evaluate(look)[0] >= 150
    assert picture.evaluate(look)[1] == "none"


def test_a_picture_whose_pixels_are_not_there_yet_is_not_judged(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    picture = page.locator(".hit img").first
    stretch = "picture => picture.style.getPropertyValue('--stretch')"
    until(page, lambda: picture.evaluate(stretch))
    again = (
        "picture => { picture.style.removeProperty('--stretch'); COMPLETE; picture.dispatchEvent(new Event('load')) }"
    )
    half = "Object.defineProperty(picture, 'complete', { value: false, configurable: true })"
    picture.evaluate(again.replace("COMPLETE", half))
    assert picture.evaluate(stretch) == "", "its size is known, and what a canvas makes of it is black"
    picture.evaluate(again.replace("COMPLETE", "delete picture.complete"))
    assert picture.evaluate(stretch) != ""


def test_the_area_around_and_other_days_are_shown(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.locator(".hit-picture").first.hover()
    page.wait_for_selector(".around-card:visible >> text=Around it: ")
    middle = "canvas => canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[3]"
    until(page, lambda: page.locator(".around-card canvas").evaluate(middle) == 255)
    page.mouse.move(600, 500)
    page.wait_for_selector(".around-card", state="hidden")
    tile = listed(page)[0]
    page.locator(".hit-main").first.click()
    page.wait_for_selector("#detail >> text=This place on 2 days")
    assert page.locator(".visit").all_inner_texts() == ["1 Jul 2004", "1 Dec 2004"]
    assert page.locator(".visit[aria-current]").inner_text() == "1 Jul 2004"
    page.locator(".visit").nth(1).click()
    until(page, lambda: parameters(page)["tile"] == f"{tile}_later")


def test_on_paper_the_list_stays_and_the_controls_go(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    search(page, "salt lake")
    page.wait_for_selector(".hit")
    page.emulate_media(media="print")
    assert page.locator(".hit").first.is_visible()
    for control in (".search", ".stage", ".masthead-tools", ".hit-actions"):
        assert not page.locator(control).first.is_visible()


def test_species_are_completed(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    page.locator("#q").press_sequentially("jag")
    page.wait_for_selector("#suggestions >> text=Panthera onca")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    until(page, lambda: parameters(page) == {"species": "Jaguar"})
    assert chip_labels(page, "term") == ["Habitat of Jaguar"]


def test_earlier_searches_are_offered(open_page: Any, fake_url: str) -> None:
    page = open_page(fake_url, live_map=False)
    search(page, "salt lake")
    page.wait_for_selector(".hit")
    page.goto(fake_url)
    page.focus("#q")
    page.get_by_role("option", name="salt lake").click()
    until(page, lambda: parameters(page).get("q") == "salt lake")


def test_the_blend_is_part_of_the_question(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.locator("#blend").press("End")
    until(page, lambda: parameters(page).get("blend") == "1")


def test_a_selected_hit_tells_all_about_itself(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.locator(".hit-main").nth(4).click()
    page.wait_for_selector("#detail >> text=tidal mud flats")
    words = page.inner_text("#detail")
    assert "July 2004" in words
    assert "7.4 km" in words
    assert "it only ranks" in words
    assert page.locator(".neighbour").count() == 5
    assert page.get_by_role("link", name="Open in OpenStreetMap").get_attribute("rel") == "noopener noreferrer"
    page.get_by_role("button", name="Close").click()
    until(page, lambda: "tile" not in parameters(page))


def test_a_linked_tile_that_is_no_hit_is_shown(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?tile=t10_20", live_map=False)
    page.wait_for_selector("#detail:visible")
    assert "20.00° N, 10.00° E" in page.inner_text("#detail")


def test_two_questions_stand_side_by_side(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen")
    page.get_by_role("button", name="Compare").click()
    page.fill("#vs", "bog")
    page.keyboard.press("Enter")
    page.wait_for_selector("#others .hit")
    assert page.inner_text("#others-title") == "bog"
    page.wait_for_selector("#map[data-ready][data-hits='20'][data-others='20']")
    page.reload()
    page.wait_for_selector("#others .hit")
    page.click("#compare-end")
    until(page, lambda: "vs" not in parameters(page))


def test_the_heat_map_has_a_legend_and_an_opacity(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen")
    wait_for_map(page, hits=20)
    with page.expect_response("**/heatmap/*/*/*.png?q=fen"):
        page.get_by_role("button", name="Heat map").click()
    page.wait_for_selector("#map[data-heat='0.7']")
    assert page.locator("#legend").is_visible()
    page.locator("#heat-opacity").press("Home")
    until(page, lambda: parameters(page)["heat"] == "10")
    page.get_by_role("button", name="Heat map").click()
    until(page, lambda: "heat" not in parameters(page))


def test_globe_and_flat_are_kept_in_the_link(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen")
    wait_for_map(page)
    page.get_by_role("button", name="Flat map").click()
    until(page, lambda: parameters(page).get("flat") == "1")
    page.get_by_role("button", name="Globe").click()
    until(page, lambda: "flat" not in parameters(page))


def test_what_can_be_carried_away(open_page: Any, fake_url: str) -> None:
    page = open_page(
        f"{fake_url}/?q=fen&not=farm&bbox=0,0,9,9", live_map=False, permissions=["clipboard-read", "clipboard-write"]
    )
    page.get_by_text("Export").click()
    wanted = "/export?q=fen&not=farm&bbox=0,0,9,9&limit=20&format="
    assert page.locator("#export-hits a").evaluate_all("links => links.map((link) => link.getAttribute('href'))") == [
        wanted + name for name in ("geojson", "csv", "geoparquet", "stac")
    ]
    page.get_by_role("button", name="Copy the API call").click()
    until(
        page,
        lambda: page.evaluate("navigator.clipboard.readText()") == f"{fake_url}/search?q=fen&not=farm&bbox=0,0,9,9",
    )
    page.get_by_text("Export").click()
    page.get_by_role("button", name="Copy as Python").click()
    until(
        page, lambda: f'Client("{fake_url}").search(**{{"q": "fen"' in page.evaluate("navigator.clipboard.readText()")
    )


def test_a_place_on_the_map_can_be_searched_around(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&flat=1&view=5,5,5")
    wait_for_map(page, hits=20)
    box = box_of(page, "#map")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.get_by_role("button", name="Only within 500 km").click()
    until(page, lambda: "circle" in parameters(page))
    assert [float(part) for part in parameters(page)["circle"].split(",")] == pytest.approx([5, 5, 500], abs=0.05)
