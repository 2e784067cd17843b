"""Where a raster lies: its coordinate system, the place of its pixels in it, and the boxes of its parts in degrees.

Boxes are found by sampling: places of many points of a part are asked of PROJ, and the narrowest box around them is
taken, over the antimeridian or around a pole where the part lies so. That holds for any system, whatever its unit,
datum, prime meridian or direction of axes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from indexer.sources.library_errors import library_errors, sentence
from indexer.sources.projections import DEGREES, Floats, check_earth, to_degrees, transform, transform_each
from indexer.sources.protocol import PixelPlace
from wildsat_core.errors import SourceError
from wildsat_core.geo import EARTH_RADIUS_KM, wrap_lon
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from affine import Affine

GLOBE: Final = BBox(-180.0, -90.0, 180.0, 90.0)

_SAMPLES: Final = 33  # along each side of a large part: a step of 11 degrees, for a raster of the whole globe
_FEW_SAMPLES: Final = 3  # of a small one, whose sides are near enough to parabolas
_SMALL_DEG: Final = 20.0
_BISECTIONS: Final = 40
_USUAL_SCALE: Final = 0.003  # by how much lengths in good systems of a country, as UTM, differ from the ground's
_WGS_84: Final = (6_378_137.0, 1 / 298.257223563)  # equatorial radius in metres, flattening
_BEYOND_POLES_DEG: Final = 1.0  # more than rounding and a margin of some pixels

Bounds = tuple[float, float, float, float]  # west, south, east, north


class OffTheGlobeError(SourceError):
    """A part of a raster's plane is no place on the Earth, as the corners of a picture of the whole disk."""


class WindowPlace(NamedTuple):
    """Where a window of pixels lies.

    Attributes:
        box: around it.
        outline: WKB, where the box says too much.
        pixel_m: ground size of its pixels along the raster's second axis, in metres.
    """

    box: BBox
    outline: bytes | None
    pixel_m: float


@dataclass(frozen=True)
class Georeference:
    """Place of a raster's pixels.

    Attributes:
        what: names the raster in messages.
        crs: its coordinate system, of the Earth.
        transform: column and row, from the outer corner of the first pixel, to x and y in that system.
        width, height: in pixels.
    """

    what: str
    crs: Any
    transform: Affine
    width: int
    height: int

    def __post_init__(self) -> None:
        """Refuse what is not on the Earth.

        Raises:
            SourceError: another celestial body, a system that is not tied to any, or one without a way to degrees.
        """
        check_earth(self.what, self.crs)
        if self.transform.determinant == 0 or not all(map(math.isfinite, self.transform[:6])):
            raise SourceError(f"{self.what}: its pixels have no size: its geotransform is {tuple(self.transform[:6])}")
        if (furthest := self._furthest_lat()) > 90.0 + _BEYOND_POLES_DEG:
            raise SourceError(
                f"{self.what} is not on the globe: its latitudes reach {furthest:.6g} degrees. Perhaps longitudes and "
                "latitudes are exchanged, or its coordinate system is another: say what it is with `gdal_edit`"
            )
        try:
            transform(self.crs, DEGREES, *self._middle_xy())
        except library_errors() as err:
            if "domain" not in str(err):
                raise SourceError(f"{self.what} can't be placed on the Earth: {sentence(err)}") from err

    @functools.cached_property
    def is_degrees(self) -> bool:
        """Whether numbers of the system are WGS 84 longitudes and latitudes as they are, by trying it out.

        So are those of NAD83 or ETRS89, which PROJ does not tell from WGS 84, and not those of other datums.
        """
        if not self.crs.is_geographic:
            return False
        at = np.linspace(0.01, 0.99, 5)
        x, y = self._xy(*(part.ravel() for part in np.meshgrid(at * self.width, at * self.height)))
        if np.abs(y).max() > 91:  # a pixel beyond the pole is usual, more is another unit
            return False
        lon, lat = to_degrees(self.crs, x, np.clip(y, -90, 90))
        return bool(np.allclose(wrap_lon(lon - x), 0, atol=1e-9) and np.allclose(lat, np.clip(y, -90, 90), atol=1e-9))

    @functools.cached_property
    def wkt(self) -> str:
        """The coordinate system in words that lose nothing."""
        return str(self.crs.to_wkt(version="WKT2_2019"))

    @property
    def unit_m(self) -> float:
        """Length of the system's unit on the ground in metres; of an angle, along a meridian."""
        if self.crs.is_geographic:
            return float(self.crs.units_factor[1]) * EARTH_RADIUS_KM * 1000
        return float(self.crs.linear_units_factor[1])

    def of_window(self, column: int, row: int) -> PixelPlace:
        """Where the pixels from this one on lie."""
        t = self.transform
        x, y = t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f
        return PixelPlace(DEGREES if self.is_degrees else self.wkt, (t.a, t.b, x, t.d, t.e, y))

    def pixel_m(self, crs: Any = None, x: float = 0.0, y: float = 0.0) -> float:  # noqa: ANN401
        """Ground size of a pixel along the raster's second axis, in metres, at a place.

        Args:
            crs: of the place, None for the raster's middle.
            x: of the place.
            y: likewise.
        """
        column, row = self.width / 2, self.height / 2
        if crs is not None:
            (at_x,), (at_y,) = transform_each(crs, self.crs, [x], [y])
            t = ~self.transform
            at_column, at_row = t.a * at_x + t.b * at_y + t.c, t.d * at_x + t.e * at_y + t.f
            column, row = (at_column, at_row) if math.isfinite(at_column + at_row) else (column, row)
        lon, lat = self._to_degrees(column, row + np.array([[-0.5], [0.5]]))
        return float(self._pixels_m(lon, lat, 1.0)[0])

    def _pixels_m(self, lon: Floats, lat: Floats, rows: float) -> Floats:
        """Ground size of pixels, (N,), as long as `rows` of them reach from place to place down the first axis (M, N).

        It is what the system itself counts, but where that is no length on the ground: in Mercator's projection a metre
        is half a metre at 60 degrees, in one of equal areas 2.5 at 70.
        """
        measured = np.linalg.norm(np.diff(_on_ellipsoid(lon, lat), axis=0), axis=-1).sum(axis=0) / rows
        told = math.hypot(self.transform.b, self.transform.e) * self.unit_m
        is_off = np.abs(measured / told - 1.0) > _USUAL_SCALE  # not where a place is off the globe: NaN
        return np.where(is_off, measured, told)

    @functools.cached_property
    def box(self) -> BBox | None:
        """Extent in degrees, None when it is the globe; all longitudes where a pole lies within.

        Raises:
            OffTheGlobeError: more than a pixel at its edges is no place on the Earth.
        """
        box = self._box_of(0, 0, self.width, self.height)
        pixel_deg = box.width_deg / max(self.width, self.height)
        if box.width_deg < 360.0 - pixel_deg:
            return box
        pixel_deg = (box.north - box.south) / self.height  # a row less than a hemisphere still has its pole
        south = -90.0 if box.south < -90.0 + pixel_deg else box.south
        north = 90.0 if box.north > 90.0 - pixel_deg else box.north
        return None if (south, north) == (-90.0, 90.0) else BBox(-180.0, south, 180.0, north)

    def window_places(self, corners: Sequence[tuple[int, int]], width: int, height: int) -> list[WindowPlace | None]:
        """Where each pixel window lies; None off the globe.

        Args:
            corners: first column and row of each window; many at once are several times faster than one by one.
            width: of each, in pixels.
            height: likewise.
        """
        first = np.asarray(corners, float).reshape(-1, 2)
        if self.is_degrees:
            return self._degree_windows(first, width, height)
        at = np.linspace(0, 1, _FEW_SAMPLES)
        across, down = np.meshgrid(at * width, at * height)
        columns, rows = first[:, 0, None, None] + across, first[:, 1, None, None] + down  # (N, 3, 3)
        lon, lat = self._to_degrees(columns, rows)
        east = wrap_lon(lon - lon[:, 1:2, 1:2])  # of each window's middle
        is_small = (np.ptp(east, axis=(1, 2)) < _SMALL_DEG) & (np.ptp(lat, axis=(1, 2)) < _SMALL_DEG)
        wkb = _outlines(
            wrap_lon(lon[:, 1, 1])[:, None] + east[:, [0, 0, 2, 2], [0, 2, 2, 0]], lat[:, [0, 0, 2, 2], [0, 2, 2, 0]]
        )
        pixels_m = self._pixels_m(lon[:, :, 1].T, lat[:, :, 1].T, height).tolist()
        places: list[WindowPlace | None] = []
        for i, (column, row) in enumerate(corners):
            if is_small[i]:
                middle = lon[i, 1, 1]
                box = _box(middle + east[i].min(), lat[i].min(), middle + east[i].max(), lat[i].max())
            else:
                try:
                    box = self._box_of(column, row, width, height, partly=True)
                except OffTheGlobeError:
                    places.append(None)
                    continue
            is_simple = not (box.crosses_antimeridian or box.width_deg == 360.0)
            places.append(WindowPlace(box, wkb[i] if is_simple else None, pixels_m[i]))
        return places

    def turns(self, crs: Any, bounds: Bounds) -> list[int]:  # noqa: ANN401 - rasterio has no types
        """By how many whole turns of the globe the raster must be moved east to lie where `bounds` are looked for.

        A raster may have the same place at x and at x plus a whole turn: one from 0 to 360 degrees, one that goes on
        over the antimeridian. PROJ gives one of the two, so each part is looked for where it is.

        Args:
            crs: of the bounds.
            bounds: of what will be read.

        Returns:
            Mostly [0]; more than one where no single turn serves all of the bounds, the best first.
        """
        if self.period is None:
            return [0]
        west, south, east, north = bounds
        x, y = (part.ravel() for part in np.meshgrid(np.linspace(west, east, 9), np.linspace(south, north, 5)))
        if not (self.is_degrees and crs == DEGREES):
            x, _ = transform_each(crs, self.crs, x, y)
        x = x[np.isfinite(x)]
        ends = [self._xy(column, row)[0] for column in (0, self.width) for row in (0, self.height)]
        turns: list[int] = []
        while x.size:
            first = np.floor((x - max(ends)) / self.period).astype(int)
            reach = [
                (k, (x >= min(ends) + k * self.period) & (x <= max(ends) + k * self.period))
                for k in range(int(first.min()), int(first.max()) + 3)
            ]
            turn, served = max(reach, key=lambda pair: (int(pair[1].sum()), -abs(pair[0])))
            if not served.any():
                break
            turns.append(turn)
            x = x[~served]
        return turns or [0]

    def seam_within(self, bounds: Bounds) -> tuple[float, float] | None:
        """The longitudes between which, in some bounds of degrees, the numbers of the system jump by a whole turn.

        They are nearly one: with another datum the seam is no meridian of WGS 84, but bends by some hundred metres. A
        warp over it would take the two ends of the raster for neighbours of everything between them.

        Returns:
            None where no seam crosses the bounds.
        """
        west, south, east, north = bounds
        if self._seam is None:
            return None
        about = west - 0.5 + (self._seam - west + 0.5) % 360.0
        if about - 0.5 >= east:
            return None
        lats = np.clip(np.linspace(south, north, 3), -89.9, 89.9)
        low, high = np.full(3, about - 0.5), np.full(3, about + 0.5)
        x_low = self._x_at(low, lats)
        while (high - low).max() > 1e-9:
            middle = (low + high) / 2
            x_middle = self._x_at(middle, lats)
            is_beyond = np.abs(x_middle - x_low) > (self.period or 0.0) / 2
            high, low = np.where(is_beyond, middle, high), np.where(is_beyond, low, middle)
            x_low = np.where(is_beyond, x_low, x_middle)
        first, last = float(low.min()), float(high.max())
        return (first, last) if first < east and last > west else None

    @functools.cached_property
    def _seam(self) -> float | None:
        """About the longitude, to half a degree, where x jumps; None where it does not, or is the longitude."""
        if self.period is None or self.is_degrees:
            return None
        lons = np.arange(-180.5, 181.0)  # so that the commonest seams, whole degrees, lie in the middle of a step
        steps = np.abs(np.diff(self._x_at(lons, np.array([[-20.0], [30.0]]))))
        jump, other = np.argmax(steps, axis=1)
        is_meridian = jump == other and steps[0, jump] > self.period / 2  # unlike with a rotated pole
        return float(lons[jump]) + 0.5 if is_meridian else None

    def _x_at(self, lon: Floats, lat: Floats) -> Floats:
        return transform_each(DEGREES, self.crs, lon, lat)[0]

    def moved(self, turns: int) -> Affine:
        """The transform of the raster moved east by whole turns of the globe."""
        from affine import Affine

        return Affine.translation(turns * (self.period or 0.0), 0) @ self.transform if turns else self.transform

    @functools.cached_property
    def period(self) -> float | None:
        """Length in x of a whole turn of the globe; None where there is none.

        Systems of degrees have one, and cylindrical projections: x depends on the longitude only, and grows evenly.
        """
        if self.crs.is_geographic:
            return 2 * math.pi / float(self.crs.units_factor[1])
        lon, _ = self._to_degrees(self.width / 2, self.height / 2)
        middle = float(lon) if np.isfinite(lon) else 0.0
        lons = wrap_lon(middle + np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 80.0]))
        x, y = (
            part.reshape(2, -1)
            for part in transform_each(DEGREES, self.crs, np.tile(lons, 2), np.repeat([0.0, 40.0], 6))
        )
        if not np.isfinite(x).all():
            return None
        step = float(np.median(np.diff(x[0, :5])))
        period = 360.0 * step
        slack = abs(step) * 1e-6
        if step == 0 or np.abs(x[0] - x[1]).max() > slack or np.ptp(y, axis=1).max() > slack:
            return None
        even = (x[0] - x[0, 2] - step * np.array([-2, -1, 0, 1, 2, 80]) + period / 2) % period - period / 2
        return abs(period) if np.abs(even).max() < abs(step) * 1e-3 else None

    def _furthest_lat(self) -> float:
        """How far from the equator its corners lie, in degrees less the pixel that rasters of the globe often add."""
        if not self.crs.is_geographic:
            return 0.0
        corners = np.array([(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]).T
        pixel = math.hypot(self.transform.d, self.transform.e)
        return math.degrees((np.abs(self._xy(*corners)[1]).max() - pixel) * float(self.crs.units_factor[1]))

    def _middle_xy(self) -> tuple[list[float], list[float]]:
        x, y = self._xy(self.width / 2, self.height / 2)
        return [float(x)], [float(y)]

    def _xy(self, columns: Any, rows: Any) -> tuple[Any, Any]:  # noqa: ANN401 - numbers or arrays
        t = self.transform
        return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f

    def _to_degrees(self, columns: Any, rows: Any) -> tuple[Floats, Floats]:  # noqa: ANN401
        return to_degrees(self.crs, *self._xy(np.asarray(columns, float), np.asarray(rows, float)))

    def _degree_windows(self, first: Floats, width: int, height: int) -> list[WindowPlace | None]:
        ring = np.array([(0, 0), (width, 0), (width, height), (0, height)])
        x, y = self._xy(*np.moveaxis(first[:, None, :] + ring, -1, 0))  # (N, 4)
        wkb = [None] * len(x) if self.transform.is_rectilinear else _outlines(x, y)
        places: list[WindowPlace | None] = []
        middle_lon, middle_lat = ((v[:, [0, 3]] + v[:, [1, 2]]).T / 2 for v in (x, y))  # first and last row (2, N)
        pixels_m = self._pixels_m(middle_lon, middle_lat, height).tolist()
        for lon, lat, outline, pixel_m in zip(x, y, wkb, pixels_m, strict=True):
            if lat.min() >= 90.0 or lat.max() <= -90.0:
                places.append(None)
                continue
            box = _box(lon.min(), lat.min(), lon.max(), lat.max())
            inside = lon.min() >= -180 and lon.max() <= 180 and box.width_deg < 360
            places.append(WindowPlace(box, outline if inside else None, pixel_m))
        return places

    def _box_of(self, column: float, row: float, width: int, height: int, *, partly: bool = False) -> BBox:
        """The narrowest box around a window.

        Args:
            column: first one.
            row: first one.
            width: in pixels.
            height: in pixels.
            partly: whether a part of it may lie off the globe, more than a pixel at its edges.

        Raises:
            OffTheGlobeError: all of it is off the globe, or too much.
        """
        if self.is_degrees:
            [place] = self._degree_windows(np.array([(column, row)], float), width, height)
            if place is None:
                raise self._off_the_globe()
            return place.box
        if not partly:
            self._check_on_globe()
        at = np.linspace(0, 1, _SAMPLES)
        columns, rows = np.meshgrid(column + at * width, row + at * height)
        lon, lat = self._to_degrees(columns, rows)
        if not np.isfinite(lat).any():
            raise self._off_the_globe()
        arcs, lats = [], [lat[np.isfinite(lat)]]
        for a, b in (((slice(None), slice(-1)), (slice(None), slice(1, None))), ((slice(-1),), (slice(1, None),))):
            for near, far in ((a, b), (b, a)):
                edge = np.isfinite(lat[near]) & ~np.isfinite(lat[far])
                ends = self._edge(columns[near][edge], rows[near][edge], columns[far][edge], rows[far][edge])
                arcs.append((lon[near][edge], ends[0], lat[near][edge], ends[1]))
                lats.append(ends[1])
            whole = np.isfinite(lat[a]) & np.isfinite(lat[b])
            arcs.append((lon[a][whole], lon[b][whole], lat[a][whole], lat[b][whole]))
        south, north = (float(pick(np.concatenate(lats))) for pick in (np.min, np.max))
        poles = self._poles_within(column, row, width, height)
        if poles:
            return _box(-180.0, min(south, *poles), 180.0, max(north, *poles))
        west, east = _narrowest(*(np.concatenate(part) for part in zip(*arcs, strict=True)))
        return _box(west, south, east, north)

    def _edge(self, columns: Floats, rows: Floats, off_columns: Floats, off_rows: Floats) -> tuple[Floats, Floats]:
        """Last places on the globe on the way from points on it to points off it."""
        on, off = np.stack([columns, rows]), np.stack([off_columns, off_rows])
        if on.size:
            for _ in range(_BISECTIONS):
                middle = (on + off) / 2
                is_on = np.isfinite(self._to_degrees(*middle)[1])
                on, off = np.where(is_on, middle, on), np.where(is_on, off, middle)
        lon, lat = self._to_degrees(*on)
        return lon, lat

    def _check_on_globe(self) -> None:
        """Refuse a raster that reaches off the globe by more than a pixel at its edges.

        Raises:
            OffTheGlobeError: it does.
        """
        inset = min(1.01, self.width / 4, self.height / 4)
        at = np.linspace(0, 1, _SAMPLES)
        places = np.meshgrid(inset + at * (self.width - 2 * inset), inset + at * (self.height - 2 * inset))
        if not np.isfinite(self._to_degrees(*places)[1]).all():
            raise self._off_the_globe()

    def _off_the_globe(self) -> OffTheGlobeError:
        return OffTheGlobeError(
            f"{self.what} reaches off the globe in its projection, so no box holds it: cut it along "
            "its own pixels with --tile-px, or warp it to degrees first"
        )

    def _poles_within(self, column: float, row: float, width: int, height: int) -> list[float]:
        """Latitudes of the poles inside a window: those all around which it has ground."""
        found = []
        for lat, (columns, rows) in self._around_poles.items():
            inside = (columns > column) & (columns < column + width) & (rows > row) & (rows < row + height)
            if inside.all():
                found.append(lat)
        return found

    @functools.cached_property
    def _around_poles(self) -> dict[float, tuple[Floats, Floats]]:
        """Pixel positions of eight places a hair from each pole, not finite where the raster's plane has none."""
        lon = np.arange(-180.0, 180.0, 45.0)
        around = {}
        for lat in (-90.0, 90.0):
            x, y = transform_each(DEGREES, self.crs, lon, np.full(lon.shape, lat * (1 - 1e-8)))
            x, y = np.where(np.isfinite(x), x, np.nan), np.where(np.isfinite(y), y, np.nan)
            t = ~self.transform
            around[lat] = (t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)
        return around


def _narrowest(lon_a: Floats, lon_b: Floats, lat_a: Floats, lat_b: Floats) -> tuple[float, float]:
    """West and east of the narrowest box around arcs between neighbouring places; east may exceed 180 degrees.

    At a pole a longitude means nothing, and half a turn may go either way: such arcs don't count.
    """
    delta = wrap_lon(lon_b - lon_a)
    counts = (np.abs(delta) < 179.0) & (np.maximum(np.abs(lat_a), np.abs(lat_b)) < 90.0 - 1e-7)
    start = (np.where(delta < 0, lon_b, lon_a)[counts] + 180.0) % 360.0
    length = np.abs(delta)[counts]
    if not start.size:
        return -180.0, 180.0
    order = np.argsort(start)
    start, end = start[order], (start + length)[order]
    reach = np.maximum.accumulate(end)
    gaps = np.append(start[1:], start[0] + 360.0) - np.append(reach[:-1], max(reach[-1], start[0]))
    # What reaches beyond the circle's end covers its beginning, too.
    beyond = reach[-1] - 360.0
    gaps[:-1] = np.minimum(gaps[:-1], start[1:] - beyond)
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 1e-6:
        return -180.0, 180.0
    west = start[(widest + 1) % len(start)]
    return float(west - 180.0), float(west - 180.0 + 360.0 - gaps[widest])


def _box(west: float, south: float, east: float, north: float) -> BBox:
    """A box of numbers that may lie beyond 180 and 90 degrees, as rasters in degrees and their last pixels do."""
    south, north = max(float(south), -90.0), min(float(north), 90.0)
    if east - west >= 360.0 - 1e-6:
        return BBox(-180.0, min(south, north), 180.0, max(south, north))
    west, east = (float(v) if -180.0 <= v <= 180.0 else float(wrap_lon(v)) for v in (west, east))
    return BBox(west, south, east, north)


def _on_ellipsoid(lon: Floats, lat: Floats) -> Floats:
    """Places in degrees as metres from the middle of the Earth, (..., 3)."""
    radius_m, flattening = _WGS_84
    lam, phi = np.radians(lon), np.radians(lat)
    squared = flattening * (2 - flattening)  # of the eccentricity
    across = radius_m / np.sqrt(1 - squared * np.sin(phi) ** 2)
    x, y = across * np.cos(phi) * np.cos(lam), across * np.cos(phi) * np.sin(lam)
    return np.stack([x, y, across * (1 - squared) * np.sin(phi)], axis=-1)


def _outlines(lon: Floats, lat: Floats) -> list[bytes | None]:
    """Rings of four corners (N, 4) as WKB; None where one of them is off the globe."""
    import shapely

    on_globe = np.asarray(np.isfinite(lon + lat).all(axis=1), bool)
    corners = np.where(on_globe[:, None, None], np.stack([lon, lat], axis=-1), 0.0)
    polygons = shapely.to_wkb(shapely.polygons(corners))
    return [wkb if whole else None for wkb, whole in zip(polygons, on_globe, strict=True)]
