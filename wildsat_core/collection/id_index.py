"""From a tile's id to its row, without reading all ids: sorted hashes of each segment, merged over a collection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wildsat_core.arrays import load_array
from wildsat_core.errors import CollectionFormatError

if TYPE_CHECKING:
    import pyarrow as pa

HASHES_FILE, ROWS_FILE = "ids.npy", "ids.rows.npy"
_SHIFT = np.uint64(32)


def id_hashes(tile_ids: Iterable[str]) -> npt.NDArray[np.uint64]:
    """(K,) for each id the first 8 bytes of the SHA-256 of its UTF-8, the most significant first."""
    digests = b"".join(hashlib.sha256(one.encode()).digest()[:8] for one in tile_ids)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


@dataclass(frozen=True, slots=True)
class SegmentIds:
    """The ids of one segment.

    Attributes:
        column: the id of each row, in one chunk; of a segment of today's format it lies in a file.
        hashes: (N,) ascending; rows: (N,) uint32, the row that each belongs to.
    """

    column: pa.ChunkedArray
    hashes: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> SegmentIds:
        """Hash all ids: half a microsecond each."""
        hashes = id_hashes(column.to_pylist())
        order = np.argsort(hashes, kind="stable")
        return cls(column, hashes[order], order.astype(np.uint32))

    @classmethod
    def read(cls, folder: Path, column: pa.ChunkedArray) -> SegmentIds:
        """Map the files that `save` wrote; a segment of version 1 has none, and its ids are hashed.

        Raises:
            CollectionFormatError: a file is damaged or not one of these.
        """
        if not (folder / HASHES_FILE).is_file():
            return cls.of(column)
        try:
            hashes = load_array(folder / HASHES_FILE, mapped=True)
            rows = load_array(folder / ROWS_FILE, mapped=True)
        except (OSError, ValueError) as err:
            raise CollectionFormatError(f"the hashes of ids in {folder} can't be read: {err}") from err
        shapes = {hashes.shape, rows.shape, (len(column),)}
        if len(shapes) > 1 or hashes.dtype != np.uint64 or rows.dtype != np.uint32:
            raise CollectionFormatError(f"{folder / HASHES_FILE} does not hold one hash for each of {len(column)} ids")
        return cls(column, hashes, rows)

    def save(self, folder: Path) -> None:
        np.save(folder / HASHES_FILE, self.hashes)
        np.save(folder / ROWS_FILE, self.rows)

    def problems(self) -> Iterable[str]:
        """What is wrong with the hashes, read against all ids."""
        right = SegmentIds.of(self.column)
        same = np.array_equal(self.hashes, right.hashes) and np.array_equal(np.sort(self.rows), np.sort(right.rows))
        if not same or not np.array_equal(id_hashes(self.column.take(self.rows).to_pylist()), self.hashes):
            yield f"{HASHES_FILE} is not of the ids of the segment"


class IdIndex:
    """Rows by id over some segments, in 8 bytes a row.

    Kept are the upper half of each hash and the row, as one ascending column of numbers; what it finds is compared with
    the ids themselves, so two ids of one hash do no harm.
    """

    def __init__(self, parts: Sequence[SegmentIds]) -> None:
        """Merge the segments' hashes: about a second for ten million rows."""
        self._columns = [part.column for part in parts]
        self._offsets = np.cumsum([0, *(len(part.hashes) for part in parts)])
        if self._offsets[-1] > 2**32:
            raise CollectionFormatError(f"a generation can have {2**32:,} rows, this one has {self._offsets[-1]:,}")
        keys = np.empty(self._offsets[-1], np.uint64)
        for part, start, end in zip(parts, self._offsets[:-1], self._offsets[1:], strict=True):
            keys[start:end] = (part.hashes >> _SHIFT << _SHIFT) | (part.rows + np.uint64(start))
        keys.sort()
        self._keys = keys

    def rows_of(self, tile_ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Rows that hold one of these ids, (R,) ascending; deleted rows among them, unknown ids left out."""
        return np.array(sorted(row for row, _ in self.found(tile_ids)), np.int64)

    def found(self, tile_ids: Iterable[str]) -> Iterator[tuple[int, str]]:
        """Rows with the id that each holds, in no order."""
        wanted = list(dict.fromkeys(tile_ids))
        rows, which = self._candidates(id_hashes(wanted))
        for row, i, held in zip(rows.tolist(), which.tolist(), self._ids_at(rows), strict=True):
            if wanted[i] == held:
                yield row, held

    def repeated(self) -> Iterator[npt.NDArray[np.int64]]:
        """For each id that several rows hold, those rows, (R,) ascending."""
        halves = self._keys >> _SHIFT
        starts = np.flatnonzero(np.diff(halves, prepend=halves[:1] + np.uint64(1)))
        counts = np.diff(starts, append=len(halves))
        for start, count in zip(starts[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
            rows = (self._keys[start : start + count] & np.uint64(2**32 - 1)).astype(np.int64)
            by_id: dict[str, list[int]] = {}
            for row, held in zip(rows.tolist(), self._ids_at(rows), strict=True):
                by_id.setdefault(held, []).append(row)
            yield from (np.array(same) for same in by_id.values() if len(same) > 1)

    def _candidates(self, hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows whose hash has the same upper half as one of these, and as which."""
        low = hashes >> _SHIFT << _SHIFT
        first = np.searchsorted(self._keys, low)
        counts = np.searchsorted(self._keys, low | np.uint64(2**32 - 1), side="right") - first
        which = np.repeat(np.arange(len(hashes)), counts)
        at = np.arange(len(which)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        return (self._keys[at] & np.uint64(2**32 - 1)).astype(np.int64), which

    def _ids_at(self, rows: npt.NDArray[np.int64]) -> list[str]:
        part_of = np.searchsorted(self._offsets, rows, side="right") - 1
        within = rows - self._offsets[part_of]
        return [self._columns[i][row].as_py() for i, row in zip(part_of.tolist(), within.tolist(), strict=True)]
