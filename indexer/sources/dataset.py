"""Opening a raster for windowed reading, and resampling parts of it; the only place where GDAL's ways show."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexer.sources.intact import STRICT
from indexer.sources.protocol import NotAPictureError, UnreachableError
from wildsat_core.errors import SourceError
from wildsat_core.geo import KM_PER_DEGREE, wrap_lon
from wildsat_core.types import BBox

# Formats that are compressed as one piece: reading a window of one decodes everything above it, each time anew.
_ONE_PIECE: Final = frozenset({"JPEG", "PNG", "WEBP", "GIF", "BMP"})
_MOST_IN_MEMORY: Final = 2**30  # bytes of such a picture that are decoded into memory

Bounds = tuple[float, float, float, float]  # west, south, east, north


class OffTheGlobeError(SourceError):
    """A part of a raster's plane is no place on the Earth, as the corners of a picture of the whole disk."""


class Dataset:
    """An open dataset with the georeference that it has or was given."""

    def __init__(self, path: str, extent: BBox | None) -> None:
        self.dataset = _opened(path, extent)
        self._overviews: dict[int, Any] = {}
        self._alpha = alpha_band(self.dataset)
        self.crs, self.transform = self.dataset.crs, self.dataset.transform
        if self.crs is None:
            raise SourceError(f"{path} does not say where it lies: give --extent west,south,east,north in degrees")
        if not (self.crs.is_geographic or self.crs.is_projected):
            raise SourceError(
                f"{path} is placed in a system that is not tied to the Earth: {self.crs.to_string()[:80]}"
            )

    def pixel_m(self, lat: float | None = None) -> float:
        """Ground size of a pixel along the raster's second axis, in metres.

        Args:
            lat: where, None for the raster's middle. It matters in a Mercator projection only, whose metres are longer
                than the ground's: twice at 60 degrees.
        """
        metres, is_mercator = self._pixel_in_projection
        if not is_mercator:
            return metres
        middle = self.box.centre[1] if self.box else 0.0
        return metres * math.cos(math.radians(middle if lat is None else lat))

    @functools.cached_property
    def _pixel_in_projection(self) -> tuple[float, bool]:
        """Metres of a pixel in the raster's own projection, and whether that is Mercator's."""
        step = math.hypot(self.transform.b, self.transform.e)
        if self.crs.is_geographic:
            return step * KM_PER_DEGREE * 1000, False
        return float(step * self.crs.linear_units_factor[1]), self.crs.to_dict().get("proj") == "merc"

    @functools.cached_property
    def box(self) -> BBox | None:
        """Extent in degrees, None when it goes around the globe."""
        return self._box_of(0, 0, self.dataset.width, self.dataset.height)

    def window_outlines(
        self, corners: Sequence[tuple[int, int]], width: int, height: int
    ) -> list[tuple[BBox, bytes | None] | None]:
        """Box of each pixel window and, where the box says too much, its outline as WKB; None off the globe.

        Args:
            corners: first column and row of each window; many at once are several times faster than one by one.
            width: of each, in pixels.
            height: likewise.
        """
        outlines: list[bytes | None] = [None] * len(corners)
        if not (self.crs.is_geographic and self.transform.is_rectilinear):
            outlines = self._outlines(corners, width, height)
        places: list[tuple[BBox, bytes | None] | None] = []
        for (column, row), outline in zip(corners, outlines, strict=True):
            try:
                box = self._box_of(column, row, width, height) or BBox(-180.0, -90.0, 180.0, 90.0)
            except OffTheGlobeError:
                places.append(None)
                continue
            places.append((box, None if box.crosses_antimeridian or box.width_deg == 360.0 else outline))
        return places

    def _outlines(self, corners: Sequence[tuple[int, int]], width: int, height: int) -> list[bytes | None]:
        """The four corners of each window in degrees, as WKB; None where one of them is off the globe."""
        import shapely
        from rasterio._err import CPLE_BaseError
        from rasterio.warp import transform

        ring = np.array([(0, 0), (width, 0), (width, height), (0, height)])
        pixels = np.asarray(corners).reshape(-1, 1, 2) + ring
        xs, ys = self.transform @ (pixels[..., 0].ravel(), pixels[..., 1].ravel())
        try:
            lon, lat = transform(self.crs, "EPSG:4326", xs, ys)
        except CPLE_BaseError:  # so many are off the globe that GDAL gives up
            return [None] if len(corners) == 1 else [self._outlines([c], width, height)[0] for c in corners]
        degrees = np.stack([lon, lat], axis=-1).reshape(-1, len(ring), 2)
        on_globe = np.isfinite(degrees).all(axis=(1, 2))
        polygons = shapely.to_wkb(shapely.polygons(np.where(on_globe[:, None, None], degrees, 0.0)))
        return [wkb if whole else None for wkb, whole in zip(polygons, on_globe, strict=True)]

    def warp(
        self,
        crs: str,
        bounds: Bounds,
        width: int,
        height: int,
        indexes: tuple[int, ...],
        nodata: float | None = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Resample to (C, height, width) over bounds in `crs`, with an (height, width) mask of where there is data.

        Pixels without data are kept out of the resampling: by the file's alpha band or nodata value, or else `nodata`.
        Coarse pictures are made from the file's overviews, where it has them.
        """
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT

        _, south, _, north = bounds
        in_degrees = crs == "EPSG:4326"
        ground_m = (north - south) / height * (KM_PER_DEGREE * 1000 if in_degrees else 1.0)
        with WarpedVRT(
            self._fine_enough(ground_m, (south + north) / 2 if in_degrees else None),
            src_crs=self._wrapping_crs if crs != "EPSG:4326" else None,
            crs=crs,
            transform=box_transform(bounds, width, height),
            width=width,
            height=height,
            resampling=Resampling.bilinear,  # GDAL widens the kernel when it shrinks, so this does not alias
            tolerance=1e-3,  # pixels: near exact, so that a jump of longitude is not interpolated over
            src_nodata=None if self._alpha else nodata if self.dataset.nodata is None else self.dataset.nodata,
            add_alpha=not self._alpha,  # there the mask goes; GDAL refuses a second one
        ) as view:
            # The view's own mask is that of the alpha band for some numbers and types of bands only.
            read = view.read([*indexes, self._alpha or view.count])
            return read[:-1], read[-1] > 0

    def _fine_enough(self, ground_m: float, lat: float | None) -> Any:  # noqa: ANN401 - rasterio has no types
        """The dataset, or the coarsest overview in it whose pixels are no longer than `ground_m`.

        GDAL's warped views do not choose one by themselves: from the full resolution, a tile of 20 km would fetch and
        decode sixty times as many bytes as from the overview that is eight times coarser.
        """
        import rasterio

        across, down = math.hypot(self.transform.a, self.transform.d), math.hypot(self.transform.b, self.transform.e)
        coarser = ground_m / (self.pixel_m(lat) * max(across / down, 1.0))
        fitting = {factor: i for i, factor in enumerate(self.dataset.overviews(1)) if factor <= coarser * 1.001}
        if not fitting:
            return self.dataset
        level = fitting[max(fitting)]
        if level not in self._overviews:
            self._overviews[level] = rasterio.open(self.dataset.name, overview_level=level)
        return self._overviews[level]

    @functools.cached_property
    def _wrapping_crs(self) -> Any:  # noqa: ANN401 - rasterio has no types
        """The raster's CRS; in degrees, one whose longitudes are those of the raster, which need not begin at -180."""
        if not self.crs.is_geographic:
            return self.crs
        from rasterio.crs import CRS

        middle = (self.dataset.bounds.left + self.dataset.bounds.right) / 2
        # https://proj.org/en/stable/usage/projections.html#longitude-wrapping
        return CRS.from_string(f"{self.crs.to_proj4()} +lon_wrap={middle}")

    def warp_box(
        self, box: BBox, px: int, indexes: tuple[int, ...], nodata: float | None = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Resample a box of degrees to (C, px, px), with its mask.

        A raster in degrees may run from 0 to 360, or over 180, so the box is moved by whole turns to where the raster
        has it. None goes on beyond its own edge: a box over that edge is read in two parts. Projected rasters are cut
        at 180 degrees.
        """
        ends = self.dataset.bounds.left, self.dataset.bounds.right
        left, right = (min(ends), max(ends)) if self.crs.is_geographic else (-180.0, 180.0)
        west, south, east, north = unwrapped(box)
        turns = [turn for turn in (-360.0, 0.0, 360.0) if west + turn < right and east + turn > left]
        west, east = (lon + (turns[-1] if turns else 0.0) for lon in (west, east))
        if len(turns) < 2:
            return self.warp("EPSG:4326", (west, south, east, north), px, px, indexes, nodata)
        edge = left + 360.0
        before = min(max(round((edge - west) / (east - west) * px), 1), px - 1)
        parts = ((west, edge, before), (left, east - 360.0, px - before))
        halves = [self.warp("EPSG:4326", (w, south, e, north), width, px, indexes, nodata) for w, e, width in parts]
        values, valid = (np.concatenate(both, axis=-1) for both in zip(*halves, strict=True))
        return values, valid

    def _box_of(self, column: int, row: int, width: int, height: int) -> BBox | None:
        from rasterio._err import CPLE_BaseError
        from rasterio.warp import transform_bounds

        corners = [
            self.transform @ (column + x, row + y) for x, y in ((0, 0), (width, 0), (width, height), (0, height))
        ]
        xs, ys = zip(*corners, strict=True)
        west, south, east, north = min(xs), min(ys), max(xs), max(ys)
        if not self.crs.is_geographic:
            try:
                west, south, east, north = transform_bounds(
                    self.crs, "EPSG:4326", west, south, east, north, densify_pts=21
                )
            except CPLE_BaseError:
                west = math.inf
            if not np.isfinite((west, south, east, north)).all():
                raise OffTheGlobeError(
                    f"{self.dataset.name} reaches off the globe in its projection, so no box holds it: cut it along "
                    "its own pixels with --tile-px, or warp it to degrees first"
                )
        elif east - west >= 360.0 - 1e-6:
            return None
        south, north = max(south, -90.0), min(north, 90.0)
        west, east = (v if -180.0 <= v <= 180.0 else float(wrap_lon(v)) for v in (west, east))
        return BBox(west, south, east, north)


def alpha_band(dataset: Any) -> int | None:  # noqa: ANN401 - rasterio has no types
    """Which band, counted from 1, tells where there is data; None where none does."""
    from rasterio.enums import ColorInterp

    kinds = dataset.colorinterp
    return kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else None


def read_valid(dataset: Any, window: Any = None) -> npt.NDArray[np.bool_]:  # noqa: ANN401
    """(H, W) True where there is data: by the alpha band, a mask of the file's, or its nodata value."""
    # GDAL takes an alpha band for the mask for some numbers and types of bands only.
    alpha = alpha_band(dataset)
    mask = dataset.dataset_mask(window=window) if alpha is None else dataset.read(alpha, window=window)
    valid: npt.NDArray[np.bool_] = mask > 0
    return valid


@functools.lru_cache(maxsize=8)
def open_dataset(path: str, extent: BBox | None) -> Dataset:
    """Open once a process; the least recently used of more than eight files is let go."""
    return Dataset(path, extent)


def _opened(path: str, extent: BBox | None) -> Any:  # noqa: ANN401 - rasterio has no types
    """Open for windowed reading, placed at `extent` where one is given.

    Raises:
        NotAPictureError: not a raster.
        UnreachableError: its server does not answer.
        SourceError: it can't be read in windows.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    with warnings.catch_warnings(), rasterio.Env(**STRICT):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said in our own words by the caller
        try:
            dataset = rasterio.open(path)
            if dataset.driver in _ONE_PIECE:
                return _in_memory(dataset, extent)
            if extent is None:
                return dataset
            west, south, east, north = unwrapped(extent)
            # https://gdal.org/en/stable/drivers/raster/vrt.html#vrt-connection-string
            return rasterio.open(f"vrt://{path}?a_srs=EPSG:4326&a_ullr={west},{north},{east},{south}")
        except RasterioError as err:
            raise read_error(f"{path.partition('?')[0]} can't be opened as a raster", path, err) from err


def read_error(what: str, path: str, err: Exception) -> SourceError:
    """What GDAL's error about a file means; the query of a signed address is kept out of the message."""
    message = f"{what}: {str(err).replace(path, path.partition('?')[0])}"
    is_remote = "://" in path or path.startswith("/vsicurl/")
    answered = any(f"response code: {status}" in str(err) for status in (404, 410))
    return UnreachableError(message) if is_remote and not answered else NotAPictureError(message)


def _in_memory(dataset: Any, extent: BBox | None) -> Any:  # noqa: ANN401
    """Decode a picture once into memory, since it can't be read in windows.

    Raises:
        SourceError: it is too large for that.
    """
    from rasterio.io import MemoryFile

    width, height = dataset.width, dataset.height
    if width * height * dataset.count > _MOST_IN_MEMORY:
        raise SourceError(
            f"{dataset.name} is a {dataset.driver} of {width} x {height} pixels, which can't be read in windows: "
            "convert it first, for example with `rio convert --co tiled=yes --co compress=deflate IN OUT.tif`"
        )
    profile = {k: dataset.profile[k] for k in ("width", "height", "count", "dtype", "crs", "transform", "nodata")}
    if extent is not None:
        profile |= {"crs": "EPSG:4326", "transform": box_transform(unwrapped(extent), width, height)}
    memory = MemoryFile()
    with memory.open(driver="GTiff", **profile) as copy:
        copy.write(dataset.read())
    return memory.open()


def box_transform(bounds: Bounds, width: int, height: int) -> Any:  # noqa: ANN401
    """Pixel to place for a picture of this size over west, south, east, north."""
    from affine import Affine

    west, south, east, north = bounds
    return Affine((east - west) / width, 0.0, west, 0.0, (south - north) / height, north)


def unwrapped(extent: BBox) -> Bounds:
    """West, south, east, north with east beyond 180 degrees where the box crosses the antimeridian."""
    west, south, east, north = extent.as_tuple()
    return west, south, east + (360.0 if extent.crosses_antimeridian else 0.0), north
