"""How a generation's segments are dealt out to shards, and how rows are counted in all of them and in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.manifest import Manifest
from wildsat_core.errors import InvalidInputError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Which shard serves which segments of a generation.

    Attributes:
        manifest: the whole generation; rows count through its segments.
        shards: for each shard the positions of its segments, ascending; none where there are more shards than segments.
    """

    manifest: Manifest
    shards: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, manifest: Manifest, count: int, before: Layout | None = None) -> Layout:
        """Deal out by rows, each segment to the shard that has least.

        Args:
            manifest: of the generation.
            count: how many shards, at least 1.
            before: of an earlier generation with as many shards: segments stay where they were.
        """
        if count < 1:
            raise InvalidInputError(f"there must be at least one shard, got {count}", "shards")
        home = before.homes if before and len(before.shards) == count else {}
        mine: list[list[int]] = [[] for _ in range(count)]
        rows = [0] * count
        places = range(len(manifest.segments))
        for i in sorted(places, key=lambda i: (manifest.segments[i].id not in home, i)):
            segment = manifest.segments[i]
            shard = home.get(segment.id, rows.index(min(rows)))
            mine[shard].append(i)
            rows[shard] += segment.rows
        return cls(manifest, tuple(tuple(sorted(some)) for some in mine))

    @property
    def homes(self) -> Mapping[str, int]:
        """The shard of each segment, by its id."""
        return {self.manifest.segments[i].id: shard for shard, some in enumerate(self.shards) for i in some}

    @cached_property
    def offsets(self) -> Rows:
        """(G + 1,) first row of each segment, then N."""
        return np.cumsum([0, *(segment.rows for segment in self.manifest.segments)])

    @cached_property
    def live_before(self) -> Rows:
        """(G + 1,) how many live rows precede each segment, then how many there are."""
        gone = self.manifest.deleted
        held = [s.rows - (gone[s.id].rows if s.id in gone else 0) for s in self.manifest.segments]
        return np.cumsum([0, *held])

    @cached_property
    def _owners(self) -> Rows:
        owners = np.empty(len(self.manifest.segments), np.int64)
        for shard, some in enumerate(self.shards):
            owners[list(some)] = shard
        return owners

    def owners(self, rows: Rows) -> Rows:
        """The shard of each of some rows, (K,)."""
        return self._owners[np.searchsorted(self.offsets, rows, side="right") - 1]

    def live_in(self, shard: int) -> int:
        """How many live rows a shard has."""
        some = list(self.shards[shard])
        return int(np.diff(self.live_before)[some].sum())

    def part(self, shard: int) -> Manifest:
        """The manifest of a shard's segments alone; approximate indexes are of whole generations."""
        if len(self.shards[shard]) == len(self.manifest.segments):
            return self.manifest
        segments = tuple(self.manifest.segments[i] for i in self.shards[shard])
        held = {segment.id for segment in segments}
        deleted = {name: gone for name, gone in self.manifest.deleted.items() if name in held}
        return self.manifest.model_copy(update={"segments": segments, "deleted": deleted, "ann": {}})
