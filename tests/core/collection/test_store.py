"""Collections in object storage, against a real S3 server on loopback."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.core.collection.conftest import SPACES, make_tiles, make_vectors, thumbnail, writer
from tests.core.collection.race_driver import PROCESSES, TURNS
from wildsat_core.collection import open_collection
from wildsat_core.collection.copies import Copies, copies_of
from wildsat_core.collection.garbage import collect_garbage
from wildsat_core.collection.maintain import compact, delete_tiles, publish_next, verify
from wildsat_core.collection.manifest import holds_collection
from wildsat_core.collection.mirror import mirrored
from wildsat_core.collection.segment import write_segment
from wildsat_core.collection.shared import list_shared, read_shared, write_shared
from wildsat_core.collection.store import open_store
from wildsat_core.collection.stored import StoredCollections
from wildsat_core.errors import (
    CacheTooSmallError,
    CollectionFormatError,
    CollectionNotFoundError,
    GenerationTakenError,
    InvalidInputError,
    MissingExtraError,
    UnreachableError,
)

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(params=["s3", "file"])
def address(request, tmp_path):
    """Each kind of store that can be had here."""
    return request.getfixturevalue("s3") if request.param == "s3" else f"file://{tmp_path}/store"


@pytest.fixture
def store(s3):
    """An S3 store with the collection of six tiles."""
    fill(s3)
    return s3


def fill(address, count=6):
    """Publish six tiles, then the others in a segment of their own."""
    root = mirrored(address, "test").root
    with writer(root) as out:
        tiles = make_tiles(6)
        out.add(tiles, make_vectors(6), [thumbnail(t) for t in tiles])
        out.publish({"title": "Six tiles"})
    if count > 6:
        add(root, count)
    return root


def add(root, count):
    with writer(root) as out:
        out.add(make_tiles(count)[6:], {s: v[6:] for s, v in make_vectors(count).items()})
        return out.publish()


def elsewhere(address, monkeypatch, tmp_path, name="other"):
    """The collection as another machine has it, with a cache of its own."""
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / name))
    mirror = mirrored(address, "test")
    mirror.pull()
    return mirror.root


def facts(root):
    collection = open_collection(root)
    rows = np.flatnonzero(collection.tiles.live)
    ids = [collection.tile(int(row)).tile_id for row in rows]
    pictures = [collection.thumbnail(int(row)) for row in rows]
    return collection.generation, ids, pictures, collection.vectors("text", rows).tolist()


def test_another_machine_sees_what_was_added_deleted_and_compacted(address, monkeypatch, tmp_path):
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "cache"))
    root = fill(address)
    there = elsewhere(address, monkeypatch, tmp_path)
    assert there != root
    assert facts(there) == facts(root)
    assert add(there, 9).generation == 2  # the other one adds
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "cache"))
    mirrored(address, "test").pull()  # the first one sees it, deletes and compacts
    delete_tiles(root, np.array([1]), generation=2)
    compact(root)
    assert facts(elsewhere(address, monkeypatch, tmp_path)) == facts(root)
    assert (open_collection(there).generation, len(open_collection(there))) == (4, 8)
    assert verify(there) == verify(root) == []


def test_processes_with_caches_of_their_own_publish_at_once_and_lose_nothing(store, monkeypatch, tmp_path):
    command = [sys.executable, "-m", "tests.core.collection.race_driver", str(tmp_path / "race"), "add", store]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    generation, ids, *_ = facts(elsewhere(store, monkeypatch, tmp_path))
    assert (generation, len(ids), len(set(ids))) == (1 + PROCESSES * TURNS, *[6 + (PROCESSES * 5 + 1) * TURNS] * 2)
    assert verify(elsewhere(store, monkeypatch, tmp_path)) == []


def test_a_writer_without_the_newest_generation_is_told_and_then_has_it(store, monkeypatch, tmp_path):
    slow = elsewhere(store, monkeypatch, tmp_path)
    base = open_collection(slow)
    delete_tiles(elsewhere(store, monkeypatch, tmp_path, "fast"), np.array([0]), generation=1)
    with pytest.raises(GenerationTakenError, match="nothing was changed"):
        publish_next(base, deleted={})
    assert open_collection(slow).generation == 2


KILLED = """
import os, signal, sys
from wildsat_core.collection.mirror import Mirror
from tests.core.collection.test_store import add
Mirror.put_if_absent = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
add(__import__("pathlib").Path(sys.argv[1]), 9)
"""


def test_a_writer_killed_between_upload_and_publication_changes_nothing_and_goes_on(store, monkeypatch, tmp_path):
    root = elsewhere(store, monkeypatch, tmp_path, "killed")
    answer = subprocess.run([sys.executable, "-c", KILLED, str(root)], cwd=REPOSITORY, capture_output=True, text=True)
    assert answer.returncode == -9, answer.stderr
    mirror = mirrored(store, "test")
    entries = [one.key for one in mirror.objects("segments/") if one.key.endswith("segment.json")]
    assert len(entries) == 2  # it was uploaded whole
    assert len(facts(elsewhere(store, monkeypatch, tmp_path))[1]) == 6
    assert facts(root)[0] == 1  # nor does its own copy show it
    assert add(root, 9).tiles == 9
    assert len(facts(elsewhere(store, monkeypatch, tmp_path))[1]) == 9
    assert verify(root) == []


def damage(address, name):
    """Replace an object by one of the same size."""
    store = open_store(address)
    (key,) = [one.key for one in store.listed("test/") if one.key.endswith(name)]
    content = store.get(key)
    store.put(key, content[:-1] + bytes([content[-1] ^ 1]))
    return f"{address}/{key}"


@pytest.mark.parametrize("name", ["/text.npy", "/tiles.arrow", "generations/1.json"])
def test_a_damaged_object_is_refused_and_named_and_not_taken(store, monkeypatch, tmp_path, name):
    root = mirrored(store, "test").root
    key = damage(store, name)
    with pytest.raises(CollectionFormatError, match="is damaged: its SHA-256 is") as told:
        elsewhere(store, monkeypatch, tmp_path)
    assert key in str(told.value)
    other = mirrored(store, "test").root
    assert not list(other.rglob("*text.npy")) or name != "/text.npy"
    assert not (other / "CURRENT").exists()
    (problem,) = verify(root)
    assert key in problem


def test_a_missing_object_is_named(store, monkeypatch, tmp_path):
    inner = open_store(store)
    (key,) = [one.key for one in inner.listed("test/") if one.key.endswith("/place.npy")]
    inner.delete([key])
    with pytest.raises(CollectionFormatError, match=rf"{key} is missing"):
        elsewhere(store, monkeypatch, tmp_path)


def test_what_lies_in_the_cache_is_trusted_only_if_it_is_what_was_checked(store, monkeypatch, tmp_path):
    """A left-over of the right name and size, first without a note, then under one."""
    root = elsewhere(store, monkeypatch, tmp_path)
    whole = facts(root)
    (path,) = root.glob("segments/*/text.npy")
    good = path.read_bytes()
    for noted in (False, True):
        path.write_bytes(good[:-1] + b"?")
        if not noted:
            (path.parent / ".arrived.json").unlink()
        (root / ".whole").unlink()
        mirrored(store, "test").pull()
        assert path.read_bytes() == good
    assert facts(root) == whole


def test_what_was_fetched_is_not_fetched_again(store, monkeypatch, tmp_path):
    root = elsewhere(store, monkeypatch, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in root.glob("segments/*/*.npy")}
    add(mirrored(store, "test").root, 9)
    (root / ".whole").unlink(missing_ok=True)
    mirrored(store, "test").pull()
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_who_only_adds_fetches_no_vectors_and_leaves_what_is_searched_alone(store, monkeypatch, tmp_path):
    searched = elsewhere(store, monkeypatch, tmp_path)
    mirror = mirrored(store, "test", copies_of(store, Copies.IDS))
    mirror.pull()
    assert {path.name for path in mirror.root.glob("segments/*/[!.]*")} == {"tiles.arrow", "ids.npy", "ids.rows.npy"}
    assert add(mirror.root, 9).tiles == 9
    assert facts(searched)[0] == 1
    mirrored(store, "test").pull()
    assert (len(facts(searched)[1]), verify(searched)) == (9, [])


def test_the_cache_keeps_to_its_limit_and_says_when_a_generation_is_larger(store, monkeypatch, tmp_path):
    second = f"{store}-b"
    size = sum(path.stat().st_size for path in fill(second).glob("segments/*/*"))
    monkeypatch.setenv("WILDSAT_CACHE_GB", f"{size / 2 / 1e9}")
    with pytest.raises(CacheTooSmallError, match="that WILDSAT_CACHE_GB allows; raise it"):
        elsewhere(store, monkeypatch, tmp_path)
    assert not list((tmp_path / "other").glob("*/*/segments/*/*.npy"))
    monkeypatch.setenv("WILDSAT_CACHE_GB", f"{1.5 * size / 1e9}")
    first = elsewhere(store, monkeypatch, tmp_path)
    for stays, wanted in ((first, second), (mirrored(second, "test").root, store)):
        with pytest.raises(CacheTooSmallError):  # what was just used stays
            mirrored(wanted, "test").pull()
        assert len(facts(stays)[1]) == 6
        hours_ago = time.time() - 7200
        os.utime(stays / ".used", (hours_ago, hours_ago))
        mirrored(wanted, "test").pull()
        assert len(facts(mirrored(wanted, "test").root)[1]) == 6
        assert not list(stays.glob("segments/[!.]*"))
    monkeypatch.setenv("WILDSAT_CACHE_GB", "much")
    (first / ".whole").unlink()
    shutil.rmtree(first / "segments")
    with pytest.raises(InvalidInputError, match="number of gigabytes above 0, got 'much'"):
        mirrored(store, "test").pull()


def test_garbage_goes_from_the_store_and_an_unfinished_upload_stays(store, monkeypatch, tmp_path):
    root = mirrored(store, "test").root
    first = open_collection(root).manifest.segments[0].id
    add(root, 9)
    compact(root)
    assert [path for path in collect_garbage(root) if "segments" in path.parts] == []
    segment = write_segment(
        root,
        make_tiles(9)[6:],
        {s: v[6:] for s, v in make_vectors(9).items()},
        [None] * 3,
        SPACES,
        generation=9,
        job="j",
    )
    mirrored(store, "test").push_segment(segment)
    removed = {path.as_posix() for path in collect_garbage(root, grace_s=-1)}
    assert {"generations/1.json", "generations/2.json", f"segments/{first}/text.npy"} <= removed
    left = {one.key.split("/")[1] for one in mirrored(store, "test").objects("segments/")}
    assert left == {open_collection(root).manifest.segments[0].id, segment.id}
    assert verify(elsewhere(store, monkeypatch, tmp_path)) == []


def test_a_collection_made_anew_in_the_store_is_what_its_copies_show(store, monkeypatch, tmp_path):
    root = elsewhere(store, monkeypatch, tmp_path)
    add(root, 9)
    inner = open_store(store)
    inner.delete([one.key for one in inner.listed("test/")])
    with pytest.raises(CollectionNotFoundError, match="no collection 'test' in s3://"):
        mirrored(store, "test").pull()
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "third"))
    fill(store)
    assert facts(elsewhere(store, monkeypatch, tmp_path))[0] == 1


def test_a_collection_that_went_from_the_store_is_served_by_no_copy(store):
    served = StoredCollections(store, interval_s=0)
    assert served.names() == ["test"]
    root = served.folder / "test"
    assert holds_collection(root)
    inner = open_store(store)
    inner.delete([one.key for one in inner.listed("test/") if "/segments/" not in one.key])
    assert served.names() == []
    assert not list(root.glob("generations/*"))


def test_a_list_bears_that_others_remove_what_is_listed(tmp_path, monkeypatch):
    job, real = tmp_path / "jobs/a", os.scandir
    for name in ("plan.json", ".tmp-1-b.json", "failed/c.txt"):
        write_shared(tmp_path, f"jobs/a/{name}", "{}")
    assert list_shared(tmp_path, "jobs/a") == ["jobs/a/failed/c.txt", "jobs/a/plan.json"]

    def forgotten_meanwhile(path):
        if path in (job / "failed", str(job / "failed")):
            shutil.rmtree(job)
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", forgotten_meanwhile)
        assert list_shared(tmp_path, "jobs/a") == ["jobs/a/plan.json"]
    assert list_shared(tmp_path, "jobs/a") == []


def test_a_small_file_written_anew_is_seen_by_all_machines(store, monkeypatch, tmp_path):
    other = elsewhere(store, monkeypatch, tmp_path)
    for text in ("one", "two"):
        write_shared(other, "jobs/a/plan.json", text)
        assert mirrored(store, "test").get("jobs/a/plan.json") == text.encode()
    assert read_shared(other, "jobs/a/plan.json") == b"two"


def test_without_the_network_commands_say_so_and_services_show_what_they_have(store, monkeypatch, tmp_path, caplog):
    served = StoredCollections(store, interval_s=0)
    assert served.names() == ["test"]
    monkeypatch.setattr("wildsat_core.collection.store._PATIENCE", {"max_retries": 0})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    open_store.cache_clear()
    silent = open_store(store)
    with pytest.raises(UnreachableError, match=r"the store s3://.* does not do as asked"):
        silent.get("test/CURRENT")
    monkeypatch.setattr(served, "_store", silent)
    assert served.names() == served.names() == ["test"]
    assert len([one for one in caplog.records if "what the cache has is served" in one.getMessage()]) == 1
    open_store.cache_clear()


@pytest.mark.parametrize(
    "told",
    [
        "s3://key:SECRET@bucket/x",
        "s3://bucket/x?sig=SECRET",
        "https://host/x",
        "s3://",
        "file://x",
        "bucket",
        "az:///x",
    ],
)
def test_addresses_that_are_none_or_hold_secrets_are_refused(told):
    with pytest.raises(InvalidInputError, match="credentials come from the environment") as refused:
        open_store(told)
    assert "SECRET" not in str(refused.value)


def test_a_missing_package_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    open_store.cache_clear()
    with pytest.raises(MissingExtraError, match=r"object storage needs the package 'obstore'.*store\]"):
        open_store("s3://bucket")


def test_the_answer_that_was_lost_is_not_taken_for_anothers(s3):
    store = open_store(s3)
    assert store.put_if_absent("one", b"mine")
    assert store.put_if_absent("one", b"mine")  # obstore asked again after its own first request had gone through
    assert not store.put_if_absent("one", b"another's")
    assert store.get("one") == b"mine"
