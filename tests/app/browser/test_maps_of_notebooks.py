"""What folium and leafmap write, as docs/clients.md has it, shows the heat-map in a browser, on a page elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.app.browser.conftest import until
from tests.app.test_clients_md import PYTHON, at, run_python

pytestmark = pytest.mark.browser

# Such a page loads Leaflet from servers of the world's; here it comes from where `make test-clients` unpacks it.
LEAFLET = Path(__file__).parents[3] / "build" / "leaflet"


def from_the_world(route: Any) -> None:
    name = route.request.url.rpartition("/")[2].replace(".min.", ".")  # that server makes those itself
    found = sorted(LEAFLET.rglob(name)) if name.endswith((".js", ".css")) else []
    if found:
        route.fulfill(path=found[0])
    else:
        route.abort()


@pytest.mark.parametrize("library", ["folium", "leafmap"])
def test_a_map_of_a_notebook_shows_the_heat(
    chromium: Any, live_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    if not LEAFLET.exists():
        pytest.skip("Leaflet is not here; `make test-clients` brings it")
    monkeypatch.chdir(tmp_path)
    example = next(example for example in PYTHON if f"import {library}" in example)
    run_python(at(example, live_url), tmp_path)
    context = chromium.new_context(viewport={"width": 600, "height": 400})
    page = context.new_page()
    page.route(lambda url: not url.startswith((live_url, "file:")), from_the_world)
    page.goto((tmp_path / "map.html").as_uri())
    shown = f"img.leaflet-tile-loaded[src^='{live_url}/heatmap/']"
    until(page, lambda: page.locator(shown).count() >= 2)
    widths = page.locator(shown).evaluate_all("pictures => pictures.map((one) => one.naturalWidth)")
    assert set(widths) == {256}
    context.close()
