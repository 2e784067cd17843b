"""Reading tiles in worker processes: decoding, checks and thumbnails, in the source's order, a bounded number ahead."""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from indexer.pipeline.left_out import LeftOutCounter
from indexer.sources.library_errors import library_errors
from indexer.sources.pixels import Stretch, fault_of
from indexer.sources.protocol import (
    Candidate,
    LeftOut,
    NotEightBitError,
    PixelPlace,
    Preparing,
    Reading,
    Source,
    UnreachableError,
)
from indexer.sources.remote import gdal_options_kept
from wildsat_core.addresses import keep_secrets_out_of_logs
from wildsat_core.bands import RGB
from wildsat_core.errors import SourceError
from wildsat_core.machine import processors
from wildsat_core.thumbnail import webp_thumbnail
from wildsat_core.types import Tile

logger = logging.getLogger(__name__)

MOST_UNREACHABLE = 8  # in a row, each tried several times: then the network is down, and all the rest would be lost
CHUNK_TILES = 32  # large enough to hide the cost of a message, small enough to keep few pixels in flight


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What to do with each tile beside decoding it.

    Attributes:
        thumbnail_px: longer side of the thumbnail, None for no thumbnails.
        thumbnail_stretch: map to eight bits for thumbnails of pixels that are not eight-bit; None leaves these out.
        max_missing: largest share of pixels without data that is still taken.
        eight_bit: leave out pixels that are not eight-bit, which the model can't take.
    """

    thumbnail_px: int | None = 128
    thumbnail_stretch: Stretch | None = None
    max_missing: float = 0.3
    eight_bit: bool = False


@dataclass(slots=True)
class Chunk:
    """Some tiles as read, in order, without those left out.

    Attributes:
        tiles, pixels, thumbnails, places: of equal length; pixels (C, H, W) each, and where they lie.
        listed: number of candidates that the chunk was read from.
        left_out: how many were left out, by reason.
        empty: why there is nothing to see in candidates all of which could be read, by id: they need no second look.
        read_s: time spent reading, in the process that read.
    """

    tiles: list[Tile] = field(default_factory=list)
    pixels: list[npt.NDArray[np.generic]] = field(default_factory=list)
    thumbnails: list[bytes | None] = field(default_factory=list)
    places: list[PixelPlace | None] = field(default_factory=list)
    listed: int = 0
    left_out: LeftOutCounter = field(default_factory=LeftOutCounter)
    empty: dict[str, str] = field(default_factory=dict)
    read_s: float = 0.0


def read_chunk(source: Source, options: ReadOptions, candidates: Sequence[Candidate]) -> Chunk:
    """Read some tiles one after another; a tile that can't be read is counted and logged.

    Raises:
        UnreachableError: MOST_UNREACHABLE tiles in a row could not be fetched.
    """
    start = time.perf_counter()
    chunk = Chunk(listed=len(candidates))
    with gdal_options_kept():
        _prepare(source, candidates)
        _read_into(chunk, source, options, candidates)
    chunk.read_s = time.perf_counter() - start
    return chunk


def _read_into(chunk: Chunk, source: Source, options: ReadOptions, candidates: Sequence[Candidate]) -> None:
    rgb = _rgb_rows(source.bands)
    unreachable = 0
    for candidate in candidates:
        try:
            found = _read(source, options, candidate)
        except SourceError as err:
            chunk.left_out.note(LeftOut(err.reason, f"{candidate.tile.tile_id}: {err}"))
            unreachable = unreachable + 1 if isinstance(err, UnreachableError) else 0
            if unreachable == MOST_UNREACHABLE:
                raise UnreachableError(
                    f"{unreachable} tiles in a row could not be fetched; the last: {err}. What was embedded so far is "
                    "kept: give the same command again when the server answers"
                ) from err
            continue
        unreachable = 0
        if isinstance(found, _Nothing):
            chunk.left_out[found.reason] += 1
            if found.is_certain:
                chunk.empty[candidate.tile.tile_id] = found.reason
            continue
        tile, reading = found
        chunk.tiles.append(tile)
        chunk.pixels.append(reading.pixels)
        chunk.thumbnails.append(_thumbnail(reading.pixels, rgb, options))
        chunk.places.append(reading.place)


def _prepare(source: Source, candidates: Sequence[Candidate]) -> None:
    """Let the source fetch what these have in common; what it can't get, reading each of them will tell."""
    if isinstance(source, Preparing):
        with contextlib.suppress(SourceError, *library_errors()):
            source.prepare(candidates)


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Why a candidate shows nothing, and whether it would say the same again: not where something can't be read now."""

    reason: str
    is_certain: bool


def _read(source: Source, options: ReadOptions, candidate: Candidate) -> tuple[Tile, Reading] | _Nothing:
    """A tile with its pixels, or why it shows nothing: of a candidate, or of the first of its others that does.

    Raises:
        SourceError: neither it nor one of the others could be read.
    """
    reason, error = "", None
    for locator in (candidate.locator, *candidate.otherwise):
        try:
            reading = source.read(Candidate(candidate.tile, locator))
        except SourceError as err:
            error = error or err
            continue
        if fault := fault_of(reading, options.max_missing):
            reason = reason or fault
            continue
        if options.eight_bit and reading.pixels.dtype != np.uint8:
            raise NotEightBitError(
                f"its pixels are {reading.pixels.dtype} and the model takes eight-bit ones: say with --stretch "
                "low,high which values become 0 and 255"
            )
        return reading.tile or candidate.tile, reading
    if candidate.indexed and not isinstance(error, UnreachableError):
        return _Nothing("already indexed", is_certain=error is None)
    if error is not None and not reason:
        raise error
    return _Nothing(reason, is_certain=error is None)


class Readers:
    """Processes that read tiles: started when they are first needed, kept from one piece of work to the next.

    Args:
        source: what they read.
        options: what they do with each tile.
        count: how many; 0 reads in this process.
    """

    def __init__(self, source: Source, options: ReadOptions, count: int) -> None:
        """Start nothing yet."""
        self._source, self._options, self._count = source, options, count
        self._pool: ProcessPoolExecutor | None = None

    def chunks(self, candidates: Iterable[Candidate]) -> Iterator[Chunk]:
        """Read tiles; chunks come in the order of the candidates.

        Raises:
            SourceError: a worker process died, or the source is out of reach.
        """
        groups = _grouped(candidates, CHUNK_TILES)
        if self._count == 0:
            yield from (read_chunk(self._source, self._options, group) for group in groups)
            return
        ahead: deque[Future[Chunk]] = deque()
        try:
            for group in groups:
                ahead.append(self._started().submit(_read_in_worker, group))
                if len(ahead) > 2 * self._count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool as err:
            self.close()
            raise SourceError(
                "a process that reads tiles was killed, perhaps for want of memory: try fewer with --workers, "
                "or --workers 0 to see the cause"
            ) from err
        finally:
            for begun in ahead:
                begun.cancel()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned, not forked: a fork copies the locks of torch's and GDAL's threads, which may be held for ever.
            context = multiprocessing.get_context("spawn")
            started = (self._source, self._options)
            self._pool = ProcessPoolExecutor(self._count, context, initializer=_start_worker, initargs=started)
        return self._pool

    def close(self) -> None:
        """End them."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def read_chunks(source: Source, candidates: Iterable[Candidate], options: ReadOptions, workers: int) -> Iterator[Chunk]:
    """Read tiles in so many processes, or in this one when 0; see `Readers.chunks`."""
    with closing(Readers(source, options, workers)) as readers:
        yield from readers.chunks(candidates)


def default_workers() -> int:
    """One process for each core but one, which the encoder has; at least one."""
    return max(processors() - 1, 1)


_worker: tuple[Source, ReadOptions] | None = None  # set once in each worker process, never in the main one


def _start_worker(source: Source, options: ReadOptions) -> None:
    global _worker  # noqa: PLW0603 - a worker process's only way to keep what it was started with
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process decides
    keep_secrets_out_of_logs()
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    _worker = (source, options)


def _end_with_parent() -> None:
    """A main process that is killed can't end its workers: they would wait, and keep their memory, for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read_in_worker(candidates: Sequence[Candidate]) -> Chunk:
    assert _worker is not None
    return read_chunk(*_worker, candidates)


def _grouped(candidates: Iterable[Candidate], size: int) -> Iterator[list[Candidate]]:
    iterator = iter(candidates)
    while group := list(itertools.islice(iterator, size)):
        yield group


def _rgb_rows(bands: Sequence[str]) -> list[int] | None:
    return [bands.index(band) for band in RGB] if set(RGB) <= set(bands) else None


def _thumbnail(pixels: npt.NDArray[np.generic], rgb: list[int] | None, options: ReadOptions) -> bytes | None:
    if options.thumbnail_px is None or rgb is None:
        return None
    picture = pixels[rgb]
    if picture.dtype != np.uint8:
        if options.thumbnail_stretch is None:
            return None
        picture = options.thumbnail_stretch(picture)
    return webp_thumbnail(picture.astype(np.uint8, copy=False), options.thumbnail_px)
