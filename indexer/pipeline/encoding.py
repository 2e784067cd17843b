"""Tiles to vectors in every space of a model, in large batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from indexer.sources.protocol import Source
from wildsat_core.errors import CompilationError, InvalidInputError
from wildsat_core.types import Space, Tile

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel
    from wildsat_core.models.transfer import PendingVectors

logger = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]

# Compiling takes 7 to 130 s (docs/performance.md). Having encoded as long before, a build takes at most about twice the
# time of the better choice, however many tiles are to come.
COMPILE_AFTER_S = 60.0


def check_bands(model: WildSATModel, source: Source) -> None:
    """Refuse a source whose bands are not those that the model takes, in order.

    Raises:
        InvalidInputError: naming both.
    """
    wanted = model.config.preprocessing.bands
    if tuple(source.bands) != tuple(wanted):
        raise InvalidInputError(
            f"the model {model.config.name!r} takes the bands {', '.join(wanted)}, "
            f"the source gives {', '.join(source.bands)}; choose bands with --bands",
            "bands",
        )


class Encoder:
    """A model set up for throughput.

    `compile_s` tells how long compiling took.

    Args:
        model: in evaluation mode, on its device.
        batch_tiles: tiles in a full batch.
        compiled: whether to compile the model for full batches, at the first one; costs from some seconds to two
            minutes. None: once as long was spent on encoding without, if it can be done here.
        threads: of this whole process, for a model on the CPU; None leaves them as they are, one a core.
    """

    def __init__(
        self, model: WildSATModel, *, batch_tiles: int, compiled: bool | None = False, threads: int | None = None
    ) -> None:
        """Set up the model, which is used and not copied."""
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.model = model.optimise_for_inference()
        self._batch_tiles, self._compiled = batch_tiles, compiled
        self._encoding_s = 0.0
        self.compile_s = 0.0

    @property
    def takes_eight_bit(self) -> bool:
        """Whether the model takes nothing but eight-bit pictures."""
        return self.model.config.preprocessing.takes_eight_bit

    def encode(self, tiles: Sequence[Tile], pictures: Sequence[npt.NDArray[np.generic]]) -> dict[Space, Vectors]:
        """Vectors of some tiles, their pixels as stored; arguments and errors as of `begin`.

        Returns:
            (B, D) for each space of the model.
        """
        return self.wait(self.begin(tiles, pictures))

    def begin(self, tiles: Sequence[Tile], pictures: Sequence[npt.NDArray[np.generic]]) -> PendingVectors:
        """Begin to embed some tiles; on a GPU, what it gives can be waited for while it goes on to the next ones.

        Args:
            tiles: B tiles.
            pictures: of each (C, H, W), all of one shape and type.

        Raises:
            InvalidInputError: pixels are not eight-bit and the model takes eight-bit ones.
        """
        if self.takes_eight_bit and pictures[0].dtype != np.uint8:
            raise InvalidInputError(
                f"pixels are {pictures[0].dtype} and the model takes eight-bit ones: say with --stretch low,high "
                "which values become 0 and 255 (for Sentinel-2 reflectance, 0,3000 shows land well)",
                "stretch",
            )
        from wildsat_core.models.transfer import gathered

        pixels = gathered(pictures, self.model.device)
        self._compile_in_time(pixels.numpy())
        start = time.perf_counter()
        centres = np.array([tile.lon_lat for tile in tiles]) if "place" in self.model.spaces else None
        pending = self.model.begin_embedding(pixels, centres)
        self._encoding_s += time.perf_counter() - start
        return pending

    def wait(self, pending: PendingVectors) -> dict[Space, Vectors]:
        """Vectors of what was begun: (B, D) for each space of the model."""
        start = time.perf_counter()
        vectors = pending.result()
        self._encoding_s += time.perf_counter() - start
        return vectors

    def _compile_in_time(self, pixels: npt.NDArray[np.generic]) -> None:
        """Compile when that was asked for, or as soon as it would have paid already."""
        if self._compiled is False or len(pixels) != self._batch_tiles:
            return
        if self._compiled is None and self._encoding_s < COMPILE_AFTER_S:
            return
        asked, self._compiled = self._compiled, False  # one attempt
        start = time.perf_counter()
        try:
            self.model.compile_for(pixels)
        except CompilationError as err:
            if asked:
                raise
            logger.info("going on without compiling: %s", err)
        self.compile_s = time.perf_counter() - start
