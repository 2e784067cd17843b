"""A known Earth: rasters whose every pixel's colour is a smooth function of its true longitude and latitude.

A source that reads a tile from such a raster shows by the colours alone whether the tile is where it says it is, the
right way up, and whole. Where a raster lies is worked out here by pyproj, pixel by pixel, independently of the code
under test, which goes by boxes and by GDAL.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

EARTH_RADIUS_M = 6_371_008.8
LEVELS = 0.4  # colours swing by this much around a half, so that none is 0, which means that there is no data

# Stored values of colour 0 and colour 1, by type of number.
RANGES = {
    "uint8": (0, 255),
    "int8": (-120, 120),
    "uint16": (0, 10_000),
    "int16": (-1000, 9000),
    "uint32": (0, 100_000),
    "int32": (-50_000, 50_000),
    "float32": (0.0, 1.0),
    "float64": (-1.0, 3.0),
}
MISSING = {"int8": -128, "int16": -9999, "int32": -99_999, "float32": -9999.0, "float64": -9999.0}
MASKS = ("none", "nodata", "nan", "alpha", "internal mask", "mask file")


def colours(lon, lat, detail):
    """Colour at places in degrees, three values in [0.1, 0.9], first axis last; NaN where a place is none.

    Args:
        lon: (...) degrees, any whole turns.
        lat: (...) degrees.
        detail: radians of phase per radian on the globe: a place moved by 1 / detail changes colour by up to LEVELS.
    """
    lam, phi = np.radians(lon), np.radians(lat)
    axes = (np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi))
    return np.stack([0.5 + LEVELS * np.sin(detail * axis + k) for k, axis in enumerate(axes)])


@dataclass(frozen=True)
class KnownRaster:
    """How a raster is laid out and written; the pixels follow from where it lies.

    Attributes:
        crs: anything that pyproj and GDAL both understand.
        transform: pixel to place in that system.
        width, height: in pixels.
        dtype: of the stored numbers.
        mask: how the hole, the left quarter, is told to have no data; one of MASKS.
        driver: GDAL's name of the format.
        creation: options of the format.
        bands: 1 to 3.
    """

    crs: str
    transform: Affine
    width: int = 96
    height: int = 80
    dtype: str = "uint8"
    mask: str = "none"
    driver: str = "GTiff"
    creation: dict[str, str] = field(default_factory=dict)
    bands: int = 3

    def lon_lat(self, columns, rows):
        """True places of positions in pixels (0, 0 is the outer corner), inf where there is none."""
        x, y = self.transform @ (np.asarray(columns, float), np.asarray(rows, float))
        lon, lat = _to_degrees(self.crs).transform(x, y, errcheck=False)
        lon, lat = np.asarray(lon), np.asarray(lat)
        off = ~(np.isfinite(lon) & np.isfinite(lat)) | (np.abs(np.where(np.isfinite(lat), lat, 0)) > 90 + 1e-9)
        # A place that doesn't come back to itself lies beyond the edge of the projection's globe.
        return np.where(off, np.inf, lon), np.where(off, np.inf, lat)

    def positions(self, lon, lat, turns=0):
        """Column and row, in pixels from the outer corner, of places in degrees; inf where there is none.

        Those of a raster over the antimeridian are whole turns of the globe away from where they are looked for.
        """
        x, y = _to_degrees(self.crs).transform(np.asarray(lon), np.asarray(lat), direction="INVERSE", errcheck=False)
        x, y = np.where(np.isfinite(x), x, np.inf), np.where(np.isfinite(y), y, np.inf)
        x, inverse = x + turns * _turn(self.crs), ~self.transform
        with np.errstate(invalid="ignore"):
            return inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f

    @functools.cached_property
    def centres(self):
        """Longitude and latitude of all pixel centres, (H, W) each."""
        columns, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        return self.lon_lat(columns, rows)

    @functools.cached_property
    def pixel_rad(self):
        """The longest distance on the globe between neighbouring pixels, in radians."""
        lon, lat = (np.where(np.isfinite(v), v, np.nan) for v in self.centres)
        unit = colours_axes(lon, lat)
        steps = [np.linalg.norm(np.diff(unit, axis=axis), axis=0) for axis in (1, 2)]
        return max(float(np.nanmax(step)) for step in steps)

    @property
    def narrow_km(self):
        """How wide it is at least on the ground, as a parallelogram: its area by its longest side or diagonal."""
        lon, lat = self.centres
        corner, across, down = (colours_axes(lon[at], lat[at]) for at in ((0, 0), (0, -1), (-1, 0)))
        row, column = across - corner, down - corner
        longest = max(np.linalg.norm(side) for side in (row, column, row + column, row - column))
        return EARTH_RADIUS_M / 1000 * np.linalg.norm(np.cross(row, column)) / longest

    @functools.cached_property
    def detail(self):
        """About twelve radians of colour over the raster's longer side: an eighth of a radian a pixel."""
        return max(12.0 / (self.pixel_rad * max(self.width, self.height)), 1.0)

    @functools.cached_property
    def hole(self):
        """(H, W) True where there is no data: the left quarter, and what is off the globe."""
        hole = ~np.isfinite(self.centres[1])
        if self.mask != "none":
            hole[:, : self.width // 4] = True
        return hole

    @functools.cached_property
    def colour(self):
        """(3, H, W) in [0.1, 0.9]; 0 off the globe."""
        lon, lat = (np.where(np.isfinite(v), v, 0.0) for v in self.centres)
        return np.where(np.isfinite(self.centres[1]), colours(lon, lat, self.detail), 0.0)

    @functools.cached_property
    def stored(self):
        """(bands, H, W) as in the file, what lies in the hole included; without an alpha band."""
        low, high = RANGES[self.dtype]
        values = low + self.colour[: self.bands] * (high - low)
        values = values if self.dtype.startswith("float") else np.rint(values)
        return np.where(self.hole, self.missing_value, values).astype(self.dtype)

    @property
    def missing_value(self):
        """What stands in the hole: a value that would be seen if the mask were not heeded, but for nodata."""
        if self.mask == "nan":
            return np.nan
        if self.mask == "nodata":
            return MISSING.get(self.dtype, 0)
        return RANGES[self.dtype][1] if self.mask != "none" else RANGES[self.dtype][0]

    def write(self, folder: Path, name: str = "known") -> Path:
        """Write the file.

        Raises:
            Exception: GDAL's, where the format can't hold such a raster.
        """
        path = folder / f"{name}.{SUFFIXES.get(self.driver, 'tif')}"
        plain = path if self.driver == "GTiff" else folder / f"{name}-source.tif"
        alpha = self.mask == "alpha"
        profile = {
            "driver": "GTiff",
            "width": self.width,
            "height": self.height,
            "count": self.bands + alpha,
            "dtype": self.dtype,
            "crs": CRS.from_user_input(self.crs).to_wkt("WKT2_2019"),
            "transform": self.transform,
            "nodata": {"nodata": MISSING.get(self.dtype, 0), "nan": np.nan}.get(self.mask),
        }
        creation = self.creation if self.driver == "GTiff" else {}
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=self.mask == "internal mask"):
            with rasterio.open(plain, "w", **profile, **creation) as out:
                out.write(self.stored, list(range(1, self.bands + 1)))
                if alpha:
                    out.write(np.where(self.hole, 0, np.iinfo(self.dtype).max).astype(self.dtype), self.bands + 1)
                    out.colorinterp = [*out.colorinterp[: self.bands], ColorInterp.alpha]
                if self.mask in ("internal mask", "mask file"):
                    out.write_mask(~self.hole)
            if plain != path:
                rasterio.shutil.copy(plain, path, driver=self.driver, **self.creation)
        return path


def colours_axes(lon, lat):
    """Places on the unit sphere, (3, ...)."""
    lam, phi = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


# Formats that GDAL writes as a copy of another raster, with a suffix that it knows them by, and without loss.
SUFFIXES = {
    "GTiff": "tif",
    "COG": "tif",
    "PNG": "png",
    "JP2OpenJPEG": "jp2",
    "WEBP": "webp",
    "BMP": "bmp",
    "GIF": "gif",
    "HFA": "img",
    "ENVI": "bin",
    "EHdr": "bil",
    "ERS": "ers",
    "GPKG": "gpkg",
    "netCDF": "nc",
    "NITF": "ntf",
    "PCIDSK": "pix",
    "RST": "rst",
    "SAGA": "sdat",
    "VRT": "vrt",
    "Zarr": "zarr",
    "MRF": "mrf",
    "PCRaster": "map",
    "AAIGrid": "asc",
    "RMF": "rsw",
    "KRO": "kro",
    "ILWIS": "mpr",
    "PDS4": "xml",
    "ISIS3": "cub",
    "VICAR": "vic",
    "RRASTER": "grd",
    "ISCE": "isce",
    "ROI_PAC": "rsc",
    "GS7BG": "grd",
    "GSBG": "grd",
    "GSAG": "grd",
    "XYZ": "xyz",
    "SIGDEM": "sigdem",
    "MFF": "hdr",
    "MFF2": "mff2",
    "PAux": "raw",
    "PNM": "ppm",
    "BT": "bt",
    "TERRAGEN": "ter",
    "HF2": "hf2",
    "ZMap": "dat",
    "NWT_GRD": "grd",
    "KMLSUPEROVERLAY": "kmz",
    "MBTiles": "mbtiles",
    "Rasterlite": "sqlite",
    "JPEG": "jpg",
    "SGI": "sgi",
    "TGA": "tga",
    "GRIB": "grb2",
}
LOSSLESS = {
    "JP2OpenJPEG": {"QUALITY": "100", "REVERSIBLE": "YES"},
    "WEBP": {"LOSSLESS": "YES"},
    "JPEG": {"QUALITY": "100"},
    "GPKG": {"TILE_FORMAT": "PNG"},
}


@functools.lru_cache(maxsize=256)
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(CRS.from_user_input(crs), "EPSG:4326", always_xy=True)


@functools.lru_cache(maxsize=256)
def _unit(crs: str) -> float:
    """Length of the system's unit: radians of an angle, metres of a length."""
    return CRS.from_user_input(crs).axis_info[0].unit_conversion_factor


@functools.lru_cache(maxsize=256)
def _turn(crs: str) -> float:
    """Length in x of a whole turn of the globe; 0 where a turn is no step in x."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that its parameters of PROJ do not say all
        projection = CRS.from_user_input(crs).to_dict().get("proj")
    if projection not in ("longlat", "merc", "webmerc", "eqc", "cea", "mill"):
        return 0.0
    (west, east), _ = _to_degrees(crs).transform([10.0, 11.0], [40.0, 40.0], direction="INVERSE")
    return 360 * (east - west)


def is_angular(crs: str) -> bool:
    return CRS.from_user_input(crs).is_geographic


def place(crs: str, lon: float, lat: float, pixel_m: float, turn: str = "north-up", size=(96, 80)) -> KnownRaster:
    """A raster in `crs` whose middle is a place in degrees.

    Args:
        crs: of the raster.
        lon: of its middle.
        lat: of its middle.
        pixel_m: side of a pixel on the ground, about.
        turn: a key of TURNS: how rows and columns run.
        size: width and height.
    """
    x, y = _to_degrees(crs).transform(lon, lat, direction="INVERSE")
    step = pixel_m / EARTH_RADIUS_M / _unit(crs) if is_angular(crs) else pixel_m / _unit(crs)
    width, height = size
    transform = (
        Affine.translation(x, y) @ TURNS[turn] @ Affine.scale(step) @ Affine.translation(-width / 2, -height / 2)
    )
    return KnownRaster(crs, transform, width, height)


TURNS = {
    "north-up": Affine.scale(1, -1),
    "south-up": Affine.scale(1, 1),
    "mirrored": Affine.scale(-1, -1),
    "upside down": Affine.scale(-1, 1),
    "turned by 20": Affine.rotation(20) @ Affine.scale(1, -1),
    "turned by 90": Affine.rotation(90) @ Affine.scale(1, -1),
    "turned by 137": Affine.rotation(137) @ Affine.scale(1, -1),
    "transposed": Affine(0, 1, 0, 1, 0, 0),
    "sheared": Affine(1, 0.3, 0, 0.1, -1, 0),
    "oblong": Affine.scale(1, -1.6),
}

# A rotated pole, as regional climate models have it: numbers near 0 are places in Europe.
ROTATED_POLE = (
    "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +to_meter=0.0174532925199433 "
    "+datum=WGS84 +no_defs"
)

# Coordinate systems with a box of longitudes and latitudes that they are meant for.
SYSTEMS: dict[str, tuple[float, float, float, float]] = {
    "EPSG:4326": (-180, -88, 180, 88),
    "EPSG:4258": (-10, 35, 30, 70),  # ETRS89
    "EPSG:4269": (-170, 20, -50, 80),  # NAD83
    "EPSG:4267": (-120, 25, -70, 60),  # NAD27, the Clarke ellipsoid
    "EPSG:4301": (125, 25, 150, 45),  # Tokyo
    "EPSG:4314": (6, 47, 14, 55),  # DHDN
    "EPSG:4202": (115, -40, 150, -12),  # AGD66
    "EPSG:4807": (-4, 42, 8, 51),  # NTF, grads east of Paris
    "EPSG:4806": (8, 38, 17, 46),  # Monte Mario, degrees east of Rome
    "EPSG:4813": (105, -8, 115, -5),  # Batavia, degrees east of Jakarta
    "EPSG:4979": (-170, -80, 170, 80),  # WGS 84 with heights
    "EPSG:4326+5773": (-170, -80, 170, 80),  # with heights above the geoid
    "OGC:CRS84": (-180, -88, 180, 88),
    "+proj=longlat +R=6371229 +no_defs": (-170, -80, 170, 80),  # a sphere, as of weather models
    "+proj=longlat +a=6378137 +rf=298.257 +pm=ferro +no_defs": (-10, 40, 20, 60),
    "EPSG:3857": (-180, -84, 180, 84),
    "EPSG:3395": (-180, -84, 180, 84),  # Mercator of the ellipsoid
    "EPSG:3832": (100, -60, 250, 60),  # Mercator around 150 E
    "EPSG:32601": (-180, 0, -174, 84),  # UTM at the antimeridian
    "EPSG:32660": (174, 0, 180, 84),
    "EPSG:32733": (12, -80, 18, 0),
    "EPSG:32614": (-102, 1, -96, 84),
    "EPSG:2193": (167, -47, 178, -35),  # New Zealand
    "EPSG:27700": (-6, 50, 1.5, 58),  # British National Grid
    "EPSG:2154": (-4, 42, 8, 51),  # Lambert-93
    "EPSG:27572": (-4, 42, 8, 51),  # Lambert II of the Paris meridian
    "EPSG:2056": (6, 46, 10, 47.7),  # Switzerland, oblique
    "EPSG:3035": (-10, 35, 35, 70),  # Europe, equal area
    "EPSG:3577": (113, -43, 153, -11),  # Australia
    "EPSG:5070": (-124, 25, -68, 49),  # conterminous United States
    "EPSG:2263": (-74.2, 40.5, -72, 41.2),  # New York, feet
    "EPSG:28992": (3.5, 51, 7, 53.5),  # Netherlands, oblique stereographic
    "EPSG:3413": (-180, 62, 180, 89.5),  # polar stereographic
    "EPSG:3995": (-180, 62, 180, 89.5),
    "EPSG:3031": (-180, -89.5, 180, -62),
    "EPSG:3976": (-180, -89.5, 180, -55),
    "EPSG:6931": (-180, 50, 180, 89.5),  # EASE-Grid 2 North
    "EPSG:6933": (-179, -80, 179, 80),  # EASE-Grid 2, cylindrical
    "EPSG:32662": (-179, -85, 179, 85),  # plate carree in metres
    "ESRI:54009": (-150, -70, 150, 70),  # Mollweide
    "ESRI:54030": (-150, -70, 150, 70),  # Robinson
    "+proj=sinu +lon_0=0 +R=6371007.181 +units=m +no_defs": (-150, -70, 150, 70),  # MODIS
    "+proj=eqc +lon_0=150 +datum=WGS84 +units=m +no_defs": (-20, -85, 320, 85),
    "+proj=cea +lon_0=-70 +lat_ts=30 +datum=WGS84 +units=m +no_defs": (-240, -75, 100, 75),
    "+proj=mill +lon_0=10 +datum=WGS84 +units=m +no_defs": (-160, -80, 180, 80),
    "+proj=laea +lat_0=-20 +lon_0=179 +datum=WGS84 +units=m +no_defs": (150, -50, 210, 10),
    "+proj=omerc +lat_0=45 +lonc=-80 +alpha=35 +datum=WGS84 +units=m +no_defs": (-85, 40, -75, 50),
    "+proj=geos +h=35785831 +lon_0=-75 +sweep=x +ellps=GRS80 +units=m +no_defs": (-110, -35, -40, 35),  # GOES East
    "+proj=lcc +lat_1=30 +lat_2=60 +lat_0=38.5 +lon_0=262.5 +R=6371229 +units=km +no_defs": (-120, 25, -75, 50),
    ROTATED_POLE: (-10, 30, 40, 65),
}


def with_points(raster: KnownRaster, path: Path) -> Path:
    """A copy of the raster's file that is placed by ground control points alone, of longitudes within +-180."""
    points = []
    for row in range(0, raster.height + 1, 20):
        for column in range(0, raster.width + 1, 24):
            x, y = raster.transform @ (column, row)
            x = (x + 180) % 360 - 180 if is_angular(raster.crs) else x
            points.append(GroundControlPoint(row=row, col=column, x=x, y=y))
    copy = path.with_name("points.tif")
    with rasterio.open(path) as source, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        profile = {**source.profile, "crs": None, "transform": None}
        with rasterio.open(copy, "w", **profile) as out:
            out.write(source.read())
            out.gcps = points, source.crs
    return copy


def with_values(raster: KnownRaster, dtype: str, mask: str) -> KnownRaster:
    """The same place in another type of number, with another way of telling what has no data."""
    if mask == "nan" and not dtype.startswith("float"):
        mask = "nodata"
    if mask == "alpha" and dtype.startswith(("float", "int")):
        mask = "internal mask"
    return replace(raster, dtype=dtype, mask=mask)


def distance_m(lon_a, lat_a, lon_b, lat_b):
    """Chord between places, in metres."""
    return EARTH_RADIUS_M * np.linalg.norm(colours_axes(lon_a, lat_a) - colours_axes(lon_b, lat_b), axis=0)


def turns_east(west, lon):
    """Degrees eastwards from `west`, in [0, 360)."""
    return (np.asarray(lon) - west) % 360.0


def polar_pixels(lon, lat, size_km, px):
    """Longitude and latitude of the pixel centres of a square around a place near a pole, (px, px) each."""
    half = size_km * 500.0
    at = -half + (np.arange(px) + 0.5) / px * 2 * half
    x, y = np.meshgrid(at, -at)
    crs = f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m"
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)


def box_pixels(bbox, px):
    """Longitude and latitude of the pixel centres of a box of degrees, (px, px) each."""
    at = (np.arange(px) + 0.5) / px
    return np.meshgrid(bbox.west + at * bbox.width_deg, bbox.north - at * (bbox.north - bbox.south))


def is_degenerate(raster: KnownRaster) -> bool:
    """Whether the projection tears the raster, or lays two places on one pixel."""
    lon, lat = raster.centres
    if not np.isfinite(lat).all():
        return False
    column, row = raster.positions(lon, lat)
    at_column, at_row = np.meshgrid(np.arange(raster.width) + 0.5, np.arange(raster.height) + 0.5)
    return not (np.abs(column - at_column).max() < 0.01 and np.abs(row - at_row).max() < 0.01)


def log_uniform(low: float, high: float, share: float) -> float:
    return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
