"""How reflectance becomes eight-bit pictures: stretches to test with, and chance ones to train with.

All take and give (B, 3, H, W) float32 tensors, reflectance in and pictures in [0, 1] out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training.augment import Chance
from training.earth.chips import EUROSAT_WHITE

Stretch = Callable[[torch.Tensor], torch.Tensor]

# Path radiance of a clear sky over Europe in reflectance, red to blue: what is in L1C and taken out of L2A.
CLEAR_SKY = (0.030, 0.050, 0.085)
# How haze scatters, red to blue, relative to blue.
HAZE_COLOUR = (0.45, 0.65, 1.0)


def to_eight_bits(pixels: torch.Tensor) -> torch.Tensor:
    """Cut to [0, 1] and round to 255 steps, as stored; any shape, which stays."""
    return (pixels.clamp(0, 1) * 255).round() / 255


def linear(white: float, black: float = 0.0) -> Stretch:
    """Reflectance `black` to 0 and `white` to 1."""
    return lambda x: to_eight_bits((x - black) / (white - black))


def percentiles(low: float = 0.02, high: float = 0.98) -> Stretch:
    """Each picture by percentiles of its own, all bands together."""

    def apply(x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        ends = torch.quantile(flat, x.new_tensor([low, high]), dim=1)  # (2, B)
        return to_eight_bits(_between(x, ends[0].view(-1, 1, 1, 1), ends[1].view(-1, 1, 1, 1)))

    return apply


def surface(white: float = 0.3) -> Stretch:
    """As L2A shows it: the clear sky's own light taken out, the ground a little brighter, then linear."""

    def apply(x: torch.Tensor) -> torch.Tensor:
        return linear(white)((x - _bands(x, CLEAR_SKY)) * 1.12)

    return apply


def hazy(amount: float, white: float = 0.3) -> Stretch:
    """Under haze of so much reflectance in blue, then linear."""

    def apply(x: torch.Tensor) -> torch.Tensor:
        return linear(white)(x * (1 - amount) + _bands(x, HAZE_COLOUR) * amount)

    return apply


def gamma(power: float, white: float = 0.3) -> Stretch:
    """Linear, then a power of the picture."""
    return lambda x: to_eight_bits((x / white).clamp(0, 1) ** power)


def autumn(white: float = 0.3) -> Stretch:
    """Greens a third of the way to brown, then linear; no true season, but what a season does to colour."""

    def apply(x: torch.Tensor) -> torch.Tensor:
        red, green, blue = x.unbind(1)
        excess = (green - (red + blue) / 2).clamp(min=0)
        turned = torch.stack([red + 0.5 * excess, green - 0.33 * excess, blue], 1)
        return linear(white)(turned)

    return apply


STRETCHES: dict[str, Stretch] = {
    "0 to 0.275, as EuroSAT": linear(0.275),
    "0 to 0.3": linear(0.3),
    "0 to 0.355, as TCI": linear(0.355),
    "0 to 1": linear(1.0),
    "percentiles 2 to 98": percentiles(),
    "surface reflectance to 0.3": surface(),
    "haze": hazy(0.06),
    "gamma 0.7": gamma(0.7),
    "autumn colours": autumn(),
}


def chance_stretch(x: torch.Tensor, chance: Chance, strength: float = 1.0) -> torch.Tensor:
    """Another light, another sky and another stretch for each picture.

    Args:
        x: (B, C, H, W) reflectance.
        chance: random numbers of this batch.
        strength: scales the changes of light, sky and sensor.
    """
    count = len(x)
    x = _another_light(x, chance, strength)
    white = torch.exp(chance.uniform(count, -1.75, 0.05))  # 0.17 to 1.05 of reflectance
    white = torch.where(chance.coin(count, 0.5), white.clamp(max=0.42), white)  # bright stretches are the common ones
    black = chance.uniform(count, 0.0, 0.03) * chance.coin(count, 0.3)
    low, high = black.view(-1, 1, 1, 1).expand(-1, 3, 1, 1), white.view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    own = _own_ends(x, chance)
    by_own = chance.coin(count, 0.3).view(-1, 1, 1, 1)
    stretched = _between(x, torch.where(by_own, own[0], low), torch.where(by_own, own[1], high))
    power = torch.exp(chance.uniform(count, -0.6, 0.5) * chance.coin(count, 0.5)).view(-1, 1, 1, 1)
    return to_eight_bits(stretched.clamp(0, 1) ** power)


def chance_relief(x: torch.Tensor, chance: Chance, most: torch.Tensor, nodes: int) -> torch.Tensor:
    """Ground in uneven light for about two pictures in three: slopes in sun and shade, shadows of clouds.

    Args:
        x: (B, 3, H, W) reflectance.
        chance: random numbers of this batch.
        most: (B,) largest deviation of the light's logarithm; what the sky adds stays as it is.
        nodes: how many lights there are along a side, with smooth changes between: 3 for long slopes, 8 for short.
    """
    count = len(x)
    field = F.interpolate(chance.normal(x.new_zeros(count, 1, nodes, nodes)), x.shape[2:], mode="bicubic")
    amount = most * chance.uniform(count) * chance.coin(count, 0.65)
    darkest = x.amin((2, 3), keepdim=True)
    sky = torch.minimum(_bands(x, CLEAR_SKY), darkest.clamp(min=0)) * chance.uniform(count).view(-1, 1, 1, 1)
    return (x - sky) * torch.exp(amount.view(-1, 1, 1, 1) * field) + sky


def _another_light(x: torch.Tensor, chance: Chance, strength: float) -> torch.Tensor:
    """Sun, sky, sensor and season: gains, a mixing of bands, the sky or more haze added or taken away, grain."""
    count = len(x)
    turn = torch.eye(3, device=x.device) + 0.045 * strength * chance.normal(x.new_zeros(count, 3, 3))
    x = torch.einsum("bij,bjhw->bihw", turn, x)
    sun = torch.exp(strength * chance.uniform(count, -0.35, 0.35))[:, None]
    x = x * (sun * torch.exp(0.05 * strength * chance.normal(x.new_zeros(count, 3))))[:, :, None, None]
    haze = strength * chance.uniform(count, -0.085, 0.085) * chance.coin(count, 0.65)
    cleared = chance.uniform(count, 0.3, 1.15) * chance.coin(count, 0.35)  # surface reflectance lacks the sky
    haze = haze * (cleared == 0)
    added = _bands(x, HAZE_COLOUR) * haze.view(-1, 1, 1, 1)
    darkest = (x.mean((2, 3)) - x.std((2, 3))).clamp(min=0)[:, :, None, None]  # about; no sky takes more than there is
    x = x * (1 - haze.clamp(min=0).view(-1, 1, 1, 1)) + torch.maximum(added, -0.7 * darkest)
    x = _without_sky(x, cleared, chance)
    grain = chance.uniform(count, 0.0, 0.004).view(-1, 1, 1, 1)
    return x + grain * chance.normal(x)


def _without_sky(x: torch.Tensor, share: torch.Tensor, chance: Chance) -> torch.Tensor:
    """A share (B,) of a clear sky, of about its colour, taken out, as in surface reflectance; dark ground goes to 0."""
    sky = share[:, None] * (1 + 0.12 * chance.normal(x.new_zeros(len(x), 3)))
    return (x - _bands(x, CLEAR_SKY) * sky[:, :, None, None]) * (1 + 0.12 * share).view(-1, 1, 1, 1)


def _own_ends(x: torch.Tensor, chance: Chance) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 3, 1, 1) each: mean less and plus some deviations, which stand for percentiles, of all bands or each."""
    count = len(x)
    each_mean, each_deviation = x.mean((2, 3)), x.std((2, 3))
    all_mean = each_mean.mean(1, keepdim=True).expand(-1, 3)
    all_deviation = x.flatten(1).std(1, keepdim=True).expand(-1, 3)
    apart = chance.coin(count, 0.4)[:, None]
    mean = torch.where(apart, each_mean, all_mean)
    reach = torch.where(apart, each_deviation, all_deviation) * chance.uniform(count, 1.5, 3.0)[:, None] + 0.004
    return (mean - reach)[:, :, None, None], (mean + reach)[:, :, None, None]


def _between(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    return (x - low) / (high - low).clamp(min=1e-3)


def _bands(x: torch.Tensor, values: tuple[float, float, float]) -> torch.Tensor:
    return x.new_tensor(values).view(1, 3, 1, 1)


def as_pictures(pixels: NDArray[np.uint8], stretch: Stretch, device: torch.device | str = "cpu") -> torch.Tensor:
    """EuroSAT's chips (B, H, W, 3) under another stretch: (B, 3, H, W) float32 in [0, 255] on a device."""
    reflectance = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() * (EUROSAT_WHITE / 255)
    return stretch(reflectance) * 255
