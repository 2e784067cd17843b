"""Training pictures made of chips: crops, mosaics that show more ground in coarser pixels, two kinds in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.augment import Chance
from training.augment_ops import blur
from training.earth.chips import CHIP_PX, EUROSAT_WHITE, Chips, WorldChip
from training.earth.kinds import KINDS
from training.earth.stretches import chance_relief, chance_stretch
from training.sentinel.drawing import EvenDrawer

WATER = KINDS.index("sea or lake")
MIXED = 3  # the place in `SceneStyle.chances` of scenes of two kinds


@dataclass(frozen=True, slots=True)
class SceneStyle:
    """How pictures are made.

    Attributes:
        chances: of one chip; 2 x 2 or 4 x 4 of one kind; 2 x 2 of two kinds.
        least_crop: smallest side of a crop, of that of the whole.
        sizes_px: sides of the pictures, one for each batch.
        strength: of the changes of light, sky and sensor; 1 goes beyond what is met.
        world_share: of the pictures of a batch, those from outside of EuroSAT.
        world_sides_px: smallest and largest side of a crop of their chips.
        relief: how uneven the light on land is, as `chance_relief` says; 0 for even light.
        blur_px: largest deviation of a blur, which half of the pictures get; 0 for none.
    """

    chances: tuple[float, float, float, float] = (0.62, 0.16, 0.06, 0.16)
    least_crop: float = 0.55
    sizes_px: tuple[int, ...] = (40, 48, 48, 64)
    strength: float = 1.0
    world_share: float = 0.08
    world_sides_px: tuple[int, int] = (56, 192)
    relief: float = 0.0
    blur_px: float = 0.0


# Small and shaken pictures teach fast and roughly; then come pictures nearer to what is met. EuroSAT is flat and sharp:
# what ends the training shows its ground in the light of mountains and less sharp, and more of other continents.
ROUGH = SceneStyle()
FINE = SceneStyle(chances=(0.78, 0.10, 0.04, 0.08), least_crop=0.8, sizes_px=(48, 64), strength=0.7)
WIDE = SceneStyle(
    chances=(0.74, 0.12, 0.06, 0.08),
    least_crop=0.6,
    sizes_px=(48, 64),
    strength=0.8,
    world_share=0.2,
    world_sides_px=(40, 160),
    relief=0.35,
    blur_px=1.1,
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Two pictures of each of B places.

    Attributes:
        first, second: (B, 3, S, S) float32 in [0, 255]: other crop, light and stretch.
        truth: (2, B, K) share of each kind in each of the two.
    """

    first: torch.Tensor
    second: torch.Tensor
    truth: torch.Tensor


class SceneMaker:
    """Draws batches on a device, where the chips stay; the same seed and number give the same batch there.

    All pictures of a batch are put together, cut and changed at once: a GPU is kept at work, and a CPU is spared the
    cost of a hundred small calls.
    """

    def __init__(
        self,
        chips: Chips,
        world: list[WorldChip],
        seed: int = 0,
        style: SceneStyle = ROUGH,
        device: torch.device | str = "cpu",
    ) -> None:
        """Halve the chips once and twice, for mosaics."""
        self._seed, self._style, self._device = seed, style, torch.device(device)
        whole = torch.from_numpy(chips.pixels).to(device).permute(0, 3, 1, 2)
        self._levels = {1: whole, 2: _halved(whole), 4: _halved(_halved(whole))}
        self._kinds, self._drawer = chips.kinds, EvenDrawer(chips.kinds, len(KINDS))
        self._world_kinds = np.asarray([_both_kinds(chip) for chip in world], dtype=np.int64)  # (W, 2)
        if world:
            # A fourth band says where the second kind is, so that each crop knows its shares.
            shown = np.stack([np.dstack([chip.reflectance, _where_second(chip)]) for chip in world])
            self._world = torch.from_numpy(shown).to(device).permute(0, 3, 1, 2).contiguous()

    def batch(self, count: int, number: int) -> Batch:
        """Two pictures of each of `count` places."""
        rng = np.random.default_rng([self._seed, number])
        size = int(rng.choice(self._style.sizes_px))
        chance = Chance(int(rng.integers(2**31)), self._device)
        far = (
            np.flatnonzero(rng.random(count) < self._style.world_share)
            if len(self._world_kinds)
            else np.empty(0, np.int64)
        )
        near = np.setdiff1d(np.arange(count), far)
        scenes, shares = self._scenes(count, rng)
        truth = self._sent(shares).repeat(2, 1, 1)
        cut = torch.empty(2, count, 3, size, size, device=self._device)
        for view in cut:
            view[self._sent(near)] = self._crops(scenes[self._sent(near)], size, rng)
        if len(far):
            chosen = rng.integers(len(self._world_kinds), size=len(far))
            one, other = F.one_hot(self._sent(self._world_kinds[chosen]), len(KINDS)).float().unbind(1)  # (F, K) each
            for view, shares_in_view in zip(cut, truth, strict=True):
                cropped = self._crops(self._world[self._sent(chosen)], size, rng)
                view[self._sent(far)], where = cropped[:, :3], cropped[:, 3:]
                shares_in_view[self._sent(far)] = torch.lerp(one, other, where.mean((2, 3)))
        turned = _turned(cut.flatten(0, 1), chance)
        if self._style.relief:
            land = 1 - truth.flatten(0, 1)[:, WATER]
            turned = chance_relief(turned, chance, self._style.relief * land, int(rng.integers(3, 9)))
        if self._style.blur_px:
            turned = _blurred(turned, chance, self._style.blur_px)
        first, second = (chance_stretch(turned, chance, self._style.strength) * 255).chunk(2)
        return Batch(first, second, truth)

    def _scenes(self, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, NDArray[np.float32]]:
        """Reflectance (B, 3, 64, 64) of places of chips, and the share of each kind in them, (B, K)."""
        scenes = torch.empty(count, 3, CHIP_PX, CHIP_PX, device=self._device)
        truth = np.zeros((count, len(KINDS)), np.float32)
        way = rng.choice(len(self._style.chances), count, p=self._style.chances)
        for kind_of_scene, across in enumerate((1, 2, 4, 2)):
            members = np.flatnonzero(way == kind_of_scene)
            if not len(members):
                continue
            first = rng.integers(len(self._kinds), size=len(members))
            rows = self._drawer.draw(np.repeat(self._kinds[first], across**2), rng).reshape(len(members), across**2)
            rows[:, 0] = first
            if kind_of_scene == MIXED:
                rows[:, 1] = rng.integers(len(self._kinds), size=len(members))
            np.add.at(truth, (members[:, None], self._kinds[rows]), np.float32(1 / across**2))
            tiles = self._levels[across][self._sent(rng.permuted(rows, axis=1))]
            scenes[self._sent(members)] = _mosaics(tiles, across).float() * (EUROSAT_WHITE / 255)
        return scenes, truth

    def _crops(self, scenes: torch.Tensor, size: int, rng: np.random.Generator) -> torch.Tensor:
        """A square of chance place and side of each scene, brought to (B, 3, size, size)."""
        count, whole = len(scenes), scenes.shape[-1]
        low, high = self._style.world_sides_px if whole > CHIP_PX else (int(self._style.least_crop * whole), whole)
        side = np.exp(rng.uniform(np.log(low), np.log(high + 1), count)).astype(np.int64)
        corner = (rng.random((2, count)) * (whole - side + 1)).astype(np.int64)
        top, left, side = self._sent(np.stack([*corner, side]))
        return cut_squares(scenes, top, left, side, size)

    def _sent(self, values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


def _both_kinds(chip: WorldChip) -> tuple[int, int]:
    return chip.kind, chip.kind if chip.second is None else chip.second[0]


def _where_second(chip: WorldChip) -> NDArray[np.float32]:
    """(256, 256) 1 where a chip shows its second kind, 0 elsewhere."""
    nowhere = np.zeros(chip.reflectance.shape[:2], np.float32)
    return nowhere if chip.second is None else chip.second[1].astype(np.float32)


def _blurred(pixels: torch.Tensor, chance: Chance, most_px: float) -> torch.Tensor:
    """Each picture blurred by a chance amount, or with the same chance as it is."""
    count = len(pixels)
    soft = blur(pixels, chance.uniform(count, 0.2, most_px))
    return torch.where(chance.coin(count, 0.5).view(-1, 1, 1, 1), soft, pixels)


def cut_squares(
    pixels: torch.Tensor, top: torch.Tensor, left: torch.Tensor, side: torch.Tensor, size: int
) -> torch.Tensor:
    """Squares of other places and sides of each picture, resized as `interpolate(..., antialias=True)` resizes each.

    Args:
        pixels: (B, C, H, W).
        top: (B,) integers, first row of each square.
        left: (B,) its first column.
        side: (B,) its side in pixels.
        size: side of the result.

    Returns:
        (B, C, size, size).
    """
    down, across = (
        _resizing(start, side, length, size, pixels.dtype)[:, None]
        for start, length in zip((top, left), pixels.shape[2:], strict=True)
    )
    return down @ pixels @ across.transpose(2, 3)


def _resizing(start: torch.Tensor, side: torch.Tensor, length: int, size: int, dtype: torch.dtype) -> torch.Tensor:
    """(B, size, length): how much each pixel of a line counts in each of the line's cut and resized."""
    pixel = torch.arange(length, device=start.device) - start[:, None]  # (B, length), from the cut's edge
    scale = (side / size).to(dtype)[:, None]
    middle = (torch.arange(size, device=start.device) + 0.5) * scale  # (B, size)
    reach = scale.clamp(min=1)[:, :, None]
    weight = (1 - (pixel[:, None, :] + 0.5 - middle[:, :, None]).abs() / reach).clamp(min=0)
    weight = weight * ((pixel >= 0) & (pixel < side[:, None]))[:, None, :]
    return weight / weight.sum(2, keepdim=True)


def _halved(pixels: torch.Tensor) -> torch.Tensor:
    """Half the side, each pixel the mean of four, uint8."""
    return F.avg_pool2d(pixels.float(), 2).round().to(torch.uint8)


def _mosaics(tiles: torch.Tensor, across: int) -> torch.Tensor:
    """(B, across^2, 3, s, s) side by side, (B, 3, across s, across s)."""
    count, _, _, side, _ = tiles.shape
    grid = tiles.reshape(count, across, across, 3, side, side)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(count, 3, across * side, across * side)


def _turned(pixels: torch.Tensor, chance: Chance) -> torch.Tensor:
    """Each picture mirrored and turned by quarters, by chance."""
    mirrored, upside, turned = (chance.coin(len(pixels), 0.5).view(-1, 1, 1, 1) for _ in range(3))
    pixels = torch.where(mirrored, pixels.flip(3), pixels)
    pixels = torch.where(upside, pixels.flip(2), pixels)
    return torch.where(turned, pixels.transpose(2, 3), pixels)
