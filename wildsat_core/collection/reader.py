"""Reading a collection: a generation, once opened, stays as it was however often others publish."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.manifest import (
    DeletionInfo,
    Manifest,
    SegmentInfo,
    read_current_generation,
    read_current_manifest,
    read_manifest,
)
from wildsat_core.collection.moments import Moments
from wildsat_core.collection.segment import open_moments, open_vectors, segment_folder
from wildsat_core.collection.thumbnails import Thumbnails
from wildsat_core.collection.tiles import TileTable, read_tiles, schema
from wildsat_core.errors import CollectionFormatError, CollectionNotFoundError, SpaceUnavailableError, TileNotFoundError
from wildsat_core.types import Space, SpaceSpec, Tile

Vectors = npt.NDArray[np.floating]


class Collection:
    """One generation of a collection, open for reading from any thread.

    Rows count through the segments in the manifest's order; a row keeps its number within a generation only.
    """

    def __init__(self, root: Path, manifest: Manifest) -> None:
        """Check sizes and map vectors; use `open_collection`."""
        self.root = root
        self.manifest = manifest
        for segment in manifest.segments:
            _check_sizes(root, segment)
        self.offsets = np.cumsum([0, *(segment.rows for segment in manifest.segments)])
        self.tiles = _open_tiles(root, manifest)
        self._vectors: dict[Space, tuple[Vectors, ...]] = {
            space: tuple(open_vectors(root, segment, space, spec) for segment in manifest.segments)
            for space, spec in manifest.spaces.items()
        }
        self._thumbnails = [Thumbnails(segment_folder(root, s.id) / "thumbs.sqlite") for s in manifest.segments]

    def __len__(self) -> int:
        """Live tiles."""
        return self.manifest.tiles

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def generation(self) -> int:
        return self.manifest.generation

    @property
    def spaces(self) -> Mapping[Space, SpaceSpec]:
        return self.manifest.spaces

    def vector_parts(self, space: Space) -> tuple[Vectors, ...]:
        """Memory-mapped (rows, D) vectors of each segment, in order.

        Raises:
            SpaceUnavailableError: the collection has no such space.
        """
        if space not in self._vectors:
            held = ", ".join(self.manifest.spaces)
            raise SpaceUnavailableError(f"collection {self.name!r} has no {space!r} vectors, it has: {held}", "space")
        return self._vectors[space]

    def vectors(self, space: Space, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """(K, D) float32 vectors of some rows, in the order given."""
        parts = self.vector_parts(space)
        out = np.empty((len(rows), self.manifest.spaces[space].dim), np.float32)
        part_of = np.searchsorted(self.offsets, rows, side="right") - 1
        for part in np.unique(part_of):
            mine = part_of == part
            out[mine] = parts[part][rows[mine] - self.offsets[part]]
        return out

    @cached_property
    def moments(self) -> Mapping[Space, Moments]:
        """Moments of the live vectors of each space: the segments' sums less those of the deleted rows."""
        return {space: self._moments_of(space, spec) for space, spec in self.manifest.spaces.items()}

    def _moments_of(self, space: Space, spec: SpaceSpec) -> Moments:
        total = Moments.zero(spec.dim)
        for segment in self.manifest.segments:
            total += open_moments(self.root, segment, space, spec)
        gone = np.flatnonzero(~self.tiles.live)
        return total - Moments.of(self.vectors(space, gone)) if gone.size else total

    def tile(self, row: int) -> Tile:
        return self.tiles.tile(row)

    def row_of(self, tile_id: str) -> int:
        """Row of a live tile.

        Raises:
            TileNotFoundError: no live tile has this id.
        """
        rows = self.tiles.rows_of([tile_id])
        if not rows.size:
            raise TileNotFoundError(f"collection {self.name!r} has no tile {tile_id!r}")
        return int(rows[0])

    def thumbnail(self, row: int) -> bytes | None:
        """WebP bytes of a row's picture, None when it has none."""
        part = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return self._thumbnails[part].get(row - int(self.offsets[part]))

    @property
    def imagery_path(self) -> Path | None:
        """MBTiles of the collection's own imagery, None when it has none."""
        path = self.root / "imagery.mbtiles"
        return path if path.is_file() else None


def open_collection(root: Path, generation: int | None = None) -> Collection:
    """Open the live generation of a collection, or a named one.

    Raises:
        CollectionNotFoundError: nothing there.
        CollectionFormatError: a file is missing, of a wrong size or of an unknown format; it is named.
    """
    root = Path(root)
    manifest = read_current_manifest(root) if generation is None else read_manifest(root, generation)
    return Collection(root, manifest)


def list_collections(folder: Path) -> list[str]:
    """Names of the collections in a folder, sorted; broken ones are listed too, opening them says what is wrong."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if (path / "CURRENT").is_file())


def current_generation(root: Path) -> int | None:
    """Number of the live generation, None when there is no collection (any more)."""
    try:
        return read_current_generation(root)
    except CollectionNotFoundError:
        return None


def read_deletions(root: Path, segment: SegmentInfo, deletion: DeletionInfo) -> npt.NDArray[np.int64]:
    """Rows of a segment that are left out, ascending.

    Raises:
        CollectionFormatError: missing, of a wrong size, or naming rows that the segment does not have.
    """
    path = root / "deletions" / deletion.file
    try:
        rows: npt.NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as err:
        raise CollectionFormatError(f"{path} can't be read as a list of rows: {err}") from err
    ordered = rows.ndim == 1 and rows.dtype == np.int64 and bool((np.diff(rows) > 0).all())
    if not ordered or len(rows) != deletion.rows or rows[0] < 0 or rows[-1] >= segment.rows:
        raise CollectionFormatError(f"{path} is not a list of {deletion.rows} rows of segment {segment.id}")
    return rows


def _check_sizes(root: Path, segment: SegmentInfo) -> None:
    folder = segment_folder(root, segment.id)
    for name, info in segment.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except FileNotFoundError as err:
            raise CollectionFormatError(f"{path} is missing; restore it from a backup or rebuild") from err
        if size != info.bytes:
            raise CollectionFormatError(f"{path} has {size} bytes, the manifest says {info.bytes}: it is damaged")


def _open_tiles(root: Path, manifest: Manifest) -> TileTable:
    import pyarrow as pa

    tables = [read_tiles(segment_folder(root, s.id) / "tiles.parquet") for s in manifest.segments]
    live = np.ones(manifest.rows, bool)
    start = 0
    for segment, table in zip(manifest.segments, tables, strict=True):
        if table.num_rows != segment.rows:
            raise CollectionFormatError(
                f"segment {segment.id} has {table.num_rows} tiles, the manifest says {segment.rows}"
            )
        if deletion := manifest.deleted.get(segment.id):
            live[start + read_deletions(root, segment, deletion)] = False
        start += segment.rows
    return TileTable.from_arrow(pa.concat_tables(tables) if tables else schema().empty_table(), live)
