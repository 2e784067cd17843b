"""What a visitor judges, saves, writes down and takes along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from app.main import create_app
from tests.app.browser.conftest import listed, parameters, until
from tests.app.conftest import ToyModel, running, toy_settings

pytestmark = pytest.mark.browser


def test_judged_tiles_are_a_set_that_is_changed_named_saved_loaded_and_mapped(
    open_page: Any, fake_url: str, tmp_path: Path
) -> None:
    page = open_page(f"{fake_url}/?q=slow+fen&up=t10_20,t20_20,t30_20,t40_20", live_map=False)
    poor = listed(page)[0]
    page.locator(".hit").first.get_by_role("button", name="Poor match").click()
    page.wait_for_function(f"!document.querySelector('[data-tile=\"{poor}\"]')", timeout=1000)  # before the answer
    until(page, lambda: page.inner_text("#labels-count") == "4 good matches, 1 poor")
    page.locator("#labels summary").click()
    page.locator("#labels-list li").nth(3).get_by_role("button", name="Make it a poor match").click()
    until(page, lambda: page.inner_text("#labels-count") == "3 good matches, 2 poor")
    page.fill("#labels-name", "My fens")
    with page.expect_download() as caught:
        page.get_by_role("button", name="GeoJSON", exact=True).click()
    assert caught.value.suggested_filename == "my-fens.geojson"
    caught.value.save_as(tmp_path / "labels.geojson")
    labels = json.loads((tmp_path / "labels.geojson").read_text("utf-8"))["features"]
    assert [one["properties"]["label"] for one in labels] == ["good"] * 3 + ["poor"] * 2
    page.get_by_role("button", name="Map it").click()
    until(page, lambda: parameters(page).get("heat") == "80")
    page.goto(f"{fake_url}/?q=bog")
    page.set_input_files("#labels-file", tmp_path / "labels.geojson")
    until(page, lambda: parameters(page).get("up") == "t10_20,t20_20,t30_20")
    assert parameters(page)["down"].split(",") == [labels[3]["id"], labels[4]["id"]]


def test_searches_and_notes_are_kept_and_carried_to_another_browser(
    open_page: Any, fake_url: str, tmp_path: Path
) -> None:
    page = open_page(f"{fake_url}/?q=fen&months=6", live_map=False)
    page.locator(".hit-main").first.click()
    page.fill("#detail-note", "Sedge, seen in May")
    page.get_by_text("Export").click()  # the note is kept when its field is left
    page.get_by_role("button", name="Save this search").click()
    page.wait_for_selector("#said >> text=Saved on this device.")
    page.get_by_text("Export").click()
    page.get_by_role("button", name="Saved searches…").click()
    with page.expect_download() as caught:
        page.get_by_role("button", name="Save as a file").click()
    caught.value.save_as(tmp_path / "kept.json")

    other = open_page(f"{fake_url}/?q=bog", live_map=False)
    other.get_by_text("Export").click()
    other.get_by_role("button", name="Saved searches…").click()
    assert "Nothing is saved yet." in other.inner_text("#saved-list")
    other.set_input_files("#saved-file", tmp_path / "kept.json")
    other.locator("#saved-list").get_by_role("button", name="fen", exact=True).click()
    until(other, lambda: parameters(other) == {"q": "fen", "months": "6"})
    other.locator(".hit-main").first.click()
    until(other, lambda: other.input_value("#detail-note") == "Sedge, seen in May")
    other.get_by_text("Export").click()
    other.get_by_role("button", name="Saved searches…").click()
    other.get_by_role("button", name="Forget fen").click()
    assert "Nothing is saved yet." in other.inner_text("#saved-list")


def test_a_citation_and_paper_tell_the_question(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=salt+lake", live_map=False, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_text("Export").click()
    page.get_by_role("button", name="Copy a citation").click()
    until(page, lambda: "“salt lake”" in page.evaluate("navigator.clipboard.readText()"))
    said = page.evaluate("navigator.clipboard.readText()")
    for part in ("Blue Marble demo, generation 1, model wildsat-mini", "NASA Earth Observatory", f"{fake_url}/?q=salt"):
        assert part in said
    page.evaluate("window.print = () => { document.body.dataset.printed = document.querySelector('h1').innerText }")
    page.emulate_media(media="print")
    page.evaluate("document.getElementById('takeaway').open = true")
    page.locator("#takeaway-body button", has_text="Print the list").evaluate("button => button.click()")
    page.wait_for_selector("body[data-printed='salt lake']", state="attached")


def test_two_collections_answer_one_question(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=two+collections", live_map=False)
    page.get_by_role("button", name="Compare").click()
    page.select_option("#vs_collection", "other")
    with page.expect_response("**/search?**collection=other**") as caught:
        page.locator("#compare-form").get_by_role("button", name="Compare", exact=True).click()
    assert parse_qs(urlsplit(caught.value.url).query)["q"] == ["two collections"]
    page.wait_for_selector("#others .hit")
    assert page.inner_text("#others-title") == "two collections · Another model"


def test_the_page_is_shown_in_a_frame_of_those_who_may_and_of_nobody_else(
    open_page: Any, live_url: str, toy_folder: Path
) -> None:
    frames: list[str] = []
    host = Starlette(routes=[Route("/", lambda request: HTMLResponse("".join(frames)))])
    settings = toy_settings(toy_folder, embed_origins=("http://127.0.0.1:*",))
    with running(create_app(settings, lambda name: ToyModel())) as url, running(host) as host_url:
        page = open_page(f"{url}/?q=ice", live_map=False, permissions=["clipboard-read", "clipboard-write"])
        page.get_by_text("Export").click()
        page.get_by_role("button", name="Copy the code to embed").click()
        page.wait_for_selector("#said >> text=Code copied.")
        code = page.evaluate("navigator.clipboard.readText()")
        frames += [code, code.replace(url, live_url)]  # the second service names no origins
        refusals: list[str] = []
        reader = page.context.new_page()  # the browser complains of what it refuses
        reader.on("console", lambda message: refusals.append(message.text))
        reader.goto(host_url)
        reader.frame_locator("iframe >> nth=0").locator(".hit[data-tile='arctic']").wait_for()
        until(reader, lambda: any(live_url in text and "frame-ancestors" in text for text in refusals))
        assert reader.frame_locator("iframe >> nth=1").locator(".hit").count() == 0
