"""Any raster that GDAL reads, cut into squares: on a kilometre grid of the globe, or along the raster's own pixels.

On the kilometre grid a tile is its box in degrees, resampled to a square of pixels; rows of the box shrink with the
cosine of latitude, so up to 85 degrees the picture is near enough to a square on the ground. Nearer a pole it is not,
and there the picture is a true square in an equal-area projection centred on the tile.
"""

from __future__ import annotations

import datetime as dt
import glob
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from indexer.sources.dataset import Dataset, open_dataset
from indexer.sources.file_georeference import box_transform, unwrapped
from indexer.sources.grid import Cell, KilometreGrid
from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.pixels import Stretch, reading_of
from indexer.sources.places import centre_in, slug
from indexer.sources.projections import DEGREES
from indexer.sources.protocol import MOST_IN_PARTITION, Candidate, LeftOut, Partition, PixelPlace, Reading
from indexer.sources.remote import patiently
from indexer.sources.view import BandChoice, Mask, Pixels
from wildsat_core.addresses import is_remote, public_name
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import wrap_lon
from wildsat_core.types import BBox, Tile

POLAR_LATITUDE: Final = 85.0
_TILE_PX: Final = (16, 2048)
_PARTS_UNTOLD: Final = frozenset({"ILWIS", "MRF"})  # whose drivers read files of the same stem without naming them


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """Squares of `size_px` pixels of the raster itself, `step_px` apart; the last ones are flush with the edges."""

    size_px: int
    step_px: int

    def __post_init__(self) -> None:
        """Check once."""
        if self.size_px < 1 or self.step_px < 1:
            raise InvalidInputError(f"tile-px and step-px must be at least 1, got {self.size_px}, {self.step_px}", "px")

    def starts(self, length: int) -> list[int]:
        """First pixels along an axis of this length."""
        if length < self.size_px:
            return []
        last = length - self.size_px
        return [*range(0, last, self.step_px), last]


class _Window(NamedTuple):
    """Locator of a pixel-grid tile."""

    column: int
    row: int


@dataclass(frozen=True)
class RasterSource:
    """Tiles of one raster.

    Attributes:
        path: a file, or any name that GDAL opens.
        grid: how it is cut.
        extent: where it lies, EPSG:4326; None for where the file says.
        band_indexes: which of the file's bands, counted from 1; `bands` names them. None takes those that the file
            itself calls red, green and blue, or else the first ones.
        stretch: map of stored values to eight bits; None leaves them as they are.
        nodata: value that means no data, None for what the file says.
        tile_px: side of a kilometre-grid tile in pixels; None for the raster's own resolution.
        area: only tiles with their centre in this box.
        scene: first part of tile ids; None for the file's name.
        captured_on: day of the picture.
    """

    path: str
    grid: KilometreGrid | PixelGrid
    extent: BBox | None = None
    band_indexes: tuple[int, ...] | None = None
    bands: tuple[str, ...] = RGB
    stretch: Stretch | None = None
    nodata: float | None = None
    tile_px: int | None = None
    area: BBox | None = None
    scene: str | None = None
    captured_on: dt.date | None = None
    cloud_cover: float | None = None
    name: str = "raster"

    def __post_init__(self) -> None:
        """Refuse settings that contradict the file, before any work."""
        if self.band_indexes is not None and len(self.band_indexes) != len(self.bands):
            raise InvalidInputError(f"{len(self.band_indexes)} band indexes for the bands {self.bands}", "bands")
        if self.extent is not None and (self.extent.width_deg == 0 or self.extent.south == self.extent.north):
            raise InvalidInputError(f"extent must have width and height, got {self.extent.as_tuple()}", "extent")
        if self.tile_px is not None and not _TILE_PX[0] <= self.tile_px <= _TILE_PX[1]:
            raise InvalidInputError(f"tile-px must lie in {_TILE_PX}, got {self.tile_px}", "tile-px")
        assert self._raster.bands

    @property
    def _raster(self) -> Dataset:
        choice = BandChoice(self.bands, self.band_indexes, self.nodata, is_stretched=self.stretch is not None)
        return open_dataset(self.path, self.extent, choice)

    @property
    def _scene(self) -> str:
        return self.scene or slug(file_stem(self.path))

    def count(self) -> int | None:
        """Number of grid squares that meet the raster."""
        if isinstance(self.grid, KilometreGrid):
            return self.grid.count(self._box())
        where = self._raster.georeference
        return len(self.grid.starts(where.height)) * len(self.grid.starts(where.width)) if self.area is None else None

    def partitions(self) -> Iterator[Partition]:
        """Compact blocks of grid cells, or of windows of the raster's own pixels."""
        if isinstance(self.grid, KilometreGrid):
            for block in self.grid.blocks(self._box()):
                yield Partition(block.key, block.cells, block)
            return
        where, side = self._raster.georeference, math.isqrt(MOST_IN_PARTITION)
        rows, columns = self.grid.starts(where.height), self.grid.starts(where.width)
        for down, across in itertools.product(range(0, len(rows), side), range(0, len(columns), side)):
            windows = rows[down : down + side], columns[across : across + side]
            yield Partition(f"y{down}-x{across}", len(windows[0]) * len(windows[1]), windows)

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate | LeftOut]:
        """Squares from north to south, or from the raster's top row down; those of a partition by its own squares."""
        if isinstance(self.grid, KilometreGrid):
            box = self._box()
            cells = self.grid.cells(box) if partition is None else self.grid.cells_of(partition.locator, box)
            return self._cells(self.grid, cells)
        where = self._raster.georeference
        starts = (self.grid.starts(where.height), self.grid.starts(where.width))
        return self._windows(self.grid, *(starts if partition is None else partition.locator))

    def read(self, candidate: Candidate) -> Reading:
        """Resample or cut one square.

        Raises:
            SourceError: GDAL can't read it.
        """
        try:
            values, valid, place = patiently(
                self.path, lambda: self._pixels_of(candidate), between=open_dataset.cache_clear
            )
        except library_errors() as err:
            what = f"{self.path.partition('?')[0]}: tile {candidate.tile.tile_id} can't be read"
            raise read_error(what, self.path, err) from err
        return replace(reading_of(values, valid, self.stretch), place=place)

    def prepare(self, candidates: Sequence[Candidate]) -> None:
        """Fetch what some squares need of a file on a server, in few requests."""
        if not is_remote(self.path):
            return
        windows = [candidate.locator for candidate in candidates if isinstance(candidate.locator, _Window)]
        boxes: dict[int, list[BBox]] = {}
        for candidate in candidates:
            if not isinstance(candidate.locator, _Window):
                px, centre = candidate.locator
                if centre is None:
                    boxes.setdefault(px, []).append(candidate.tile.bbox)

        def fetch() -> None:
            if isinstance(self.grid, PixelGrid):
                self._raster.fetch_windows(windows, self.grid.size_px, self.grid.size_px)
            for px, some in boxes.items():
                self._raster.fetch_boxes(some, px)

        patiently(self.path, fetch, between=open_dataset.cache_clear)

    def inputs(self) -> Iterator[str]:
        """The file with those that belong to it, as the parts of a VRT; or the address."""
        import rasterio

        if is_remote(self.path):
            yield self.path
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(self.path) as dataset:
                files, driver = dataset.files or [self.path], dataset.driver
        files += [name for name in [f"{files[0].rpartition('.')[0]}.prj"] if name not in files and Path(name).is_file()]
        for name in files:
            path = Path(name)
            if path.is_dir():
                yield from sorted(str(file) for file in path.rglob("*") if file.is_file())
            elif driver in _PARTS_UNTOLD:
                yield from sorted(str(file) for file in path.parent.glob(f"{glob.escape(path.stem)}[._]*"))
            else:
                yield name

    def provenance(self) -> dict[str, Any]:
        """What, how cut, how stretched."""
        grid = self.grid
        cut = grid.name if isinstance(grid, KilometreGrid) else f"{grid.size_px}px, step {grid.step_px}px"
        return {
            "source": self.name,
            "input": Path(public_name(self.path)).name,
            "grid": cut,
            "bands": list(self.bands),
            "band_indexes": list(self._raster.bands),
            "stretch": str(self.stretch) if self.stretch else None,
        }

    @property
    def _names(self) -> tuple[str, str, str]:
        """What ids begin with, what they end with, and the name of the raster for people: the same for all tiles.

        An id ends with the date, where one is known: next year's raster of the same name has tiles of its own.
        """
        date = f"-{self.captured_on:%Y%m%d}" if self.captured_on else ""
        return f"{self._scene}-", date, Path(public_name(self.path)).name

    def _cells(self, grid: KilometreGrid, cells: Iterable[Cell]) -> Iterator[Candidate]:
        px = self.tile_px or self._own_px(grid.size_km)
        head, end, href = self._names
        for cell in cells:
            tile = Tile(
                tile_id=f"{head}{grid.cell_id(cell)}{end}",
                bbox=cell.bbox,
                gsd_m=grid.size_km * 1000 / px,
                source=self.name,
                href=href,
                captured_on=self.captured_on,
                cloud_cover=self.cloud_cover,
            )
            centre = (cell.lon, cell.lat) if abs(cell.lat) > POLAR_LATITUDE else None
            yield Candidate(tile, (px, centre))

    def _windows(self, grid: PixelGrid, rows: list[int], columns: list[int]) -> Iterator[Candidate | LeftOut]:
        where = self._raster.georeference
        head, end, href = self._names
        for row in rows:
            places = where.window_places([(column, row) for column in columns], grid.size_px, grid.size_px)
            for column, place in zip(columns, places, strict=True):
                if place is None:
                    yield LeftOut("off the globe", f"{self.path}: the window at column {column}, row {row}")
                    continue
                if self.area is not None and not centre_in(self.area, place.box):
                    continue
                tile = Tile(
                    tile_id=f"{head}{grid.size_px}px-y{row:05d}-x{column:05d}{end}",
                    bbox=place.box,
                    gsd_m=place.pixel_m,
                    source=self.name,
                    href=href,
                    captured_on=self.captured_on,
                    cloud_cover=self.cloud_cover,
                    footprint_wkb=place.outline,
                )
                yield Candidate(tile, _Window(column, row))

    def _box(self) -> BBox | None:
        """Where grid centres may lie: the asked area cut by the raster's extent; None is the globe."""
        own = self._raster.georeference.box
        return own if self.area is None else self.area if own is None else _common(own, self.area)

    def _own_px(self, size_km: float) -> int:
        px = round(size_km * 1000 / self._raster.georeference.pixel_m())
        return min(max(px, _TILE_PX[0]), _TILE_PX[1])

    def _pixels_of(self, candidate: Candidate) -> tuple[Pixels, Mask, PixelPlace]:
        locator = candidate.locator
        if isinstance(locator, _Window):
            return self._read_window(self._raster, locator)
        return self._read_box(self._raster, candidate.tile.bbox, locator)

    def _read_window(self, raster: Dataset, window: _Window) -> tuple[Pixels, Mask, PixelPlace]:
        assert isinstance(self.grid, PixelGrid)
        values, valid = raster.read(window.column, window.row, self.grid.size_px, self.grid.size_px)
        return values, valid, raster.georeference.of_window(window.column, window.row)

    def _read_box(
        self, raster: Dataset, bbox: BBox, locator: tuple[int, tuple[float, float] | None]
    ) -> tuple[Pixels, Mask, PixelPlace]:
        """Resample a box of degrees, or near a pole a square around the centre, to px x px."""
        px, centre = locator
        crs, bounds = DEGREES, unwrapped(bbox)
        if centre is not None:
            assert isinstance(self.grid, KilometreGrid)
            lon, lat = centre
            half_m = self.grid.size_km * 500
            crs = f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m"
            bounds = (-half_m, -half_m, half_m, half_m)
        values, valid = raster.warp(crs, bounds, px, px)
        t = box_transform(bounds, px, px)
        return values, valid, PixelPlace(crs, (t.a, t.b, t.c, t.d, t.e, t.f))


def file_stem(path: str) -> str:
    """The name of a file without folders and suffix; of a part of a container, as NETCDF:a.nc:sst, with the part's."""
    driver, colon, rest = path.partition(":")
    if not colon or len(driver) < 2 or rest.startswith("//"):
        return Path(path.partition("?")[0]).stem
    file, _, part = rest.strip('"').rpartition(":")
    stem = Path(file.strip('"') or rest).stem
    return f"{stem}-{part.strip('/')}" if file else stem


def _common(extent: BBox, area: BBox) -> BBox:
    """Overlap of a raster's extent with an asked area; either may cross the antimeridian.

    Where an area meets an extent at both its ends, the larger box that holds both overlaps is returned.

    Raises:
        InvalidInputError: they don't meet.
    """
    south, north = max(extent.south, area.south), min(extent.north, area.north)
    if extent.width_deg == 360.0 and south <= north:
        return BBox(area.west, south, area.east, north)
    # Degrees eastwards from the extent's west edge; an area that begins beyond its end reaches into it from the west.
    start = (area.west - extent.west) % 360.0
    end = start + area.width_deg
    if start > extent.width_deg:
        start, end = 0.0, end - 360.0
    end = min(end, extent.width_deg)
    if south > north or end < start:
        raise InvalidInputError(f"bbox {area.as_tuple()} does not meet the raster's extent {extent.as_tuple()}", "bbox")
    east = float(wrap_lon(extent.west + end))
    return BBox(float(wrap_lon(extent.west + start)), south, 180.0 if east == -180.0 else east, north)
