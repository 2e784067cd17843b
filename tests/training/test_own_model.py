"""The page on a model of one's own: its files are saved and its commands typed, one after the other, on real data."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wildsat_core.cli import app as wildsat

PAGE = (Path(__file__).parents[2] / "docs" / "own-model.md").read_text("utf-8")
# What makes each step small enough for the suite: fewer sightings, steps and tiles; nothing else is changed.
SMALLER = {
    "train": [
        "--set",
        "run.steps=2",
        "--set",
        "run.batch=8",
        "--set",
        "data.workers=0",
        "--set",
        "run.validation_pairs=16",
    ],
    "eval": ["--most", "60"],
    "index": ["--bbox", "34,-2,37,1", "--workers", "0"],
}
KEPT = 150  # sightings


def files() -> dict[str, str]:
    return dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = re.sub(r"\\\n\s*", " ", "\n".join(blocks)).splitlines()
    return [shlex.split(os.path.expandvars(line)) for line in lines if line]


def test_the_page_goes_from_sightings_to_a_search():
    steps = [" ".join(words[:3]) for words in commands()]
    wanted = ["python prepare.py", "wildsat dataset build", "wildsat dataset embed-texts", "wildsat dataset explore"]
    wanted += ["wildsat train --config"] * 2 + ["wildsat eval probe", "wildsat models export", "wildsat index build"]
    assert steps == [*wanted, "wildsat search dry savanna", "wildsat serve"]
    assert set(files()) == {"prepare.py", "own.yaml"}


def fewer(path: Path, names: set[str] | None = None) -> set[str]:
    """Keep some sightings of a table, or the rows of some species."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    kept = rows[:: len(rows) // KEPT] if names is None else [row for row in rows if row[0] in names]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *kept])
    return {row[0] for row in kept}


def test_every_command_of_the_page_does_what_it_says(tmp_path, monkeypatch):
    if not os.environ.get("WILDSAT_DATA"):
        pytest.skip("needs the folder named by WILDSAT_DATA")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WILDSAT_MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("WILDSAT_COLLECTIONS", str(tmp_path / "collections"))
    for name, text in files().items():
        (tmp_path / name).write_text(text, "utf-8")
    said: dict[str, str] = {}
    for words in commands()[:-1]:  # serving has tests of its own
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True)
            fewer(tmp_path / "texts.csv", fewer(tmp_path / "points.csv"))
            continue
        answer = CliRunner().invoke(wildsat, [*words[1:], *SMALLER.get(words[1], [])])
        assert answer.exit_code == 0, (words, answer.output, answer.exception)
        said[" ".join(words[1:3])] = answer.output
    assert "cite: TetraDENSITY (Santini et al. 2018)" in said["dataset build"]
    assert "finished after 2 steps" in said["train --config"]
    assert "AVONET (Tobias et al. 2022)" in (tmp_path / "models" / "own" / "README.md").read_text("utf-8")
    figures = (tmp_path / "probe" / "probe.json").read_text("utf-8")
    assert '"run"' in figures
    assert '"colour"' in figures
    assert re.search(r"of \d+ tiles of 'east-africa' passed the filters", said["search dry savanna"])
