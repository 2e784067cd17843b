"""The two views of a place as WildSAT makes them, by torchvision, one picture after another and at the stored size.

Beside our own views (`training.augment`) these brighten: the anchor's bands get a share of their neighbours on top of a
weight of at least one, a missing neighbour counts as zero, and nothing is cut off at one. The positive's colours change
in a random order, hue in HSV; its crop is antialiased and cut at 224 px even for networks that then see it at another
size.

Two readings of ours: the anchor is mirrored both ways, the positive left to right alone, as in SimCLR
(arXiv:2002.05709).
"""

from __future__ import annotations

import torch

from training import augment_ops as ops
from training.augment import AugmentConfig, Chance
from wildsat_core.torchvision_guard import guard_torchvision

BLUR_PX = 5


def reference_anchor(pixels: torch.Tensor, config: AugmentConfig, chance: Chance) -> torch.Tensor:
    """(B, C, H, W) in [0, 1] to a view of the same shape, whose values may lie outside: flips, mixed bands, noise."""
    count = len(pixels)
    if config.flips:
        pixels = ops.flip(pixels, chance.coin(count, 0.5), chance.coin(count, 0.5))
    if config.mixing:
        pixels = brighten(pixels, brightening_kernels(count, config.mixing, chance))
    if config.noise_sigma:
        sigma = chance.uniform(count, 0.0, config.noise_sigma).view(-1, 1, 1, 1)
        pixels = pixels + sigma * chance.normal(pixels)
    return pixels


def brightening_kernels(count: int, most: float, chance: Chance) -> torch.Tensor:
    """(count, 3) weights of the band before, the band itself and the band after; `most` is added to 0, 1 and 0."""
    return torch.stack([base + chance.uniform(count, 0.0, most) for base in (0.0, 1.0, 0.0)], 1)


def brighten(pixels: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Slide a kernel of three weights along the bands, zeros beyond both ends.

    Args:
        pixels: (B, C, H, W).
        kernels: (B, 3).
    """
    nothing = torch.zeros_like(pixels[:, :1])
    before, after = torch.cat([nothing, pixels[:, :-1]], 1), torch.cat([pixels[:, 1:], nothing], 1)
    first, middle, last = (weight.view(-1, 1, 1, 1) for weight in kernels.unbind(1))
    return first * before + middle * pixels + last * after


def reference_positive(pixels: torch.Tensor, config: AugmentConfig, chance: Chance) -> torch.Tensor:
    """(B, 3, H, W) in [0, 1] to a view of the same shape: jitter, grey, blur, flip, crop."""
    guard_torchvision()
    from torchvision import transforms

    side = pixels.shape[-1]
    view = transforms.Compose(
        [
            transforms.RandomApply([transforms.ColorJitter(*config.jitter)], p=config.jitter_chance),
            transforms.RandomGrayscale(p=config.grey_chance),
            transforms.RandomApply([transforms.GaussianBlur(BLUR_PX, config.blur_sigma_px)], p=config.blur_chance),
            transforms.RandomHorizontalFlip(p=0.5 if config.flips else 0.0),
            *([] if config.crop_area == (1.0, 1.0) else [_crop(config), transforms.Resize((side, side))]),
        ]
    )
    # torchvision draws from torch's own generator, which is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(chance.seed)
        return torch.stack([view(picture) for picture in pixels])


def _crop(config: AugmentConfig) -> torch.nn.Module:
    from torchvision import transforms

    crop: torch.nn.Module = transforms.RandomResizedCrop(config.crop_px, scale=config.crop_area)
    return crop
