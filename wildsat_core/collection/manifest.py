"""The manifest: one consistent state of a collection. The newest one is live; the file CURRENT helps to find it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wildsat_core.errors import CollectionFormatError, CollectionNotFoundError
from wildsat_core.files import sha256_file
from wildsat_core.printable import printable
from wildsat_core.types import ModelRef, Space, SpaceSpec

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
IMAGERY_FILE = "imagery.mbtiles"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CURRENT = re.compile(r"([0-9]+)(?: ([0-9a-f]{64}))?\n")

# Names come from a file that a stranger may have written: nothing that could leave the collection's folder.
SegmentId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileInfo(_Frozen):
    """Size and hash of one file."""

    bytes: int = Field(ge=0)
    sha256: Sha256

    @classmethod
    def of(cls, path: Path) -> FileInfo:
        return cls(bytes=path.stat().st_size, sha256=sha256_file(path))


class SegmentInfo(_Frozen):
    """An immutable piece of a collection; `job` names the build that wrote it, so that the build can go on."""

    id: SegmentId
    rows: int = Field(gt=0)
    job: str = ""
    files: dict[FileName, FileInfo]


class DeletionInfo(_Frozen):
    """The list of a segment's rows that this generation leaves out."""

    file: FileName
    rows: int = Field(gt=0)
    info: FileInfo


class AnnInfo(_Frozen):
    """An approximate index over one space of this generation, and how good it was measured to be.

    Attributes:
        kind: "ivfpq", "hnsw", "sq8" or "cagra".
        file: FAISS file in the folder `ann`; its ids are the generation's rows, deleted ones possibly among them.
        search: search-time settings, such as nprobe.
        recall_at_10: share of the exact best 10 that it finds, over queries held out from its training.
        recall_at_20: likewise for 20.
    """

    kind: str
    file: FileName
    info: FileInfo
    search: dict[str, int]
    recall_at_10: float = Field(ge=0, le=1)
    recall_at_20: float = Field(ge=0, le=1)


class Manifest(_Frozen):
    """Everything a reader must know to open a generation and to refuse a wrong one.

    Attributes:
        spaces: the named sets of vectors; every segment has a file of each.
        deleted: by segment id.
        ann: approximate indexes by space; deleting keeps them, new rows or other numbers of rows drop them.
        imagery: of imagery.mbtiles, None when there is none or nobody said which it is.
        calibration: numbers measured on this collection at build time, by name.
        provenance: for people: title, description, attribution, notice, how it was built; "sources" when several were.
    """

    format_version: int
    name: str
    generation: int = Field(ge=1)
    created_at: dt.datetime
    model: ModelRef
    spaces: dict[Space, SpaceSpec]
    segments: tuple[SegmentInfo, ...] = ()
    deleted: dict[SegmentId, DeletionInfo] = {}
    ann: dict[Space, AnnInfo] = {}
    imagery: FileInfo | None = None
    calibration: dict[str, Any] = {}
    provenance: dict[str, Any] = {}

    @property
    def rows(self) -> int:
        """Rows of all segments, deleted ones included."""
        return sum(segment.rows for segment in self.segments)

    @property
    def tiles(self) -> int:
        """Live tiles."""
        return self.rows - sum(deletion.rows for deletion in self.deleted.values())


def is_collection_name(name: str) -> bool:
    """Whether a collection may be called so: up to 64 lower-case letters, digits, '-' and '_'."""
    return _NAME.fullmatch(name) is not None


def manifest_path(root: Path, generation: int) -> Path:
    return root / "generations" / f"{generation}.json"


def newest_generation(root: Path) -> int:
    """The greatest number of a generation's file, 0 where there is none.

    Raises:
        OSError: the folder can't be looked into.
    """
    try:
        with os.scandir(root / "generations") as found:
            names = [one.name for one in found]
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return max((int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdecimal()), default=0)


def holds_collection(root: Path) -> bool:
    """Whether a generation was ever published in a folder.

    Raises:
        OSError: it can't be looked into.
    """
    return (root / "CURRENT").exists() or newest_generation(root) > 0


def list_collections(folder: Path) -> list[str]:
    """Names of the collections in a folder, sorted; broken ones are listed too, opening them says what is wrong."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if _holds_collection(path))


def _holds_collection(path: Path) -> bool:
    """Whether a folder has a generation. One that can't be looked into counts if it is named like a collection."""
    try:
        return holds_collection(path)
    except OSError:
        return is_collection_name(path.name)


def read_current_generation(root: Path) -> int:
    """Number of the live generation.

    Raises:
        CollectionNotFoundError: the folder has no generation.
        CollectionFormatError: CURRENT does not begin with a number.
    """
    return _live(root)[0]


def read_identity(root: Path) -> str:
    """What tells the live generation from every other state that the folder may hold: its number and content.

    The manifest names the hash of every file, so its own hash stands for all; imagery, which it need not name, is told
    by when it was written.

    Raises:
        CollectionNotFoundError: the folder has no generation.
        CollectionFormatError: CURRENT does not begin with a number, or the manifest is missing.
    """
    generation, sha256 = _live(root)
    if sha256 is None:
        sha256 = hashlib.sha256(_manifest_bytes(root, generation)).hexdigest()
    try:
        found = (root / IMAGERY_FILE).stat()
        imagery = f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"
    except OSError:
        imagery = ""
    return f"{generation} {sha256} {imagery}"


def _manifest_bytes(root: Path, generation: int) -> bytes:
    path = manifest_path(root, generation)
    try:
        return path.read_bytes()
    except FileNotFoundError as err:
        raise CollectionFormatError(f"{path} is missing though CURRENT names generation {generation}") from err
    except OSError as err:
        raise CollectionFormatError(f"{path} can't be read: {err}") from err


def _live(root: Path) -> tuple[int, str | None]:
    """Number of the live generation, and the hash of its manifest as far as CURRENT tells it.

    CURRENT is written after the manifest, and by several writers in any order, so it may lag behind. What it names must
    be there all the same: of a manifest that was lost nobody is to be given the one before.
    """
    try:
        newest = newest_generation(root)
    except OSError as err:
        raise CollectionFormatError(f"{root / 'generations'} can't be read: {err}") from err
    named = _read_current(root)
    if named is None and not newest:
        raise CollectionNotFoundError(
            f"no collection at {root}: it has no generation; build one with `wildsat index build {root.name}`"
        )
    return named if named is not None and named[0] >= newest else (newest, None)


def _read_current(root: Path) -> tuple[int, str | None] | None:
    """Which generation CURRENT names, and the hash of its manifest, which older collections don't tell."""
    try:
        text = (root / "CURRENT").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        raise CollectionFormatError(f"{root / 'CURRENT'} can't be read: {err}") from err
    found = _CURRENT.fullmatch(text)
    if found is None:
        raise CollectionFormatError(
            f"{root / 'CURRENT'} must hold the number of a generation and the SHA-256 of its manifest, "
            f"it holds {text[:40]!r}"
        )
    return int(found[1]), found[2]


def read_manifest(root: Path, generation: int, sha256: str | None = None) -> Manifest:
    """Read and check the manifest of one generation.

    Args:
        root: folder of the collection.
        generation: which one.
        sha256: what the file's hash must be; None to take the file as it is.

    Raises:
        CollectionFormatError: missing, not JSON, of an unknown format version, with fields that don't belong, or
            another one than `sha256` says.
    """
    path = manifest_path(root, generation)
    content = _manifest_bytes(root, generation)
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as err:
        raise CollectionFormatError(f"{path} is not JSON: {err}; restore it from a backup") from err
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if version not in READABLE_VERSIONS:
        raise CollectionFormatError(
            f"{path} has format version {version!r}; this program reads 1 and 2: take a newer one, "
            "or rebuild the collection"
        )
    try:
        manifest = Manifest.model_validate(storable(raw))
    except ValidationError as err:
        raise CollectionFormatError(f"{path} is not a valid manifest: {err}") from err
    if manifest.generation != generation:
        raise CollectionFormatError(f"{path} says that it is generation {manifest.generation}, not {generation}")
    if sha256 not in (None, found := hashlib.sha256(content).hexdigest()):
        raise CollectionFormatError(f"{path} is damaged: its SHA-256 is {found}, CURRENT says {sha256}")
    return manifest


def read_current_manifest(root: Path) -> Manifest:
    return read_manifest(root, *_live(root))


def storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON whose texts UTF-8 can hold: an escape may stand for half a pair, which no program can write out."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {name: storable(inner) for name, inner in value.items()}
    return [storable(inner) for inner in value] if isinstance(value, list) else value
