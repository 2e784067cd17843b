"""Real Sentinel-2 chips in true colour, as reflectance: EuroSAT's ten classes, and a few from all over the world.

EuroSAT: Helber et al. 2019 (arXiv:1709.00029), MIT; its RGB chips show reflectance 0 to 0.275 as 0 to 255.
World-wide chips: modified Copernicus Sentinel data as distributed with microsoft/satclip, MIT.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.earth.kinds import KIND_OF_CLASS, KINDS, SECOND_KINDS, WORLD
from wildsat_core.errors import MissingDataError

Part = Literal["train", "tune", "test"]
Pixels = NDArray[np.uint8]

CHIP_PX = 64
EUROSAT_WHITE = 0.275  # the reflectance that EuroSAT's chips show as 255
FULL_REFLECTANCE = 10_000  # counts of the world-wide chips for a reflectance of 1
WORLD_PX = 256
TRUE_COLOUR = [4, 3, 2]  # bands of the world-wide chips, counted from 1
SMOOTHED_PX = 7  # side of the square that a pixel is judged by where a chip shows two kinds
TUNE_SHARE, TEST_SHARE = 0.05, 0.15


@dataclass(frozen=True, slots=True)
class Chips:
    """N chips of EuroSAT; row i of every array is chip i.

    Attributes:
        names: file names.
        pixels: (N, 64, 64, 3) uint8, as EuroSAT has them.
        kinds: (N,) rows of `KINDS`.
    """

    names: tuple[str, ...]
    pixels: Pixels
    kinds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class WorldChip:
    """One chip from outside of EuroSAT.

    Attributes:
        name: of its file, without the ending.
        reflectance: (256, 256, 3) float32, 0 to about 1.
        kind: row of `KINDS`; of what most of it shows.
        lon, lat: centre in degrees.
        second: row of `KINDS` of what the rest shows, and where that is, (256, 256); None for a chip of one kind.
    """

    name: str
    reflectance: NDArray[np.float32]
    kind: int
    lon: float
    lat: float
    second: tuple[int, NDArray[np.bool_]] | None = None


def part_of(name: str) -> Part:
    """Which part a chip of EuroSAT belongs to, by a hash of its file name: 80 % train, 5 % tune, 15 % test."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    if share < TEST_SHARE:
        return "test"
    return "tune" if share < TEST_SHARE + TUNE_SHARE else "train"


def read_eurosat(data: Path, part: Part, most: int | None = None) -> Chips:
    """Read one part of EuroSAT's chips.

    Args:
        data: folder with eurosat/eurosat-rgb-open.zip, whose folders are named as the classes.
        part: which.
        most: at most so many chips, evenly from all classes, for a short look.

    Raises:
        MissingDataError: no such file.
    """
    from PIL import Image

    path = data / "eurosat" / "eurosat-rgb-open.zip"
    if not path.is_file():
        raise MissingDataError(f"there is no {path}; the folder of data needs EuroSAT's RGB chips there")
    pixels, kinds, names = [], [], []
    with zipfile.ZipFile(path) as archive:
        wanted = sorted(n for n in archive.namelist() if n.endswith(".jpg") and part_of(Path(n).name) == part)
        if most is not None and most < len(wanted):
            wanted = [wanted[i] for i in np.linspace(0, len(wanted) - 1, most).astype(int)]
        for name in wanted:
            picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            pixels.append(np.asarray(picture, dtype=np.uint8))
            kinds.append(KINDS.index(KIND_OF_CLASS[Path(name).parent.name]))
            names.append(Path(name).name)
    return Chips(tuple(names), np.stack(pixels), np.asarray(kinds))


def read_world(data: Path, part: Literal["train", "test"]) -> list[WorldChip]:
    """Read the world-wide chips of one part.

    Raises:
        MissingDataError: a chip is missing.
    """
    import rasterio
    from rasterio.warp import transform

    chips = []
    for name, (kind, own_part) in WORLD.items():
        if own_part != part:
            continue
        path = data / "sentinel2" / f"{name}.tif"
        if not path.is_file():
            raise MissingDataError(f"there is no {path}; the folder of data needs the world-wide chips there")
        with rasterio.open(path) as raster:
            counts = raster.read(TRUE_COLOUR)  # (3, 256, 256)
            x, y = raster.xy(raster.height / 2, raster.width / 2, offset="ul")
            lon, lat = transform(raster.crs, "EPSG:4326", [x], [y])
        reflectance = (counts.astype(np.float32) / FULL_REFLECTANCE).transpose(1, 2, 0)
        reflectance = np.ascontiguousarray(reflectance)
        chips.append(WorldChip(name, reflectance, KINDS.index(kind), lon[0], lat[0], _second_kind(name, reflectance)))
    return chips


def _second_kind(name: str, reflectance: NDArray[np.float32]) -> tuple[int, NDArray[np.bool_]] | None:
    if name not in SECOND_KINDS:
        return None
    kind, most_red = SECOND_KINDS[name]
    edged = np.pad(reflectance[..., 0], SMOOTHED_PX // 2, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(edged, (SMOOTHED_PX, SMOOTHED_PX))
    return KINDS.index(kind), around.mean((2, 3)) < most_red
