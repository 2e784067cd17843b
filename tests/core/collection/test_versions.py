"""Collections of version 1 are read, changed and upgraded; ids are found and pictures read without a scan."""

import hashlib
import json
import time

import numpy as np
import pytest

from tests.core.collection.conftest import make_tiles, make_vectors, thumbnail, writer
from tests.core.collection.version_one import make_version_one
from wildsat_core.collection import open_collection
from wildsat_core.collection import upgrade as upgrading
from wildsat_core.collection.garbage import collect_garbage
from wildsat_core.collection.id_index import IdIndex, SegmentIds
from wildsat_core.collection.maintain import compact, delete_tiles, verify
from wildsat_core.collection.thumbnails import PackedThumbnails, write_thumbnails
from wildsat_core.collection.upgrade import upgrade
from wildsat_core.errors import CollectionFormatError


@pytest.fixture
def old_root(root):
    """Two segments, a deleted row, of version 1."""
    with writer(root) as out:
        out.add(make_tiles(9)[6:], {s: v[6:] for s, v in make_vectors(9).items()}, [None, b"RIFFt1", None])
        out.publish()
    delete_tiles(root, np.array([1]), generation=2)
    make_version_one(root)
    return root


def told(root):
    """All that a reader can be told of a collection."""
    collection = open_collection(root)
    rows = np.arange(collection.manifest.rows)
    return {
        "tiles": collection.tiles.tiles_at(rows),
        "live": collection.tiles.live.tolist(),
        "thumbnails": [collection.thumbnail(int(row)) for row in rows],
        "rows": [collection.tiles.rows_of([t.tile_id]).tolist() for t in make_tiles(10)],
        "vectors": {space: collection.vectors(space, rows).tolist() for space in collection.spaces},
        "moments": {space: collection.moments[space].total.tolist() for space in collection.spaces},
        "country": [collection.tiles.countries[c] if c >= 0 else None for c in collection.tiles.country],
        "box": [np.asarray(getattr(collection.tiles, side)).tolist() for side in ("west", "east", "north", "lon")],
    }


def test_version_1_is_read_and_an_upgrade_changes_nothing_that_is_read(old_root):
    before, generation = told(old_root), open_collection(old_root).manifest
    assert generation.format_version == 1
    assert verify(old_root) == []
    served = open_collection(old_root)
    seen = []
    manifest = upgrade(old_root, on_segment=lambda: seen.append(1))
    assert (manifest.format_version, manifest.generation, len(seen)) == (2, 4, 2)
    assert told(old_root) == before
    assert verify(old_root) == []
    assert served.thumbnail(int(served.row_of("oslo"))) is not None  # the old generation stays
    assert upgrade(old_root) == manifest
    old_segments = {segment.id for segment in generation.segments}
    assert old_segments <= {path.name for path in collect_garbage(old_root, grace_s=-1)}
    assert told(old_root) == before
    assert verify(old_root) == []


def test_version_1_is_added_to_deleted_from_and_compacted(old_root):
    with writer(old_root) as out:
        assert out.known(["oslo", "nowhere"]) == {"oslo"}
        out.add(make_tiles(12), make_vectors(12))
        manifest = out.publish()
    assert (manifest.format_version, manifest.tiles) == (2, 12)
    assert {"tiles.parquet" in segment.files for segment in manifest.segments} == {True, False}
    delete_tiles(old_root, open_collection(old_root).tiles.rows_of(["oslo"]), generation=4)
    assert verify(old_root) == []
    expected = {tile.tile_id for tile in make_tiles(12)} - {"oslo"}
    compact(old_root)
    collection = open_collection(old_root)
    assert all("tiles.arrow" in segment.files for segment in collection.manifest.segments)
    assert set(collection.tiles.column("tile_id").to_pylist()) == expected
    assert collection.thumbnail(collection.row_of("quito")) == thumbnail(make_tiles()[3])
    assert verify(old_root) == []


def test_an_upgrade_that_was_killed_goes_on_with_the_segments_it_wrote(old_root, monkeypatch):
    real, calls = upgrading._upgraded, []

    def killed(base, segment, done):
        calls.append(segment.id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(base, segment, done)

    monkeypatch.setattr(upgrading, "_upgraded", killed)
    with pytest.raises(KeyboardInterrupt):
        upgrade(old_root)
    assert open_collection(old_root).manifest.format_version == 1
    written = []
    monkeypatch.setattr(upgrading, "_upgraded", real)
    monkeypatch.setattr(upgrading, "write_table", lambda folder, table: written.append(folder) or write(folder, table))
    from wildsat_core.collection.segment import write_table as write

    upgrade(old_root)
    assert len(written) == 1
    assert verify(old_root) == []


def test_damage_is_not_upgraded(old_root):
    (path,) = list(old_root.glob("segments/*/text.npy"))[:1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CollectionFormatError, match=r"text\.npy is damaged.*nothing was upgraded"):
        upgrade(old_root)
    assert open_collection(old_root).generation == 3


def test_hashes_of_ids_are_as_described(root):
    (folder,) = (root / "segments").iterdir()
    ids = open_collection(root).tiles.column("tile_id").to_pylist()
    hashes, rows = np.load(folder / "ids.npy"), np.load(folder / "ids.rows.npy")
    assert (np.diff(hashes.astype(float)) > 0).all()
    for hashed, row in zip(hashes.tolist(), rows.tolist(), strict=True):
        assert hashed == int.from_bytes(hashlib.sha256(ids[row].encode()).digest()[:8], "big")


def test_swapped_hashes_are_found_by_verify(root):
    (path,) = root.glob("segments/*/ids.rows.npy")
    rows = np.load(path)
    np.save(path, rows[::-1])
    info = json.loads((path.parent / "segment.json").read_text())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    for holder in (path.parent / "segment.json", root / "generations" / "1.json"):
        old = info["files"]["ids.rows.npy"]["sha256"]
        holder.write_text(holder.read_text().replace(old, sha256))
    (root / "CURRENT").write_text("1\n")
    assert any("not of the ids" in problem for problem in verify(root))


def test_ids_of_equal_hashes_are_told_apart(monkeypatch):
    import pyarrow as pa

    monkeypatch.setattr("wildsat_core.collection.id_index.id_hashes", lambda ids: np.zeros(len(list(ids)), np.uint64))
    index = IdIndex([SegmentIds.of(pa.chunked_array([["a", "b"]])), SegmentIds.of(pa.chunked_array([["c", "a"]]))])
    assert index.rows_of(["a", "c", "d", "a"]).tolist() == [0, 2, 3]


def test_pictures_are_packed_with_their_places(tmp_path):
    path = tmp_path / "thumbs.bin"
    write_thumbnails(path, [None, b"one", b"", b"three", None])
    assert [PackedThumbnails(path).get(row) for row in range(5)] == [None, b"one", None, b"three", None]
    offsets = np.frombuffer(path.read_bytes()[:48], "<u8")
    assert path.read_bytes()[offsets[3] : offsets[4]] == b"three"
    for content in (b"", b"\xff" * 60, path.read_bytes()[:50]):
        path.write_bytes(content)
        with pytest.raises(CollectionFormatError, match=r"thumbs\.bin can't be read"):
            PackedThumbnails(path).get(3)


def test_what_is_known_is_found_without_a_scan():
    """Looking 2,048 ids up among a million takes no longer than ten times that among ten thousand."""
    import pyarrow as pa

    took = []
    for count in (10_000, 1_000_000):
        hashes = np.sort(np.random.default_rng(0).integers(0, 2**64, count, np.uint64))
        index = IdIndex([SegmentIds(pa.chunked_array([["x"] * count]), hashes, np.arange(count, dtype=np.uint32))])
        asked = [f"tile-{i}" for i in range(2048)]
        runs = []
        for _ in range(5):
            start = time.process_time()
            assert index.rows_of(asked).size == 0
            runs.append(time.process_time() - start)
        took.append(min(runs))
    assert took[1] < 10 * took[0]
