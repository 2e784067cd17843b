"""From version 1 of the format to today's: each old segment is written anew, row for row; vectors are only linked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from wildsat_core.collection.garbage import unpublished_segments
from wildsat_core.collection.lock import writer_lock
from wildsat_core.collection.maintain import problems_of_segment, publish_next
from wildsat_core.collection.manifest import FORMAT_VERSION, DeletionInfo, Manifest, SegmentInfo
from wildsat_core.collection.reader import Collection, open_collection, read_deletions
from wildsat_core.collection.segment import is_for_generation, segment_folder, settle_segment, write_table
from wildsat_core.collection.thumbnails import THUMBNAILS_FILE, THUMBNAILS_FILE_1, open_thumbnails, write_thumbnails
from wildsat_core.collection.tile_files import TABLE_FILE, TABLE_FILE_1, read_tiles, table_path
from wildsat_core.collection.writer import write_deletion_list
from wildsat_core.errors import CollectionFormatError
from wildsat_core.files import folder_aside

_REPLACED = (TABLE_FILE_1, THUMBNAILS_FILE_1)


def is_of_today(segment: SegmentInfo) -> bool:
    return TABLE_FILE in segment.files


def upgrade(root: Path, *, wait_s: float = 0.0, on_segment: Callable[[], None] = lambda: None) -> Manifest:
    """Publish a generation whose segments are all of today's format; rows keep their numbers, answers stay the same.

    Goes on after a kill with the segments that are written already. The old generation stays until `gc` takes it.

    Args:
        root: folder of the collection.
        wait_s: how long to wait for another writer.
        on_segment: called after each segment.

    Returns:
        The live manifest; the same as before when there was nothing to do.

    Raises:
        CollectionFormatError: a file is damaged; nothing is changed then.
        CollectionLockedError: another process is writing, or published a generation meanwhile.
    """
    with writer_lock(root, wait_s):
        base = open_collection(root)
        manifest = base.manifest
        if manifest.format_version == FORMAT_VERSION and all(map(is_of_today, manifest.segments)):
            return manifest
        done = {info.job: info for info in unpublished_segments(root, manifest)}
        segments, deleted = [], {}
        for segment in manifest.segments:
            new = segment if is_of_today(segment) else _upgraded(base, segment, done)
            segments.append(new)
            if segment.id in manifest.deleted:
                deleted[new.id] = _moved_deletions(base, segment, new)
            on_segment()
        return publish_next(base, segments=tuple(segments), deleted=deleted, ann=manifest.ann)


def _upgraded(base: Collection, segment: SegmentInfo, done: dict[str, SegmentInfo]) -> SegmentInfo:
    job = f"upgrade-{segment.id}"
    generation = base.generation + 1
    if job in done and is_for_generation(done[job], generation):
        return done[job]
    for problem in problems_of_segment(base.root, base.manifest, segment):
        raise CollectionFormatError(f"{problem}; nothing was upgraded: `wildsat index verify` tells all of it")
    old = segment_folder(base.root, segment.id)
    with folder_aside(base.root / "segments", job) as aside:
        write_table(aside, read_tiles(table_path(old)))
        pictures = open_thumbnails(old)
        write_thumbnails(aside / THUMBNAILS_FILE, [pictures.get(row) for row in range(segment.rows)])
        for name in segment.files:
            if name not in _REPLACED:
                _link(old / name, aside / name)
        return settle_segment(base.root, aside, rows=segment.rows, generation=generation, job=job)


def _link(old: Path, new: Path) -> None:
    """One content under two names, which never changes; a copy where the file system has no such thing."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


def _moved_deletions(base: Collection, segment: SegmentInfo, new: SegmentInfo) -> DeletionInfo:
    before = base.manifest.deleted[segment.id]
    if new.id == segment.id:
        return before
    return write_deletion_list(base.root, new.id, base.generation + 1, read_deletions(base.root, segment, before))
