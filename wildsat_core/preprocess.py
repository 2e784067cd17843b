"""From pixels as they are stored to what an encoder takes: one function for training, indexing and search.

"reference" is what WildSAT (arXiv:2412.14428) does: divide by 255, resize, then subtract each picture's own minimum,
so that brightness is relative within a tile. "standard" subtracts a mean and divides by a deviation per band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

Normalisation = Literal["reference", "standard"]
DROPPED = -1  # the position of a band that the model has no channel for


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become a model's input.

    Attributes:
        input_px: side of the square input in pixels; None leaves pixels at their own size.
        bands: names of the bands given, in order.
        channels: number of the model's input channels.
        positions: the model channel of each given band, -1 for a band that counts in the normalisation and is then
            dropped; channels that no band goes to are zero.
        normalisation: "reference" or "standard".
        mean, std: per given band, of values in [0, 1]; only for "standard".
        scale: pixels are divided by it first; 255 for eight-bit pictures, 10,000 for reflectance.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    input_px: int | None = None
    bands: tuple[str, ...] = RGB
    channels: int = 3
    positions: tuple[int, ...] = (0, 1, 2)
    normalisation: Normalisation = "reference"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float = 255.0

    @property
    def takes_eight_bit(self) -> bool:
        """Whether the values are those of eight-bit pictures, 0 to 255, and no others."""
        return self.scale == 255

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        used = [p for p in self.positions if p != DROPPED]
        if len(self.positions) != len(self.bands) or len(set(used)) != len(used) or not used:
            raise InvalidInputError(
                f"each of the bands {self.bands} needs a channel of its own, got positions {self.positions}",
                "positions",
            )
        if any(not 0 <= p < self.channels for p in used):
            raise InvalidInputError(f"positions must lie in 0..{self.channels - 1}, got {self.positions}", "positions")
        if self.input_px is not None and self.input_px < 1:
            raise InvalidInputError(f"input_px must be at least 1, got {self.input_px}", "input_px")
        if not self.scale > 0:
            raise InvalidInputError(f"scale must be greater than 0, got {self.scale}", "scale")
        wanted = len(self.bands) if self.normalisation == "standard" else 0
        if len(self.mean) != wanted or len(self.std) != wanted or any(not s > 0 for s in self.std):
            raise InvalidInputError(
                f"{self.normalisation} normalisation of {len(self.bands)} bands needs {wanted} means and "
                f"{wanted} positive deviations, got {self.mean} and {self.std}",
                "mean",
            )

    def describe(self) -> str:
        """One line that two models share exactly when they prepare pixels alike."""
        size = "own size" if self.input_px is None else f"{self.input_px} px"
        places = zip(self.bands, ("-" if p == DROPPED else p for p in self.positions), strict=True)
        placed = " ".join(f"{band}@{place}" for band, place in places)
        line = f"/{self.scale:g}, {size}, {placed} of {self.channels}, {self.normalisation}"
        if self.normalisation == "standard":
            line += f" mean {' '.join(f'{m:g}' for m in self.mean)} std {' '.join(f'{s:g}' for s in self.std)}"
        return line


def preprocess(pixels: torch.Tensor | npt.NDArray[np.generic], spec: Preprocessing) -> torch.Tensor:
    """Scale, resize, normalise and lay bands into the model's channels.

    Resizing is bilinear with antialiasing on floats, as torchvision resizes a float tensor.

    Args:
        pixels: (B, C, H, W) uint8, uint16 or float, C in the order of `spec.bands`.
        spec: the model's preprocessing.

    Returns:
        (B, spec.channels, h, w) float32 on the device of `pixels`.

    Raises:
        InvalidInputError: not four axes, or a number of bands other than the model's.
    """
    values = _as_float(pixels)
    if values.ndim != 4:
        raise InvalidInputError(f"pixels must have the axes (B, C, H, W), got shape {tuple(values.shape)}", "pixels")
    if values.shape[1] != len(spec.bands):
        raise InvalidInputError(
            f"the model needs the {len(spec.bands)} bands {', '.join(spec.bands)} and got {values.shape[1]}; "
            "missing bands are not filled in",
            "pixels",
        )
    values = _resize(values / spec.scale, spec.input_px)
    values = _reference(values) if spec.normalisation == "reference" else _standard(values, spec)
    return _place(values, spec)


def _as_float(pixels: Any) -> torch.Tensor:  # noqa: ANN401 - tensor or array, told apart here
    import numpy as np
    import torch

    if isinstance(pixels, torch.Tensor):
        return pixels.to(torch.float32)
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(torch.float32)


def _resize(values: torch.Tensor, side_px: int | None) -> torch.Tensor:
    import torch.nn.functional as F

    if side_px is None or tuple(values.shape[-2:]) == (side_px, side_px):
        return values
    return F.interpolate(values, size=(side_px, side_px), mode="bilinear", align_corners=False, antialias=True)


def _reference(values: torch.Tensor) -> torch.Tensor:
    """Subtract each picture's minimum over all bands and pixels; a constant picture becomes zeros."""
    low = values.amin(dim=(1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    span = values.amax(dim=(1, 2, 3), keepdim=True) - low
    # After the shift the maximum is the span; values in [0, 1] keep their contrast, larger ones are brought to 1.
    return (values - low) / span.clamp(min=1.0)


def _standard(values: torch.Tensor, spec: Preprocessing) -> torch.Tensor:
    mean = values.new_tensor(spec.mean).view(1, -1, 1, 1)
    std = values.new_tensor(spec.std).view(1, -1, 1, 1)
    return (values - mean) / std


def _place(values: torch.Tensor, spec: Preprocessing) -> torch.Tensor:
    """Lay given bands into the model's channels, zeros elsewhere."""
    if spec.positions == tuple(range(spec.channels)):
        return values
    placed = values.new_zeros((values.shape[0], spec.channels, *values.shape[-2:]))
    kept = [i for i, position in enumerate(spec.positions) if position != DROPPED]
    placed[:, [spec.positions[i] for i in kept]] = values[:, kept]
    return placed
