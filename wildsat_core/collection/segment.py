"""A segment: an immutable, sorted piece of a collection, named by the hash of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wildsat_core.arrays import load_array
from wildsat_core.collection.id_index import IdIndex, SegmentIds
from wildsat_core.collection.manifest import FileInfo, Manifest, SegmentInfo
from wildsat_core.collection.moments import Moments
from wildsat_core.collection.thumbnails import THUMBNAILS_FILE, write_thumbnails
from wildsat_core.collection.tile_files import TABLE_FILE, read_ids, tiles_to_arrow, write_tiles
from wildsat_core.errors import CollectionFormatError, InvalidInputError
from wildsat_core.files import folder_aside, settle_folder, write_text_atomically
from wildsat_core.geo import curve_key
from wildsat_core.types import Space, SpaceSpec, Tile

if TYPE_CHECKING:
    import pyarrow as pa

INFO_FILE = "segment.json"
COMPACT_JOB = "compact"  # of a rewriting, which never goes on from what a killed one left

Vectors = npt.NDArray[np.floating]


def segment_folder(root: Path, segment_id: str) -> Path:
    return root / "segments" / segment_id


def write_segment(
    root: Path,
    tiles: Sequence[Tile],
    vectors: Mapping[Space, Vectors],
    thumbnails: Sequence[bytes | None],
    spaces: Mapping[Space, SpaceSpec],
    *,
    generation: int,
    job: str = "",
) -> SegmentInfo:
    """Sort rows along the curve and write them as one segment.

    Args:
        root: folder of the collection.
        tiles: N tiles, N > 0.
        vectors: for each space of `spaces`, (N, D) finite and not all zero in any row.
        thumbnails: N WebP pictures or None.
        spaces: dimension and stored type of each space.
        generation: the one that it is written for; part of its id, so that a tile may be replaced by an equal one.
        job: the build that this segment belongs to.

    Returns:
        The segment's entry for a manifest. The segment is on disk and whole, and in no generation yet.

    Raises:
        InvalidInputError: shapes disagree, or a vector is zero, not finite, or too large for its type.
    """
    lon, lat = np.array([tile.lon_lat for tile in tiles]).T
    order = np.argsort(curve_key(lon, lat), kind="stable")
    stored = {space: _stored(space, vectors[space], spec, len(tiles))[order] for space, spec in spaces.items()}
    with folder_aside(root / "segments", f"{job or 'segment'}") as aside:
        # Row i of every space's vectors is row i of the tile table: one order, applied to all.
        write_table(aside, tiles_to_arrow([tiles[i] for i in order]))
        write_thumbnails(aside / THUMBNAILS_FILE, [thumbnails[i] for i in order])
        for space, array in stored.items():
            np.save(aside / f"{space}.npy", array)
            np.save(aside / f"{space}.moments.npy", Moments.of(array).to_array())
        return settle_segment(root, aside, rows=len(tiles), generation=generation, job=job)


def settle_segment(root: Path, aside: Path, *, rows: int, generation: int, job: str) -> SegmentInfo:
    """Hash the files of a whole segment in a temporary folder, and put it under its name."""
    files = {path.name: FileInfo.of(path) for path in sorted(aside.iterdir())}
    info = SegmentInfo(id=_segment_id(files, generation), rows=rows, job=job, files=files)
    final = segment_folder(root, info.id)
    if not final.exists():
        write_text_atomically(aside / INFO_FILE, info.model_dump_json(indent=1) + "\n")
        settle_folder(aside, final)
    return info


def write_table(folder: Path, table: pa.Table) -> None:
    """Write a segment's rows, and the hashes by which they are found."""
    write_tiles(folder / TABLE_FILE, table)
    SegmentIds.of(table["tile_id"]).save(folder)


def read_segment_info(folder: Path) -> SegmentInfo:
    """What a whole segment on disk says of itself; used to go on with an interrupted build.

    Raises:
        CollectionFormatError: missing, or not a segment's entry.
    """
    path = folder / INFO_FILE
    try:
        return SegmentInfo.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as err:
        raise CollectionFormatError(f"{path} can't be read as a segment's entry: {err}") from err


def read_id_index(root: Path, manifest: Manifest) -> IdIndex:
    """Finds the rows of a generation by id, from the files of ids alone.

    Raises:
        CollectionFormatError: the ids of a segment can't be read.
    """
    folders = [segment_folder(root, segment.id) for segment in manifest.segments]
    return IdIndex([SegmentIds.read(folder, read_ids(folder)) for folder in folders])


def is_for_generation(segment: SegmentInfo, generation: int) -> bool:
    """Whether the segment was written to become part of this generation first."""
    files = {name: info for name, info in segment.files.items() if name != INFO_FILE}
    return segment.id == _segment_id(files, generation)


def open_vectors(root: Path, info: SegmentInfo, space: Space, spec: SpaceSpec) -> Vectors:
    """Memory-mapped (rows, D) vectors of one space.

    Raises:
        CollectionFormatError: missing, not a .npy file, or of another shape or type than the manifest says.
    """
    path = segment_folder(root, info.id) / f"{space}.npy"
    try:
        array: Vectors = load_array(path, mapped=True)
    except (OSError, ValueError) as err:
        raise CollectionFormatError(f"{path} can't be opened as vectors: {err}") from err
    if array.shape != (info.rows, spec.dim) or array.dtype != np.dtype(spec.dtype):
        wanted = f"({info.rows}, {spec.dim}) {spec.dtype}"
        raise CollectionFormatError(f"{path} holds {array.shape} {array.dtype}, the manifest says {wanted}")
    return array


def open_moments(root: Path, info: SegmentInfo, space: Space, spec: SpaceSpec) -> Moments:
    path = segment_folder(root, info.id) / f"{space}.moments.npy"
    try:
        array = load_array(path)
    except (OSError, ValueError) as err:
        raise CollectionFormatError(f"{path} can't be opened as moments: {err}") from err
    if array.shape != (1 + spec.dim, spec.dim):
        raise CollectionFormatError(f"{path} holds {array.shape}, expected {(1 + spec.dim, spec.dim)}")
    return Moments.from_array(array, info.rows)


def _stored(space: Space, vectors: Vectors, spec: SpaceSpec, rows: int) -> Vectors:
    vectors = np.asarray(vectors)
    if vectors.shape != (rows, spec.dim):
        raise InvalidInputError(f"{space} vectors must be {(rows, spec.dim)}, got {vectors.shape}", space)
    with np.errstate(over="ignore"):
        stored = vectors.astype(spec.dtype)
    bad = ~np.isfinite(stored).all(axis=1) | ~stored.any(axis=1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise InvalidInputError(
            f"{int(bad.sum())} {space} vectors are zero, not finite or beyond {spec.dtype}, the first in row {first}; "
            "leave these tiles out before writing",
            space,
        )
    return stored


def _segment_id(files: Mapping[str, FileInfo], generation: int) -> str:
    content = "".join(f"{name}:{info.sha256};" for name, info in sorted(files.items()))
    return hashlib.sha256(f"{generation};{content}".encode()).hexdigest()[:16]
