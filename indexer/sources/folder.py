"""A folder of pictures, each one tile: georeferenced, or placed by a CSV with longitude, latitude and a date."""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from indexer.sources.columns import CLOUDS, DATES, FILES, IDS, LONGITUDES_LATITUDES, find, find_all
from indexer.sources.dataset import Dataset
from indexer.sources.intact import check_intact_file
from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.picture import ON_ITS_SIDE, read_picture, turn_of, upright
from indexer.sources.pixels import Stretch, reading_of
from indexer.sources.places import box_around, centre_in, cloud_share
from indexer.sources.protocol import (
    MOST_IN_PARTITION,
    Candidate,
    LeftOut,
    NoPlaceError,
    NotAPictureError,
    Partition,
    Reading,
)
from indexer.sources.remote import gdal_environment
from indexer.sources.times import utc_day
from indexer.sources.view import BandChoice
from indexer.sources.walking import files_below
from wildsat_core.bands import RGB
from wildsat_core.errors import SourceError
from wildsat_core.geo import check_lon_lat
from wildsat_core.ids import tile_id_of
from wildsat_core.types import BBox, Tile

SUFFIXES: Final = frozenset({".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".webp"})
TABLE_NAMES: Final = ("index.csv", "tiles.csv")


@dataclass(frozen=True)
class FolderSource:
    """Pictures below a folder.

    Attributes:
        root: the folder.
        table: CSV with a column `file` and, for pictures without georeference, `lon` and `lat`; further columns are
            `date` (YYYY-MM-DD), `cloud` (0..1), `gsd_m` and `id`. None reads every georeferenced picture of the folder.
        gsd_m: ground size of a pixel of pictures without georeference, where the table does not say.
        band_indexes: which of the files' bands, counted from 1; `bands` names them. None takes those that a file itself
            calls red, green and blue, or else the first ones.
        stretch: map of stored values to eight bits; None leaves them as they are.
        area: only pictures with their centre in this box.
    """

    root: str
    table: str | None = None
    gsd_m: float | None = None
    band_indexes: tuple[int, ...] | None = None
    bands: tuple[str, ...] = RGB
    stretch: Stretch | None = None
    area: BBox | None = None
    name: str = "folder"

    def __post_init__(self) -> None:
        """Say at once when there is no such folder."""
        if not Path(self.root).is_dir():
            raise SourceError(f"{self.root} is not a folder")
        if self.table is not None and not Path(self.table).is_file():
            raise SourceError(f"{self.table}, the table of the pictures, is not a file")

    def count(self) -> int | None:
        """Number of rows or files."""
        return sum(1 for _ in self._rows())

    def partitions(self) -> Iterator[Partition]:
        """Rows of the table, or files, that follow one another; which ones these are is part of the key."""
        files = [row["file"] or "" for row in self._rows()]
        for first in range(0, len(files), MOST_IN_PARTITION):
            above = min(first + MOST_IN_PARTITION, len(files))
            named = hashlib.sha256(os.fsencode("\0".join(files[first:above]))).hexdigest()[:16]
            yield Partition(f"rows-{first}-{named}", above - first, (first, above))

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate | LeftOut]:
        """In the order of the table, or of the file names; what is missing, damaged or has no place is left out.

        Raises:
            SourceError: the table can't be read, or names no files.
        """
        rows = enumerate(self._rows(), start=2)
        for number, row in rows if partition is None else itertools.islice(rows, *partition.locator):
            try:
                candidate = self._candidate(row, number)
            except NotAPictureError as err:
                yield LeftOut("not a picture", str(err))
                continue
            except NoPlaceError as err:
                yield LeftOut(err.reason, str(err))
                continue
            except SourceError as err:
                yield LeftOut("bad row", str(err))
                continue
            if self.area is None or centre_in(self.area, candidate.tile.bbox):
                yield candidate

    def unnamed(self) -> int:
        """How many pictures of the folder its table does not name."""
        named = {(Path(self.root) / (row["file"] or "")).resolve() for row in self._rows()}
        return sum(path.resolve() not in named for path in files_below(self.root, SUFFIXES))

    def read(self, candidate: Candidate) -> Reading:
        """The whole picture.

        Raises:
            SourceError: not readable, or bands are missing.
        """
        path, says_where = candidate.locator
        if not says_where:
            return upright(read_picture(path, self.band_indexes, self.stretch), turn_of(path))
        check_intact_file(Path(path))
        dataset = Dataset(path, None, self._choice)
        where = dataset.georeference
        try:
            with gdal_environment(path):
                values, valid = dataset.read(0, 0, where.width, where.height)
        except library_errors() as err:
            raise read_error(f"{path} can't be read as a picture", path, err) from err
        return replace(reading_of(values, valid, self.stretch), place=where.of_window(0, 0))

    def inputs(self) -> Iterator[str]:
        """The table, and the pictures that it names, or all of them."""
        yield from ([self.table] if self.table else [])
        yield from (str(Path(self.root) / row["file"]) for row in self._rows() if row["file"])

    def provenance(self) -> dict[str, Any]:
        """What and how stretched."""
        return {
            "source": self.name,
            "input": Path(self.root).resolve().name,
            "bands": list(self.bands),
            "band_indexes": list(self.band_indexes) if self.band_indexes else None,
            "stretch": str(self.stretch) if self.stretch else None,
        }

    def _rows(self) -> Iterator[dict[str, str]]:
        if self.table is None:
            yield from ({"file": str(p.relative_to(self.root))} for p in sorted(files_below(self.root, SUFFIXES)))
            return
        try:
            with Path(self.table).open(encoding="utf-8-sig", newline="") as file:
                first = file.readline()
                file.seek(0)
                between = max(",;\t", key=first.count)  # as spreadsheets write it, too
                reader = csv.DictReader(file, delimiter=between)
                names = reader.fieldnames or []
                columns = _columns(names)
                if "file" not in columns:
                    raise SourceError(f"{self.table} has no column 'file'; it has: {', '.join(names)}")
                for row in reader:
                    yield {known: row[name] for known, name in columns.items()}
        except UnicodeDecodeError as err:
            raise SourceError(f"{self.table} is not UTF-8 ({err.reason} at byte {err.start}): save it as such") from err
        except csv.Error as err:
            raise SourceError(f"{self.table} can't be read as CSV: {err}") from err

    def _candidate(self, row: dict[str, str], line: int) -> Candidate:
        file = row["file"] or ""  # a row that is too short has None
        where = f"{self.table}, line {line}" if self.table else file
        try:
            path = Path(self.root) / file
            if not file or "\0" in file:
                raise SourceError(f"{where}: the row names no file" + (", but a null character" if file else ""))
            # By its name: a link within the folder was put there by whoever made the folder, and is followed.
            if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(self.root)):
                raise SourceError(f"{where}: {file} lies outside of {self.root}: put it, or a link to it, there")
            box, outline, gsd_m, says_where = self._place(path, row)
            date = utc_day(row.get("date"))
            cloud = cloud_share(row.get("cloud"))
        except ValueError as err:
            raise SourceError(f"{where}: {err}") from err
        stem = str(Path(row["file"]).with_suffix("")).replace("/", "-")
        name = row.get("id") or (f"{stem}-{date}" if date else stem)
        tile = Tile(
            tile_id=tile_id_of(name),
            bbox=box,
            gsd_m=gsd_m,
            source=self.name,
            href=os.fsencode(file).decode("utf-8", "replace"),  # names of files may be any bytes
            captured_on=date,
            cloud_cover=cloud,
            footprint_wkb=outline,
        )
        return Candidate(tile, (str(path), says_where))

    @property
    def _choice(self) -> BandChoice:
        return BandChoice(self.bands, self.band_indexes, is_stretched=self.stretch is not None)

    def _place(self, path: Path, row: dict[str, str]) -> tuple[BBox, bytes | None, float, bool]:
        """Box, outline where the box says too much, pixel size, and whether that is what the file itself says."""
        if row.get("lon") and row.get("lat"):
            gsd_m = float(row.get("gsd_m") or self.gsd_m or 0)
            if gsd_m > 0:
                width, height = _size(path)
                lon, lat = float(row["lon"]), float(row["lat"])
                check_lon_lat(lon, lat)
                return box_around(lon, lat, width * gsd_m / 1000, height * gsd_m / 1000), None, gsd_m, False
        try:
            where = Dataset(str(path), None, self._choice).georeference
        except NotAPictureError:
            raise
        except SourceError as err:
            raise NoPlaceError(
                f"{path} has no place: it is not georeferenced, and a table with lon and lat and a pixel size "
                "(column gsd_m, or --gsd-m) is needed"
            ) from err
        [place] = where.window_places([(0, 0)], where.width, where.height)
        if place is None:
            raise NotAPictureError(f"{path} reaches off the globe in its projection, so it has no place")
        return *place, True


def _columns(names: Sequence[str]) -> dict[str, str]:
    """Columns of a table by what is asked of them, whatever they are called."""
    found = {"file": find(names, FILES), "id": find(names, IDS), "gsd_m": find(names, ["gsd_m", "gsd"])}
    found |= {"date": find(names, DATES), "cloud": find(names, CLOUDS)}
    found |= dict(zip(("lon", "lat"), find_all(names, LONGITUDES_LATITUDES) or (None, None), strict=True))
    return {known: name for known, name in found.items() if name is not None}


def find_table(root: str) -> str | None:
    """The table beside the pictures, by its usual names; None where there is none."""
    found = (Path(root) / name for name in TABLE_NAMES)
    return next((str(path) for path in found if path.is_file()), None)


def _size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, as people see it.

    Raises:
        NotAPictureError: missing or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            size, is_turned = picture.size, picture.format == "TIFF"  # Pillow turns these itself
        return size[::-1] if not is_turned and turn_of(str(path)) in ON_ITS_SIDE else size
    except library_errors() as err:
        raise read_error(f"{path} can't be read as a picture", str(path), err) from err
