"""Changing and checking a collection: delete, compact, name indexes and imagery, verify."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.lock import writer_lock
from wildsat_core.collection.manifest import (
    IMAGERY_FILE,
    AnnInfo,
    FileInfo,
    Manifest,
    SegmentInfo,
    read_current_manifest,
)
from wildsat_core.collection.mirror import mirror_of
from wildsat_core.collection.publish import publish_manifest, until_published
from wildsat_core.collection.reader import Collection, open_collection, read_deletions
from wildsat_core.collection.segment import (
    COMPACT_JOB,
    INFO_FILE,
    open_vectors,
    read_segment_info,
    segment_folder,
    write_segment,
)
from wildsat_core.collection.tile_files import table_path
from wildsat_core.collection.tiles import SegmentTiles
from wildsat_core.collection.writer import DEFAULT_SEGMENT_ROWS, tell_dropped_indexes, write_deletions
from wildsat_core.errors import CollectionFormatError
from wildsat_core.files import sha256_file
from wildsat_core.types import Space

RowsOf = Callable[[Collection], npt.NDArray[np.integer]]


def delete_tiles(root: Path, rows: npt.NDArray[np.integer], *, generation: int, wait_s: float = 0.0) -> Manifest:
    """Publish a generation without some rows.

    Args:
        root: folder of the collection.
        rows: (R,) to leave out, as numbered in `generation`.
        generation: the generation that the rows were looked up in.
        wait_s: how long to wait for another writer.

    Returns:
        The live manifest; unchanged when every row was gone already.

    Raises:
        CollectionFormatError: another generation was published since the rows were looked up.
        CollectionLockedError: another process is writing.
    """

    def choose(base: Collection) -> npt.NDArray[np.integer]:
        if base.generation != generation:
            raise CollectionFormatError(
                f"rows were looked up in generation {generation}, live is {base.generation}: look them up again"
            )
        return rows

    return delete_where(root, choose, wait_s=wait_s)[0]


def delete_where(root: Path, choose: RowsOf, *, wait_s: float = 0.0) -> tuple[Manifest, int]:
    """Publish a generation without the rows that `choose` finds in the live one.

    When another writer publishes meanwhile, the rows are looked up again.

    Args:
        root: folder of the collection.
        choose: gives rows (R,) of the collection it is given, deleted ones possibly among them.
        wait_s: how long to wait for another writer.

    Returns:
        The live manifest, and how many tiles were taken out; none were when it is unchanged.

    Raises:
        CollectionLockedError: another process is writing.
    """

    def attempt() -> tuple[Manifest, int]:
        base = open_collection(root)
        gone = ~base.tiles.live
        gone[choose(base)] = True
        taken = int((gone & base.tiles.live).sum())
        if not taken:
            return base.manifest, 0
        deleted = write_deletions(root, base.manifest, gone)
        return publish_next(base, deleted=deleted, ann=base.manifest.ann), taken  # rows keep their numbers

    with writer_lock(root, wait_s):
        return until_published(attempt)


def compact(root: Path, *, segment_rows: int = DEFAULT_SEGMENT_ROWS, wait_s: float = 0.0) -> Manifest:
    """Rewrite the live tiles as few sorted segments; ids and search results stay as they are.

    Memory holds one segment at a time. Tiles are dealt to the new segments along the curve, so that each new
    segment covers a region of its own. Every byte is checked first: the new segments' hashes would vouch for damage.

    Raises:
        CollectionFormatError: a file is damaged; nothing is changed.
        CollectionLockedError: another process is writing, or published a generation meanwhile.
    """
    from wildsat_core.geo import curve_key

    with writer_lock(root, wait_s):
        base = open_collection(root)
        if len(base.manifest.segments) <= 1 and not base.manifest.deleted:
            return base.manifest
        for segment in base.manifest.segments:
            for problem in problems_of_segment(root, base.manifest, segment):
                raise CollectionFormatError(f"{problem}; nothing was compacted: `wildsat index verify` tells all of it")
        rows = np.flatnonzero(base.tiles.live)
        rows = rows[np.argsort(curve_key(base.tiles.lon[rows], base.tiles.lat[rows]), kind="stable")]
        segments = tuple(
            _copy_rows(base, rows[start : start + segment_rows]) for start in range(0, len(rows), segment_rows)
        )
        manifest = publish_next(base, segments=segments, deleted={})
    tell_dropped_indexes(base.manifest)
    return manifest


def publish_next(base: Collection, **changes: Any) -> Manifest:  # noqa: ANN401 - fields of Manifest
    """Publish the generation after `base` with these fields changed; approximate indexes go unless they are named."""
    fresh = {"generation": base.generation + 1, "created_at": dt.datetime.now(dt.UTC), "ann": {}}
    changes = fresh | changes
    return publish_manifest(base.root, base.manifest.model_copy(update=changes))


def _copy_rows(base: Collection, rows: npt.NDArray[np.integer]) -> SegmentInfo:
    vectors = {space: base.vectors(space, rows) for space in base.spaces}
    tiles = base.tiles.tiles_at(rows)
    thumbnails = [base.thumbnail(int(row)) for row in rows]
    return write_segment(
        base.root, tiles, vectors, thumbnails, base.spaces, generation=base.generation + 1, job=COMPACT_JOB
    )


def publish_ann(base: Collection, found: Mapping[Space, AnnInfo], *, wait_s: float = 0.0) -> Manifest:
    """Publish a generation with the same tiles and these approximate indexes beside those it has.

    Raises:
        CollectionFormatError: another generation was published since `base` was opened.
        CollectionLockedError: another process is writing.
    """
    with writer_lock(base.root, wait_s):
        live = read_current_manifest(base.root)
        if live.generation != base.generation:
            raise CollectionFormatError(
                f"the index was built on generation {base.generation}, live is {live.generation}: build it again"
            )
        return publish_next(base, ann={**live.ann, **found})


def publish_imagery(root: Path, *, wait_s: float = 0.0) -> Manifest:
    """Publish a generation that names imagery.mbtiles as it lies in the folder now; none when it is named already.

    Raises:
        CollectionFormatError: there is no such file.
        CollectionLockedError: another process is writing.
    """
    path = root / IMAGERY_FILE
    if not path.is_file():
        raise CollectionFormatError(f"{path} is missing: write the map tiles there first")

    def attempt() -> Manifest:
        base = open_collection(root)
        imagery = FileInfo.of(path)
        if base.manifest.imagery == imagery:
            return base.manifest
        return publish_next(base, imagery=imagery, ann=base.manifest.ann)

    with writer_lock(root, wait_s):
        return until_published(attempt)


def verify(root: Path) -> list[str]:
    """Check every byte of the live generation against its manifest; in a store all objects are read, then the copy.

    Returns:
        One sentence for each thing wrong, naming the file; empty when all is well.
    """
    if mirror := mirror_of(root):
        if problems := list(mirror.problems()):
            return problems
        mirror.pull()
    try:
        manifest = read_current_manifest(root)
    except (CollectionFormatError, FileNotFoundError) as err:
        return [str(err)]
    problems = [p for segment in manifest.segments for p in problems_of_segment(root, manifest, segment)]
    problems += [p for ann in manifest.ann.values() for p in _verify_file(root / "ann" / ann.file, ann.info.sha256)]
    if manifest.imagery:
        problems += _verify_file(root / IMAGERY_FILE, manifest.imagery.sha256)
    ids: set[str] = set()
    if not problems:
        try:
            collection = Collection(root, manifest)
        except CollectionFormatError as err:
            return [str(err)]
        live = collection.tiles.column("tile_id").filter(collection.tiles.live).to_pylist()
        ids = set(live)
        if len(ids) != len(live):
            problems.append(f"{root}: {len(live) - len(ids)} tile ids occur more than once")
    return problems


def problems_of_segment(root: Path, manifest: Manifest, segment: SegmentInfo) -> Iterator[str]:
    """What is wrong with the files of a segment, in sentences."""
    folder = segment_folder(root, segment.id)
    hashes = {folder / name: info.sha256 for name, info in segment.files.items()}
    deletion = manifest.deleted.get(segment.id)
    if deletion:
        hashes[root / "deletions" / deletion.file] = deletion.info.sha256
    damaged = [problem for path, sha256 in hashes.items() for problem in _verify_file(path, sha256)]
    yield from damaged
    try:
        if read_segment_info(folder) != segment:
            yield f"{folder / INFO_FILE} is damaged: it is not the manifest's entry of the segment"
        if damaged:
            return
        if deletion:
            read_deletions(root, segment, deletion)
        path = table_path(folder)
        tiles = SegmentTiles.read(path)
        if (rows := tiles.arrow.num_rows) != segment.rows:
            yield f"{path} has {rows} rows, the manifest says {segment.rows}"
        yield from (f"{folder}: {problem}" for problem in tiles.ids().problems())
        for space, spec in manifest.spaces.items():
            vectors = open_vectors(root, segment, space, spec)
            if not all(np.isfinite(vectors[i : i + 65_536]).all() for i in range(0, len(vectors), 65_536)):
                yield f"{folder / f'{space}.npy'} holds numbers that are not finite"
    except CollectionFormatError as err:
        yield str(err)


def _verify_file(path: Path, sha256: str) -> Iterator[str]:
    if not path.is_file():
        yield f"{path} is missing"
    elif (found := sha256_file(path)) != sha256:
        yield f"{path} is damaged: its SHA-256 is {found}, the manifest says {sha256}"
