"""Training pictures made of chips: crops, mosaics that show more ground in coarser pixels, two kinds in one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.augment import Chance
from training.earth.chips import CHIP_PX, EUROSAT_WHITE, Chips, WorldChip
from training.earth.kinds import KINDS
from training.earth.stretches import chance_stretch

WORLD_SHARE = 0.08  # of the pictures of a batch
WORLD_SIDES_PX = (56, 192)


@dataclass(frozen=True, slots=True)
class SceneStyle:
    """How pictures are made.

    Attributes:
        chances: of one chip; 2 x 2 or 4 x 4 of one kind; 2 x 2 of two kinds.
        least_crop: smallest side of a crop, of that of the whole.
        sizes_px: sides of the pictures, one for each batch.
        strength: of the changes of light, sky and sensor; 1 goes beyond what is met.
    """

    chances: tuple[float, float, float, float] = (0.62, 0.16, 0.06, 0.16)
    least_crop: float = 0.55
    sizes_px: tuple[int, ...] = (40, 48, 48, 64)
    strength: float = 1.0


# Small and shaken pictures teach fast and roughly; what ends the training is nearer to what is met.
ROUGH = SceneStyle()
FINE = SceneStyle(chances=(0.78, 0.10, 0.04, 0.08), least_crop=0.8, sizes_px=(48, 64), strength=0.7)


@dataclass(frozen=True, slots=True)
class Batch:
    """Two pictures of each of B places.

    Attributes:
        first, second: (B, 3, S, S) float32 in [0, 255]: other crop, light and stretch.
        truth: (B, K) share of each kind.
    """

    first: torch.Tensor
    second: torch.Tensor
    truth: torch.Tensor


class SceneMaker:
    """Draws batches; the same seed and number give the same batch."""

    def __init__(self, chips: Chips, world: list[WorldChip], seed: int = 0, style: SceneStyle = ROUGH) -> None:
        """Halve the chips once and twice, for mosaics."""
        self._chips, self._world, self._seed, self._style = chips, world, seed, style
        whole = torch.from_numpy(chips.pixels).permute(0, 3, 1, 2)
        self._levels = {1: whole, 2: _halved(whole), 4: _halved(_halved(whole))}
        self._by_kind = [np.flatnonzero(chips.kinds == kind) for kind in range(len(KINDS))]

    def batch(self, count: int, number: int) -> Batch:
        """Two pictures of each of `count` places."""
        rng = np.random.default_rng([self._seed, number])
        size = int(rng.choice(self._style.sizes_px))
        scenes, truth = zip(*(self._scene(rng) for _ in range(count)), strict=True)
        views = [self._view(scenes, size, rng) for _ in range(2)]
        return Batch(views[0], views[1], torch.from_numpy(np.stack(truth)))

    def _scene(self, rng: np.random.Generator) -> tuple[torch.Tensor, NDArray[np.float32]]:
        """Reflectance (3, h, w) of one place, and the share of each kind, (K,)."""
        truth = np.zeros(len(KINDS), np.float32)
        if self._world and rng.random() < WORLD_SHARE:
            chip = self._world[rng.integers(len(self._world))]
            truth[chip.kind] = 1
            return torch.from_numpy(chip.reflectance).permute(2, 0, 1), truth
        row = int(rng.integers(len(self._chips)))
        kind = int(self._chips.kinds[row])
        way = int(rng.choice(4, p=self._style.chances))
        if way == 0:
            rows, across = [row], 1
        elif way < 3:
            across = 2 * way
            rows = [row, *rng.choice(self._by_kind[kind], across**2 - 1)]
        else:
            across = 2
            rows = [row, *rng.integers(len(self._chips), size=1), *rng.choice(self._by_kind[kind], 2)]
        for each in rows:
            truth[self._chips.kinds[each]] += 1 / len(rows)
        tiles = self._levels[across][torch.as_tensor(np.asarray(rows)[rng.permutation(len(rows))])]
        return _mosaic(tiles, across).float() * (EUROSAT_WHITE / 255), truth

    def _view(self, scenes: tuple[torch.Tensor, ...], size: int, rng: np.random.Generator) -> torch.Tensor:
        chance = Chance(int(rng.integers(2**31)), torch.device("cpu"))
        cut = torch.stack([_crop(scene, size, rng, self._style.least_crop) for scene in scenes])
        turned = _turned(cut, chance)
        return chance_stretch(turned, chance, self._style.strength) * 255


def _halved(pixels: torch.Tensor) -> torch.Tensor:
    """Half the side, each pixel the mean of four, uint8."""
    return F.avg_pool2d(pixels.float(), 2).round().to(torch.uint8)


def _mosaic(tiles: torch.Tensor, across: int) -> torch.Tensor:
    """(across^2, 3, s, s) side by side, (3, across s, across s)."""
    side = tiles.shape[-1]
    grid = tiles.view(across, across, 3, side, side)
    return grid.permute(2, 0, 3, 1, 4).reshape(3, across * side, across * side)


def _crop(scene: torch.Tensor, size: int, rng: np.random.Generator, least: float) -> torch.Tensor:
    """A square of chance place and side, brought to (3, size, size)."""
    whole = scene.shape[-1]
    low, high = WORLD_SIDES_PX if whole > CHIP_PX else (int(least * whole), whole)
    side = int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))
    top, left = rng.integers(whole - side + 1, size=2)
    square = scene[:, top : top + side, left : left + side]
    return F.interpolate(square[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def _turned(pixels: torch.Tensor, chance: Chance) -> torch.Tensor:
    """Each picture mirrored and turned by quarters, by chance."""
    mirrored, upside, turned = (chance.coin(len(pixels), 0.5).view(-1, 1, 1, 1) for _ in range(3))
    pixels = torch.where(mirrored, pixels.flip(3), pixels)
    pixels = torch.where(upside, pixels.flip(2), pixels)
    return torch.where(turned, pixels.transpose(2, 3), pixels)
