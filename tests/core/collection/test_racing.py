"""Writers whose locks don't hold one another off: each generation is published once, and nothing is lost or doubled."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from tests.core.collection.conftest import make_tiles, make_vectors, writer
from tests.core.collection.race_driver import PROCESSES, TURNS, own
from wildsat_core.collection import list_collections, open_collection, read_current_manifest
from wildsat_core.collection.maintain import delete_tiles, publish_next, verify
from wildsat_core.collection.manifest import manifest_path
from wildsat_core.errors import GenerationTakenError


@pytest.fixture
def unlocked(monkeypatch):
    for name in ("commit", "maintain", "writer"):
        monkeypatch.setattr(f"wildsat_core.collection.{name}.writer_lock", lambda *_: nullcontext())


def test_processes_that_publish_at_once_lose_nothing_and_double_nothing(root):
    """Two commit and one writes; then they delete at once what each of them has added."""

    def run(kind):
        command = [sys.executable, "-m", "tests.core.collection.race_driver", str(root), kind]
        answer = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120)
        assert answer.returncode == 0, answer.stderr
        assert verify(root) == []
        collection = open_collection(root)
        return collection.generation, sorted(
            collection.tiles.column("tile_id").filter(collection.tiles.live).to_pylist()
        )

    first = [tile.tile_id for tile in make_tiles()]
    shared = [f"many{60 + turn}" for turn in range(TURNS)]
    changes = PROCESSES * TURNS
    added = [f"many{row - 6}" for number in range(PROCESSES) for turn in range(TURNS) for row in own(number, turn)]
    assert run("add") == (1 + changes, sorted([*first, *shared, *added]))
    assert run("delete") == (1 + 2 * changes, sorted([*first, *shared]))


def overtaken(root, out, on_known, tiles=(0, 6)):
    """What a writer publishes when another one has published some of its tiles meanwhile."""
    old, new = make_vectors(8), make_vectors(8, seed=1)
    part = [make_tiles(8)[i] for i in tiles]
    with out:
        out.add(part, {s: v[list(tiles)] for s, v in new.items()}, on_known=on_known)
        with writer(root) as other:
            other.add(make_tiles(8), old)
            other.publish()
        return out.publish()


def text_of(root, tile_id):
    collection = open_collection(root)
    return collection.vectors("text", np.array([collection.row_of(tile_id)]))[0]


@pytest.mark.parametrize(("on_known", "dropped", "seed"), [("skip", 1, 0), ("replace", 0, 1)])
def test_a_writer_that_was_overtaken_does_as_it_was_told_with_what_is_known(root, unlocked, on_known, dropped, seed):
    out = writer(root)
    manifest = overtaken(root, out, on_known)
    assert (manifest.generation, manifest.tiles, out.dropped) == (3, 8, dropped)
    expected = make_vectors(8, seed=seed)["text"][6].astype(np.float16)
    np.testing.assert_allclose(text_of(root, "t0"), expected, atol=1e-6)
    assert verify(root) == []


def test_the_first_of_two_that_make_a_collection_counts_and_the_other_adds(tmp_path, unlocked):
    root = tmp_path / "test"
    out = writer(root)
    assert overtaken(root, out, "skip", tiles=(6, 7)).tiles == 8
    assert out.dropped == 2
    assert read_current_manifest(root).generation == 2


def test_what_is_not_done_again_says_so_and_changes_nothing(root, unlocked):
    base = open_collection(root)
    delete_tiles(root, np.array([0]), generation=1)
    with pytest.raises(GenerationTakenError, match=r"published generation 2 of .*nothing was changed: give the same"):
        publish_next(base, deleted={})
    assert (len(open_collection(root)), verify(root)) == (5, [])


def test_a_generation_below_the_live_one_is_not_published_though_its_file_is_gone(root):
    base = open_collection(root)
    for row in range(3):
        delete_tiles(root, np.array([row]), generation=1 + row)
    manifest_path(root, 2).unlink()
    with pytest.raises(GenerationTakenError):
        publish_next(base, deleted={})
    assert open_collection(root).generation == 4


def test_the_newest_generation_decides_whatever_current_says(root):
    first = (root / "CURRENT").read_text()
    delete_tiles(root, np.array([0]), generation=1)
    (root / "CURRENT").write_text(first)  # a writer was killed before it wrote this, or another one was slower
    assert open_collection(root).generation == 2
    (root / "CURRENT").unlink()
    assert open_collection(root).generation == 2
    assert list_collections(root.parent) == ["test"]
    assert delete_tiles(root, np.array([1]), generation=2).generation == 3
    assert (root / "CURRENT").read_text().startswith("3 ")


def test_a_file_system_without_links_publishes_too(root, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr("os.link", refuse)
    base = open_collection(root)
    delete_tiles(root, np.array([0]), generation=1)
    monkeypatch.setattr("wildsat_core.collection.publish.newest_generation", lambda _: 0)
    with pytest.raises(GenerationTakenError):
        publish_next(base, deleted={})
    assert open_collection(root).manifest.tiles == 5
