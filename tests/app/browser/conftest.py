"""A real chromium against the page: canned answers for rare states, the demo service for the rest."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn

from tests.app.browser.fake_api import ROOT, create_fake

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-rasterization",  # the page itself is painted twice as fast without the software's idea of a GPU
]
MAP_TIMEOUT_MS = 90_000  # WebGL runs in software here


def find_chromium() -> str | None:
    names = [os.environ.get("WILDSAT_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


def serve(app: Any) -> Iterator[str]:
    """Run an application on a free loopback port for as long as the caller holds the iterator."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "the canned service did not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="session")
def fake_url() -> Iterator[str]:
    yield from serve(create_fake())


@pytest.fixture(scope="session")
def prefixed_url() -> Iterator[str]:
    for url in serve(create_fake("/habitats")):
        yield f"{url}/habitats"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for the tests of one file: the driver keeps an event loop running, in which other files could not run
    theirs."""
    path = find_chromium()
    if path is None:
        pytest.skip("no chromium found; install the system's package or set WILDSAT_CHROMIUM")
    if not (ROOT / "static" / "vendor" / "maplibre-gl").exists():
        pytest.skip("the page's assets are not installed; run python -m app.assets")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Opens pages; afterwards no page may have thrown, or met a refusal of the security policy."""
    contexts, complaints = [], []

    def open_(url: str, live_map: bool = True, **options: Any) -> Any:
        """A page; without the live map it starts in a second, with the still map that a browser without WebGL gets."""
        context = chromium.new_context(**({"viewport": {"width": 1100, "height": 700}} | options))
        contexts.append(context)
        page = context.new_page()
        if not live_map:
            page.route("**/maplibre-gl.mjs", lambda route: route.abort())
        page.set_default_timeout(60_000)  # WebGL in software, beside other tests
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints


def is_complaint(message: Any) -> bool:
    """Errors count, but not the browser's own line about a status that the test asked for."""
    return message.type == "error" and "Failed to load resource" not in message.text


def wait_for_map(page: Any, hits: int | None = None) -> None:
    condition = "" if hits is None else f"[data-hits='{hits}']"
    page.wait_for_selector(f"#map[data-ready]{condition}", timeout=MAP_TIMEOUT_MS)


def until(page: Any, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait for a condition seen from here: the security policy forbids the page to evaluate strings."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {timeout_s} s at {page.url}"
        page.wait_for_timeout(50)


def follow(page: Any, press: Callable[[], object]) -> None:
    """Do what leads to another document, and wait until the whole of it is there.

    A selector is found as soon as its first element is read, and without a script nothing tells of the last one. Who
    waits for the load afterwards may meet that of the document which is left: it is waited for from before the press.
    """
    with page.expect_navigation(wait_until="load"):
        press()


def box_of(page: Any, selector: str) -> dict[str, float]:
    """Where an element is on the screen, px; waits where the list is just being drawn anew."""
    boxes: list[Any] = [None]

    def seen() -> bool:
        boxes.append(page.locator(selector).first.bounding_box())
        return boxes[-1] is not None

    until(page, seen)
    box: dict[str, float] = boxes[-1]
    return box


def parameters(page: Any) -> dict[str, str]:
    """What the address bar holds."""
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def listed(page: Any) -> list[str]:
    """Tile ids of the list, in order."""
    return page.locator(".hit").evaluate_all("items => items.map((item) => item.dataset.tile)")


def search(page: Any, text: str) -> None:
    page.fill("#q", text)
    page.press("#q", "Enter")
