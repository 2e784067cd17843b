"""From pictures to vectors: full batches of one shape, in the order in which they were read.

Memory does not grow with the number of tiles: at most a few chunks are read ahead, and two batches encoded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from indexer.pipeline.encoding import Encoder
from indexer.pipeline.reading import Chunk
from indexer.pipeline.report import BuildReport
from indexer.sources.protocol import NotEightBitError
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import Space, Tile

if TYPE_CHECKING:
    from wildsat_core.models.transfer import PendingVectors

Vectors = npt.NDArray[np.float32]

ENOUGH_DEEP = 256  # tiles of 16 bits, none of 8: then the rest are not read to see
MOST_WAITING = 4  # batches of pictures that wait, over all picture sizes


@dataclass(slots=True)
class _Batch:
    """Pictures of one shape, gathered until there are enough to embed at once."""

    tiles: list[Tile] = field(default_factory=list)
    pixels: list[npt.NDArray[np.generic]] = field(default_factory=list)
    thumbnails: list[bytes | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Begun:
    """Tiles that are being embedded."""

    tiles: list[Tile]
    thumbnails: list[bytes | None]
    vectors: PendingVectors


@dataclass(frozen=True, slots=True)
class Embedded:
    """Tiles with their vectors, ready to be written: (B, D) for each space."""

    tiles: list[Tile]
    vectors: dict[Space, Vectors]
    thumbnails: list[bytes | None]

    def at(self, places: Sequence[int]) -> Embedded:
        """Some of them."""
        vectors = {space: array[places] for space, array in self.vectors.items()}
        return Embedded([self.tiles[i] for i in places], vectors, [self.thumbnails[i] for i in places])


def embedded_batches(
    chunks: Iterator[Chunk], encoder: Encoder, batch_tiles: int, report: BuildReport, good: int = 0
) -> Iterator[Embedded]:
    """Embed what was read; what is left out and how long the stages take is added to the report.

    Each batch is begun before the one before it is waited for, so that a GPU always has work. What was embedded when
    reading ends with an error comes first, then the error.

    Args:
        chunks: in order.
        encoder: of the model.
        batch_tiles: tiles embedded at once.
        report: is added to.
        good: tiles of this build that were read before, elsewhere.

    Raises:
        InvalidInputError: all pixels are deeper than the model takes; of a mixture the others are left out.
        SourceError: the source is out of reach.
    """
    before: _Begun | None = None
    try:
        for batch in _gathered(_timed(chunks, report, good), batch_tiles):
            begun = _begin(encoder, batch, report)
            if before is not None:
                yield _finished(encoder, before, report)
            before = begun
    except (KeyboardInterrupt, SourceError):
        if before is not None:
            yield _finished(encoder, before, report)
        raise
    if before is not None:
        yield _finished(encoder, before, report)


def _timed(chunks: Iterator[Chunk], report: BuildReport, good: int) -> Iterator[Chunk]:
    """Measure how long the encoder waits for pixels, and add up what the readers left out.

    Raises:
        InvalidInputError: all pixels are deeper than the model takes; of a mixture the others are left out.
    """
    deep = 0
    while True:
        start = time.perf_counter()
        chunk = next(chunks, None)
        report.stage_s["waiting"] += time.perf_counter() - start
        if chunk is not None:
            report.stage_s["read"] += chunk.read_s
            report.left_out.add(chunk.left_out)
            good += len(chunk.tiles)
            deep = report.left_out[NotEightBitError.reason]
        if not good and deep and (chunk is None or deep >= ENOUGH_DEEP):
            raise InvalidInputError(report.left_out.names[NotEightBitError.reason][0], "stretch")
        if chunk is None:
            return
        yield chunk


def _gathered(chunks: Iterator[Chunk], batch_tiles: int) -> Iterator[_Batch]:
    """Pictures of one shape in full batches."""
    waiting: dict[tuple[tuple[int, ...], str], _Batch] = {}
    for chunk in chunks:
        for tile, pixels, thumbnail in zip(chunk.tiles, chunk.pixels, chunk.thumbnails, strict=True):
            kind = (pixels.shape, pixels.dtype.str)
            batch = waiting.setdefault(kind, _Batch())
            batch.tiles.append(tile)
            batch.pixels.append(pixels)
            batch.thumbnails.append(thumbnail)
            if len(batch.tiles) == batch_tiles:
                yield waiting.pop(kind)
            elif sum(len(b.tiles) for b in waiting.values()) >= MOST_WAITING * batch_tiles:
                # Pictures of many sizes: don't wait for full batches of each, memory would grow with their number.
                yield waiting.pop(max(waiting, key=lambda k: len(waiting[k].tiles)))
    yield from waiting.values()


def _begin(encoder: Encoder, batch: _Batch, report: BuildReport) -> _Begun:
    start, compiled_s = time.perf_counter(), encoder.compile_s
    vectors = encoder.begin(batch.tiles, batch.pixels)
    start += encoder.compile_s - compiled_s
    report.stage_s["compile"] += encoder.compile_s - compiled_s
    report.stage_s["encode"] += time.perf_counter() - start
    return _Begun(batch.tiles, batch.thumbnails, vectors)


def _finished(encoder: Encoder, begun: _Begun, report: BuildReport) -> Embedded:
    start = time.perf_counter()
    vectors = encoder.wait(begun.vectors)
    good = np.ones(len(begun.tiles), bool)
    for array in vectors.values():
        good &= np.isfinite(array).all(axis=1) & array.any(axis=1)
    keep = np.flatnonzero(good).tolist()
    report.left_out["no vector"] += len(good) - len(keep)
    report.stage_s["encode"] += time.perf_counter() - start
    return Embedded(begun.tiles, vectors, begun.thumbnails).at(keep)
