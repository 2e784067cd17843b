"""Reading a collection: a generation, once opened, stays as it was however often others publish."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wildsat_core.arrays import load_array, to_float32
from wildsat_core.collection.manifest import (
    IMAGERY_FILE,
    DeletionInfo,
    Manifest,
    SegmentInfo,
    read_current_generation,
    read_current_manifest,
    read_manifest,
)
from wildsat_core.collection.moments import Moments
from wildsat_core.collection.segment import open_moments, open_vectors, segment_folder
from wildsat_core.collection.thumbnails import Thumbnails, open_thumbnails
from wildsat_core.collection.tile_files import table_path
from wildsat_core.collection.tiles import SegmentTiles, TileTable
from wildsat_core.errors import CollectionFormatError, CollectionNotFoundError, SpaceUnavailableError, TileNotFoundError
from wildsat_core.geo import KM_PER_DEGREE
from wildsat_core.ground_scale import GroundScale
from wildsat_core.types import Space, SpaceSpec, Tile

Vectors = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class _OpenSegment:
    """A segment open for reading; it never changes, so the generations that name it share it."""

    tiles: SegmentTiles
    vectors: Mapping[Space, Vectors]
    thumbnails: Thumbnails

    @classmethod
    def open(cls, root: Path, segment: SegmentInfo, spaces: Mapping[Space, SpaceSpec]) -> _OpenSegment:
        folder = segment_folder(root, segment.id)
        tiles = SegmentTiles.read(table_path(folder))
        if tiles.arrow.num_rows != segment.rows:
            raise CollectionFormatError(
                f"segment {segment.id} has {tiles.arrow.num_rows} tiles, the manifest says {segment.rows}"
            )
        vectors = {space: open_vectors(root, segment, space, spec) for space, spec in spaces.items()}
        return cls(tiles, vectors, open_thumbnails(folder))


class Collection:
    """One generation of a collection, open for reading from any thread.

    Rows count through the segments in the manifest's order; a row keeps its number within a generation only.
    """

    def __init__(self, root: Path, manifest: Manifest, previous: Collection | None = None) -> None:
        """Check sizes and map vectors; use `open_collection`."""
        self.root = root
        self.manifest = manifest
        for segment in manifest.segments:
            _check_sizes(root, segment)
        self.offsets = np.cumsum([0, *(segment.rows for segment in manifest.segments)])
        held = previous._segments if previous and previous.root == root else {}
        self._segments: dict[str, _OpenSegment] = {
            segment.id: held.get(segment.id) or _OpenSegment.open(root, segment, manifest.spaces)
            for segment in manifest.segments
        }
        opened = self._segments.values()
        self.tiles = TileTable.of([segment.tiles for segment in opened], live_rows(root, manifest))
        self._vectors = {space: tuple(segment.vectors[space] for segment in opened) for space in manifest.spaces}
        self._thumbnails = [segment.thumbnails for segment in opened]

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
        """Memory-mapped (N, D) vectors of each segment, in order.

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
            mine = np.flatnonzero(part_of == part)
            some = parts[part].take(rows[mine] - self.offsets[part], axis=0)
            first, after = mine[0], mine[-1] + 1
            if after - first == len(mine):  # as ascending rows stand
                to_float32(some, out[first:after])
            else:
                out[mine] = some
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

    @cached_property
    def ground_scale(self) -> GroundScale | None:
        """Pixel sizes and sides of the live tiles; None where no pixel size is known."""
        gsd = self.tiles.column("gsd_m").to_numpy()
        known = self.tiles.live & (gsd > 0) & np.isfinite(gsd)
        if not known.any():
            return None
        side = (self.tiles.north - self.tiles.south)[known] * KM_PER_DEGREE * 1000
        # A float32 as people write it: 7.4 and not 7.400000095367432.
        low, high = (float(str(size)) for size in (gsd[known].min(), gsd[known].max()))
        return GroundScale((low, high), (float(side.min()), float(side.max())))

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
        path = self.root / IMAGERY_FILE
        return path if path.is_file() else None


def open_collection(root: Path, generation: int | None = None, *, previous: Collection | None = None) -> Collection:
    """Open the live generation of a collection, or a named one.

    Args:
        root: folder of the collection.
        generation: which one; None for the live one.
        previous: another generation of it that is open: the segments that both have are not read again.

    Raises:
        CollectionNotFoundError: nothing there.
        CollectionFormatError: a file is missing, of a wrong size or of an unknown format; it is named.
    """
    root = Path(root)
    manifest = read_current_manifest(root) if generation is None else read_manifest(root, generation)
    return Collection(root, manifest, previous)


def current_generation(root: Path) -> int | None:
    """Number of the live generation, None when there is no collection (any more)."""
    try:
        return read_current_generation(root)
    except CollectionNotFoundError:
        return None


def read_deletions(root: Path, segment: SegmentInfo, deletion: DeletionInfo) -> npt.NDArray[np.int64]:
    """Rows of a segment that are left out, (R,) ascending.

    Raises:
        CollectionFormatError: missing, damaged, or naming rows that the segment does not have.
    """
    path = root / "deletions" / deletion.file
    try:
        content = path.read_bytes()
        # A flipped bit would show a deleted tile and hide another; the lists are small enough to be hashed each time.
        if (found := hashlib.sha256(content).hexdigest()) != deletion.info.sha256:
            raise CollectionFormatError(
                f"{path} is damaged: its SHA-256 is {found}, the manifest says {deletion.info.sha256}"
            )
        rows: npt.NDArray[np.int64] = load_array(io.BytesIO(content))
    except OSError as err:
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
        except OSError as err:
            raise CollectionFormatError(f"{path} can't be read: {err}") from err
        if size != info.bytes:
            raise CollectionFormatError(f"{path} has {size} bytes, the manifest says {info.bytes}: it is damaged")


def live_rows(root: Path, manifest: Manifest) -> npt.NDArray[np.bool_]:
    """(N,) False for the rows that the generation leaves out."""
    live = np.ones(manifest.rows, bool)
    start = 0
    for segment in manifest.segments:
        if deletion := manifest.deleted.get(segment.id):
            live[start + read_deletions(root, segment, deletion)] = False
        start += segment.rows
    return live
