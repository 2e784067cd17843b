"""Write, then read: what was put in comes out, row by row, and readers never see a half."""

import datetime as dt
import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tests.core.collection.conftest import (
    MODEL,
    SPACES,
    make_tiles,
    make_vectors,
    overwrite_manifest,
    thumbnail,
    writer,
)
from wildsat_core.collection import CollectionWriter, list_collections, open_collection
from wildsat_core.collection.garbage import collect_garbage
from wildsat_core.collection.lock import writer_lock
from wildsat_core.collection.maintain import (
    compact,
    delete_tiles,
    delete_where,
    publish_ann,
    publish_imagery,
    verify,
)
from wildsat_core.collection.manifest import AnnInfo, DeletionInfo, FileInfo, read_current_manifest, read_manifest
from wildsat_core.collection.publish import publish_manifest
from wildsat_core.collection.reader import read_deletions
from wildsat_core.collection.segment import write_segment
from wildsat_core.collection.tile_files import tiles_to_arrow, write_tiles
from wildsat_core.collection.tiles import SegmentTiles, TileTable
from wildsat_core.errors import (
    CollectionFormatError,
    CollectionLockedError,
    CollectionNotFoundError,
    InvalidInputError,
    ModelMismatchError,
    SpaceUnavailableError,
    TileNotFoundError,
)
from wildsat_core.types import ModelRef


def test_row_i_of_the_vectors_is_row_i_of_the_table(root):
    collection = open_collection(root)
    vectors = make_vectors()
    for i, tile in enumerate(make_tiles()):
        row = collection.row_of(tile.tile_id)
        assert collection.tile(row) == tile
        assert collection.thumbnail(row) == thumbnail(tile)
        for space in SPACES:
            np.testing.assert_array_equal(collection.vectors(space, np.array([row]))[0], vectors[space][i].astype("f2"))


def test_rows_count_through_segments(tmp_path):
    with writer(tmp_path / "test", segment_rows=4) as out:
        for start in range(0, 20, 4):
            part = {s: v[start : start + 4] for s, v in make_vectors(20).items()}
            out.add(make_tiles(20)[start : start + 4], part)
        out.publish()
    collection = open_collection(tmp_path / "test")
    assert len(collection.manifest.segments) == 5
    rows = np.array([collection.row_of(t.tile_id) for t in make_tiles(20)])
    assert sorted(rows) == list(range(20))
    np.testing.assert_array_equal(collection.vectors("text", rows), make_vectors(20)["text"].astype("f2"))
    back = rows[::-1]
    np.testing.assert_array_equal(collection.vectors("text", back), make_vectors(20)["text"].astype("f2")[::-1])


def test_adding_the_same_tiles_again_changes_nothing(root):
    before = read_current_manifest(root)
    with writer(root) as out:
        assert out.add(make_tiles(), make_vectors(seed=1)) == 0
        assert out.publish() == before


def test_a_repeated_id_within_a_batch_counts_once(tmp_path):
    tiles = make_tiles()
    with writer(tmp_path / "test") as out:
        assert out.add(tiles + tiles[:2], make_vectors(8)) == 6
        assert out.publish().tiles == 6


def test_replacing_a_tile_hides_the_old_vectors(root):
    new = make_vectors(1, seed=9)
    with writer(root) as out:
        assert out.add(make_tiles(1), new, on_known="replace") == 1
        manifest = out.publish()
    assert manifest.tiles == 6
    collection = open_collection(root)
    row = collection.row_of("oklahoma")
    np.testing.assert_array_equal(collection.vectors("text", np.array([row]))[0], new["text"][0].astype("f2"))


def test_replacing_a_tile_by_an_equal_one_keeps_it(root):
    for generation in (2, 3):
        with writer(root) as out:
            out.add(make_tiles(), make_vectors(), on_known="replace")
            assert (manifest := out.publish()).generation == generation
        assert manifest.tiles == 6
    assert verify(root) == []


def test_replacing_a_tile_leaves_what_was_deleted_before_deleted(root):
    first = open_collection(root)
    delete_tiles(root, np.array([first.row_of("fiji"), first.row_of("oslo")]), generation=1)
    with writer(root) as out:
        out.add(make_tiles(1), make_vectors(1, seed=9), on_known="replace")
        assert out.publish().tiles == 4
    ids = open_collection(root).tiles.column("tile_id").filter(open_collection(root).tiles.live).to_pylist()
    assert sorted(ids) == ["oklahoma", "pole", "quito", "quito-2"]
    assert verify(root) == []


def test_moments_give_mean_and_spread_of_any_querys_scores_deleted_rows_left_out(root):
    first = open_collection(root)
    delete_tiles(root, np.array([first.row_of("fiji")]), generation=1)
    collection = open_collection(root)
    query = np.array([0.5, -1.0, 2.0, 0.1])
    live = np.flatnonzero(collection.tiles.live)
    scores = collection.vectors("text", live) @ query
    assert collection.moments["text"].score_mean(query) == pytest.approx(scores.mean(), abs=1e-6)
    assert collection.moments["text"].score_std(query) == pytest.approx(scores.std(), rel=1e-5)


def test_a_deleted_tile_is_gone_and_the_others_stay(root):
    collection = open_collection(root)
    manifest = delete_tiles(root, np.array([collection.row_of("fiji")]), generation=1)
    assert (manifest.generation, manifest.tiles) == (2, 5)
    after = open_collection(root)
    with pytest.raises(TileNotFoundError, match="no tile 'fiji'"):
        after.row_of("fiji")
    assert after.row_of("oslo") >= 0
    assert collection.row_of("fiji") >= 0  # the generation opened before is as it was


def test_a_table_without_land_shares_is_read_as_one_that_does_not_know_them(tmp_path):
    tiles = [replace(tile, land_share=share) for tile, share in zip(make_tiles(), (0.3, 0.0, None), strict=False)]
    path = tmp_path / "tiles.arrow"
    write_tiles(path, tiles_to_arrow(tiles))
    known = SegmentTiles.read(path)
    assert known.land_share.tolist() == pytest.approx([0.3, 0.0, np.nan], nan_ok=True)
    table = TileTable.of([known], np.ones(3, bool))
    assert [table.tile(row).land_share for row in range(3)] == [0.3, 0.0, None]
    assert table.least_land == 0
    older = tmp_path / "older" / "tiles.arrow"
    older.parent.mkdir()
    write_tiles(older, tiles_to_arrow(tiles).drop_columns(["land_share"]))
    unknown = SegmentTiles.read(older)
    assert np.isnan(unknown.land_share).all()
    assert TileTable.of([unknown], np.ones(3, bool)).least_land == 1


def test_rows_of_an_older_generation_are_not_deleted(root):
    delete_tiles(root, np.array([0]), generation=1)
    with pytest.raises(CollectionFormatError, match="look them up again"):
        delete_tiles(root, np.array([1]), generation=1)


def test_compaction_keeps_ids_vectors_and_pictures(root):
    with writer(root) as out:
        more = make_tiles(12)[6:]
        out.add(more, {s: v[6:] for s, v in make_vectors(12).items()}, [thumbnail(t) for t in more])
        out.publish()
    before = open_collection(root)
    delete_tiles(root, np.array([before.row_of("oslo")]), generation=2)
    manifest = compact(root)
    assert (len(manifest.segments), manifest.rows, manifest.deleted) == (1, 11, {})
    after = open_collection(root)
    for tile in [t for t in make_tiles(12) if t.tile_id != "oslo"]:
        old, new = np.array([before.row_of(tile.tile_id)]), np.array([after.row_of(tile.tile_id)])
        assert after.tile(int(new[0])) == tile
        assert after.thumbnail(int(new[0])) == thumbnail(tile)
        np.testing.assert_array_equal(before.vectors("text", old), after.vectors("text", new))
    assert verify(root) == []


def test_compaction_does_not_vouch_for_damage(root):
    delete_tiles(root, np.array([0]), generation=1)
    (path,) = root.glob("segments/*/text.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CollectionFormatError, match=r"text\.npy is damaged.*nothing was compacted"):
        compact(root)
    assert read_current_manifest(root).generation == 2
    (path,) = root.glob("segments/*/thumbs.bin")
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(CollectionFormatError, match=r"thumbs\.bin can't be read"):
        open_collection(root).thumbnail(1)


def test_garbage_is_collected_after_the_grace_period_only(root):
    old = open_collection(root)
    with writer(root) as out:
        out.add(make_tiles(8)[6:], {s: v[6:] for s, v in make_vectors(8).items()})
        out.publish()
    compact(root)
    assert collect_garbage(root) == []
    removed = {path.name for path in collect_garbage(root, grace_s=-1)}
    assert {"1.json", "2.json", old.manifest.segments[0].id} <= removed
    assert verify(root) == []
    assert old.vectors("text", np.array([0])).shape == (1, 4)  # an open reader keeps its files


def aged(root, hours):
    """Make every file and every generation so many hours older."""
    for path in root.rglob("*"):
        os.utime(path, (time.time() - hours * 3600,) * 2)
    for number in sorted(int(path.stem) for path in root.glob("generations/[0-9]*.json")):
        manifest = read_manifest(root, number)
        older = manifest.created_at - dt.timedelta(hours=hours)
        overwrite_manifest(root, manifest.model_copy(update={"created_at": older}))


def test_the_generation_that_was_live_until_now_is_kept_however_old_it_is(root):
    add_more(root)
    aged(root, 24)
    served = open_collection(root)
    compact(root)
    removed = collect_garbage(root)
    assert [path.name for path in removed] == ["1.json"]  # which ended a day ago
    assert served.thumbnail(served.row_of("fiji")) == b"RIFFfiji"
    assert open_collection(root, 2).generation == 2
    aged(root, 2)
    assert served.manifest.segments[0].id in {path.name for path in collect_garbage(root)}


def test_what_a_killed_writer_left_is_no_obstacle_and_goes(root):
    left = [root / "generations" / ".tmp-9.json", root / "segments" / ".tmp-more", root / "deletions" / ".tmp-x.npy"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if path.name == ".tmp-more" else path.write_text("half")
    assert collect_garbage(root) == []  # another writer may be at work on them
    aged(root, 48)
    assert set(collect_garbage(root)) >= {left[0], left[2]}
    assert not any(path.exists() for path in left)
    assert verify(root) == []


def test_what_no_writer_made_stays(root):
    theirs = [
        root / "segments" / "notes" / "read me.txt",
        root / "segments" / "picture.tif",
        root / "deletions" / "why.txt",
        root / "ann" / "recall.csv",
        root / "generations" / "history.txt",
    ]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a user's")
    add_more(root)
    compact(root)
    aged(root, 24 * 30)
    assert collect_garbage(root, grace_s=0, unfinished_s=0)
    assert all(path.read_text() == "a user's" for path in theirs)


def test_segments_of_an_interrupted_build_are_kept_for_a_week_or_until_asked(root):
    with writer(root, job="more") as out:
        out.add(make_tiles(9)[6:], {s: v[6:] for s, v in make_vectors(9).items()})
        out.flush()
    aged(root, 24)
    assert collect_garbage(root) == []
    with writer(root, job="more") as out:
        assert out.rows_pending == 3
    assert len(collect_garbage(root, unfinished_s=0)) == 1
    with writer(root, job="more") as out:
        assert out.rows_pending == 0


def test_segments_that_nothing_can_go_on_from_are_kept_for_the_grace_period_only(root):
    with writer(root) as out:  # without the name of a job
        out.add(make_tiles(9)[6:], {s: v[6:] for s, v in make_vectors(9).items()})
        out.flush()
    assert collect_garbage(root) == []
    aged(root, 24)
    assert len(collect_garbage(root)) == 1


def test_an_index_that_is_being_written_is_kept(root):
    (root / "ann").mkdir()
    for name in (".tmp-text-2-sq8.faiss", "text-2-sq8.faiss"):
        (root / "ann" / name).write_bytes(b"an index")
    assert collect_garbage(root, grace_s=0, unfinished_s=0) == []
    aged(root, 48)
    assert len(collect_garbage(root)) == 2


def test_garbage_collection_leaves_what_the_live_generation_names(root):
    first = open_collection(root)
    (root / "ann").mkdir()
    for name in ("live.faiss", "old.faiss"):
        (root / "ann" / name).write_bytes(b"an index")
        info = FileInfo.of(root / "ann" / name)
        named = AnnInfo(kind="sq8", file=name, info=info, search={}, recall_at_10=1, recall_at_20=1)
        publish_ann(open_collection(root), {"text" if name == "live.faiss" else "place": named})
    delete_tiles(root, np.array([first.row_of("fiji")]), generation=3)
    manifest = read_current_manifest(root)
    publish_manifest(root, manifest.model_copy(update={"generation": 5, "ann": {"text": manifest.ann["text"]}}))
    (root / "imagery.mbtiles").write_bytes(b"pictures")
    publish_imagery(root)
    aged(root, 48)
    assert {path.name for path in collect_garbage(root, grace_s=0, unfinished_s=0)} == {
        "old.faiss",
        *(f"{number}.json" for number in range(1, 6)),
    }
    assert verify(root) == []
    assert set(open_collection(root).manifest.ann) == {"text"}
    assert (root / "imagery.mbtiles").exists()


def test_an_empty_collection_can_be_published_and_opened(tmp_path):
    with writer(tmp_path / "test") as out:
        assert out.publish().tiles == 0
    collection = open_collection(tmp_path / "test")
    assert len(collection) == 0
    assert collection.tiles.rows_of(["x"]).size == 0
    assert collection.moments["text"].score_std(np.ones(4)) == 1.0


def test_a_second_writer_is_refused_while_the_first_writes(root):
    with writer_lock(root), pytest.raises(CollectionLockedError, match="another process is writing"), writer(root):
        pass


def test_a_second_writer_waits_for_the_first_and_then_sees_what_it_published(root):
    holding = threading.Event()

    def first():
        with writer(root) as out:
            holding.set()
            out.add(make_tiles(8)[6:], {s: v[6:] for s, v in make_vectors(8).items()})
            time.sleep(0.3)
            out.publish()

    thread = threading.Thread(target=first)
    thread.start()
    holding.wait()
    with writer(root, wait_s=30) as out:
        assert out.known(["t0", "t1"]) == {"t0", "t1"}
        assert out.add(make_tiles(9), make_vectors(9)) == 1
        assert out.publish().generation == 3
    thread.join()
    assert verify(root) == []


def test_deleting_looks_rows_up_after_the_other_writer_has_published(root):
    holding = threading.Event()

    def first():
        with writer(root) as out:
            out.add(make_tiles(1), make_vectors(1), on_known="replace")
            holding.set()
            time.sleep(0.3)
            out.publish()

    thread = threading.Thread(target=first)
    thread.start()
    holding.wait()
    manifest, gone = delete_where(root, lambda c: c.tiles.rows_of(["oklahoma", "unknown"]), wait_s=30)
    thread.join()
    assert (gone, manifest.generation, manifest.tiles) == (1, 3, 5)
    assert delete_where(root, lambda c: np.array([], int)) == (manifest, 0)


def test_another_model_is_refused_naming_both(root):
    other = ModelRef("vitb16-imagenet", "b" * 64, "gritlm", "rgb 224 px")
    with (
        pytest.raises(ModelMismatchError, match=r"tiny.*vitb16-imagenet"),
        CollectionWriter(root, "test", other, SPACES),
    ):
        pass


@pytest.mark.parametrize("name", ["", "../up", "a/b", "A", "x" * 65, ".hidden", "a\n"])
def test_names_that_are_not_folder_names_are_refused(tmp_path, name):
    with pytest.raises(InvalidInputError, match="collection name"):
        CollectionWriter(tmp_path, name, MODEL, SPACES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 1e6])
def test_vectors_that_are_zero_infinite_or_too_large_are_refused(tmp_path, bad):
    vectors = make_vectors()
    vectors["text"][3] = bad
    with writer(tmp_path / "test") as out:
        out.add(make_tiles(), vectors)
        with pytest.raises(InvalidInputError, match="the first in row 3"):
            out.publish()
    with pytest.raises(CollectionNotFoundError):
        open_collection(tmp_path / "test")


def test_missing_spaces_and_uneven_lengths_are_refused(tmp_path):
    with writer(tmp_path / "test") as out:
        with pytest.raises(InvalidInputError, match=r"\['place', 'text'\]"):
            out.add(make_tiles(), {"text": make_vectors()["text"]})
        with pytest.raises(InvalidInputError, match="agree in length"):
            out.add(make_tiles(), make_vectors(5))


def test_an_unknown_space_is_refused_naming_those_held(root):
    with pytest.raises(SpaceUnavailableError, match="it has: text, place"):
        open_collection(root).vector_parts("image")


def test_an_interrupted_build_goes_on_from_its_whole_segments(tmp_path):
    folder = tmp_path / "test"
    tiles, vectors = make_tiles(12), make_vectors(12)
    with writer(folder, segment_rows=6, job="b1") as out:
        out.add(tiles[:6], {s: v[:6] for s, v in vectors.items()})
        out.add(tiles[6:9], {s: v[6:9] for s, v in vectors.items()})  # gathered, not yet a segment: lost
    assert list_collections(tmp_path) == []
    half, young = folder / "segments" / ".tmp-b1-old", folder / "segments" / ".tmp-b1-young"
    half.mkdir()
    os.utime(half, (time.time() - 48 * 3600,) * 2)
    young.mkdir()
    with writer(folder, job="b1") as out:
        assert out.rows_pending == 6
        assert out.known(t.tile_id for t in tiles) == {t.tile_id for t in tiles[:6]}
        out.add(tiles, vectors)
        assert out.publish().tiles == 12
    assert (half.exists(), young.exists()) == (False, True)  # another worker may be writing the young one
    assert verify(folder) == []


def replace_some(root, first, last, seed, publish=True):
    with writer(root, segment_rows=3, job="anew") as out:
        adopted = out.rows_pending
        ids = [tile.tile_id for tile in make_tiles()[first:last]]
        assert out.pending(ids) == set(ids[:adopted])
        fresh = {s: v[first:last] for s, v in make_vectors(seed=seed).items()}
        out.add(make_tiles()[first:last], fresh, on_known="replace")
        if publish:
            out.publish()
    return adopted


def test_an_interrupted_replacement_goes_on_from_its_whole_segments(root):
    replace_some(root, 0, 3, seed=5, publish=False)
    assert open_collection(root).manifest.segments == read_manifest(root, 1).segments
    assert replace_some(root, 0, 6, seed=6) == 3
    collection = open_collection(root)
    assert (len(collection), collection.manifest.rows) == (6, 12)
    for i, tile in enumerate(make_tiles()):
        stored = collection.vectors("text", np.array([collection.row_of(tile.tile_id)]))[0]
        np.testing.assert_array_equal(stored, make_vectors(seed=5 if i < 3 else 6)["text"][i].astype("f2"))
    assert verify(root) == []


def test_a_replacement_from_before_another_change_is_not_gone_on_from(root):
    replace_some(root, 0, 3, seed=5, publish=False)
    delete_tiles(root, np.array([0]), generation=1)
    assert replace_some(root, 0, 6, seed=6) == 0


def add_one(root, tile_id, **told):
    with writer(root) as out:
        tile = replace(make_tiles()[0], tile_id=tile_id)
        out.add([tile], make_vectors(1))
        return out.publish(told)


def test_every_source_keeps_its_attribution_and_the_first_its_title(tmp_path):
    alps = {"input": "alps.tif", "stretch": "0,3000", "title": "Alps", "attribution": "Copernicus 2023"}
    tirol = {"input": "tirol.tif", "stretch": "0,255", "title": "Tirol", "attribution": "Land Tirol", "notice": "Old."}
    assert add_one(tmp_path / "test", "a", **alps).provenance == alps
    told = add_one(tmp_path / "test", "b", **tirol).provenance
    assert told["sources"] == [alps, tirol]
    assert told["attribution"] == "Copernicus 2023; Land Tirol"
    assert (told["title"], told["stretch"], told["notice"]) == ("Alps", "0,3000", "Old.")
    told = add_one(tmp_path / "test", "c", **tirol | {"input": "linz.tif"}).provenance
    assert told["attribution"] == "Copernicus 2023; Land Tirol"
    assert len(told["sources"]) == 3


def test_the_same_builds_again_publish_nothing_and_a_new_title_is_taken(tmp_path):
    alps, tirol = {"input": "alps.tif", "title": "Alps"}, {"input": "tirol.tif", "title": "Tirol"}
    add_one(tmp_path / "test", "a", **alps)
    last = add_one(tmp_path / "test", "b", **tirol)
    for again in (alps, tirol, {"input": "of which no tile came"}, {}):
        assert add_one(tmp_path / "test", "a", **again) == last
    assert add_one(tmp_path / "test", "a", **alps | {"title": "The Alps"}).provenance["title"] == "The Alps"


def test_sources_of_a_collection_are_taken_over_from_it_with_what_is_told_beside(tmp_path):
    add_one(tmp_path / "test", "a", input="a.tif", attribution="A")
    whole = add_one(tmp_path / "test", "b", input="b.tif", attribution="B").provenance
    assert add_one(tmp_path / "copy" / "test", "a", **whole).provenance == whole
    told = add_one(tmp_path / "other" / "test", "a", **whole | {"attribution": "C"}).provenance
    assert told["attribution"] == "A; B; C"


def test_segments_of_another_job_are_left_alone(tmp_path):
    with writer(tmp_path / "test", job="b1") as out:
        out.add(make_tiles(), make_vectors())
        out.flush()
    with writer(tmp_path / "test", job="b2") as out:
        assert out.rows_pending == 0


def test_a_flipped_byte_is_found_and_named(root):
    manifest = read_current_manifest(root)
    segment = manifest.segments[0]
    for name in segment.files:
        path = root / "segments" / segment.id / name
        whole = path.read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert any(str(path) in problem for problem in verify(root)), (name, at)
        path.write_bytes(whole)
    assert verify(root) == []


@pytest.fixture
def whole(root):
    """A collection with all that one may have, and nothing that its live generation does not need."""
    with writer(root) as out:
        out.add(make_tiles(9)[6:], {s: v[6:] for s, v in make_vectors(9).items()}, [b"RIFF"] * 3)
        out.publish()
    (root / "imagery.mbtiles").write_bytes(b"map tiles")
    publish_imagery(root)
    base = open_collection(root)
    delete_tiles(root, np.array([1, 4, 7]), generation=base.generation)
    (root / "ann").mkdir()
    (root / "ann" / "text.faiss").write_bytes(b"an index")
    found = AnnInfo(
        kind="sq8",
        file="text.faiss",
        info=FileInfo.of(root / "ann" / "text.faiss"),
        search={"nprobe": 4},
        recall_at_10=1.0,
        recall_at_20=1.0,
    )
    publish_ann(open_collection(root), {"text": found})
    collect_garbage(root, grace_s=-1)
    return root


def flipped(path, most=60):
    """Give the file one wrong byte after the other, spread over it, and make it whole again."""
    content = path.read_bytes()
    for at in sorted({*range(0, len(content), max(1, len(content) // most)), len(content) - 1}):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        yield at
    path.write_bytes(content)


def test_adding_drops_indexes_and_says_so_and_keeps_the_imagery(whole, caplog):
    with writer(whole) as out:
        out.add(make_tiles(10), make_vectors(10))
        manifest = out.publish()
    assert manifest.ann == {}
    assert "`wildsat index ann test --kind sq8 --space text`" in caplog.text
    assert manifest.imagery is not None


def names_an_older_one(path, live):
    """Whether a file is a CURRENT that lags behind, as after a kill: the live generation is found all the same."""
    return path.name == "CURRENT" and int(path.read_text().split()[0]) < live == open_collection(path.parent).generation


def refused(root):
    """Why the collection can't be opened; None when it can."""
    try:
        open_collection(root)
    except CollectionFormatError as err:
        return str(err)


def test_a_byte_flipped_in_every_file_in_turn_is_found_by_verify(whole):
    files = [path for path in whole.rglob("*") if path.is_file() and path.name != "LOCK"]
    assert len(files) == len(["CURRENT", "manifest", "ann", "imagery", "2 x deletions", ""]) + 2 * 9
    for path in files:
        for at in flipped(path):
            problems = verify(whole)
            told = any(str(path) in problem or path.name == "CURRENT" for problem in problems)
            assert told or names_an_older_one(path, 5), (path, at)
    assert verify(whole) == []


def test_a_flipped_byte_that_would_change_answers_is_refused_at_opening(whole):
    live = read_current_manifest(whole).generation
    files = [whole / "CURRENT", *whole.glob("generations/*"), *whole.glob("deletions/*")]
    assert len(files) == 4
    for path in files:
        for at in flipped(path, 2000):
            assert refused(whole) or names_an_older_one(path, live), f"{path} opened with byte {at} flipped"
    assert len(open_collection(whole)) == 6


def test_vectors_with_a_damaged_head_are_refused_in_words(root):
    (path,) = root.glob("segments/*/text.npy")
    messages = [refused(root) for at in flipped(path) if at < 80]
    assert sum("text.npy" in (message or "") for message in messages) > 20


def test_current_does_not_name_another_generation_by_a_flipped_byte(root):
    add_more(root)
    path = root / "CURRENT"
    number, digest = path.read_text().split()
    assert number == "2"
    path.write_text(f"1 {digest}\n")
    assert open_collection(root).generation == 2  # the newest one decides
    path.write_text(f"3 {digest}\n")
    with pytest.raises(CollectionFormatError, match=r"3\.json is missing though CURRENT names generation 3"):
        open_collection(root)
    path.write_text(f"2 {'0' * 64}\n")
    with pytest.raises(CollectionFormatError, match=r"2\.json is damaged.*CURRENT says"):
        open_collection(root)


@pytest.mark.parametrize("rows", [[1, 0], [0, 0], [-1, 0], [0, 6], [0], [0.0, 1.0]])
def test_a_list_of_deleted_rows_that_can_not_be_one_is_refused(root, rows):
    segment = read_current_manifest(root).segments[0]
    path = root / "deletions" / "list.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, np.array(rows))
    with pytest.raises(CollectionFormatError, match=rf"list\.npy is not a list of 2 rows of segment {segment.id}"):
        read_deletions(root, segment, DeletionInfo(file=path.name, rows=2, info=FileInfo.of(path)))


def test_a_collection_whose_current_is_a_number_alone_opens(root):
    (root / "CURRENT").write_text("1\n")
    assert open_collection(root).generation == 1


def test_a_missing_or_shortened_file_is_refused_at_opening(root):
    segment = read_current_manifest(root).segments[0]
    for name in segment.files:
        copy = root.parent / f"copy-{name.replace('.', '-')}"
        shutil.copytree(root, copy)
        path = copy / "segments" / segment.id / name
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(CollectionFormatError, match=name):
            open_collection(copy)
        path.unlink()
        with pytest.raises(CollectionFormatError, match=name):
            open_collection(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"generation": 7}, "says that it is generation 7"),
        ({"surprise": 1}, "surprise"),
        ({"segments": [{"id": "../../etc", "rows": 1, "files": {}}]}, "not a valid manifest"),
    ],
)
def test_manifests_that_are_not_ours_are_refused(root, change, message):
    path = root / "generations" / "1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CollectionFormatError, match=message):
        open_collection(root)


def test_current_must_hold_a_number(root):
    (root / "CURRENT").write_text("../1")
    with pytest.raises(CollectionFormatError, match="number of a generation"):
        open_collection(root)


def test_the_table_can_be_read_by_others(root):
    import pyarrow.feather
    import shapely

    path = root / "segments" / read_current_manifest(root).segments[0].id / "tiles.arrow"
    table = pyarrow.feather.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    shapes = dict(zip(table["tile_id"].to_pylist(), shapely.from_wkb(table["geometry"].to_pylist()), strict=True))
    assert shapes["fiji"].geom_type == "MultiPolygon"
    assert shapes["oslo"].bounds == (10.0, 59.0, 11.0, 60.0)


def add_more(root, count=6):
    """Publish a generation with some more tiles in a segment of their own."""
    with writer(root) as out:
        out.add(make_tiles(6 + count)[6:], {s: v[6:] for s, v in make_vectors(6 + count).items()})
        out.publish()


def test_a_new_generation_shares_the_segments_that_are_open_and_equals_one_opened_alone(root):
    first = open_collection(root)
    add_more(root)
    delete_tiles(root, np.array([first.row_of("fiji")]), generation=2)
    shared, alone = open_collection(root, previous=first), open_collection(root)
    assert shared.vector_parts("text")[0] is first.vector_parts("text")[0]
    assert shared.tiles.parts[0] is first.tiles.parts[0]
    assert alone.tiles.parts[0] is not first.tiles.parts[0]
    rows = np.arange(12)
    assert shared.tiles.tiles_at(rows) == alone.tiles.tiles_at(rows)
    np.testing.assert_array_equal(shared.vectors("text", rows), alone.vectors("text", rows))
    np.testing.assert_array_equal(shared.tiles.live, alone.tiles.live)
    assert (len(first), len(shared)) == (6, 11)


def test_segments_of_another_collection_are_not_shared(root, tmp_path):
    first = open_collection(root)
    shutil.copytree(root, tmp_path / "copy")
    assert open_collection(tmp_path / "copy", previous=first).tiles.parts[0] is not first.tiles.parts[0]


def test_a_damaged_file_of_a_shared_segment_is_refused_at_opening(root):
    first = open_collection(root)
    add_more(root)
    path = root / "segments" / first.manifest.segments[0].id / "text.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CollectionFormatError, match=r"text\.npy"):
        open_collection(root, previous=first)


@pytest.mark.parametrize("times", [1, 20])  # few rows are cut out one by one, many taken from each segment
def test_rows_of_several_segments_are_taken_in_the_order_asked_for(root, times):
    add_more(root)
    tiles = open_collection(root).tiles
    ids = tiles.column("tile_id").to_pylist()
    rows = np.tile([11, 0, 7, 3, 7, 5], times)
    taken = tiles.take(rows)
    assert taken["tile_id"].to_pylist() == [ids[row] for row in rows]
    countries = [tiles.countries[code] if code >= 0 else None for code in tiles.country[rows]]
    assert taken["country"].to_pylist() == countries
    assert tiles.take(np.array([], int)).num_rows == 0


def test_writers_of_one_job_leave_each_other_alone(root):
    """Several workers of one build write at once, without the lock."""
    tiles, vectors = make_tiles(26)[6:], {s: v[6:] for s, v in make_vectors(26).items()}

    def write(first):
        part = {space: array[first : first + 5] for space, array in vectors.items()}
        return write_segment(root, tiles[first : first + 5], part, [None] * 5, SPACES, generation=2, job="both").id

    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(write, [0, 5, 10, 15] * 4))
    assert len(set(ids)) == 4  # the same tiles are the same segment, whoever is first
    assert {path.name for path in (root / "segments").iterdir()} >= set(ids)
    assert not list((root / "segments").glob(".tmp-*"))
    with writer(root, job="both") as out:
        assert out.rows_pending == 20
