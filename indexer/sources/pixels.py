"""From stored numbers to eight bits by a stated stretch, and the tests that leave a tile out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.sources.protocol import Reading
from wildsat_core.errors import InvalidInputError

Pixels = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Linear map of stored values to 0..255: `low` and below become 0, `high` and above 255.

    Raises:
        InvalidInputError: not finite, or high is not above low.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check once."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.high > self.low):
            raise InvalidInputError(f"stretch needs low < high, got {self.low},{self.high}", "stretch")

    @classmethod
    def parse(cls, text: str) -> Stretch:
        """Read "low,high".

        Raises:
            InvalidInputError: not two numbers.
        """
        try:
            low, high = (float(part) for part in text.split(","))
        except ValueError as err:
            raise InvalidInputError(f"stretch must be two numbers low,high, got {text!r}", "stretch") from err
        return cls(low, high)

    def __call__(self, values: Pixels) -> npt.NDArray[np.uint8]:
        """(C, H, W) of any number type to uint8; NaN becomes 0."""
        with np.errstate(over="ignore", invalid="ignore"):  # of values that mean no data, as -3.4e38
            scaled = (values.astype(np.float32) - self.low) * np.float32(255.0 / (self.high - self.low))
        eight_bit: npt.NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)
        return eight_bit

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.low:g},{self.high:g}"


def reading_of(values: Pixels, valid: npt.NDArray[np.bool_], stretch: Stretch | None = None) -> Reading:
    """What was read: (C, H, W) values, 0 where there is no data, stretched to eight bits if asked.

    Args:
        values: as stored.
        valid: (H, W) True where there is data; values that are not finite are none.
        stretch: None leaves values as they are.
    """
    if values.dtype.kind == "f":
        valid = valid & np.isfinite(values).all(axis=0)
    pixels = stretch(values) if stretch else values
    if valid.all():
        return Reading(pixels, 0.0)
    return Reading(np.where(valid, pixels, 0).astype(pixels.dtype), 1.0 - float(valid.mean()))


def fault_of(reading: Reading, max_missing: float) -> str | None:
    """Why a tile shows nothing worth indexing, None when it does.

    Args:
        reading: pixels as read.
        max_missing: largest share of pixels without data that is still taken.

    Returns:
        "no data", "not finite", "all zero" or "one colour"; None for a picture.
    """
    if reading.missing > max_missing:
        return "no data"
    pixels = reading.pixels
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        return "not finite"
    if not pixels.any():
        return "all zero"
    # One colour: no band varies. The bands may differ from each other.
    if (pixels.min(axis=(1, 2)) == pixels.max(axis=(1, 2))).all():
        return "one colour"
    return None
