"""Many pictures of each tile's neighbourhood: both mosaics, several scales, moved a little; made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.earth.mosaics import Mosaic, Pixels
from training.earth.squares import KM_PER_DEG, TileTable, east_deg
from wildsat_core.files import file_aside

SHIFT_KM = 45.0
SIDES_KM = {"bmng": (140.0, 300.0), "z7": (45.0, 300.0)}
GRAIN = 0.02
BRIGHTNESS, COLOUR, LIFT = 0.10, 0.04, 0.03


@dataclass(frozen=True, slots=True)
class Views:
    """V pictures for each of N tiles; row i of all is tile i.

    Attributes:
        pixels: (N, V, S, S, 3) uint8.
        tables: V tables of N squares, the place and side of each picture.
    """

    pixels: Pixels
    tables: tuple[TileTable, ...]


def make_views(tiles: TileTable, mosaics: list[Mosaic], size_px: int, seed: int = 0) -> Views:
    """One view for each mosaic in the list; name a mosaic several times for several views of it.

    A view's centre moves by up to 45 km, and its side is drawn evenly in logarithm from the mosaic's range.
    """
    rng = np.random.default_rng(seed)
    pixels = np.empty((len(tiles), len(mosaics), size_px, size_px, 3), np.uint8)
    tables = []
    for v, mosaic in enumerate(mosaics):
        low, high = np.log(SIDES_KM[mosaic.name])
        move = rng.uniform(-SHIFT_KM, SHIFT_KM, (2, len(tiles))) / KM_PER_DEG
        lat = np.clip(tiles.lat + move[1], -89.0, 89.0)
        lon = (tiles.lon + east_deg(move[0], lat) + 180) % 360 - 180
        table = TileTable(lon, lat, np.exp(rng.uniform(low, high, len(tiles))))
        for i in range(len(tiles)):
            pixels[i, v] = mosaic.crop(table.lon[i], table.lat[i], table.side_km[i], size_px)
        tables.append(table)
    return Views(pixels, tuple(tables))


def save_views(views: Views, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "pixels.npy", views.pixels)
    with file_aside(folder / "squares.npy") as file:  # last, and whole: that it is there says that the views are
        np.save(file, np.stack([np.stack([t.lon, t.lat, t.side_km]) for t in views.tables]))


def load_views(folder: Path) -> Views:
    squares = np.load(folder / "squares.npy")  # (V, 3, N)
    return Views(np.load(folder / "pixels.npy", mmap_mode="r"), tuple(TileTable(*square) for square in squares))


def distort(pixels: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """(B, S, S, 3) uint8 pictures to (B, 3, S, S) float32 in [0, 255], mirrored, turned, changed in light and colour.

    The changes stand for what differs between mosaics and sensors and says nothing about the habitat.
    """
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2).float() / 255
    count = len(x)

    def noise(*shape: int) -> Tensor:
        return torch.randn(count, *shape, device=device)

    mirrored, turned = torch.rand(2, count, device=device) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    x = torch.where(turned[:, None, None, None], x.transpose(2, 3), x)
    gain = (1 + BRIGHTNESS * noise(1, 1, 1)) * (1 + COLOUR * noise(3, 1, 1))
    x = x * gain + LIFT * noise(1, 1, 1)
    grain = torch.rand(count, 1, 1, 1, device=device) * GRAIN
    x = x + grain * torch.randn(x.shape, device=device)
    return x.clamp(0, 1) * 255
