"""Opening a raster for windowed reading, and resampling parts of it; the only place where GDAL's ways show."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from indexer.sources.ahead import MOST_AHEAD_BYTES, PixelWindow, runs_of_blocks, windows_of
from indexer.sources.file_georeference import FileGeoreference, box_transform, file_georeference, unwrapped
from indexer.sources.georeference import Bounds, Georeference
from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.projections import DEGREES
from indexer.sources.protocol import NotAPictureError
from indexer.sources.remote import gdal_environment, patiently
from indexer.sources.view import RED_GREEN_BLUE, BandChoice, Mask, Pixels, View, open_raster, view_of
from wildsat_core.addresses import public_name
from wildsat_core.errors import SourceError
from wildsat_core.geo import KM_PER_DEGREE
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from affine import Affine

# Formats that are compressed as one piece: reading a window of one decodes everything above it, each time anew.
_ONE_PIECE: Final = frozenset({"JPEG", "PNG", "WEBP", "GIF", "BIGGIF", "BMP"})
_MOST_IN_MEMORY: Final = 2**30  # bytes of such a picture that are decoded into memory
_MOST_OPEN: Final = 64  # files: twelve bands of five scenes, from which one cell may be made
_HAIR: Final = 1e-7  # degrees
_WORST_POINT_PX: Final = 1.0  # how far the smooth fit through ground control points may miss one of them


class _Level(NamedTuple):
    """The view of an overview, or of the full resolution.

    Attributes:
        dataset: open.
        scale: from its pixels to those of the full resolution.
        block: height and width of the blocks that the file has there.
    """

    dataset: Any
    scale: Affine
    block: tuple[int, int]


class Dataset:
    """An open raster with the georeference that it has or was given.

    Attributes:
        georeference: where the pixels that `read` gives lie.
        bands: which of the file's they are, counted from 1.
        is_palette: whether they are the colours of the file's one band.
    """

    def __init__(
        self, path: str, extent: BBox | None, choice: BandChoice, drivers: frozenset[str] | None = None
    ) -> None:
        """Open a file.

        Args:
            path: a file, or any name that GDAL opens.
            extent: where it lies; None for where the file says.
            choice: which bands.
            drivers: of GDAL, that it may be of; None for all.

        Raises:
            NotAPictureError: not a raster.
            UnreachableError: its server does not answer.
            SourceError: it has no place, or none on the Earth, or lacks bands.
        """
        self._path = path
        try:
            with gdal_environment(path), open_raster(path) as header:
                if drivers is not None and header.driver not in drivers:
                    raise NotAPictureError(f"{public_name(path)} is a {header.driver}, which is not read from there")
                view = view_of(header, path, choice, placed_anew=extent is not None)
                georeference = file_georeference(header, path, extent)
                self.bands, self.is_palette = view.indexes, view.is_palette
                self._overviews: list[int] = [] if georeference.points else header.overviews(view.first_band)
                self._block = header.block_shapes[view.first_band - 1]
                self._memory = None
                if header.driver in _ONE_PIECE:
                    self._memory = _in_memory(header, view)
                    view, self._overviews = view.of_copy(self._memory.name), []
        except library_errors() as err:
            raise read_error(f"{public_name(path)} can't be read", path, err) from err
        self._own, self._view = georeference, view
        self._by_level: dict[int | None, _Level] = {}
        self._warped = None
        transform, width, height = georeference.transform, view.width, view.height
        if georeference.points:
            self._warped = _by_points(self._level(None).dataset, georeference, view, path)
            transform, (height, width) = self._warped.transform, self._warped.shape
        self.georeference = Georeference(public_name(path), georeference.crs, transform, width, height)

    def read(self, column: int, row: int, width: int, height: int) -> tuple[Pixels, Mask]:
        """Pixels of a window as stored (C, height, width), and (height, width) True where there is data."""
        from rasterio.windows import Window

        window = Window(column, row, width, height)
        if self._warped is not None:
            return self._split(self._warped.read(window=window))
        dataset = self._level(None).dataset
        mask = dataset.read_masks(1, window=window) > 0 if self._view.masks else None
        values = dataset.read(window=window)
        return values, self._view.valid(values, mask)

    def warp(
        self, crs: str, bounds: Bounds, width: int, height: int, *, is_classes: bool = False
    ) -> tuple[Pixels, Mask]:
        """Resample to (C, height, width) over bounds in `crs`, with an (height, width) mask of where there is data.

        Pixels without data are kept out of the resampling. Coarse pictures are made from the file's overviews, where it
        has them. Numbers of classes have nothing between them: there the nearest pixel is taken.
        """
        west, south, east, north = bounds
        if crs == DEGREES and (seam := self.georeference.seam_within(bounds)) is not None:
            before = min(max(round((seam[0] - west) / (east - west) * width), 0), width)
            sides = ((west, seam[0] - _HAIR, before), (seam[1] + _HAIR, east, width - before))
            parts = [
                self.warp(crs, (start, south, end, north), columns, height, is_classes=is_classes)
                for start, end, columns in sides
                if columns and start < end
            ]
            if sum(mask.shape[1] for _, mask in parts) == width:
                return np.concatenate([v for v, _ in parts], axis=-1), np.concatenate([m for _, m in parts], axis=-1)
        level = self._fine_enough(crs, bounds, height)
        values: Pixels | None = None
        valid: Mask | None = None
        for turn in self.georeference.turns(crs, bounds):
            more, here = self._warp_moved(level, turn, crs, bounds, width, height, is_classes=is_classes)
            if values is None or valid is None:
                values, valid = more, here
            else:
                values, valid = np.where(valid, values, more), valid | here
        assert values is not None
        assert valid is not None
        return values, valid

    def fetch_windows(self, corners: Sequence[tuple[int, int]], width: int, height: int) -> None:
        """Fetch windows that will be read, in few requests: those of `read`, by their first columns and rows."""
        self._fetch(None, (PixelWindow(left, top, left + width, top + height) for left, top in corners))

    def fetch_boxes(self, boxes: Sequence[BBox], px: int) -> None:
        """Fetch what boxes that will be resampled to (px, px) by `warp_box` are made of, in few requests."""
        bounds = [unwrapped(box) for box in boxes]
        if self._warped is None and bounds:
            level = self._fine_enough(DEGREES, bounds[len(bounds) // 2], px)
            transform = self._own.transform @ self._level(level).scale
            self._fetch(level, windows_of(np.array(bounds), self._own.crs, ~transform, px))

    def _fetch(self, number: int | None, windows: Iterable[PixelWindow]) -> None:
        from rasterio.windows import Window

        if self._warped is not None:
            return
        level = self._level(number)
        pixel_bytes = level.dataset.count * np.dtype(self._view.dtype).itemsize
        most = MOST_AHEAD_BYTES // (math.prod(level.block) * pixel_bytes)
        for left, top, right, bottom in runs_of_blocks(windows, level.dataset.shape, level.block, most):
            window = Window(left, top, right - left, bottom - top)
            level.dataset.read(window=window)
            if self._view.masks:
                level.dataset.read_masks(1, window=window)

    def warp_box(self, box: BBox, px: int, *, is_classes: bool = False) -> tuple[Pixels, Mask]:
        """Resample a box of degrees, which may cross the antimeridian, to (C, px, px), with its mask."""
        return self.warp(DEGREES, unwrapped(box), px, px, is_classes=is_classes)

    def _warp_moved(
        self, level: int | None, turn: int, crs: str, bounds: Bounds, width: int, height: int, *, is_classes: bool
    ) -> tuple[Pixels, Mask]:
        """The same of the raster moved east by whole turns of the globe."""
        from affine import Affine
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT

        # Given where its result lies, rasterio's view passes over ground control points without a word: what was warped
        # through them already is warped again.
        dataset, scale = self._warped, Affine.identity()
        if dataset is None:
            dataset, scale, _ = self._level(level)
        source: dict[str, Any] = {"src_crs": DEGREES if self.georeference.is_degrees else self._own.crs}
        if turn:
            source["src_transform"] = self.georeference.moved(turn) @ scale
        with WarpedVRT(
            dataset,
            **source,
            crs=crs,
            transform=box_transform(bounds, width, height),
            width=width,
            height=height,
            # GDAL widens the kernel when it shrinks, so this does not alias.
            resampling=Resampling.nearest if is_classes else Resampling.bilinear,
            tolerance=1e-3,  # pixels: near exact, so that a jump of longitude is not interpolated over
            src_nodata=self._view.nodata,
            add_alpha=self._warped is None,  # there the mask goes
        ) as warped:
            return self._split(warped.read())

    def _split(self, read: Pixels) -> tuple[Pixels, Mask]:
        """Bands, and where they have data by the alpha band behind them."""
        return read[:-1], self._view.valid(read[:-1], read[-1] > 0)

    def _fine_enough(self, crs: str, bounds: Bounds, height: int) -> int | None:
        """None for the full resolution, or the coarsest overview whose pixels are no longer than those of the result.

        GDAL's warped views do not choose one by themselves: from the full resolution, a tile of 20 km would fetch and
        decode sixty times as many bytes as from the overview that is eight times coarser.
        """
        if not self._overviews:
            return None
        west, south, east, north = bounds
        in_degrees = crs == DEGREES
        ground_m = (north - south) / height * (KM_PER_DEGREE * 1000 if in_degrees else 1.0)
        t = self.georeference.transform
        across, down = math.hypot(t.a, t.d), math.hypot(t.b, t.e)
        pixel_m = self.georeference.pixel_m(crs, (west + east) / 2, (south + north) / 2)
        coarser = ground_m / (pixel_m * max(across / down, 1.0))
        fitting = {factor: i for i, factor in enumerate(self._overviews) if factor <= coarser * 1.001}
        return fitting[max(fitting)] if fitting else None

    def _level(self, level: int | None) -> _Level:
        """The view of an overview, or of the full resolution, open."""
        from affine import Affine

        if level not in self._by_level:
            options: dict[str, Any] = {} if level is None else {"overview_level": level}
            view, block = self._view, self._block
            if view.is_direct:
                dataset = open_raster(view.path, **options)
                block = dataset.block_shapes[0]
            else:
                if level is not None:
                    with open_raster(view.path, **options) as coarse:
                        view = replace(view, width=coarse.width, height=coarse.height, level=level)
                        block = coarse.block_shapes[view.first_band - 1]
                scale = Affine.scale(self._view.width / view.width, self._view.height / view.height)
                georeference = replace(self._own, transform=self._own.transform @ scale)
                dataset = open_raster(view.xml(georeference.xml()), self._path)
            scale = Affine.scale(self._view.width / dataset.width, self._view.height / dataset.height)
            self._by_level[level] = _Level(dataset, scale, block)
        return self._by_level[level]


@functools.lru_cache(maxsize=_MOST_OPEN)
def open_dataset(
    path: str,
    extent: BBox | None = None,
    choice: BandChoice = RED_GREEN_BLUE,
    drivers: frozenset[str] | None = None,
) -> Dataset:
    """Open once a process; the least recently used of many files is let go."""
    return Dataset(path, extent, choice, drivers)


def _by_points(dataset: Any, georeference: FileGeoreference, view: View, path: str) -> Any:  # noqa: ANN401
    """The raster warped through its ground control points into their own system, by GDAL's smooth fit.

    Raises:
        SourceError: no smooth fit comes near the points.
    """
    from rasterio.enums import Resampling
    from rasterio.transform import GCPTransformer
    from rasterio.vrt import WarpedVRT

    shown = public_name(path)
    columns, rows, x, y = np.array([(p.col, p.row, p.x, p.y) for p in georeference.points]).T
    try:
        with GCPTransformer(georeference.points) as fit:
            fit_rows, fit_columns = fit.rowcol(x, y, op=lambda v: v)
        warped = WarpedVRT(
            dataset,
            src_crs=georeference.crs,
            resampling=Resampling.bilinear,
            tolerance=1e-3,
            src_nodata=view.nodata,
            add_alpha=True,
        )
    except library_errors() as err:
        advice = f"warp it first, with `gdalwarp -tps -t_srs EPSG:4326 {shown} warped.tif`"
        raise read_error(f"{shown} can't be placed by its ground control points: {advice}", path, err) from err
    worst = float(np.hypot(np.asarray(fit_columns) - columns, np.asarray(fit_rows) - rows).max())
    if not worst <= _WORST_POINT_PX:
        raise SourceError(
            f"{shown}: no smooth map fits its {len(georeference.points)} ground control points (one is {worst:.1f} "
            f"pixels off): warp it first, with `gdalwarp -tps -t_srs EPSG:4326 {shown} warped.tif`"
        )
    return warped


def _in_memory(header: Any, view: View) -> Any:  # noqa: ANN401
    """Decode a picture once into memory, since it can't be read in windows: its bands, then one of where it has data.

    Raises:
        SourceError: it is too large for that.
    """
    from rasterio.enums import ColorInterp
    from rasterio.io import MemoryFile

    width, height = header.width, header.height
    if width * height * header.count > _MOST_IN_MEMORY:
        raise SourceError(
            f"{header.name} is a {header.driver} of {width} x {height} pixels, which can't be read in windows: "
            "convert it first, for example with `rio convert --co tiled=yes --co compress=deflate IN OUT.tif`"
        )
    try:
        values, valid = patiently(view.path, lambda: view.read(header))
    except library_errors() as err:
        raise read_error(f"{view.path} can't be read", view.path, err) from err
    count = len(values)
    anywhere = box_transform((0.0, 0.0, 1.0, 1.0), width, height)  # the view of the copy has the place
    profile = {"width": width, "height": height, "count": count + 1, "dtype": values.dtype, "transform": anywhere}
    memory = MemoryFile()
    with memory.open(driver="GTiff", **profile) as copy:
        copy.write(values, list(range(1, count + 1)))
        copy.write(valid.astype(values.dtype), count + 1)
        copy.colorinterp = [*copy.colorinterp[:count], ColorInterp.alpha]
    return memory
