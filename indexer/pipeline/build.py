"""The build of a collection: reader -> encoder -> writer, each stage an iterator over the one before it.

Memory does not grow with the number of tiles: at most a few chunks are read ahead, two batches encoded, and one
segment is gathered. A kill loses at most that segment: the same command goes on after the last whole one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from indexer.pipeline.encoding import Encoder
from indexer.pipeline.job import job
from indexer.pipeline.listing import REASONS_BEFORE_READING
from indexer.pipeline.options import BuildOptions, Progress
from indexer.pipeline.reading import Chunk, read_chunks
from indexer.pipeline.report import BuildReport
from indexer.pipeline.scale import ScaleGate
from indexer.sources.protocol import Candidate, NotEightBitError, Source
from wildsat_core.collection import CollectionWriter
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import Space, Tile

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel
    from wildsat_core.models.transfer import PendingVectors

logger = logging.getLogger(__name__)

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


def build_collection(
    source: Source,
    model: WildSATModel,
    root: Path,
    options: BuildOptions,
    provenance: Mapping[str, Any],
    on_progress: Progress = lambda _: None,
) -> BuildReport:
    """Index a source into a collection, making it if there is none, and publish it as a new generation.

    Args:
        source: tiles to index.
        model: embeds them; a collection's tiles are all of one model.
        root: folder of the collection; its last part is the collection's name.
        options: how to run.
        provenance: facts for the manifest beside those of the source: title, attribution, notice.
        on_progress: called with the number of candidates dealt with since the last call.

    Returns:
        Counts and times; also saved in the folder.

    Raises:
        ModelMismatchError: the collection was made by another model.
        CollectionLockedError: another process is writing to it.
        InvalidInputError: the source's bands, pixel type or pixel size don't suit the model.
        SourceError: the source can't be listed, is out of reach, or gave not one tile; the last says why.
    """
    encoder = Encoder(model, batch_tiles=options.batch_tiles, compiled=options.compiled, threads=options.threads)
    encoder.check(source)
    gate = ScaleGate(model.config, options.any_scale)
    read = replace(options.read, eight_bit=encoder.takes_eight_bit)
    with job(source, model.ref, model.spaces, root, options, provenance) as run:
        report = run.report
        candidates = _counted(gate.passed(run.chooser.choose(source, report.left_out)), report, on_progress)
        embedded = embedded_batches(source, candidates, encoder, replace(options, read=read), report)
        try:
            _write_behind(run.writer, embedded, options, report)
        except (KeyboardInterrupt, SourceError):
            run.writer.flush()  # nothing that was embedded is lost; the same command goes on from here
            raise
    return report


def embedded_batches(
    source: Source, candidates: Iterator[Candidate], encoder: Encoder, options: BuildOptions, report: BuildReport
) -> Iterator[Embedded]:
    """Read and embed; what is left out and how long the stages take is added to the report.

    Raises:
        InvalidInputError: all pixels are deeper than the model takes.
        SourceError: the source is out of reach.
    """
    chunks = read_chunks(source, candidates, options.read, options.workers)
    return _embed(encoder, _timed(chunks, report), options.batch_tiles, report)


def _counted(candidates: Iterator[Candidate], report: BuildReport, on_progress: Progress) -> Iterator[Candidate]:
    """Pass candidates on, reporting progress over those left out as well."""
    reported = 0
    taken = 0

    def done() -> int:
        return taken + sum(report.left_out[reason] for reason in REASONS_BEFORE_READING)

    for candidate in candidates:
        yield candidate
        taken += 1
        on_progress(done() - reported)
        reported = done()
    on_progress(done() - reported)


def _timed(chunks: Iterator[Chunk], report: BuildReport) -> Iterator[Chunk]:
    """Measure how long the encoder waits for pixels, and add up what the readers left out.

    Raises:
        InvalidInputError: all pixels are deeper than the model takes; of a mixture the others are left out.
    """
    good, deep = report.adopted, 0
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


def _embed(encoder: Encoder, chunks: Iterator[Chunk], batch_tiles: int, report: BuildReport) -> Iterator[Embedded]:
    """Embed full batches, each begun before the one before it is waited for, so that a GPU always has work."""
    before: _Begun | None = None
    try:
        for batch in _gathered(chunks, batch_tiles):
            begun = _begin(encoder, batch, report)
            if before is not None:
                yield _finished(encoder, before, report)
            before = begun
    except (KeyboardInterrupt, SourceError):
        if before is not None:
            yield _finished(encoder, before, report)  # nothing that was embedded is lost
        raise
    if before is not None:
        yield _finished(encoder, before, report)


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
    report.stage_s["compile"] = encoder.compile_s
    report.stage_s["encode"] += time.perf_counter() - start
    return _Begun(batch.tiles, batch.thumbnails, vectors)


def _finished(encoder: Encoder, begun: _Begun, report: BuildReport) -> Embedded:
    start = time.perf_counter()
    vectors = encoder.wait(begun.vectors)
    good = np.ones(len(begun.tiles), bool)
    for array in vectors.values():
        good &= np.isfinite(array).all(axis=1) & array.any(axis=1)
    keep = np.flatnonzero(good)
    report.left_out["no vector"] += len(good) - len(keep)
    report.stage_s["encode"] += time.perf_counter() - start
    return Embedded(
        [begun.tiles[i] for i in keep],
        {space: array[keep] for space, array in vectors.items()},
        [begun.thumbnails[i] for i in keep],
    )


def _write_behind(
    writer: CollectionWriter, batches: Iterator[Embedded], options: BuildOptions, report: BuildReport
) -> None:
    """Write each batch in a thread while the next one is embedded; at most one waits."""
    with ThreadPoolExecutor(1, thread_name_prefix="segment-writer") as thread:
        before: Future[tuple[int, int]] | None = None
        try:
            for batch in batches:
                _finish(before, report)
                before = thread.submit(_add, writer, batch, options.on_known, report)
        finally:
            _finish(before, report)


def _add(
    writer: CollectionWriter, batch: Embedded, on_known: Literal["skip", "replace"], report: BuildReport
) -> tuple[int, int]:
    """Number of tiles taken, and of those that have the id of one before them."""
    start = time.perf_counter()
    taken = writer.add(batch.tiles, batch.vectors, batch.thumbnails, on_known=on_known)
    report.stage_s["write"] += time.perf_counter() - start
    return taken, len(batch.tiles) - taken


def _finish(writing: Future[tuple[int, int]] | None, report: BuildReport) -> None:
    if writing is not None:
        taken, repeated = writing.result()
        report.added += taken
        report.left_out["id given twice"] += repeated
