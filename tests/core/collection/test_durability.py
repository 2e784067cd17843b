"""Killed, out of space, or swapped under a reader: always the last good generation, never a half."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.core.collection.conftest import make_tiles, make_vectors, writer
from tests.core.search.fakes import random_collection
from wildsat_core.collection import open_collection
from wildsat_core.collection.garbage import collect_garbage
from wildsat_core.collection.maintain import compact, delete_tiles, verify
from wildsat_core.errors import DiskFullError

REPOSITORY = Path(__file__).parents[3]


def attempts(root, change):
    command = [sys.executable, "-m", "tests.core.collection.kill_driver", str(root), change]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.mark.parametrize(("change", "least_points"), [("add", 20), ("delete", 6), ("compact", 15), ("gc", 2)])
def test_a_writer_killed_at_any_write_point_leaves_a_whole_generation(root, change, least_points):
    with writer(root) as out:  # a second segment, a deletion list and an old generation to work on
        out.add(make_tiles(8)[6:], {s: v[6:] for s, v in make_vectors(8).items()})
        out.publish()
    delete_tiles(root, np.array([1]), generation=2)
    runs = attempts(root, change)
    assert len(runs) > least_points
    assert [r["finished"] for r in runs] == [False] * (len(runs) - 1) + [True]
    old, new = runs[0]["before"], runs[-1]["before"]
    for run in runs:
        assert run["before"]["problems"] == run["after"]["problems"] == []
        assert run["before"] in (old, new), f"killed at point {run['point']}"
        if change != "delete":  # deleting by row names other tiles the second time
            assert run["after"]["ids"] == new["ids"]
            assert run["after"]["sum"] == pytest.approx(new["sum"])


def test_the_builder_of_an_index_killed_at_any_write_point_leaves_a_whole_generation(tmp_path):
    random_collection(tmp_path / "random", 1000)
    runs = attempts(tmp_path / "random", "ann")
    assert len(runs) > 6
    old, new = runs[0]["before"], runs[-1]["before"]
    assert (old["indexes"], new["indexes"]) == ([], ["text"])
    for run in runs:
        assert run["before"]["problems"] == run["after"]["problems"] == []
        assert run["before"] in (old, new), f"killed at point {run['point']}"
        assert run["after"]["indexes"] == ["text"]


@pytest.mark.parametrize("limit_bytes", [0, 100, 1000, 3000])
def test_a_full_disk_leaves_the_collection_as_it_was(root, limit_bytes):
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.core.collection.kill_driver import add\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {resource.RLIM_INFINITY}))\n"
        "add(Path(sys.argv[1]))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code, str(root)], cwd=REPOSITORY, capture_output=True, text=True)
    assert answer.returncode != 0
    assert "Error" in answer.stderr
    assert open_collection(root).generation == 1
    assert verify(root) == []
    with writer(root) as out:  # with space again, the next writer sweeps up and succeeds
        out.add(make_tiles(9), make_vectors(9))
        assert out.publish().tiles == 9
    assert not list((root / "segments").glob(".tmp-*"))


def add_three(root):
    with writer(root) as out:
        out.add(make_tiles(9), make_vectors(9))
        return out.publish()


def test_other_errors_of_the_system_are_not_taken_for_a_full_disk(root, monkeypatch):
    monkeypatch.setattr("wildsat_core.files.name_aside", lambda name: f".tmp-{name}")
    (root / "segments" / ".tmp-segment").write_text("in the way")
    with pytest.raises(OSError, match="segment") as caught:
        add_three(root)
    assert not isinstance(caught.value, DiskFullError)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if not mounted or mounted.returncode:
        pytest.skip("no tmpfs can be mounted here: it needs root on Linux")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def delete_one(root):
    return delete_tiles(root, np.array([1]), generation=open_collection(root).generation)


@pytest.mark.parametrize(
    ("change", "free_kib"),
    [*((add_three, free) for free in (0, 4, 16, 28)), *((compact, free) for free in (0, 16)), (delete_one, 0)],
)
def test_a_file_system_that_is_really_full_leaves_the_collection_as_it_was(root, small_disk, change, free_kib):
    with writer(root) as out:  # a second segment, so that there is something to compact
        out.add(make_tiles(8)[6:], {s: v[6:] for s, v in make_vectors(8).items()})
        out.publish()
    there = small_disk / "test"
    shutil.copytree(root, there)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size - free_kib * 1024)
    with pytest.raises(DiskFullError, match=r"disk of .*test is full .*nothing was published: make room"):
        change(there)
    assert open_collection(there).generation == 2
    assert verify(there) == []
    filler.unlink()
    assert change(there).tiles == {add_three: 9, compact: 8, delete_one: 7}[change]
    assert not list((there / "segments").glob(".tmp-*"))


def test_a_reader_never_mixes_generations_through_fifty_swaps(root):
    """Generation g holds six tiles whose text vectors are all g; a reader must see one number everywhere."""
    problems, seen, stop = [], set(), threading.Event()

    def constant(value):
        return {space: np.full(v.shape, value, np.float32) for space, v in make_vectors().items()}

    def read():
        while not stop.is_set():
            collection = open_collection(root)
            rows = np.flatnonzero(collection.tiles.live)
            values = np.unique(collection.vectors("text", rows))
            if collection.generation > 1 and (len(rows) != 6 or list(values) != [collection.generation]):
                problems.append((collection.generation, len(rows), values))
            seen.add(collection.generation)

    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read)
        try:
            for generation in range(2, 52):
                with writer(root) as out:
                    out.add(make_tiles(), constant(generation), on_known="replace")
                    assert out.publish().generation == generation
                if generation % 10 == 0:
                    collect_garbage(root, grace_s=3600)
        finally:
            stop.set()
        reading.result()
    assert problems == []
    assert len(seen) > 1
    assert verify(root) == []
