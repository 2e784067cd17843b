"""axe-core on every state of the page, light and dark: nothing serious or critical."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.browser.conftest import wait_for_map
from tests.app.browser.fake_api import ROOT

pytestmark = pytest.mark.browser

AXE = ROOT / "static" / "vendor" / "axe-core" / "axe.min.js"
STATES = {
    "welcome": "/",
    "hits": "/?q=fen",
    "filtered": "/?q=fen&not=farm&bbox=0,0,60,60&months=6,7&countries=BRA",
    "selected": "/?q=fen&tile=t10_20",
    "no match": "/?q=nothing+at+all",
    "refused": "/?q=refused",
    "empty": "/?q=fen&bbox=1,1,2,2",
    "compared": "/?q=fen&vs=bog",
}


def violations(page: Any) -> list[str]:
    """Rules broken with serious or critical impact, with the first element of each."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed; run python -m app.assets")
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{rule['id']}: {rule['nodes'][0]['html'][:160]} {rule['nodes'][0]['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("state", STATES)
def test_state_has_no_serious_violation(open_page: Any, fake_url: str, state: str) -> None:
    page = open_page(fake_url + STATES[state], live_map=False, reduced_motion="reduce")
    page.wait_for_selector("html[data-ready]", state="attached")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(200)
        assert violations(page) == [], theme


def test_open_filters_menu_and_dialog_have_no_serious_violation(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False)
    page.locator("#narrow summary").click()
    page.get_by_text("Export").click()
    assert violations(page) == []
    page.click("#about-open")
    assert violations(page) == []


def test_the_live_map_has_no_serious_violation(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen&heat=60")
    wait_for_map(page, hits=20)
    assert violations(page) == []


def test_a_phone_has_no_serious_violation(open_page: Any, fake_url: str) -> None:
    page = open_page(f"{fake_url}/?q=fen", live_map=False, viewport={"width": 390, "height": 800}, is_mobile=True)
    page.wait_for_selector("html[data-ready]", state="attached")
    assert violations(page) == []
