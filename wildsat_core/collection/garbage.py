"""Collecting garbage: what no reader can want any more, and what killed writers left behind."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from wildsat_core.collection.lock import writer_lock
from wildsat_core.collection.manifest import Manifest, SegmentInfo, manifest_path, read_current_manifest, read_manifest
from wildsat_core.collection.mirror import Mirror, mirror_of
from wildsat_core.collection.segment import COMPACT_JOB, INFO_FILE, read_segment_info, segment_folder
from wildsat_core.errors import CollectionFormatError
from wildsat_core.files import ABANDONED_S, TEMPORARY_PREFIX, is_abandoned, name_aside

GRACE_S = 3600.0
UNFINISHED_S = 7 * 24 * 3600.0
_INDEX_S = 24 * 3600.0  # an index is built without the lock, so a young one may be on its way
_WRITTEN_ASIDE = ("", "segments/", "deletions/", "generations/", "jobs/")


def collect_garbage(
    root: Path, *, grace_s: float = GRACE_S, unfinished_s: float = UNFINISHED_S, wait_s: float = 0.0
) -> Sequence[Path]:
    """Remove the files of generations that ended long enough ago, and what killed writers left, and nothing else.

    A generation ends when the next one begins: a service that has not looked since may still open thumbnails of it.

    Args:
        root: folder of the collection.
        grace_s: keep generations that ended within this many seconds, and what they need.
        unfinished_s: keep segments of interrupted builds, which the same command goes on from, for so many seconds;
            what was not written to its end is kept for a day, or this time when it is shorter.
        wait_s: how long to wait for another writer.

    Returns:
        The files and folders that were removed.

    Raises:
        CollectionFormatError: a manifest is damaged; nothing is removed then.
        CollectionLockedError: another process is writing.
    """
    mirror = mirror_of(root)
    in_store = [] if mirror is None else _collect_in_store(mirror, grace_s, unfinished_s)
    with writer_lock(root, wait_s):
        now = time.time()
        given_up = partial(is_abandoned, older_than_s=min(ABANDONED_S, unfinished_s))
        kept, over = _by_end(_manifests(root), now - grace_s)
        needed = {file for manifest in kept for file in _files_of(root, manifest)}
        named = {file for manifest in over for file in _files_of(root, manifest)} - needed
        segments = {info.parent for info in root.glob(f"segments/*/{INFO_FILE}")}
        left = [
            *(path for path in segments if _age_s(path, now) > _keep_s(path, grace_s, unfinished_s)),
            *(path for path in root.glob("deletions/[!.]*-*.npy") if _age_s(path, now) > grace_s),
            *(path for path in root.glob("ann/*.faiss") if _age_s(path, now) > _INDEX_S),
            *(path for path in root.glob("jobs/*/kept/*/segments") if _age_s(path, now) > unfinished_s),
            *(path for part in _WRITTEN_ASIDE for path in root.glob(f"{part}{TEMPORARY_PREFIX}*") if given_up(path)),
        ]
        garbage = {path for path in [*named, *left] if path not in needed and path.exists()}
        # Manifests go last: killed in between, the next run finds by them what else to remove.
        manifests = [manifest_path(root, manifest.generation) for manifest in over]
        return [*in_store, *_remove(sorted(garbage)), *_remove(manifests)]


def _collect_in_store(mirror: Mirror, grace_s: float, unfinished_s: float) -> list[Path]:
    """The same in a store, which has no lock: whoever publishes after longer than the grace period begins again.

    Returns:
        The keys of the objects that were removed.
    """
    now = time.time()
    kept, over = _by_end([mirror.manifest(number) for number in mirror.generations()], now - grace_s)
    needed = {file.as_posix() for manifest in kept for file in _files_of(Path(), manifest)}
    ended = {file.as_posix() for manifest in over for file in _files_of(Path(), manifest)}
    keys: dict[str, list[str]] = {}  # of each deletion list, index and segment
    ages: dict[str, float] = {}
    for one in mirror.objects():
        parts = one.key.split("/")
        if parts[0] in ("segments", "deletions", "ann"):
            whole = "/".join(parts[:2])
            keys.setdefault(whole, []).append(one.key)
            ages[whole] = min(ages.get(whole, math.inf), now - one.written_at.timestamp())
    limits = {"deletions": grace_s, "ann": _INDEX_S}

    def is_over(whole: str) -> bool:
        if whole in ended:
            return True
        kind = whole.partition("/")[0]
        return ages[whole] > (
            _keep_in_store_s(mirror, whole, grace_s, unfinished_s) if kind == "segments" else limits[kind]
        )

    garbage = [whole for whole in sorted(keys) if whole not in needed and is_over(whole)]
    # Of a segment its entry goes first: what is left of it must not look like one to go on from. Manifests go last.
    removed = [key for whole in garbage for key in sorted(keys[whole], key=lambda key: not key.endswith(INFO_FILE))]
    removed += [f"generations/{manifest.generation}.json" for manifest in over]
    mirror.delete(removed)
    return [Path(key) for key in removed]


def _keep_in_store_s(mirror: Mirror, segment: str, grace_s: float, unfinished_s: float) -> float:
    """How old a segment that no generation names may get."""
    entry = mirror.get(f"{segment}/{INFO_FILE}")
    try:
        job = SegmentInfo.model_validate_json(entry).job if entry is not None else "being uploaded"
    except ValueError:
        return grace_s
    return grace_s if job in ("", COMPACT_JOB) else unfinished_s


def _manifests(root: Path) -> list[Manifest]:
    """All that lie in a folder, ascending."""
    live = read_current_manifest(root)
    numbers = sorted(int(path.stem) for path in root.glob("generations/*.json") if path.stem.isdigit())
    return [live if number == live.generation else read_manifest(root, number) for number in numbers]


def _by_end(manifests: Sequence[Manifest], since: float) -> tuple[list[Manifest], list[Manifest]]:
    """The live manifest, which is the last one, with those that ended after `since`, and the others."""
    live = manifests[-1]
    ends = [manifest.created_at.timestamp() for manifest in [*manifests[1:], *manifests[-1:]]]
    kept: list[Manifest] = [live]
    over: list[Manifest] = []
    for manifest, end in zip(manifests, ends, strict=True):
        if manifest.generation != live.generation:
            (kept if end > since else over).append(manifest)
    return kept, over


def _files_of(root: Path, manifest: Manifest) -> Iterable[Path]:
    yield from (root / "ann" / ann.file for ann in manifest.ann.values())
    yield from (segment_folder(root, segment.id) for segment in manifest.segments)
    yield from (root / "deletions" / deletion.file for deletion in manifest.deleted.values())


def unpublished_segments(root: Path, manifest: Manifest) -> Iterator[SegmentInfo]:
    """Whole segments that a generation does not name: of a build that was killed, or is at work."""
    published = {segment.id for segment in manifest.segments}
    for path in sorted(root.glob(f"segments/[!.]*/{INFO_FILE}")):
        if path.parent.name not in published:
            yield read_segment_info(path.parent)


def _keep_s(segment: Path, grace_s: float, unfinished_s: float) -> float:
    """How old a segment that no generation names may get."""
    try:
        job = read_segment_info(segment).job
    except CollectionFormatError:
        return grace_s
    return grace_s if job in ("", COMPACT_JOB) else unfinished_s


def _age_s(path: Path, now: float) -> float:
    return now - path.stat().st_mtime


def _remove(paths: Iterable[Path]) -> list[Path]:
    removed = list(paths)
    for path in removed:
        if path.is_dir():  # renamed first: half a segment must not look like one to go on from
            aside = path.rename(path.with_name(name_aside(path.name)))
            shutil.rmtree(aside)
        else:
            path.unlink()
    return removed
