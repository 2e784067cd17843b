"""How much ground a pixel shows: which model is for it, and what people are told when the model is for another scale.

A model that resizes its input sees a tile's ground in fewer or more pixels than were stored, so what counts for it is
the tile's side over the side of its input; a model that takes pixels as they are sees them at their own size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self

from wildsat_core.geo import KM_PER_DEGREE
from wildsat_core.types import Tile

Range = tuple[float, float]

# Training shakes the scale, and boxes around turned tiles are a little too large: so far beyond its range a model is
# taken for good.
SLACK = 1.25


@dataclass(frozen=True, slots=True)
class GroundScale:
    """Smallest and largest of a set of tiles, in metres.

    Attributes:
        gsd_m: ground size of a stored pixel.
        side_m: north-south extent of a tile.
    """

    gsd_m: Range
    side_m: Range

    @classmethod
    def of(cls, tile: Tile) -> Self | None:
        """Of one tile; None when its pixel size is not known."""
        if not (math.isfinite(tile.gsd_m) and tile.gsd_m > 0):
            return None
        side = (tile.bbox.north - tile.bbox.south) * KM_PER_DEGREE * 1000
        return cls((tile.gsd_m, tile.gsd_m), (side, side))

    @classmethod
    def of_all(cls, scales: Iterable[Self | None]) -> Self | None:
        """Of all together; None when none is known."""
        known = [scale for scale in scales if scale is not None]
        if not known:
            return None
        return cls(_hull([scale.gsd_m for scale in known]), _hull([scale.side_m for scale in known]))


class ForScale(Protocol):
    """What is asked of a model's config."""

    @property
    def name(self) -> str: ...

    @property
    def gsd_m(self) -> Range | None:
        """Pixel sizes that the model is for; None when nobody said."""
        ...

    @property
    def input_px(self) -> int | None:
        """Side that pictures are resized to; None when they are not."""
        ...


def seen_m(model: ForScale, scale: GroundScale) -> Range:
    """Ground sizes of a pixel as the model sees it, smallest and largest."""
    if model.input_px is None:
        return scale.gsd_m
    low, high = scale.side_m
    return low / model.input_px, high / model.input_px


def suits(model: ForScale, scale: GroundScale) -> bool:
    """Whether all tiles are of a scale that the model is for; true of a model that names none."""
    if model.gsd_m is None:
        return True
    low, high = seen_m(model, scale)
    return low * SLACK >= model.gsd_m[0] and high <= model.gsd_m[1] * SLACK


def distance(model: ForScale, scale: GroundScale) -> float:
    """How far the tiles are from the middle of a model's range, in factors of e; infinite for a model without one."""
    if model.gsd_m is None:
        return math.inf
    middle = sum(math.log(m) for m in model.gsd_m) / 2
    return max(abs(math.log(max(m, 1e-3)) - middle) for m in seen_m(model, scale))


def mismatch(model: ForScale, scale: GroundScale) -> str | None:
    """A clause for people on tiles that a model is not for; None when it is for them."""
    if suits(model, scale):
        return None
    assert model.gsd_m is not None
    seen = seen_m(model, scale)
    sees = "" if model.input_px is None else f", which {model.name} sees as {in_words(seen)}"
    return f"the tiles have pixels of {in_words(scale.gsd_m)}{sees}, and it is for {in_words(model.gsd_m)}"


def scale_notice(model: ForScale, scale: GroundScale | None) -> str | None:
    """What an answer says of tiles that its model is not for; None when there is nothing to say."""
    clause = mismatch(model, scale) if scale else None
    return (
        f"Searched with {model.name} outside of its scale: {clause}. Its ranking may mean little here."
        if clause
        else None
    )


def in_words(sizes: Range) -> str:
    """As people write sizes: 10 m, 10 to 60 m, 500 m to 8 km."""
    low, high = (_metres(size) for size in sizes)
    if low == high:
        return low
    return f"{low.removesuffix(' m')} to {high}" if low.endswith(" m") and high.endswith(" m") else f"{low} to {high}"


def _metres(size: float) -> str:
    if size >= 999_500:
        return f"{size / 1000:,.0f} km"
    return f"{size / 1000:.3g} km" if size >= 1000 else f"{size:.3g} m"


def _hull(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)
