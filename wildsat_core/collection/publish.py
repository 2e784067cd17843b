"""Publishing: a manifest becomes the live one where there is none of its number, in a folder or in a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from wildsat_core.collection.manifest import FORMAT_VERSION, Manifest, manifest_path, newest_generation, storable
from wildsat_core.collection.mirror import Mirror, mirror_of
from wildsat_core.errors import GenerationTakenError
from wildsat_core.files import put_text_if_absent, write_text_atomically

_MOST_TRIES: Final = 100  # each of them was lost to another writer that got ahead

Published = TypeVar("Published")


def publish_manifest(root: Path, manifest: Manifest) -> Manifest:
    """Make a manifest the live one, unless another one has its number; returns it as it was written.

    Of a collection in a store, the files that it names are uploaded first; and its copy shows what was published
    instead when another process was first.

    Raises:
        GenerationTakenError: another process published one first. Nothing was changed.
        UnreachableError: the store does not answer.
    """
    # Segments stay of the version that they were written in; a manifest of today may name both.
    manifest = manifest.model_copy(
        update={"format_version": FORMAT_VERSION, "provenance": storable(manifest.provenance)}
    )
    text = manifest.model_dump_json(indent=1) + "\n"
    mirror = mirror_of(root)
    if not (_put(root, manifest, text) if mirror is None else _put_in_store(mirror, manifest, text)):
        raise GenerationTakenError(
            f"another process published generation {manifest.generation} of {root} meanwhile; nothing was changed: "
            "give the same command again"
        )
    current = f"{manifest.generation} {hashlib.sha256(text.encode()).hexdigest()}\n"
    if mirror is not None:
        mirror.put("CURRENT", current.encode())
    write_text_atomically(root / "CURRENT", current)
    return manifest


def _put(root: Path, manifest: Manifest, text: str) -> bool:
    # Also looked for: `gc` may have taken the files of generations between this one and the live one.
    ahead = newest_generation(root) >= manifest.generation
    return not ahead and put_text_if_absent(manifest_path(root, manifest.generation), text)


def _put_in_store(mirror: Mirror, manifest: Manifest, text: str) -> bool:
    mirror.push(manifest)
    ahead = mirror.newest() >= manifest.generation
    if ahead or not mirror.put_if_absent(f"generations/{manifest.generation}.json", text.encode()):
        mirror.pull()
        return False
    write_text_atomically(manifest_path(mirror.root, manifest.generation), text)
    return True


def until_published(attempt: Callable[[], Published]) -> Published:
    """Do what ends with `publish_manifest`; when another process was first, again from what it published.

    Raises:
        GenerationTakenError: others were first a hundred times.
    """
    for _ in range(_MOST_TRIES - 1):
        try:
            return attempt()
        except GenerationTakenError:
            continue
    return attempt()
