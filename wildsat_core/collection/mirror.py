"""The local copy of a collection that is kept in a store: what is written goes there, what is read is fetched.

A copy is a collection's folder with a file STORE in it. All code that reads and writes such folders stays as it is:
only generations, and the small files that several machines agree on, are asked of the store first.

What is fetched is written aside, hashed, and put under its name only if it is what the manifest says. A file that lies
there already counts if it is the very one that was checked before (size and time are noted in `.arrived.json`), or
has the right hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from filelock import FileLock

from wildsat_core.collection.copies import ARRIVED_FILE, USED_FILE, WHOLE_FILE, Copies, copies_of, make_room
from wildsat_core.collection.manifest import (
    IMAGERY_FILE,
    FileInfo,
    Manifest,
    SegmentInfo,
    manifest_path,
    newest_generation,
    read_manifest,
)
from wildsat_core.collection.store import Store, Stored, open_store
from wildsat_core.errors import (
    CollectionFormatError,
    CollectionNotFoundError,
)
from wildsat_core.files import file_aside, sha256_file, write_text_atomically

logger = logging.getLogger(__name__)

STORE_FILE: Final = "STORE"
INFO_FILE: Final = "segment.json"
ID_FILES: Final = ("tiles.arrow", "ids.npy", "ids.rows.npy")
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file that a generation names."""

    key: str
    info: FileInfo


class Mirror:
    """A collection in a store, and its local copy.

    Raises:
        UnreachableError: from all methods: the store can't be reached.
    """

    def __init__(self, root: Path, store: Store) -> None:
        """Remember; `mirror_of` and `mirrored` open."""
        self.root, self.store = root, store
        self._kind = next((kind for kind in Copies if kind and root.parent.name.endswith(kind)), Copies.WHOLE)

    # What several machines agree on.

    def get(self, key: str) -> bytes | None:
        return self.store.get(self._key(key))

    def put(self, key: str, content: bytes | Path) -> None:
        self.store.put(self._key(key), content)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        return self.store.put_if_absent(self._key(key), content)

    def objects(self, prefix: str = "") -> list[Stored]:
        """All below a folder of the collection, by their paths within it."""
        start = len(self.root.name) + 1
        return [replace(one, key=one.key[start:]) for one in self.store.listed(self._key(prefix))]

    def delete(self, keys: Iterable[str]) -> None:
        self.store.delete([self._key(key) for key in keys])

    def newest(self) -> int:
        """Number of the live generation in the store, 0 for none."""
        return max(self.generations(), default=0)

    def generations(self) -> list[int]:
        """Numbers of those in the store, ascending."""
        names = (one.key.removeprefix("generations/").removesuffix(".json") for one in self.objects("generations/"))
        return sorted(int(name) for name in names if name.isdecimal())

    def _key(self, key: str) -> str:
        return f"{self.root.name}/{key}"

    # Fetching.

    def pull(self, generation: int | None = None) -> int:
        """Bring the live generation, or a named one, into the copy; a reader of the copy sees it when all is there.

        Args:
            generation: which one; None for the live one.

        Returns:
            The number of the live generation.

        Raises:
            CollectionNotFoundError: the store has no such collection.
            CollectionFormatError: an object is missing, or not what the manifest says; it is named.
            CacheTooSmallError: the generation does not fit.
        """
        with FileLock(self.root / ".fetch", mode=0o644):
            newest = self.newest()
            if not newest:
                raise CollectionNotFoundError(
                    f"no collection {self.root.name!r} in {self.store.address}: `wildsat index build` makes one"
                )
            (self.root / USED_FILE).touch()
            wanted = generation or newest
            if generation is None and self._is_whole(newest):
                return newest
            try:
                self._bring(wanted)
            except CollectionFormatError:
                if generation is not None or self.newest() == newest:
                    raise
                newest = wanted = self.newest()  # the old one was collected while it was fetched
                self._bring(newest)
            if wanted == newest:
                self._show(newest)
            return newest

    def _is_whole(self, generation: int) -> bool:
        """Whether the copy has this generation as its live one."""
        try:
            whole = (self.root / WHOLE_FILE).read_text(encoding="ascii")
        except OSError:
            return False
        return self._kind != Copies.IDS and whole == f"{generation}" and newest_generation(self.root) == generation

    def forget(self) -> None:
        """Take the generations out of the copy: the store has no such collection, or no longer."""
        for path in (self.root / "CURRENT", self.root / WHOLE_FILE, *(self.root / "generations").glob("[0-9]*.json")):
            path.unlink(missing_ok=True)

    def _show(self, generation: int) -> None:
        """Let readers of the copy see a generation, and none that the store does not have."""
        for path in (self.root / "generations").glob("[0-9]*.json"):
            if path.stem.isdecimal() and int(path.stem) > generation:
                path.unlink()
        sha256 = sha256_file(manifest_path(self.root, generation))
        write_text_atomically(self.root / "CURRENT", f"{generation} {sha256}\n")
        if self._kind != Copies.IDS:
            write_text_atomically(self.root / WHOLE_FILE, f"{generation}")

    def _bring(self, generation: int) -> None:
        manifest = self.manifest(generation)
        self._bring_files(manifest, [one for one in _files_of(manifest) if _is_of(self._kind, one.key)])
        if self._kind == Copies.WHOLE:
            for segment in manifest.segments:
                path = self.root / "segments" / segment.id / INFO_FILE
                if not path.is_file():
                    write_text_atomically(path, segment.model_dump_json(indent=1) + "\n")
        self._name_manifest(generation)

    def bring_part(self, manifest: Manifest, part: Manifest) -> None:
        """Bring some segments of a generation, and what of them is deleted; the copy shows the generation then.

        Args:
            manifest: of the generation.
            part: the same with these segments alone.

        Raises:
            CollectionFormatError: an object is missing, or not what the manifest says; it is named.
            CacheTooSmallError: the part does not fit.
        """
        with FileLock(self.root / ".fetch", mode=0o644):
            (self.root / USED_FILE).touch()
            self._bring_files(manifest, [one for one in _files_of(part) if one.key != IMAGERY_FILE])
            self.manifest(manifest.generation)
            self._name_manifest(manifest.generation)
            self._show(manifest.generation)

    def _bring_files(self, manifest: Manifest, wanted: Sequence[_Wanted]) -> None:
        missing = [one for one in wanted if not self._is_trusted(one)]
        make_room(self.root.parents[1], sum(one.info.bytes for one in missing), manifest, self.root)
        self._fetch_all(missing)

    def _name_manifest(self, generation: int) -> None:
        aside = self.root / ".fetched" / "generations" / f"{generation}.json"
        aside.rename(manifest_path(self.root, generation))

    def manifest(self, generation: int) -> Manifest:
        """A generation's manifest, checked, and written aside."""
        content = self.get(f"generations/{generation}.json")
        name = self.store.name_of(self._key(f"generations/{generation}.json"))
        if content is None:
            raise CollectionFormatError(f"{name} is missing")
        told = (self.get("CURRENT") or b"").decode("ascii", "replace").split()
        found = hashlib.sha256(content).hexdigest()
        if told[:1] == [str(generation)] and told[1:] not in ([], [found]):
            raise CollectionFormatError(f"{name} is damaged: its SHA-256 is {found}, CURRENT says {told[1]}")
        (self.root / "generations").mkdir(exist_ok=True)
        aside = self.root / ".fetched"
        write_text_atomically(aside / "generations" / f"{generation}.json", content.decode("utf-8", "replace"))
        return read_manifest(aside, generation)

    def fetch_segments(self, segments: Sequence[SegmentInfo]) -> None:
        """Bring what tells the ids of segments that no generation names yet."""
        wanted = [one for segment in segments for one in _files_of_segment(segment) if _tells_ids(one.key)]
        self._fetch_all([one for one in wanted if not self._is_trusted(one)])

    def _fetch_all(self, missing: Sequence[_Wanted]) -> None:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="wildsat-fetch") as threads:
            list(threads.map(self._fetch, missing))
        self._note(missing)

    def _is_trusted(self, wanted: _Wanted) -> bool:
        """Whether the copy has a file as the manifest names it."""
        path = self.root / wanted.key
        try:
            mark = _mark(path)
        except OSError:
            return False
        if mark[0] != wanted.info.bytes:
            return False
        if _arrivals(path.parent).get(path.name) == [*mark, wanted.info.sha256]:
            return True
        if sha256_file(path) != wanted.info.sha256:
            return False
        self._note([wanted])
        return True

    def _fetch(self, wanted: _Wanted) -> None:
        path, key = self.root / wanted.key, self._key(wanted.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_aside(path) as file:
            sha256 = self.store.get_into(key, file)
            if problem := _problem(self.store.name_of(key), sha256, wanted.info):
                raise CollectionFormatError(f"{problem}; it was not taken. `wildsat index verify` tells all of it")

    def _note(self, checked: Sequence[_Wanted]) -> None:
        """Note of files that they are what the manifest says, as they lie there now."""
        folders: dict[Path, dict[str, list[object]]] = {}
        for one in checked:
            path = self.root / one.key
            folders.setdefault(path.parent, {})[path.name] = [*_mark(path), one.info.sha256]
        with FileLock(self.root / ".arrivals", mode=0o644):
            for folder, marks in folders.items():
                write_text_atomically(folder / ARRIVED_FILE, json.dumps({**_arrivals(folder), **marks}))

    # Publishing.

    def push(self, manifest: Manifest) -> None:
        """Upload what a manifest names and the store lacks: all of it lies there before the manifest does."""
        live = newest_generation(self.root)
        known = {one.key: one.info for one in _files_of(read_manifest(self.root, live))} if live else {}
        for segment in manifest.segments:
            if any(known.get(one.key) != one.info for one in _files_of_segment(segment)):
                self.push_segment(segment)
        for one in _files_of(manifest):
            if not one.key.startswith("segments/") and known.get(one.key) != one.info:
                self.put(one.key, self.root / one.key)
                self._note([one])

    def push_segment(self, segment: SegmentInfo) -> None:
        """Upload a segment, its own entry last; one that is there whole stays."""
        entry = f"segments/{segment.id}/{INFO_FILE}"
        if self.get(entry) is not None:
            return
        files = _files_of_segment(segment)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="wildsat-push") as threads:
            list(threads.map(lambda one: self.put(one.key, self.root / one.key), files))
        self.put(entry, segment.model_dump_json(indent=1).encode() + b"\n")
        self._note(files)

    def problems(self) -> Iterator[str]:
        """What is wrong in the store with the live generation, in sentences: every object is read."""
        try:
            manifest = self.manifest(self.newest())
        except CollectionFormatError as err:
            yield str(err)
            return
        wanted = list(_files_of(manifest))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="wildsat-verify") as threads:
            hashes = threads.map(lambda one: self.store.get_into(self._key(one.key), None), wanted)
            for one, sha256 in zip(wanted, hashes, strict=True):
                if problem := _problem(self.store.name_of(self._key(one.key)), sha256, one.info):
                    yield problem


def mirror_of(root: Path) -> Mirror | None:
    """The store's side of a folder, None for a collection that is nowhere else."""
    marker = root / STORE_FILE
    try:
        address = marker.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _mirror(root.absolute(), address)


@lru_cache
def _mirror(root: Path, address: str) -> Mirror:
    return Mirror(root, open_store(address))


def mirrored(address: str, name: str, copies: Path | None = None) -> Mirror:
    """A collection of a store, with its copy; nothing is fetched yet.

    Args:
        address: of the store.
        name: of the collection.
        copies: folder of the store's copies; None for that in the cache.
    """
    root = (copies or copies_of(address)) / name
    root.mkdir(parents=True, exist_ok=True)
    if not (root / STORE_FILE).is_file():
        write_text_atomically(root / STORE_FILE, open_store(address).address + "\n")
    found = mirror_of(root)
    assert found is not None
    return found


def _files_of(manifest: Manifest) -> Iterator[_Wanted]:
    for segment in manifest.segments:
        yield from _files_of_segment(segment)
    yield from (_Wanted(f"deletions/{one.file}", one.info) for one in manifest.deleted.values())
    yield from (_Wanted(f"ann/{one.file}", one.info) for one in manifest.ann.values())
    if manifest.imagery:
        yield _Wanted(IMAGERY_FILE, manifest.imagery)


def _files_of_segment(segment: SegmentInfo) -> list[_Wanted]:
    return [_Wanted(f"segments/{segment.id}/{name}", info) for name, info in segment.files.items()]


def _is_of(kind: Copies, key: str) -> bool:
    """Whether copies of a kind have a file of a generation."""
    if kind == Copies.IDS:
        return _tells_ids(key)
    return kind == Copies.WHOLE or key == IMAGERY_FILE


def _tells_ids(key: str) -> bool:
    return key.startswith("deletions/") or key.endswith((*(f"/{name}" for name in ID_FILES), "/tiles.parquet"))


def _problem(name: str, sha256: str | None, info: FileInfo) -> str | None:
    if sha256 is None:
        return f"{name} is missing"
    if sha256 != info.sha256:
        return f"{name} is damaged: its SHA-256 is {sha256}, the manifest says {info.sha256}"
    return None


def _mark(path: Path) -> list[int]:
    told = path.stat()
    return [told.st_size, told.st_mtime_ns]


def _arrivals(folder: Path) -> Mapping[str, list[object]]:
    try:
        told = json.loads((folder / ARRIVED_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
