"""Makes the pictures of the docs from a running demo: `python -m tests.app.browser.screenshots`.

Start the demo first (`wildsat demo`). Each state of the page is shot in the theme and on the device where it says most;
the pictures are WebP of at most 300 KB. Look at them before you commit them.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.app.browser.conftest import CHROMIUM_ARGUMENTS, ROOT, find_chromium, wait_for_map

DESKTOP = {"viewport": {"width": 1360, "height": 850}}
PHONE = {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
MOST_BYTES = 300_000


def settle(page: Any) -> None:
    """Wait until the map has drawn everything and stays so."""
    page.wait_for_timeout(1500)
    page.wait_for_selector("#map[data-drawn='true']")
    page.wait_for_timeout(1500)
    page.wait_for_selector("#map[data-drawn='true']")


def open_third_hit(page: Any) -> None:
    page.locator(".hit-main").nth(2).click()
    page.wait_for_selector("#detail .habitats")


@dataclass(frozen=True)
class Shot:
    """One picture: its name, the address that leads to the state, the theme and the device, and what is done there."""

    name: str
    address: str
    theme: str = "light"
    device: dict[str, Any] = field(default_factory=lambda: DESKTOP)
    act: Callable[[Any], None] | None = None


SHOTS = (
    Shot("hits", "/?q=mangrove+forest+on+a+tropical+coast&spacing_km=500&view=110,4,2.6"),
    Shot("hits-phone", "/?q=sand+dunes+in+a+hot+desert&spacing_km=500&view=20,22,1.2", "dark", PHONE),
    Shot("heat", "/?q=tropical+rainforest&not=farmland&heat=75&view=-55,-5,2.3"),
    Shot("heat-flat", "/?q=boreal+forest+with+many+lakes&heat=80&flat=1&view=20,35,1.1", "dark"),
    Shot("detail", "/?q=boreal+forest+with+many+lakes&spacing_km=300&view=-90,55,2.6", act=open_third_hit),
    Shot("detail-phone", "/?q=dry+acacia+savanna&spacing_km=500&view=25,0,1.6", "light", PHONE, open_third_hit),
    Shot("compare", "/?q=lowland+rainforest&vs=hot+desert&spacing_km=500&view=15,8,1.9", "dark"),
)


def shoot(browser: Any, url: str, shot: Shot) -> bytes:
    """A PNG of one state."""
    context = browser.new_context(**shot.device, color_scheme=shot.theme)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(url + shot.address)
    wait_for_map(page)
    settle(page)
    if shot.act:
        shot.act(page)
        settle(page)
    png: bytes = page.screenshot()
    context.close()
    return png


def compress(png: bytes) -> bytes:
    """WebP at the best quality that keeps within the limit."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (88, 80, 70, 60, 45):
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=quality, method=6)
        if out.tell() <= MOST_BYTES:
            return out.getvalue()
    raise SystemExit(f"a picture stays above {MOST_BYTES} bytes; make the viewport smaller")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the running demo")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder for the pictures")
    parser.add_argument("--only", nargs="*", help="names of pictures; default: all")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS)
        for shot in SHOTS:
            if options.only and shot.name not in options.only:
                continue
            path = options.out / f"page-{shot.name}.webp"
            path.write_bytes(compress(shoot(browser, options.url.rstrip("/"), shot)))
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
