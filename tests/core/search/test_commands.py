"""`wildsat search`: what it says beside the hits."""

import datetime as dt
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.core.search.fakes import FakeModel, random_collection
from wildsat_core.area import Area
from wildsat_core.cli import app
from wildsat_core.collection import open_collection
from wildsat_core.collection.mirror import mirrored
from wildsat_core.errors import CollectionNotFoundError
from wildsat_core.search import commands
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.query import Filters, Query, TextTerm
from wildsat_core.types import BBox


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    collection = random_collection(tmp_path / "demo", 50)
    monkeypatch.setattr(commands, "_open_engine", lambda root, model: SearchEngine(collection, FakeModel()))
    return lambda *arguments: CliRunner().invoke(app, ["search", *arguments]).output


def test_the_table_and_the_geojson_say_how_it_was_searched(run) -> None:
    assert "33 of 50 tiles" in run("dunes", "-k", "3")  # a question about land: 17 tiles show sea
    assert "50 of 50 tiles" in run("dunes", "-k", "3", "--no-understand")
    assert "16 of 50 tiles" in run("dunes", "-k", "3", "--min-land", "0.6")
    assert "exact scan" in run("dunes", "-k", "3")
    answer = json.loads(run("dunes", "--format", "geojson"))
    assert answer.pop("features")[0]["type"] == "Feature"
    assert answer == {
        "type": "FeatureCollection", "collection": "random", "generation": 1, "model": "fake", "matched": 33,
        "total": 50, "no_match": False, "backend": "exact scan", "notice": None, "attribution": None,
    }  # fmt: skip


def test_what_a_reader_must_be_told_stands_beside_the_hits(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The imagery's own notice and the model's, of pixels that it is not for, as the service says them, too."""
    monkeypatch.setattr(FakeModel, "notice_for", lambda _, scale: "Not for [these] pixels.")
    provenance = {"notice": "A few places.", "attribution": "Copernicus"}
    told_by_manifest = property(lambda self: self.shards.manifest.model_copy(update={"provenance": provenance}))
    monkeypatch.setattr(SearchEngine, "manifest", told_by_manifest)
    told = "A few places. Not for [these] pixels."
    assert told in run("dunes", "-k", "3")
    answer = json.loads(run("dunes", "--format", "geojson"))
    assert (answer["notice"], answer["attribution"]) == (told, "Copernicus")


def test_every_option_narrows_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Engine:
        def search(self, query: Query) -> None:
            asked.append(query)

    monkeypatch.setattr(commands, "_open_engine", lambda root, model: asked.append((root.name, model)) or Engine())
    monkeypatch.setattr(commands, "_to_geojson", lambda *_: "{}")
    area = tmp_path / "area.json"
    area.write_text('{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}')
    options = {
        "-k": "7", "--collection": "here", "--folder": str(tmp_path), "--bbox": "1,2,3,4", "--area": str(area),
        "--countries": "BRA, per", "--from": "2020-01-02", "--to": "2021-03-04", "--months": "6,7",
        "--max-cloud": "0.2", "--min-land": "0.5", "--spacing-km": "30", "--blend": "0.4", "--model": "mine",
        "--format": "geojson",
    }  # fmt: skip
    given = [part for option in options.items() for part in option]
    answer = CliRunner().invoke(app, ["search", "dunes", *given, "--overlapping", "--no-understand"])
    assert answer.exit_code == 0, answer.output
    filters = Filters(
        bbox=BBox(1, 2, 3, 4), area=Area.from_file(area), countries=frozenset({"BRA", "PER"}),
        date_from=dt.date(2020, 1, 2), date_to=dt.date(2021, 3, 4), months=frozenset({6, 7}), max_cloud=0.2,
        min_land=0.5,
    )  # fmt: skip
    query = Query((TextTerm("dunes"),), filters, blend=0.4, k=7, spacing_km=30, overlapping=True)
    assert asked == [("here", "mine"), query]


def test_a_collection_in_a_store_is_fetched_and_searched(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_open_engine", lambda root, model: SearchEngine(open_collection(root), FakeModel()))
    random_collection(mirrored(s3, "demo").root, 50)
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "elsewhere"))
    answer = CliRunner().invoke(app, ["search", "dunes", "--no-understand", "--store", s3])
    assert "50 of 50 tiles" in answer.output
    monkeypatch.setenv("WILDSAT_STORE", "")  # means none
    answer = CliRunner().invoke(app, ["search", "dunes", "--folder", str(tmp_path)])
    assert isinstance(answer.exception, CollectionNotFoundError)


def test_words_about_no_place_are_said_to_be_that(run) -> None:
    assert "No match" not in run("dunes")
    assert "No match: these words are about nothing that the model knows" in run("a bowl of ramen")
