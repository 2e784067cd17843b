"""The wheel, where nothing of this project is but the wheel: what it holds, its light base, the page that it serves."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urljoin

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.assets import installed_files, read_packages
from wildsat_core import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = read_packages(ROOT / "static", dev=False)

pytestmark = pytest.mark.skipif(
    not all(installed_files(package, ROOT / "static" / "vendor") for package in PACKAGES),
    reason="the page's third-party assets are not installed: python -m app.assets",
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # No isolated environment: it would be filled from the network.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (path,) = folder.glob("*.whl")
    return path


class Environment:
    """An empty virtual environment with the wheel unpacked into it, as an installer would."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder, symlinks=True)
        self.folder = folder
        self.packages = next(folder.glob("lib/python*/site-packages"))
        self.python = folder / "bin" / "python"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)

    def run(self, *arguments: str, code: int = 0) -> str:
        """What Python prints with these arguments, in an empty folder and without this clone on its path."""
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        done = subprocess.run(
            [self.python, *arguments], cwd=empty, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    @staticmethod
    def environment() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith(("WILDSAT_", "PYTHON"))}


def closure(requirements: list[str]) -> set[str]:
    """Distributions of this environment that requirements without extras bring along."""
    found, left = set(), [Requirement(text) for text in requirements]
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        left += [Requirement(text) for text in distribution(wanted.name).requires or []]
    return found


@pytest.fixture(scope="session")
def base(wheel, tmp_path_factory) -> Environment:
    """The wheel and what its base requires, nothing else."""
    environment = Environment(tmp_path_factory.mktemp("base") / "venv", wheel)
    metadata = next(environment.packages.glob("wildsat-*.dist-info/METADATA")).read_text("utf-8")
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    here = Path(sysconfig.get_path("purelib"))
    for name in closure([text for text in required if "extra ==" not in text]):
        for top in {file.parts[0] for file in distribution(name).files or []} - {"..", "__pycache__"}:
            (environment.packages / top).symlink_to(here / top)
    return environment


@pytest.fixture(scope="session")
def full(wheel, tmp_path_factory) -> Environment:
    """The wheel and every library of this environment."""
    environment = Environment(tmp_path_factory.mktemp("full") / "venv", wheel)
    # A folder that a .pth file names is searched for modules, but its own .pth files, and so this clone, are not read.
    (environment.packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def test_the_wheel_holds_the_page_the_models_and_every_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder in ("css", "img", "js"):
        ours = [path for path in (ROOT / "static" / folder).rglob("*") if path.is_file()]
        assert {f"app/static/{path.relative_to(ROOT / 'static').as_posix()}" for path in ours} <= names
    for package in PACKAGES:
        theirs = [name for name in names if name.startswith(f"app/static/vendor/{package.name}/")]
        files = installed_files(package, ROOT / "static" / "vendor")
        assert set(theirs) == {f"app/static/vendor/{package.name}/{file}" for file in files}
        assert any("LICENSE" in name for name in theirs)
    data = [path for path in ROOT.glob("wildsat_core/*/**/*") if path.suffix in {".csv", ".txt", ".safetensors"}]
    assert data
    assert {path.relative_to(ROOT).as_posix() for path in data} <= names
    assert f"wildsat-{__version__}.dist-info/licenses/LICENSE" in names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"app", "indexer", "training", "wildsat_core", f"wildsat-{__version__}.dist-info"}
    assert not [name for name in names if re.search(r"axe-core|typescript|__pycache__|node_modules", name)]


def test_the_version_stands_in_one_place():
    assert f'version: "{__version__}"' in (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(r"^dynamic = .*version", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)


def test_the_base_is_light_and_asks_a_service(base):
    code = (
        "import sys, wildsat_core.client as c, wildsat_core.collection;"
        "heavy = {'torch', 'faiss', 'rasterio', 'fastapi', 'transformers'};"
        "from importlib.util import find_spec;"
        "print(c.__file__, heavy & set(sys.modules), [h for h in heavy if find_spec(h)]);"
        "c.Client('http://127.0.0.1:9', retries=0).collections()"
    )
    printed = base.run("-c", code, code=1)
    assert str(base.packages) in printed
    assert "set() []" in printed
    assert "ServiceUnreachableError: no answer from http://127.0.0.1:9/" in printed


@pytest.fixture(scope="session")
def written(base) -> None:
    """A collection of one tile in the base's folder, written and read there."""
    code = """
import numpy as np
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile
with CollectionWriter("c/x", "x", ModelRef("m", "0" * 64, "t", "p"), {"text": SpaceSpec(2, "cosine")}) as writer:
    writer.add([Tile("a", BBox(0, 0, 1, 1), 10.0, "s", "a.png")], {"text": np.array([[1, 0]], np.float32)})
    writer.publish()
print(open_collection("c/x").tiles.column("tile_id").to_pylist())
"""
    assert "['a']" in base.run("-c", code)


@pytest.mark.usefixtures("written")
def test_the_base_tells_of_a_collection(base):
    assert json.loads(base.run("-m", "wildsat_core.cli", "index", "info", "x", "--collections", "c", "--json"))
    assert "as they were written" in base.run("-m", "wildsat_core.cli", "index", "verify", "x", "--collections", "c")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["serve"], "serve"),
        (["demo"], "demo"),
        (["search", "x", "--folder", "c", "--collection", "x"], "search"),
        (["train", "--config", "resnet50-random"], "train"),
        (["index", "build", "raster", "x", "--tile-px", "32", "-i", "x.tif"], "index"),
    ],
)
@pytest.mark.usefixtures("written")
def test_a_command_of_the_base_says_what_to_install(base, command, extra):
    printed = base.run("-m", "wildsat_core.cli", *command, code=1)
    assert f"error: wildsat {command[0]} needs the package" in printed
    assert f'Install it with: {base.python} -m pip install "wildsat[{extra}]"' in printed
    assert "Traceback" not in printed


def test_help_of_the_base_lists_every_command(base):
    printed = base.run("-m", "wildsat_core.cli", "--help")
    assert all(name in printed for name in ("dataset", "demo", "eval", "index", "models", "search", "serve", "train"))


@contextmanager
def served(environment: Environment, *arguments: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [environment.python, "-m", "wildsat_core.cli", "serve", "--port", str(port), *arguments],
        cwd=environment.folder,
        env=environment.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(600):
            assert process.poll() is None, process.stdout.read()
            try:
                urllib.request.urlopen(url + "livez", timeout=5).close()
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=30)


def fetch(url: str) -> str:
    asked = urllib.request.Request(url, headers={"Accept": "text/html, */*"})  # as a browser; programs get JSON
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.status == 200
        return answer.read().decode("utf-8", "replace")


def test_the_wheel_serves_the_page_with_every_asset(full):
    """From the page on, over style sheets and modules, all that is named is there."""
    named = re.compile(r"""(?:href="|src="|url\(["']?|from\s*["']|import\(?["'])(/[^"')]*|\.{1,2}/[^"')]+)""")
    with served(full, "--collections", str(full.folder / "none")) as url:
        seen, left = set(), {url}
        while left:
            page = left.pop()
            seen.add(page)
            left |= {urljoin(page, found) for found in named.findall(fetch(page)) if "/static/" in urljoin(page, found)}
            left -= seen
        paths = {address.removeprefix(url) for address in seen}
        assert {"static/css/base.css", "static/js/main.js", "static/vendor/maplibre-gl/dist/maplibre-gl.mjs"} <= paths
        assert len(paths) > 30
        assert "swagger-ui" in fetch(url + "docs")
        for asset in ("maplibre-gl/dist/maplibre-gl-worker.mjs", "world-atlas/countries-50m.json"):
            assert fetch(f"{url}static/vendor/{asset}")


def test_everything_that_is_imported_comes_from_the_wheel(full):
    code = "import app.main, indexer, training, wildsat_core; print(app.main.__file__, indexer.__file__)"
    assert full.run("-c", code).count(str(full.packages)) == 2


def test_every_requirement_is_pinned(full):
    """constraints.txt names an exact version of all that this project asks for, so that two machines get the same."""
    pinned = {canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().split()}
    metadata = next(full.packages.glob("wildsat-*.dist-info/METADATA")).read_text("utf-8")
    asked = {canonicalize_name(Requirement(text).name) for text in re.findall(r"^Requires-Dist: (.*)$", metadata, re.M)}
    assert asked - pinned == {"faiss-gpu"}  # what only a machine with a GPU has
