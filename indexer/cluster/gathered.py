"""The tiles of a unit on their way to its segment; what an interruption finds of them is kept, and taken up again.

Kept tiles are segments like all others, in a folder beside the plan, where the unit was at work; beside them lies which
candidates have nothing to see. They go when the unit is done, or with the plan; `gc` takes those that nobody came back
for.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.pipeline.reading import Chunk
from wildsat_core.collection.manifest import SegmentInfo
from wildsat_core.collection.segment import INFO_FILE, open_vectors, read_segment_info, write_segment
from wildsat_core.collection.thumbnails import open_thumbnails
from wildsat_core.collection.tile_files import table_path
from wildsat_core.collection.tiles import SegmentTiles, TileTable
from wildsat_core.collection.writer import check_tile
from wildsat_core.errors import CollectionFormatError
from wildsat_core.files import write_text_atomically
from wildsat_core.types import Space, SpaceSpec, Tile

logger = logging.getLogger(__name__)

EMPTY_FILE = "empty.json"

Vectors = npt.NDArray[np.floating]


class Gathered:
    """Tiles of a unit with vectors and thumbnails, each id once.

    Args:
        folder: where they are kept.
        spaces: of the vectors.

    Attributes:
        taken_up: ids of the tiles that an interrupted run kept.
        found_empty: why there was nothing to see in candidates that it read, by id.
        kept: how many of the tiles lie on disk.
    """

    def __init__(self, folder: Path, spaces: Mapping[Space, SpaceSpec]) -> None:
        """Take up what an interrupted run kept."""
        self._folder, self._spaces = folder, dict(spaces)
        self._tiles: list[Tile] = []
        self._pictures: list[bytes | None] = []
        self._vectors: dict[Space, list[Vectors]] = {space: [] for space in spaces}
        self._ids: set[str] = set()
        for path in sorted(folder.glob(f"segments/[!.]*/{INFO_FILE}"), key=lambda path: path.stat().st_mtime_ns):
            self._take_up(path.parent)
        self.taken_up = frozenset(self._ids)
        self.found_empty = self._read_empty()
        self._empty = dict(self.found_empty)
        self.kept = len(self)

    def __len__(self) -> int:
        return len(self._tiles)

    def add(self, tiles: Sequence[Tile], vectors: Mapping[Space, Vectors], pictures: Sequence[bytes | None]) -> int:
        """Add a batch, (B, D) in each space; gives how many have the id of one before them and were not taken.

        Raises:
            InvalidInputError: a tile has an id that can't be served, or numbers that are none.
        """
        new = []
        for i, tile in enumerate(tiles):
            check_tile(tile)
            if tile.tile_id not in self._ids:
                self._ids.add(tile.tile_id)
                new.append(i)
        self._tiles += [tiles[i] for i in new]
        self._pictures += [pictures[i] for i in new]
        for space, array in vectors.items():
            self._vectors[space].append(array[new])
        return len(tiles) - len(new)

    def noted(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Pass on what was read, remembering which candidates have nothing to see."""
        for chunk in chunks:
            self._empty |= chunk.empty
            yield chunk

    def keep(self) -> None:
        """Write what is not on disk yet; a kill no longer loses it."""
        if len(self) > self.kept:
            self._write(self._folder, self.kept, generation=0, job="kept")
            self.kept = len(self)
        if self._empty:
            write_text_atomically(self._folder / "segments" / EMPTY_FILE, json.dumps(self._empty))

    def write(self, root: Path, generation: int, job: str) -> SegmentInfo | None:
        """All of them as one segment of a collection; None where there is none."""
        return self._write(root, 0, generation=generation, job=job) if self._tiles else None

    def drop(self) -> None:
        """Remove what was kept."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, root: Path, start: int, *, generation: int, job: str) -> SegmentInfo:
        vectors = {space: np.concatenate(parts)[start:] for space, parts in self._vectors.items()}
        tiles, pictures = self._tiles[start:], self._pictures[start:]
        return write_segment(root, tiles, vectors, pictures, self._spaces, generation=generation, job=job)

    def _read_empty(self) -> dict[str, str]:
        try:
            return dict(json.loads((self._folder / "segments" / EMPTY_FILE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as err:
            logger.warning("which tiles of a unit have nothing to see is found out again: %s", err)
            return {}

    def _take_up(self, segment: Path) -> None:
        try:
            info = read_segment_info(segment)
            part = SegmentTiles.read(table_path(segment))
            tiles = TileTable.of([part], np.ones(info.rows, bool)).tiles_at(np.arange(info.rows))
            thumbnails = open_thumbnails(segment)
            vectors = {space: open_vectors(self._folder, info, space, spec) for space, spec in self._spaces.items()}
            self.add(tiles, vectors, [thumbnails.get(row) for row in range(info.rows)])
        except CollectionFormatError as err:
            logger.warning("what was kept of a unit is embedded again: %s", err)
