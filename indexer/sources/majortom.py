"""Major TOM Core: Parquet files with the pictures of grid cells, and a Parquet file that says where and when they are.

The columns are those of the data set's cards (https://huggingface.co/Major-TOM): the picture files have `product_id`,
`grid_cell` and `thumbnail` (a PNG of 10.68 km); the metadata file adds `centre_lat`, `centre_lon`, `timestamp` and
`cloud_cover` in per cent. Columns of the metadata that the picture file has itself need no metadata file.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.picture import decode_picture
from indexer.sources.places import centre_in, cloud_share, slug
from indexer.sources.protocol import MOST_IN_PARTITION, Candidate, LeftOut, Partition, Reading
from indexer.sources.times import utc_day
from indexer.sources.walking import files_below
from wildsat_core.bands import RGB
from wildsat_core.errors import SourceError
from wildsat_core.geo import check_lon_lat, square_bbox
from wildsat_core.types import BBox, Tile

if TYPE_CHECKING:
    import pyarrow.parquet as pq

SIDE_KM: Final = 10.68  # https://arxiv.org/abs/2402.12095: 1068 pixels of 10 m
GSD_M: Final = 10.0
_PLACE: Final = ("centre_lat", "centre_lon")
_WANTED: Final = ("product_id", "grid_cell", "timestamp", "cloud_cover", *_PLACE)


@dataclass(frozen=True)
class MajorTomSource:
    """Pictures of a Major TOM Core data set.

    Attributes:
        path: a Parquet file, or a folder of them.
        metadata: the data set's metadata file; None where the picture files have the places themselves.
        area: only cells with their centre in this box.
    """

    path: str
    metadata: str | None = None
    area: BBox | None = None
    bands: tuple[str, ...] = RGB
    name: str = "majortom"

    def __post_init__(self) -> None:
        """Say at once when there is nothing."""
        if not self._files():
            raise SourceError(f"{self.path} is neither a Parquet file nor a folder of them")

    def count(self) -> int | None:
        """Rows of all files, from their footers; None when only some lie in the area."""
        if self.area is not None:
            return None
        return sum(int(_open(str(path)).metadata.num_rows) for path in self._files())

    def partitions(self) -> Iterator[Partition]:
        """Rows of a file, from their footers."""
        for path in self._files():
            rows = int(_open(str(path)).metadata.num_rows)
            for first in range(0, rows, MOST_IN_PARTITION):
                above = min(first + MOST_IN_PARTITION, rows)
                yield Partition(f"{path.relative_to(self.path)}-{first}", above - first, (str(path), first, above))

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate | LeftOut]:
        """Files by name, rows in order; the metadata file is looked through once a partition.

        Raises:
            SourceError: a file lacks the pictures, or nothing tells the places.
        """
        for part in self.partitions() if partition is None else (partition,):
            path, first, above = part.locator
            file = _open(path)
            names = file.schema_arrow.names
            if "thumbnail" not in names or "grid_cell" not in names:
                raise SourceError(f"{path} has no columns grid_cell and thumbnail; it has: {', '.join(names)}")
            with _reading(path):
                rows = file.read(columns=[c for c in _WANTED if c in names]).slice(first, above - first).to_pylist()
            facts = self._facts(rows, names)
            groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            places = [(group, number) for group, size in enumerate(groups) for number in range(size)][first:above]
            for row, place in zip(rows, places, strict=True):
                try:
                    tile = self._tile({**row, **facts.get(_key(row), {})})
                except (ValueError, TypeError) as err:
                    yield LeftOut("bad row", f"{path}: cell {row.get('grid_cell')}: {err}")
                    continue
                if self.area is None or centre_in(self.area, tile.bbox):
                    yield Candidate(tile, (path, *place))

    def read(self, candidate: Candidate) -> Reading:
        """The picture of a cell, (3, H, W) uint8.

        Raises:
            SourceError: the row has no picture, or one that can't be decoded.
        """
        path, group, number = candidate.locator
        file = _open(path)
        with _reading(path):
            data = file.read_row_group(group, columns=["thumbnail"])["thumbnail"][number].as_py()
        if not data:
            raise SourceError(f"{path}: {candidate.tile.tile_id} has no thumbnail")
        return decode_picture(data, (1, 2, 3), candidate.tile.tile_id)

    def inputs(self) -> Iterator[str]:
        """The picture files and the metadata."""
        yield from map(str, self._files())
        yield from ([self.metadata] if self.metadata else [])

    def provenance(self) -> dict[str, Any]:
        """What."""
        return {"source": self.name, "input": Path(self.path).name, "bands": list(self.bands)}

    def _files(self) -> list[Path]:
        path = Path(self.path)
        if path.is_file():
            return [path]
        skip = Path(self.metadata).resolve() if self.metadata else None
        return sorted(p for p in files_below(path, {".parquet"}) if p.resolve() != skip)

    def _facts(self, rows: list[dict[str, Any]], names: list[str]) -> dict[tuple[Any, Any], dict[str, Any]]:
        """Where and when of some rows from the metadata file, by product and cell.

        Raises:
            SourceError: the places are neither in the picture file nor in a metadata file.
        """
        if set(_PLACE) <= set(names):
            return {}
        if self.metadata is None:
            raise SourceError(f"{self.path} does not say where its cells are: give the data set's --metadata file")
        import pyarrow.parquet as pq

        # Filtered while it is read, so that the metadata of the whole planet is never in memory.
        cells = sorted({row["grid_cell"] for row in rows})
        with _reading(self.metadata):
            table = pq.read_table(self.metadata, filters=[("grid_cell", "in", cells)])
            known = table.select([c for c in _WANTED if c in table.column_names]).to_pylist()
        return {_key(row): row for row in known}

    def _tile(self, row: Mapping[str, Any]) -> Tile:
        """Raises ValueError or TypeError where a row can't be understood."""
        lat, lon = row.get("centre_lat"), row.get("centre_lon")
        if lat is None or lon is None:
            raise ValueError(f"it is not in the metadata file {self.metadata}")
        check_lon_lat(float(lon), float(lat))
        date = utc_day(row.get("timestamp"))
        cloud = row.get("cloud_cover")
        product = row.get("product_id") or (date.isoformat() if date else "")
        return Tile(
            tile_id=f"majortom-{slug(str(row['grid_cell']))}" + (f"-{slug(str(product))}" if product else ""),
            bbox=square_bbox(float(lon), float(lat), SIDE_KM),
            gsd_m=GSD_M,
            source=self.name,
            href=str(product),
            captured_on=date,
            cloud_cover=cloud_share(None if cloud is None else float(cloud) / 100),
        )


def _key(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row.get("product_id"), row.get("grid_cell")


@functools.lru_cache(maxsize=4)
def _open(path: str) -> pq.ParquetFile:
    """Open once a process.

    Raises:
        SourceError: not a Parquet file.
    """
    import pyarrow.parquet as pq

    with _reading(path):
        return pq.ParquetFile(path)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Errors of reading Parquet as one of ours that names the file."""
    try:
        yield
    except library_errors() as err:
        raise read_error(f"{path} can't be read as Parquet", path, err) from err
