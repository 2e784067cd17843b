"""What the documentation site shows beside docs/: a hook of MkDocs.

Pages of other folders (changelog, model cards, notebooks) join the site, the reference of the REST API and of the
command line is made from the programs themselves, and links are turned to where their pages lie. A link to a file that
is no page of the site becomes plain text: what the site shows needs no repository beside it, and fetches nothing.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s]+)\)")

# Where pages of other folders lie in the site; both are written relative to the repository and the site.
MOVED = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
MOVED |= {f"wildsat_core/pretrained/{name}/README.md": f"cards/{name}.md" for name in ("wildsat-mini", "wildsat-s2")}
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
MOVED |= {f"notebooks/{name}.ipynb": f"notebooks/{name}.md" for name in NOTEBOOKS}
SOURCES = {moved: source for source, moved in MOVED.items()}

# Modules that other programs build on, by the page that describes them.
PYTHON = {
    "client": ("wildsat_core.client.http", "wildsat_core.client.answers"),
    "search": (
        "wildsat_core.search.query", "wildsat_core.search.engine", "wildsat_core.search.plan",
        "wildsat_core.search.hubs", "wildsat_core.search.heatmap", "wildsat_core.search.geojson",
        "wildsat_core.search.scorer",
    ),
    "collections": (
        "wildsat_core.collection.reader", "wildsat_core.collection.writer", "wildsat_core.collection.manifest",
        "wildsat_core.collection.tiles", "wildsat_core.types",
    ),
    "models": (
        "wildsat_core.models.model", "wildsat_core.models.registry", "wildsat_core.models.config",
        "wildsat_core.models.heads", "wildsat_core.preprocess", "wildsat_core.text", "wildsat_core.location",
    ),
    "geography": (
        "wildsat_core.geo", "wildsat_core.mercator", "wildsat_core.area", "wildsat_core.bands",
        "wildsat_core.countries", "wildsat_core.land",
    ),
    "indexer": (
        "indexer.quickstart", "indexer.cluster.build", "indexer.pipeline.reading", "indexer.sources.protocol",
        "indexer.sources.pixels",
    ),
    "training": (
        "training.config", "training.losses", "training.augment", "training.data.observations", "training.data.build",
        "training.data.tables", "training.evaluation.measures",
    ),
}  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, and those that are made."""
    made = {moved: _read(source) for source, moved in MOVED.items()}
    made |= {f"reference/python/{name}.md": _python(name, modules) for name, modules in PYTHON.items()}
    sys.path.insert(0, str(ROOT))
    from docs.site.reference import command_line, rest_api

    made |= {"reference/rest.md": rest_api(), "reference/command-line.md": command_line()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for card in ("wildsat-mini", "wildsat-s2"):
        picture = ROOT / "wildsat_core" / "pretrained" / card / "failures.png"
        files.append(File.generated(config, f"cards/{card}-failures.png", content=picture.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to where their pages lie in the site."""
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")
    parts = re.split(r"(^```.*?^```$|`[^`\n]+`)", markdown, flags=re.MULTILINE | re.DOTALL)  # code stays as it is
    return "".join(
        part if part.startswith("`") else LINK.sub(lambda m: _turned(m, source, here), part) for part in parts
    )


def _turned(link: re.Match[str], source: str, here: str) -> str:
    mark, text, target = link.groups()
    path, _, anchor = target.partition("#")
    if not path or "://" in target or target.startswith("mailto:"):
        return link[0]
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    page = MOVED.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
    if mark and wanted.startswith("wildsat_core/pretrained/"):
        page = f"cards/{wanted.split('/')[2]}-{wanted.split('/')[3]}"
    if wanted == "README.md":
        page = "index.md"
    if page is None:
        # A file that is no page of the site. One that is not there at all stays a link, which the build then refuses.
        return text if (ROOT / wanted).exists() else link[0]
    moved = posixpath.relpath(page, posixpath.dirname(here) or ".")
    return f"{mark}[{text}]({moved}{'#' if anchor else ''}{anchor})"


def _read(source: str) -> str:
    text = (ROOT / source).read_text("utf-8")
    return _notebook(text) if source.endswith(".ipynb") else text


def _notebook(text: str) -> str:
    """The cells of a notebook as a page."""
    cells: list[dict[str, Any]] = json.loads(text)["cells"]
    sources = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    return "\n\n".join(source if kind == "markdown" else f"```python\n{source}\n```" for source, kind in sources)


def _python(name: str, modules: tuple[str, ...]) -> str:
    return f"# Python: {name}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"
