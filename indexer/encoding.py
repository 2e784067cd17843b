"""Tiles to vectors in every space of a model, in large batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from indexer.sources.protocol import Source
from wildsat_core.errors import InvalidInputError
from wildsat_core.types import Space, Tile

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel

Vectors = npt.NDArray[np.float32]


class Encoder:
    """A model set up for throughput.

    Args:
        model: in evaluation mode, on its device.
        compile_backbone: trade a minute of compiling for speed; pays from some hundred thousand tiles.
        threads: of this whole process, for a model on the CPU; None leaves them as they are, one a core.
    """

    def __init__(self, model: WildSATModel, *, compile_backbone: bool = False, threads: int | None = None) -> None:
        """Set up the model, which is used and not copied."""
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.model = model.optimise_for_inference()
        if compile_backbone:
            model.backbone.compile()

    def check(self, source: Source) -> None:
        """Refuse a source whose bands are not those that the model takes, in order.

        Raises:
            InvalidInputError: naming both.
        """
        wanted = self.model.config.preprocessing.bands
        if tuple(source.bands) != tuple(wanted):
            raise InvalidInputError(
                f"the model {self.model.config.name!r} takes the bands {', '.join(wanted)}, "
                f"the source gives {', '.join(source.bands)}; choose bands with --bands",
                "bands",
            )

    def encode(self, tiles: Sequence[Tile], pixels: npt.NDArray[np.generic]) -> dict[Space, Vectors]:
        """Vectors of some tiles.

        Args:
            tiles: B tiles.
            pixels: (B, C, H, W).

        Returns:
            (B, D) for each space of the model.

        Raises:
            InvalidInputError: pixels are not eight-bit and the model takes eight-bit ones.
        """
        scale = self.model.config.preprocessing.scale
        if scale == 255 and pixels.dtype != np.uint8:
            raise InvalidInputError(
                f"pixels are {pixels.dtype} and the model takes eight-bit ones: say with --stretch low,high "
                "which values become 0 and 255 (for Sentinel-2 reflectance, 0,3000 shows land well)",
                "stretch",
            )
        vectors = self.model.embed_pixels(pixels)
        if "place" in self.model.spaces:
            centres = np.array([tile.lon_lat for tile in tiles])
            vectors["place"] = self.model.embed_places(centres)["place"]
        return vectors
