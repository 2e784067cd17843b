"""Writing to a collection: tiles gather into segments, segments become a generation, all at once or not at all."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import logging
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.id_index import IdIndex, SegmentIds
from wildsat_core.collection.lock import writer_lock
from wildsat_core.collection.manifest import (
    FORMAT_VERSION,
    DeletionInfo,
    FileInfo,
    Manifest,
    SegmentInfo,
    is_collection_name,
    read_current_manifest,
)
from wildsat_core.collection.provenance import with_source
from wildsat_core.collection.publish import publish_manifest, until_published
from wildsat_core.collection.reader import live_rows
from wildsat_core.collection.segment import (
    INFO_FILE,
    is_for_generation,
    read_segment_info,
    segment_folder,
    write_segment,
)
from wildsat_core.collection.tile_files import read_ids
from wildsat_core.errors import (
    CollectionFormatError,
    CollectionNotFoundError,
    GenerationTakenError,
    InvalidInputError,
    ModelMismatchError,
)
from wildsat_core.files import TEMPORARY_PREFIX, file_aside, fsync_path, is_abandoned, remove_abandoned
from wildsat_core.ids import is_tile_id
from wildsat_core.types import ModelRef, Space, SpaceSpec, Tile

logger = logging.getLogger(__name__)

Vectors = npt.NDArray[np.floating]

DEFAULT_SEGMENT_ROWS = 65_536
_JOB = re.compile(r"^[A-Za-z0-9_-]{0,64}$")


def check_collection_name(name: str) -> str:
    """Refuse names that are not plain folder names.

    Raises:
        InvalidInputError: anything but up to 64 lower-case letters, digits, '-' and '_'.
    """
    if not is_collection_name(name):
        raise InvalidInputError(
            f"collection name {name!r} must be 1 to 64 lower-case letters, digits, '-' or '_'", "collection"
        )
    return name


@dataclass(frozen=True, slots=True)
class _Base:
    """What adding to a generation must know of it: which ids it holds, and nothing else that grows with it.

    Attributes:
        segments: the ids of each segment's rows.
        ids: finds all rows by id.
        live: (N,) False for deleted rows.
    """

    manifest: Manifest
    segments: Mapping[str, SegmentIds]
    ids: IdIndex
    live: npt.NDArray[np.bool_]

    @classmethod
    def open(cls, root: Path, manifest: Manifest, previous: _Base | None = None) -> _Base:
        """Read the ids, but for those of the segments that an earlier generation has too."""
        known = dict(previous.segments) if previous else {}
        missing = [segment for segment in manifest.segments if segment.id not in known]
        with ThreadPoolExecutor() as threads:
            read = threads.map(lambda segment: _ids(root, segment), missing)
            known |= {segment.id: ids for segment, ids in zip(missing, read, strict=True)}
        index = IdIndex([known[segment.id] for segment in manifest.segments])
        return cls(manifest, known, index, live_rows(root, manifest))

    def known(self, tile_ids: Iterable[str]) -> set[str]:
        """Which of these ids are live."""
        return {tile_id for row, tile_id in self.ids.found(tile_ids) if self.live[row]}


def _ids(root: Path, segment: SegmentInfo) -> SegmentIds:
    folder = segment_folder(root, segment.id)
    column = read_ids(folder)
    if len(column) != segment.rows:
        raise CollectionFormatError(f"segment {segment.id} has {len(column)} tiles, the manifest says {segment.rows}")
    return SegmentIds.read(folder, column)


class CollectionWriter:
    """Adds tiles to a collection, which it makes if there is none.

    Use as a context manager: it holds the writer lock. Nothing is visible to readers before `publish`; leaving the
    block without it leaves whole segments on disk, and a later writer of the same `job` goes on from them.

    Args:
        root: folder of the collection.
        name: its name; must match when the collection exists.
        model: which model makes the vectors; must match when the collection exists.
        spaces: the named sets of vectors that every tile has.
        job: names the build, for going on after an interruption.
        restart: begin anew: remove what an interrupted build of this job left.
        segment_rows: tiles gathered in memory before a segment is written.
        wait_s: how long to wait for another writer.

    Attributes:
        dropped: of the tiles published, those left out since another process published their ids meanwhile. The lock
            forbids that where all writers see it, which is not so on every file system of several machines.

    Raises:
        ModelMismatchError: the collection was made by another model, or has other spaces.
        CollectionLockedError: another process is writing.
        DiskFullError: there was no room; whole segments stay, and nothing was published.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        model: ModelRef,
        spaces: Mapping[Space, SpaceSpec],
        *,
        job: str = "",
        segment_rows: int = DEFAULT_SEGMENT_ROWS,
        wait_s: float = 0.0,
        restart: bool = False,
    ) -> None:
        """Only remember; `__enter__` takes the lock and reads."""
        if not _JOB.fullmatch(job):
            raise InvalidInputError(f"job {job!r} must be at most 64 letters, digits, '-' or '_'", "job")
        self.root = Path(root)
        self._name = check_collection_name(name)
        self._model, self._spaces, self._job = model, dict(spaces), job
        self._segment_rows, self._wait_s, self._restart = segment_rows, wait_s, restart
        self._stack = ExitStack()
        self._base: _Base | None = None
        self._pending: list[SegmentInfo] = []
        self._pending_ids: set[str] = set()
        self._replaced: set[str] = set()
        self._on_known: Literal["skip", "replace"] = "skip"
        self._overtaken = False
        self.dropped = 0
        self._tiles: list[Tile] = []
        self._vectors: dict[Space, list[Vectors]] = {space: [] for space in spaces}
        self._thumbnails: list[bytes | None] = []

    def __enter__(self) -> Self:
        """Take the lock, open what is live, pick up whole segments of an interrupted build of this job."""
        self._stack.enter_context(writer_lock(self.root, self._wait_s))
        try:
            self._base = self._open_base()
            self._sweep_and_adopt()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def _next_generation(self) -> int:
        return self._base.manifest.generation + 1 if self._base else 1

    @property
    def rows_pending(self) -> int:
        """Tiles added (or picked up from an interrupted build) and not yet published."""
        return len(self._pending_ids)

    def known(self, tile_ids: Iterable[str]) -> set[str]:
        """Which of these ids are live in the collection or wait for publishing."""
        ids = set(tile_ids)
        found = ids & self._pending_ids
        return found | self._base.known(ids - found) if self._base else found

    def pending(self, tile_ids: Iterable[str]) -> set[str]:
        """Which of these ids wait for publishing, from this run or an interrupted one."""
        return set(tile_ids) & self._pending_ids

    def add(
        self,
        tiles: Sequence[Tile],
        vectors: Mapping[Space, Vectors],
        thumbnails: Sequence[bytes | None] | None = None,
        *,
        on_known: Literal["skip", "replace"] = "skip",
    ) -> int:
        """Add a batch of tiles.

        Args:
            tiles: N tiles; a repeated id within the batch counts once, the first stays.
            vectors: (N, D) for each space of the collection.
            thumbnails: N WebP pictures or None.
            on_known: what to do with tiles whose id is live already: leave them, or put the new ones in their place.

        Returns:
            How many were taken.

        Raises:
            InvalidInputError: a space is missing or one too many, lengths differ, or a tile has an id that can't be
                served or numbers that are none.
        """
        thumbnails = thumbnails if thumbnails is not None else [None] * len(tiles)
        if set(vectors) != set(self._spaces):
            raise InvalidInputError(
                f"vectors must be given for {sorted(self._spaces)}, got {sorted(vectors)}", "vectors"
            )
        if any(len(v) != len(tiles) for v in (*vectors.values(), thumbnails)):
            raise InvalidInputError(
                f"tiles, vectors and thumbnails must agree in length ({len(tiles)} tiles)", "vectors"
            )
        for tile in tiles:
            check_tile(tile)
        keep = self._choose([tile.tile_id for tile in tiles], on_known)
        self._tiles += [tiles[i] for i in keep]
        self._thumbnails += [thumbnails[i] for i in keep]
        for space, array in vectors.items():
            self._vectors[space].append(np.asarray(array)[keep])
        if len(self._tiles) >= self._segment_rows:
            self.flush()
        return len(keep)

    def _choose(self, ids: Sequence[str], on_known: Literal["skip", "replace"]) -> list[int]:
        known = self.known(ids)
        self._on_known = on_known
        if on_known == "replace":
            self._replaced |= known - self._pending_ids
            known &= self._pending_ids
        keep = []
        for i, tile_id in enumerate(ids):
            if tile_id not in known:
                known.add(tile_id)
                keep.append(i)
        self._pending_ids.update(ids[i] for i in keep)
        return keep

    def flush(self) -> None:
        """Write the gathered tiles as a segment; after this a kill no longer loses them."""
        if not self._tiles:
            return
        vectors = {space: np.concatenate(parts) for space, parts in self._vectors.items()}
        segment = write_segment(
            self.root,
            self._tiles,
            vectors,
            self._thumbnails,
            self._spaces,
            generation=self._next_generation,
            job=self._job,
        )
        self._pending.append(segment)
        self._tiles, self._thumbnails = [], []
        self._vectors = {space: [] for space in self._spaces}

    def publish(
        self, provenance: Mapping[str, Any] | None = None, calibration: Mapping[str, Any] | None = None
    ) -> Manifest:
        """Make everything added so far visible as one new generation.

        Args:
            provenance: what people are told of the imagery added; listed beside that of earlier builds.
            calibration: merged over that of the last generation.

        Returns:
            The live manifest; the same as before when nothing changed.
        """
        self.flush()

        def attempt() -> Manifest:
            try:
                return self._published(provenance or {}, calibration or {})
            except GenerationTakenError:
                self._base, self._overtaken = self._open_base(), True
                raise

        return until_published(attempt)

    def _published(self, provenance: Mapping[str, Any], calibration: Mapping[str, Any]) -> Manifest:
        """Publish after the generation that is open."""
        base = self._base.manifest if self._base else None
        new = bool(self._pending) or base is None
        provenance = with_source(base.provenance if base else {}, provenance, new=new)
        calibration = {**(base.calibration if base else {}), **calibration}
        unchanged = base and not self._pending and base.provenance == provenance and base.calibration == calibration
        if base and unchanged:
            return base
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            name=self._name,
            generation=self._next_generation,
            created_at=dt.datetime.now(dt.UTC),
            model=self._model,
            spaces=self._spaces,
            segments=(*(base.segments if base else ()), *self._pending),
            imagery=base.imagery if base else None,
            calibration=calibration,
            provenance=provenance,
        )
        deleted = self._deletions(self._base, manifest) if self._base else {}
        manifest = publish_manifest(self.root, manifest.model_copy(update={"deleted": deleted}))
        if base:
            tell_dropped_indexes(base)
        self._base = _Base.open(self.root, manifest, self._base)
        self._pending, self._pending_ids, self._replaced, self._overtaken = [], set(), set(), False
        return manifest

    def _deletions(self, base: _Base, manifest: Manifest) -> dict[str, DeletionInfo]:
        """Lists of a manifest after `base`: rows that are replaced, and new ones whose ids are live meanwhile."""
        known = base.known(self._pending_ids) - self._replaced if self._overtaken else set()
        replaced = self._replaced | (known if self._on_known == "replace" else set())
        dropped = known - replaced
        self.dropped = len(dropped)
        if not (replaced or dropped):
            return dict(base.manifest.deleted)
        gone = np.concatenate([~base.live, np.zeros(manifest.rows - base.manifest.rows, bool)])
        gone[base.ids.rows_of(replaced)] = True
        if dropped:
            pending = IdIndex([_ids(self.root, segment) for segment in self._pending])
            gone[base.manifest.rows + pending.rows_of(dropped)] = True
        before = manifest.model_copy(update={"generation": base.manifest.generation, "deleted": base.manifest.deleted})
        return write_deletions(self.root, before, gone)

    def _open_base(self) -> _Base | None:
        try:
            manifest = read_current_manifest(self.root)
        except CollectionNotFoundError:
            return None
        check_of_model(manifest, self.root, self._name, self._model)
        if manifest.spaces != self._spaces:
            raise ModelMismatchError(f"collection {self._name!r} has spaces {manifest.spaces}, you add {self._spaces}")
        return _Base.open(self.root, manifest)

    def _sweep_and_adopt(self) -> None:
        """Remove what was left half-written long ago; take over whole segments that a killed run of this job left."""
        segments = self.root / "segments"
        published = {s.id for s in self._base.manifest.segments} if self._base else set()
        for folder in sorted(segments.iterdir()) if segments.is_dir() else []:
            if folder.name.startswith(TEMPORARY_PREFIX):
                if is_abandoned(folder):  # a young one may be another worker's
                    remove_abandoned(folder)
            elif self._job and folder.name not in published and (folder / INFO_FILE).is_file():
                self._adopt(read_segment_info(folder))

    def _adopt(self, segment: SegmentInfo) -> None:
        if segment.job != self._job:
            return
        if self._restart:
            shutil.rmtree(segment_folder(self.root, segment.id))
            return
        if not {f"{space}.npy" for space in self._spaces} <= set(segment.files):
            return
        ids = read_ids(segment_folder(self.root, segment.id)).to_pylist()
        known = self.known(ids)
        # Live ids mean a job that replaces, unless the segment is of an older generation: then its job was published
        # in another cut, or the tiles have changed since, and gc removes it.
        if known & self._pending_ids or (known and not is_for_generation(segment, self._next_generation)):
            return
        logger.info("going on from segment %s with %d tiles", segment.id, segment.rows)
        self._replaced |= known
        self._pending.append(segment)
        self._pending_ids.update(ids)


def check_of_model(manifest: Manifest, root: Path, name: str, model: ModelRef) -> None:
    """Refuse to add to a collection of another name or model.

    Raises:
        ModelMismatchError: naming both.
    """
    if manifest.name != name:
        raise ModelMismatchError(f"{root} holds the collection {manifest.name!r}, not {name!r}")
    if manifest.model != model:
        raise ModelMismatchError(
            f"collection {name!r} was made by {manifest.model.beside(model)}, you are adding with "
            f"{model.beside(manifest.model)}; use that model, or build under another name"
        )


def check_tile(tile: Tile) -> None:
    """Refuse a tile that no search could give back: sources bring theirs into form before.

    Raises:
        InvalidInputError: naming what is wrong.
    """
    if not is_tile_id(tile.tile_id):
        raise InvalidInputError(
            f"the tile id {tile.tile_id!r} can't be served: it must be 1 to 128 letters, digits or _.:@+~-, the first "
            "a letter or a digit (wildsat_core.ids.tile_id_of makes one of any name)",
            "tile_id",
        )
    if not 0 <= tile.gsd_m < math.inf:
        raise InvalidInputError(f"tile {tile.tile_id}: gsd_m must be a size in metres, got {tile.gsd_m}", "gsd_m")
    if tile.cloud_cover is not None and not 0 <= tile.cloud_cover <= 1:
        raise InvalidInputError(
            f"tile {tile.tile_id}: cloud cover must lie in [0, 1], got {tile.cloud_cover}", "cloud_cover"
        )
    if tile.land_share is not None and not 0 <= tile.land_share <= 1:
        raise InvalidInputError(
            f"tile {tile.tile_id}: land share must lie in [0, 1], got {tile.land_share}", "land_share"
        )


def tell_dropped_indexes(before: Manifest) -> None:
    """Say which approximate indexes a generation with other rows could not take over from the one before it."""
    for space, ann in before.ann.items():
        logger.warning(
            "the %s index of the %s space does not know the new rows and was dropped; build it again with "
            "`wildsat index ann %s --kind %s --space %s`",
            ann.kind,
            space,
            before.name,
            ann.kind,
            space,
        )


def write_deletions(root: Path, base: Manifest, gone: npt.NDArray[np.bool_]) -> dict[str, DeletionInfo]:
    """Write the deletion lists of the generation after `base`.

    Args:
        root: folder of the collection.
        base: the generation to start from.
        gone: (N,) True for the rows of `base` to leave out, those that it leaves out already among them.

    Returns:
        All deletion lists of the generation to come, by segment.
    """
    deleted = dict(base.deleted)
    start = 0
    for segment in base.segments:
        mine = np.flatnonzero(gone[start : start + segment.rows]).astype(np.int64)
        start += segment.rows
        before = deleted[segment.id].rows if segment.id in deleted else 0
        if len(mine) == before:
            continue
        deleted[segment.id] = write_deletion_list(root, segment.id, base.generation + 1, mine)
    return deleted


def write_deletion_list(root: Path, segment_id: str, generation: int, rows: npt.NDArray[np.int64]) -> DeletionInfo:
    """Write the rows (R,) for a generation; the name tells the content, so two writers don't overwrite each other's."""
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    path = root / "deletions" / f"{segment_id}-{generation}-{sha256[:8]}.npy"
    path.parent.mkdir(exist_ok=True)
    with file_aside(path) as file:
        file.write(content.getvalue())
    fsync_path(path.parent)
    return DeletionInfo(file=path.name, rows=len(rows), info=FileInfo.of(path))
