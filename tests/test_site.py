"""The documentation site is built whole, its links lead somewhere, and its pages fetch nothing from elsewhere."""

from __future__ import annotations

import logging
import os
from html.parser import HTMLParser
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from wildsat_core.cli import COMMAND_GROUP

pytest.importorskip("material", reason="needs wildsat[docs]")
pytest.importorskip("mkdocstrings", reason="needs wildsat[docs]")

ROOT = Path(__file__).parents[1]
FETCHED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href", "object": "data"}


class Html(HTMLParser):
    """Links, what is fetched, and names of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.names: set[str] = set()
        self.text: list[str] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.names |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])
        if found.get(FETCHED.get(tag, "")) and found.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.add(found[FETCHED[tag]])

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it, where a warning is an error; pages by path."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    out = tmp_path_factory.mktemp("site")
    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())
    logging.getLogger("mkdocs").addHandler(handler)
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(out)))
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    assert not told
    return {page.relative_to(out).as_posix(): Html(page) for page in out.rglob("*.html")}, out


def test_every_link_leads_to_a_page_and_a_place_on_it(site):
    pages, out = site
    lost = []
    for name, page in pages.items():
        if name == "404.html":  # served for any address: its links begin at the root
            continue
        for link in page.links | page.fetched:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (out / name).parent / unquote(url.path) if url.path else out / name
            key = target.resolve().relative_to(out.resolve()).as_posix()
            known = key in pages or target.is_file()
            if not known or (url.fragment and key in pages and unquote(url.fragment) not in pages[key].names):
                lost.append((name, link))
    assert not lost
    assert len(pages) > 35


def test_nothing_is_fetched_from_elsewhere(site):
    pages, out = site
    assert not [(name, each) for name, page in pages.items() for each in page.fetched if urlsplit(each).netloc]
    sheets = "".join(sheet.read_text("utf-8") for sheet in out.rglob("*.css"))
    assert sheets
    assert "url(http" not in sheets
    assert "url(//" not in sheets
    # The theme would load a library for diagrams, or one for formulas, where a page has some.
    assert not [name for name, page in pages.items() if "mermaid" in page.names or "arithmatex" in page.names]


def test_the_reference_has_every_address_command_and_module(site):
    from docs.site.pages import PYTHON

    pages, _ = site
    commands = "".join(pages["reference/command-line.html"].text)
    assert all(f"wildsat {point.name}" in commands for point in entry_points(group=COMMAND_GROUP))
    assert all(words in commands for words in ("wildsat index build raster", "--stretch", "wildsat dataset explore"))
    rest = "".join(pages["reference/rest.html"].text)
    assert all(words in rest for words in ("GET /search", "POST /search", "GET /stac", "spacing_km", "Problem"))
    for name, modules in PYTHON.items():
        assert set(modules) <= pages[f"reference/python/{name}.html"].names


def test_a_link_to_nothing_is_refused(tmp_path):
    from docs.site.pages import LINK, _turned

    def turned(text, source="docs/training.md", here="training.md"):
        return LINK.sub(lambda m: _turned(m, source, here), text)

    assert turned("[a](../CHANGELOG.md#x)") == "[a](changelog.md#x)"
    assert turned("[a](../wildsat_core/pretrained/wildsat-s2/README.md)") == "[a](cards/wildsat-s2.md)"
    assert turned("[a](../training/evaluation/tables/short.yaml)") == "a"
    assert turned("[a](../nothing.md)") == "[a](../nothing.md)"  # MkDocs then stops
    assert turned("[a](https://example.org/x)") == "[a](https://example.org/x)"
    assert turned("[a](../docs/models.md)", "notebooks/x.ipynb", "notebooks/x.md") == "[a](../models.md)"
