"""Finds the pictures of a place in imagery on disk: a folder with a table, a SatlasPretrain tree, or a large raster."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.data.cells import cell_centre, cell_of, chord, tree_of
from training.data.pixels import Window
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError, MissingDataError
from wildsat_core.geo import KM_PER_DEGREE, square_bbox, unit_vectors, wrap_lon

SATLAS_ZOOM = 13
DEFAULT_SIDE_KM = 5.0
_SATLAS_NAME = re.compile(r"(\d+)_(\d+)$")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of some ground.

    Attributes:
        path: under the imagery's root.
        window: part of the file, None for the whole.
        lon: of its centre, degrees.
        lat: of its centre, degrees.
        site: pictures of one site show the same ground.
        captured_on: day, if known.
    """

    path: str
    window: Window | None
    lon: float
    lat: float
    site: int
    captured_on: dt.date | None = None


class Imagery(Protocol):
    """Something that has pictures of places."""

    @property
    def root(self) -> Path:
        """Folder that the pictures' paths begin at."""
        ...

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of a file, in order."""
        ...

    def pictures_at(self, lon: float, lat: float) -> list[Picture]:
        """All pictures that show a position, at any date; none if there are none."""
        ...


def open_imagery(
    source: str, *, side_km: float | None = None, bands: tuple[str, ...] | None = None, dates: Path | None = None
) -> Imagery:
    """Open imagery by `folder:DIRECTORY`, `satlas:DIRECTORY` or `raster:FILE`.

    Args:
        source: kind and path.
        side_km: side of the ground that a picture shows; for a raster, of the squares cut from it. None for what the
            folder says, or 5.
        bands: names of the bands in a file, in order. None for what the folder says, or true colour.
        dates: the `image_times.json` of a SatlasPretrain tree, where it is not in its usual place.

    Raises:
        InvalidInputError: an unknown kind, or a table without its columns.
        MissingDataError: nothing is there.
    """
    kind, _, rest = source.partition(":")
    path = Path(rest).expanduser()
    if kind not in ("folder", "satlas", "raster") or not rest:
        raise InvalidInputError(
            f"imagery must be folder:DIRECTORY, satlas:DIRECTORY or raster:FILE, got {source!r}", "imagery"
        )
    if not path.exists():
        raise MissingDataError(f"there is no imagery at {path}")
    if kind == "folder":
        return FolderImagery(path, side_km, bands)
    if kind == "satlas":
        return SatlasImagery(path, bands or RGB, dates or find_satlas_dates(path))
    return RasterImagery(path, side_km or DEFAULT_SIDE_KM, bands or RGB)


class FolderImagery:
    """Pictures in a folder, with a table `index.csv` of file, lon, lat and, if known, date and side_km.

    `wildsat index cut` writes such folders; `cut.json` in them names the bands.
    """

    def __init__(self, root: Path, side_km: float | None, bands: tuple[str, ...] | None) -> None:
        """Read the table.

        Raises:
            MissingDataError: there is no table.
            InvalidInputError: a column or a number is wrong, or the pictures have other bands.
        """
        self.root, self.bands = root, _bands_of(root, bands)
        index = root / "index.csv"
        if not index.is_file():
            raise MissingDataError(f"{root} has no index.csv with the columns file, lon, lat and, if known, date")
        with index.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
        try:
            self._files = [row["file"] for row in rows]
            self._lon_lat = np.array([(float(row["lon"]), float(row["lat"])) for row in rows]).reshape(-1, 2)
            self._dates = [dt.date.fromisoformat(row["date"][:10]) if row.get("date") else None for row in rows]
            sides = [side_km or float(row.get("side_km") or DEFAULT_SIDE_KM) for row in rows]
        except (KeyError, ValueError, TypeError) as err:
            raise InvalidInputError(
                f"{index} needs the columns file, lon, lat and ISO dates: {err}", "imagery"
            ) from err
        if wrong := [side for side in sides if not (math.isfinite(side) and side > 0)]:
            raise InvalidInputError(f"{index}: pictures must have a side in km, got side_km {wrong[0]:g}", "imagery")
        self._side_km = np.array(sides)
        self._reach_km = max(sides, default=DEFAULT_SIDE_KM) / math.sqrt(2)  # from the centre to a corner
        self._near = _Near(self._lon_lat, self._side_km)
        self._sites = self._near.sites()

    def pictures_at(self, lon: float, lat: float) -> list[Picture]:
        """Pictures of the site of the nearest picture that the position is on.

        Pictures whose centres lie within a quarter of the smaller one's side of each other show the same ground, if the
        larger one's side is at most twice as long.
        """
        nearest = self._near.find(lon, lat, self._reach_km)
        shown = next((row for row in nearest if self._shows(row, lon, lat)), None)
        if shown is None:
            return []
        rows = np.flatnonzero(self._sites == self._sites[shown])
        return [self._picture(int(row)) for row in rows]

    def _shows(self, row: int, lon: float, lat: float) -> bool:
        """Whether a position is on a picture's square of ground."""
        centre_lon, centre_lat = self._lon_lat[row]
        east_km = wrap_lon(lon - centre_lon) * KM_PER_DEGREE * math.cos(math.radians(centre_lat))
        north_km = (lat - centre_lat) * KM_PER_DEGREE
        return bool(max(abs(east_km), abs(north_km)) <= self._side_km[row] / 2)

    def _picture(self, row: int) -> Picture:
        lon, lat = self._lon_lat[row].tolist()
        return Picture(self._files[row], None, lon, lat, int(self._sites[row]), self._dates[row])


class SatlasImagery:
    """A SatlasPretrain tree: `<image>/tci/<column>_<row>.png`, Web Mercator tiles of zoom 13, one folder an image."""

    def __init__(self, root: Path, bands: tuple[str, ...], dates: Path | None = None) -> None:
        """List the tree; every image that has a tile shows it at a date of its own.

        Args:
            root: folder of the images.
            bands: of a picture.
            dates: JSON of image name to ISO time; None leaves pictures without a date.

        Raises:
            InvalidInputError: the dates can't be read.
        """
        self.root, self.bands = root, bands
        self._dates = _satlas_dates(dates) if dates else {}
        self._tiles: dict[tuple[int, int], list[str]] = defaultdict(list)
        for file in sorted(root.glob("*/tci/*.png")):
            found = _SATLAS_NAME.match(file.stem)
            if found:
                self._tiles[int(found[1]), int(found[2])].append(file.relative_to(root).as_posix())

    def pictures_at(self, lon: float, lat: float) -> list[Picture]:
        """The tile that holds the position, in every image that has it."""
        column, row = mercator_tile(lon, lat)
        site, centre = column * 2**SATLAS_ZOOM + row, mercator_centre(column, row)
        return [
            Picture(path, None, *centre, site, self._dates.get(path.split("/")[0]))
            for path in self._tiles.get((column, row), [])
        ]


class RasterImagery:
    """Squares cut from one georeferenced raster, on a grid of equal-area cells."""

    def __init__(self, file: Path, side_km: float, bands: tuple[str, ...]) -> None:
        """Read the raster's extent."""
        import rasterio

        self.root, self.bands, self._name = file.parent, bands, file.name
        self._side_km = side_km
        with rasterio.open(file) as raster:
            self._crs, self._transform, self._size = raster.crs, raster.transform, (raster.width, raster.height)
        if self._crs is None:
            raise InvalidInputError(f"{file} says nothing of its position; give a georeferenced raster", "imagery")

    def pictures_at(self, lon: float, lat: float) -> list[Picture]:
        """The square of the cell that holds the position, if the raster has all of it."""
        from rasterio.warp import transform_bounds
        from rasterio.windows import from_bounds

        cell = int(cell_of(lon, lat, self._side_km))
        centre = cell_centre(cell, self._side_km)
        box = square_bbox(*centre, self._side_km)
        if box.crosses_antimeridian:
            return []
        part = from_bounds(*transform_bounds("EPSG:4326", self._crs, *box.as_tuple()), transform=self._transform)
        left, top, width, height = (round(v) for v in (part.col_off, part.row_off, part.width, part.height))
        inside = left >= 0 and top >= 0 and left + width <= self._size[0] and top + height <= self._size[1]
        if not inside or min(width, height) < 1:
            return []
        return [Picture(self._name, (left, top, width, height), *centre, cell)]


def find_satlas_dates(root: Path) -> Path | None:
    """`metadata/image_times.json` of the data set that a folder of images belongs to; None where there is none."""
    places = (root / "image_times.json", root / "metadata" / "image_times.json")
    beside = root.resolve().parent / "metadata" / "image_times.json"
    return next((path for path in (*places, beside) if path.is_file()), None)


def _satlas_dates(path: Path) -> dict[str, dt.date]:
    try:
        times = json.loads(path.read_text(encoding="utf-8"))
        return {image: dt.datetime.fromisoformat(time).date() for image, time in times.items()}
    except (OSError, ValueError, AttributeError, TypeError) as err:
        raise InvalidInputError(
            f"{path} must map image names to ISO times, as image_times.json does: {err}", "dates"
        ) from err


def _bands_of(root: Path, given: tuple[str, ...] | None) -> tuple[str, ...]:
    """Bands of a folder's pictures: those that its own note names, else those given, else true colour."""
    note = root / "cut.json"
    if not note.is_file():
        return given or RGB
    try:
        noted = tuple(json.loads(note.read_text(encoding="utf-8"))["bands"])
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidInputError(f"{note} does not name the bands of the pictures: {err}", "imagery") from err
    if given not in (None, noted):
        raise InvalidInputError(f"the pictures of {root} have the bands {', '.join(noted)}; leave out --bands", "bands")
    return noted


def mercator_tile(lon: float, lat: float) -> tuple[int, int]:
    """Column and row of the Web Mercator tile of zoom 13 at a position."""
    count = 2**SATLAS_ZOOM
    x = (lon + 180) / 360 * count
    y = (1 - math.asinh(math.tan(math.radians(max(-85.05, min(85.05, lat))))) / math.pi) / 2 * count
    return min(int(x), count - 1), min(int(y), count - 1)


def satlas_centre(path: str) -> tuple[float, float] | None:
    """Longitude and latitude of the middle of a picture that is named after its Web Mercator tile, else None."""
    found = _SATLAS_NAME.match(PurePosixPath(path).stem)
    return mercator_centre(int(found[1]), int(found[2])) if found else None


def mercator_centre(column: int, row: int) -> tuple[float, float]:
    """Longitude and latitude of the middle of a Web Mercator tile of zoom 13."""
    count = 2**SATLAS_ZOOM
    lat = math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * (row + 0.5) / count))))
    return (column + 0.5) / count * 360 - 180, lat


class _Near:
    """Distances among many pictures on the sphere."""

    def __init__(self, lon_lat: npt.NDArray[np.float64], side_km: npt.NDArray[np.float64]) -> None:
        # Many dates of one place are one position.
        squares = np.column_stack([lon_lat.round(7), side_km])
        positions, self._position_of = np.unique(squares, axis=0, return_inverse=True)
        self._first = np.unique(self._position_of, return_index=True)[1]
        self._side_km = positions[:, 2]
        self._tree = tree_of(unit_vectors(positions[:, 0], positions[:, 1]))

    def find(self, lon: float, lat: float, within_km: float) -> list[int]:
        """A row of each position that is so near, the nearest first."""
        here = unit_vectors(lon, lat)
        positions = self._tree.query_ball_point(here, chord(within_km))
        positions.sort(key=lambda i: float(((self._tree.data[i] - here) ** 2).sum()))
        return [int(self._first[i]) for i in positions]

    def sites(self) -> npt.NDArray[np.int64]:
        """(N,) a number for each row; those that show the same ground, or are linked by such, have the same."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        if not self._tree.n:
            return np.empty(0, np.int64)
        pairs = self._tree.query_pairs(chord(self._side_km.max() / 4), output_type="ndarray")
        sides = self._side_km[pairs]  # (P, 2)
        apart = np.linalg.norm(self._tree.data[pairs[:, 0]] - self._tree.data[pairs[:, 1]], axis=1)
        near = apart <= [chord(side / 4) for side in sides.min(1)]
        pairs = pairs[near & (sides.max(1) <= 2 * sides.min(1))]
        links = coo_array((np.ones(len(pairs), bool), tuple(pairs.T)), shape=(self._tree.n, self._tree.n))
        numbers: npt.NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
        return numbers[self._position_of]
