"""What the documentation prints is typed here: commands, requests, programs."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from importlib.machinery import PathFinder
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.main import create_app
from tests.app.conftest import ROWS, ToyModel, picture, running, toy_settings, write_rows
from wildsat_core.cli import app as wildsat

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted(ROOT.glob("wildsat_core/pretrained/*/README.md"))

TYPED = re.compile(r"^(?: {4})?((?:(?:\.venv|env)/bin/)?(?:wildsat|curl|python|make) .*(?:(?<=\\)\n.*)*)", re.MULTILINE)
QUOTED = re.compile(r"`((?:wildsat|make|python -m) [^`]+)`")


def printed(page: Path) -> list[list[str]]:
    """Commands of a page as words: those on lines of their own, and those between backticks."""
    text = page.read_text("utf-8")
    found = TYPED.findall(text) + QUOTED.findall(text)
    whole = [line for line in found if not re.search(r"…|\.\.\.|\[-", line)]  # not patterns of commands
    return [shlex.split(re.sub(r"\\\n\s*", " ", line), comments=True) for line in whole]


COMMANDS = [(page.name, words) for page in PAGES for words in printed(page)]
OURS = [(page, words[1:]) for page, words in COMMANDS if words[0].endswith("wildsat")]


def test_commands_were_found():
    assert len(OURS) > 60
    assert len({page for page, _ in OURS}) >= 7


@pytest.mark.parametrize(("page", "words"), OURS, ids=[f"{page}: wildsat {' '.join(words)}" for page, words in OURS])
def test_a_command_has_the_names_and_options_that_the_docs_give_it(page, words):
    """Asked for help at its end, a command first reads every option before it, and refuses what it does not know."""
    end = words.index("--") if "--" in words else len(words)
    answer = CliRunner().invoke(wildsat, [*words[:end], "--help"])
    assert answer.exit_code == 0, f"{page}: {answer.output}"
    if end < len(words):  # dataset build hands what follows to index cut
        answer = CliRunner().invoke(wildsat, ["index", "cut", *words[end + 1 :], "--help"])
        assert answer.exit_code == 0, f"{page}: {answer.output}"


def test_modules_and_targets_that_the_docs_name_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page, words in COMMANDS:
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, (page, words)
        if words[0].endswith("python") and words[1] == "-m":
            package, _, inside = words[2].partition(".")
            assert PathFinder.find_spec(package), (page, words)  # as wildsat_core.installation does, and why
            assert not inside or importlib.util.find_spec(words[2]), (page, words)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service over the collection `demo` of six tiles."""
    root = tmp_path_factory.mktemp("collections")
    write_rows(root, "demo", ROWS)
    return create_app(toy_settings(root), lambda name: ToyModel())


def test_every_curl_is_answered(service, tmp_path):
    typed = [(page, words[1:]) for page, words in COMMANDS if words[0] == "curl"]
    assert len(typed) >= 3
    with TestClient(service) as client:
        for page, words in typed:
            url = urlsplit(words[-1])
            address = f"{url.path}?{url.query}"
            assert url.netloc == "localhost:8000", (page, words)
            if words[0] == "-F":
                answer = client.post(address, files={words[1].partition("=")[0]: picture((10, 200, 10), "PNG", 16)})
            else:
                assert len(words) == 1, (page, words)
                answer = client.get(address)
            assert answer.status_code == 200, (page, words, answer.text)


def test_the_example_of_a_body_is_taken_whole(service):
    (body,) = re.findall(r"```json\n(\{\n  \"terms\".*?)```", (ROOT / "docs" / "api.md").read_text("utf-8"), re.DOTALL)
    with TestClient(service) as client:
        answer = client.post("/search", json=json.loads(body))
    assert answer.status_code == 200, answer.text
    assert [hit["id"] for hit in answer.json()["features"]] == ["amazon"]


def test_the_program_for_the_client_runs(service, tmp_path, monkeypatch, capsys):
    programs = re.findall(
        r"```python\n(from wildsat_core\.client.*?)```", (ROOT / "docs" / "api.md").read_text("utf-8"), re.S
    )
    assert programs
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clearing.png").write_bytes(picture((120, 90, 60), "PNG", 16))
    with running(service) as url:
        for program in programs:
            exec(program.replace("http://localhost:8000", url), {})
    assert (tmp_path / "hits.gpkg").is_file()
    assert capsys.readouterr().out
