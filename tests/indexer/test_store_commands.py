"""Commands with --store, as they are typed, against a real S3 server on loopback."""

import json
import re
import shutil

import pytest

from wildsat_core.collection import open_collection
from wildsat_core.collection.mirror import mirrored
from wildsat_core.collection.store import open_store
from wildsat_core.errors import CollectionNotFoundError, InvalidInputError


@pytest.fixture
def typed(type_in, s3, globe, model_folder, monkeypatch, tmp_path):
    """Runs a command with the store, on a machine of some name: each has a cache of its own."""

    def run(machine, *arguments, **options):
        monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / machine))
        return type_in(*arguments, "--store", s3, **options)

    run.imagery = ["--input", globe, "--tile-km", 2500, "--tile-px", 32, "--workers", 0, "--threads", 1]
    run.model = ["--model", model_folder]
    run.store = s3
    return run


def tiles(typed, machine):
    return json.loads(typed(machine, "stats", "earth", "--json"))["tiles"]


def test_build_add_delete_verify_and_gc_as_they_are_typed(typed, tmp_path):
    typed("a", "build", "raster", "earth", *typed.imagery, *typed.model, "--bbox", "-180,-60,0,60")
    first = tiles(typed, "b")
    assert first > 10
    assert "all files are as they were written" in typed("b", "verify", "earth")
    typed("b", "add", "raster", "earth", *typed.imagery, *typed.model, "--bbox", "0,-60,180,60")
    assert not (tmp_path / "collections").exists()
    both = tiles(typed, "a")
    assert both > first
    assert f"of {both} tiles were taken out" in typed("c", "delete", "earth", "--bbox", "-180,-90,0,90")
    assert tiles(typed, "a") < both
    typed("a", "compact", "earth")
    assert json.loads(typed("b", "info", "earth", "--json"))["generation"] == 4
    assert "files and folders removed" in typed("b", "gc", "earth", "--grace", 0)
    assert "all files are as they were written" in typed("c", "verify", "earth")
    store = open_store(typed.store)
    assert "earth/generations/1.json" not in {one.key for one in store.listed("earth/")}
    (key,) = [one.key for one in store.listed("earth/segments/") if one.key.endswith("text.npy")]
    store.put(key, b"0" + store.get(key)[1:])
    assert re.search(r"text\.npy is damaged", typed("c", "verify", "earth", code=1))
    with pytest.raises(CollectionNotFoundError, match=r"no collection 'moon' in s3://"):
        typed("a", "delete", "moon", "--bbox", "0,0,1,1")


def test_a_shared_build_whose_machines_have_nothing_but_the_store(typed, monkeypatch, tmp_path):
    """Planned on one, done on two, published on a fourth; then equal to the build of one machine."""
    monkeypatch.setattr("indexer.cluster.units.MOST_IN_UNIT", 64)
    monkeypatch.setattr("indexer.sources.raster.MOST_IN_PARTITION", 64)
    said = typed("plan", "plan", "raster", "earth", *typed.imagery, *typed.model)
    units = int(re.search(r"(\d+) units?", said)[1])
    with pytest.raises(InvalidInputError, match="units are not done"):
        typed("commit", "commit", "earth")
    typed("w0", "work", "earth", "--units", "0/2")
    shutil.rmtree(tmp_path / "w0")  # the machine is gone
    typed("w1", "work", "earth", "--units", "1/2")
    facts = json.loads(typed("look", "status", "earth", "--json"))
    assert (facts["units"], facts["done"], facts["failed"]) == (units, units, {})
    typed("commit", "commit", "earth")
    assert not list((tmp_path / "commit").rglob("text.npy"))  # who publishes fetches no vectors
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "see"))
    assert tiles(typed, "see") == facts["tiles"]
    root = mirrored(typed.store, "earth").root
    assert "all files are as they were written" in typed("see", "verify", "earth")
    assert len(open_collection(root)) == facts["tiles"]
    assert not [one for one in open_store(typed.store).listed("earth/") if one.key.startswith("earth/jobs/")]
    # Planned again on what is live: nothing is new, and workers need no vectors to know it.
    typed("plan", "plan", "raster", "earth", *typed.imagery, *typed.model, "--restart")
    typed("w2", "work", "earth")
    assert not list((tmp_path / "w2").rglob("text.npy"))


def test_a_store_with_a_secret_in_its_address_is_refused(type_in):
    with pytest.raises(InvalidInputError, match="credentials come from the environment") as told:
        type_in("stats", "earth", "--store", "s3://key:SECRET@bucket")
    assert "SECRET" not in str(told.value)
