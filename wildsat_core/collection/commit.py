"""Publishing segments that several workers wrote: each id once, all at once or not at all."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wildsat_core.collection.lock import writer_lock
from wildsat_core.collection.manifest import (
    FORMAT_VERSION,
    Manifest,
    SegmentInfo,
    read_current_manifest,
    storable,
)
from wildsat_core.collection.mirror import mirror_of
from wildsat_core.collection.provenance import with_source
from wildsat_core.collection.publish import publish_manifest, until_published
from wildsat_core.collection.reader import live_rows
from wildsat_core.collection.segment import read_id_index
from wildsat_core.collection.writer import check_of_model, tell_dropped_indexes, write_deletions
from wildsat_core.errors import CollectionNotFoundError, ModelMismatchError
from wildsat_core.types import ModelRef, Space, SpaceSpec


def commit_segments(
    root: Path,
    model: ModelRef,
    spaces: Mapping[Space, SpaceSpec],
    segments: Sequence[SegmentInfo],
    *,
    on_known: Literal["skip", "replace"] = "skip",
    provenance: Mapping[str, Any] | None = None,
    wait_s: float = 0.0,
) -> tuple[Manifest, int]:
    """Publish a generation with these segments beside those that are live; done twice, it changes nothing.

    Without new segments there is a new generation only where people are to be told something else than before.

    When another committer is first, it is done again from what that one published.

    Workers know nothing of one another, so an id may have been written twice, or published by another build since. Of
    equal ids the one that is live stays, or goes with `on_known="replace"`; among the new ones the first stays. The
    others are named in deletion lists.

    Args:
        root: folder of the collection.
        model: that made the vectors.
        spaces: of the vectors.
        segments: whole, on disk, in the order that rows are to have.
        on_known: as for `CollectionWriter.add`.
        provenance: what people are told of the imagery.
        wait_s: how long to wait for another writer.

    Returns:
        The live manifest, and how many of the new rows were left out as repeated.

    Raises:
        ModelMismatchError: the collection was made by another model, or has other spaces.
        CollectionFormatError: the ids of a segment can't be read.
        CollectionLockedError: another process is writing.
    """

    def attempt() -> tuple[Manifest, Manifest, int]:
        base = _base(root, model, spaces)
        published = {segment.id for segment in base.segments}
        new = tuple(segment for segment in segments if segment.id not in published)
        told = storable(with_source(base.provenance, provenance or {}, new=bool(new) or not base.generation))
        if base.generation and not new:
            if told == base.provenance:
                return base, base, 0
            changes = {"generation": base.generation + 1, "created_at": dt.datetime.now(dt.UTC), "provenance": told}
            return base, publish_manifest(root, base.model_copy(update=changes)), 0
        interim = base.model_copy(update={"segments": (*base.segments, *new)})
        if mirror is not None:
            mirror.fetch_segments(new)
        gone = np.concatenate([~live_rows(root, base), np.zeros(sum(s.rows for s in new), bool)])
        repeated = _drop_repeated(root, interim, base.rows, gone, on_known)
        changes = {
            "generation": base.generation + 1,
            "created_at": dt.datetime.now(dt.UTC),
            "deleted": write_deletions(root, interim, gone),
            "ann": {},
            "provenance": told,
        }
        return base, publish_manifest(root, interim.model_copy(update=changes)), repeated

    mirror = mirror_of(root)
    with writer_lock(root, wait_s):
        base, manifest, repeated = until_published(attempt)
    if manifest.segments != base.segments:
        tell_dropped_indexes(base)
    return manifest, repeated


def check_same_model(root: Path, model: ModelRef) -> None:
    """Refuse to add to a collection of another model, before there is anything to add.

    Raises:
        ModelMismatchError: naming both.
    """
    with contextlib.suppress(CollectionNotFoundError):
        check_of_model(read_current_manifest(root), root, root.name, model)


def _base(root: Path, model: ModelRef, spaces: Mapping[Space, SpaceSpec]) -> Manifest:
    """The live manifest, or one of generation 0 without anything."""
    try:
        base = read_current_manifest(root)
    except CollectionNotFoundError:
        now = dt.datetime.now(dt.UTC)
        return Manifest.model_construct(
            format_version=FORMAT_VERSION,
            name=root.name,
            generation=0,
            created_at=now,
            model=model,
            spaces=dict(spaces),
        )
    if base.model != model or base.spaces != dict(spaces):
        raise ModelMismatchError(
            f"collection {base.name!r} was made by {base.model} with {dict(base.spaces)}, the segments by {model} with "
            f"{dict(spaces)}"
        )
    return base


def _drop_repeated(
    root: Path, interim: Manifest, base_rows: int, gone: np.ndarray, on_known: Literal["skip", "replace"]
) -> int:
    """Mark the rows whose id another row keeps; gives how many of the new ones were marked."""
    repeated = 0
    for rows in read_id_index(root, interim).repeated():
        alive = rows[~gone[rows]]
        old, new = alive[alive < base_rows], alive[alive >= base_rows]
        kept = new[:1] if (on_known == "replace" and new.size) or not old.size else old[:1]
        gone[np.setdiff1d(alive, kept)] = True
        repeated += int(new.size - np.isin(kept, new).sum())
    return repeated
