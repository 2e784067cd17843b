"""Making room for a collection without removing what lies there."""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path

from wildsat_core.collection.lock import writer_lock
from wildsat_core.collection.manifest import Manifest, read_current_manifest
from wildsat_core.errors import CollectionNotFoundError
from wildsat_core.types import ModelRef

logger = logging.getLogger(__name__)

REPLACED = ".replaced"


def move_aside(root: Path) -> Path:
    """Move a collection's folder into `.replaced` beside it, under its own name or with the first free number.

    Services don't look into folders whose names begin with a dot. Moved back, the collection is what it was.

    Args:
        root: the folder; whoever calls holds its writer's lock.

    Returns:
        Where it lies now.
    """
    shelf = root.parent / REPLACED
    shelf.mkdir(exist_ok=True)
    names = (root.name if number == 1 else f"{root.name}-{number}" for number in count(1))
    free = next(shelf / name for name in names if not (shelf / name).exists())
    return root.rename(free)


def stranger_in(manifest: Manifest, model: ModelRef, title: str) -> str | None:
    """What a collection is, in words, when another model made it or it has another title; None when it has both."""
    if manifest.model != model:
        return f"a collection made by {manifest.model.name} {manifest.model.weights_sha256[:8]}"
    if (found := manifest.provenance.get("title")) != title:
        return f"the collection {found or 'without a title'!r}"
    return None


def move_stranger_aside(root: Path, model: ModelRef, title: str) -> Path | None:
    """Move aside what lies in the place of the collection of a model and a title and is not it; nothing is removed.

    Returns:
        Where it lies now, None where nothing was in the way.

    Raises:
        CollectionLockedError: another process is writing to it.
    """
    if _stranger_at(root, model, title) is None:
        return None
    with writer_lock(root):
        stranger = _stranger_at(root, model, title)  # again: another process may have made room meanwhile
        if stranger is None:
            return None
        aside = move_aside(root)
    logger.warning("%s was in the place of %r; it now lies in %s, whole", stranger, title, aside)
    return aside


def _stranger_at(root: Path, model: ModelRef, title: str) -> str | None:
    try:
        return stranger_in(read_current_manifest(root), model, title)
    except CollectionNotFoundError:
        return None
