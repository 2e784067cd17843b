"""`--dry-run`: how many tiles, how many bytes and how long, from a look at the list and a measured sample."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from indexer.pipeline.encoding import Encoder, check_bands
from indexer.pipeline.left_out import LeftOutCounter
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import read_chunk
from indexer.pipeline.scale import ScaleGate
from indexer.sources.protocol import Candidate, Source

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel

SAMPLE_TILES = 24
TABLE_BYTES = 254  # a row of tiles.arrow, its hash and its place among the thumbnails (benchmarks/tile_table.py)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a build would do.

    Attributes:
        tiles: candidates that would be read.
        left_out: the others, by reason, as far as the list tells; a tile without data shows only when it is read.
        sampled: how many tiles were read and embedded to measure.
        bytes_on_disk, seconds: scaled up from the sample.
    """

    tiles: int
    left_out: LeftOutCounter
    sampled: int
    bytes_on_disk: int
    seconds: float

    def text(self, doing: str = "index") -> str:
        """A few lines for the terminal."""
        return (
            f"{self.tiles:,} tiles to {doing}; left out: {self.left_out.text()}\n"
            f"about {self.bytes_on_disk / 2**20:,.1f} MiB on disk and {_duration(self.seconds)}, "
            f"measured on {self.sampled} tiles"
        )


def estimate_build(source: Source, model: WildSATModel, options: BuildOptions, chooser: Chooser) -> Estimate:
    """List everything, read and embed a sample spread over the list, write nothing.

    Raises:
        InvalidInputError: the source's bands, pixels or their size don't suit the model.
    """
    left_out = LeftOutCounter()
    return estimate_chosen(source, model, options, chooser.choose(source, left_out), left_out)


def estimate_chosen(
    source: Source, model: WildSATModel, options: BuildOptions, chosen: Iterable[Candidate], left_out: LeftOutCounter
) -> Estimate:
    """The same of what was chosen from a list, beside what that left out.

    Raises:
        InvalidInputError: as `estimate_build`.
    """
    encoder = Encoder(model, batch_tiles=options.batch_tiles, threads=options.threads)
    check_bands(model, source)
    tiles, sample = spread_sample(chosen)
    if not sample:
        return Estimate(tiles, left_out, 0, 0, 0.0)
    sample = list(ScaleGate(model.config, options.any_scale).passed(iter(sample)))
    start = time.perf_counter()
    chunk = read_chunk(source, options.read, sample)
    read_s = time.perf_counter() - start
    encode_s, encoded = _time_encoding(encoder, chunk.tiles, chunk.pixels)
    share_kept = len(chunk.tiles) / len(sample)
    vector_bytes = sum(spec.dim * np.dtype(spec.dtype).itemsize for spec in model.spaces.values())
    thumbnail_bytes = sum(len(t) for t in chunk.thumbnails if t) / max(len(chunk.tiles), 1)
    per_tile_s = max(read_s / len(sample) / max(options.workers, 1), encode_s / max(encoded, 1))
    return Estimate(
        tiles=tiles,
        left_out=left_out,
        sampled=len(sample),
        bytes_on_disk=round(tiles * share_kept * (vector_bytes + thumbnail_bytes + TABLE_BYTES)),
        seconds=tiles * per_tile_s,
    )


def spread_sample(chosen: Iterable[Candidate]) -> tuple[int, list[Candidate]]:
    """Count the candidates and keep some evenly spread over the list: every 2^k-th, k growing as the list does."""
    sample: list[Candidate] = []
    step, count = 1, 0
    for candidate in chosen:
        if count % step == 0:
            sample.append(candidate)
            if len(sample) > 2 * SAMPLE_TILES:
                sample, step = sample[::2], step * 2
        count += 1
    return count, sample


def _time_encoding(encoder: Encoder, tiles: list, pixels: list) -> tuple[float, int]:  # type: ignore[type-arg]
    """Seconds to embed the pictures of the commonest shape, after one call to warm up, and their number."""
    if not pixels:
        return 0.0, 0
    shape = Counter(p.shape for p in pixels).most_common(1)[0][0]
    rows = [i for i, p in enumerate(pixels) if p.shape == shape]
    first, *_ = rows
    encoder.encode([tiles[first]], [pixels[first]])
    start = time.perf_counter()
    encoder.encode([tiles[i] for i in rows], [pixels[i] for i in rows])
    return time.perf_counter() - start, len(rows)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
