"""Location encoders: a position on Earth in, a vector that says what lives or looks alike there out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wildsat_core.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn


class LocationEncoder(Protocol):
    """Anything that turns positions into vectors."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, lon_lat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Longitudes and latitudes (B, 2) in degrees to vectors (B, D)."""
        ...


def build_location(kind: str, parameters: dict[str, Any]) -> nn.Module:
    """Build a location encoder with random weights; its forward takes (B, 2) degrees and gives (B, D).

    Raises:
        CheckpointError: the kind is unknown or the parameters don't fit it.
    """
    try:
        if kind == "position":
            from wildsat_core.location.position import PositionEncoder

            return PositionEncoder(**parameters)
        if kind == "sinr":
            from wildsat_core.location.sinr import SinrEncoder

            return SinrEncoder(**parameters)
        if kind == "satclip":
            from wildsat_core.location.satclip import SatCLIPEncoder

            return SatCLIPEncoder(**parameters)
    except (TypeError, ValueError) as err:
        raise CheckpointError(f"can't build a {kind!r} location encoder with {parameters}: {err}") from err
    raise CheckpointError(f"unknown location encoder {kind!r}")
