"""Where copies of what lies in stores are kept on this machine, what is in them, and how much room they take."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from enum import StrEnum
from pathlib import Path
from typing import Final

from wildsat_core.collection.manifest import Manifest, newest_generation, read_manifest
from wildsat_core.collection.store import open_store
from wildsat_core.errors import CacheTooSmallError, InvalidInputError

CACHE_VARIABLE: Final = "WILDSAT_CACHE"
LIMIT_VARIABLE: Final = "WILDSAT_CACHE_GB"
ARRIVED_FILE: Final = ".arrived.json"  # of a segment's folder: the files that were fetched and checked
USED_FILE: Final = ".used"  # of a collection's: touched when it is looked at
WHOLE_FILE: Final = ".whole"  # of the same: which generation was fetched with all its files
_IN_USE_S: Final = 3600.0  # a copy that nobody looked at for so long is served by nobody


class Copies(StrEnum):
    """What copies have of a generation beside its manifest; each kind lies in a folder whose name it ends."""

    WHOLE = ""  # all: for who searches
    IDS = "-ids"  # what tells ids, and no vectors: for who adds and publishes
    FACTS = "-facts"  # map tiles of the imagery: for a service whose shards are elsewhere
    PARTS = "-parts"  # segments of some shards: for the actors that hold these


def copies_of(address: str, kind: Copies = Copies.WHOLE) -> Path:
    """The folder that holds the copies of a store's collections, of one kind."""
    return cache_folder() / (hashlib.sha256(open_store(address).address.encode()).hexdigest()[:16] + kind)


def cache_folder() -> Path:
    """WILDSAT_CACHE, or the user's own."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get(CACHE_VARIABLE) or Path(home) / "wildsat").absolute()


def cache_limit() -> float:
    """Bytes that the cache may take, from WILDSAT_CACHE_GB; without it there is no limit."""
    told = os.environ.get(LIMIT_VARIABLE)
    try:
        limit = float(told) * 1e9 if told else float("inf")
    except ValueError:
        limit = -1.0
    if not limit > 0:
        raise InvalidInputError(f"{LIMIT_VARIABLE} must be a number of gigabytes above 0, got {told!r}", LIMIT_VARIABLE)
    return limit


def make_room(cache: Path, bytes_: int, manifest: Manifest, root: Path) -> None:
    """Take segments out of the cache until so many bytes more fit: first those of copies unused the longest.

    Kept are segments of this generation, of what was used within an hour, and what no store has.

    Raises:
        CacheTooSmallError: they don't fit all the same; nothing was fetched.
    """
    limit = cache_limit()
    if limit == float("inf") or not bytes_:
        return
    kept = {root / "segments" / segment.id for segment in manifest.segments}
    sizes = {path: _size(path) for path in cache.glob("*/*/segments/[!.]*") if path.is_dir()}
    over = sum(sizes.values()) + bytes_ - limit
    spare = sorted((path for path in sizes if path not in kept and _is_spare(path)), key=_last_used)
    for path in spare:
        if over <= 0:
            return
        (path.parents[1] / WHOLE_FILE).unlink(missing_ok=True)
        aside = path.rename(path.with_name(f".tmp-{path.name}"))
        shutil.rmtree(aside)
        over -= sizes[path]
    if over > 0:
        raise CacheTooSmallError(
            f"generation {manifest.generation} of {manifest.name!r} does not fit into the cache {cache}: it lacks "
            f"{over / 1e9:.3f} GB of the {limit / 1e9:g} that {LIMIT_VARIABLE} allows; raise it"
        )


def _is_spare(segment: Path) -> bool:
    """Whether nobody uses a segment's copy, and the store has it."""
    root = segment.parents[1]
    if not (segment / ARRIVED_FILE).is_file():
        return False
    if time.time() - _last_used(segment) > _IN_USE_S:
        return True
    live = newest_generation(root)
    named = {one.id for one in read_manifest(root, live).segments} if live else set()
    return segment.name not in named and time.time() - (segment / ARRIVED_FILE).stat().st_mtime > _IN_USE_S


def _last_used(segment: Path) -> float:
    try:
        return (segment.parents[1] / USED_FILE).stat().st_mtime
    except OSError:
        return 0.0


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
