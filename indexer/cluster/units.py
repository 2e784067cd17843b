"""Units of work: neighbouring partitions of a source, large enough to be worth a start, small enough to do again."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from indexer.sources.protocol import MOST_IN_PARTITION, Candidate, LeftOut, Partition, Source

MOST_IN_UNIT: Final = MOST_IN_PARTITION


@dataclass(frozen=True, slots=True)
class Unit:
    """Partitions that are listed, read, embedded and written together, as one segment.

    Attributes:
        number: its place in the order of the source, from 0.
        key: told by its partitions, their keys and how many tiles they have.
        at_most: tiles that it has at most.
    """

    number: int
    key: str
    partitions: tuple[Partition, ...]
    at_most: int

    @property
    def name(self) -> str:
        return f"{self.number:06d}-{self.key}"

    def listed(self, source: Source) -> Iterator[Candidate | LeftOut]:
        """What the source lists there, in order."""
        return itertools.chain.from_iterable(source.candidates(one) for one in self.partitions)


def units_of(source: Source, most: int = MOST_IN_UNIT) -> Iterator[Unit]:
    """Cut a source into units of at most so many tiles, or of one partition; the same cut at every start.

    Raises:
        SourceError: the source can't be listed as asked.
    """
    numbers = itertools.count()
    group: list[Partition] = []
    for partition in source.partitions():
        if group and sum(one.at_most for one in group) + partition.at_most > most:
            yield _unit(next(numbers), group)
            group = []
        group.append(partition)
    if group:
        yield _unit(next(numbers), group)


def _unit(number: int, group: list[Partition]) -> Unit:
    key = hashlib.sha256("\0".join(f"{one.key} {one.at_most}" for one in group).encode()).hexdigest()[:16]
    return Unit(number, key, tuple(group), sum(one.at_most for one in group))
