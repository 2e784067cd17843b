"""Your area in a few minutes: the least cloudy Sentinel-2 scenes of a place and time, as a collection to search."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from indexer.cluster.build import build_collection
from indexer.sources.catalogues import Catalogue
from indexer.sources.protocol import Candidate, UnreachableError
from indexer.sources.sentinel2 import Sentinel2Source
from wildsat_core.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from indexer.pipeline.options import BuildOptions, Progress
    from indexer.pipeline.report import BuildReport
    from wildsat_core.models.model import WildSATModel

logger = logging.getLogger(__name__)

# True-colour scenes are three bytes a pixel, which their compression brings to about this share.
COMPRESSED: Final = 0.6
ATTEMPTS: Final = 4
FIRST_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Scenes:
    """What a catalogue has for an area: how many scenes are read, for how many tiles, of which days."""

    scenes: int
    tiles: int
    days: tuple[str, ...]
    bytes_to_read: int

    def text(self) -> str:
        """A line for the terminal."""
        days = self.days[0] if len(self.days) == 1 else f"{self.days[0]} to {self.days[-1]}"
        size = self.bytes_to_read / 2**20
        return f"{self.scenes:,} scenes of {days}, {self.tiles:,} tiles, about {size:,.0f} MiB to read"


def look(source: Sentinel2Source, catalogue: Catalogue) -> Scenes:
    """Search the catalogue and choose the scenes, without reading any.

    Raises:
        SourceError: the catalogue is out of reach, or has no scene that will do; says so in a sentence.
    """
    try:
        tiles = [c.tile for c in source.candidates() if isinstance(c, Candidate)]
    except SourceError as err:
        if is_offline(err):
            raise SourceError(
                f"{catalogue.title or catalogue.api} is out of reach: is there a network here? The area needs one, the "
                "demo (`wildsat demo`) does not"
            ) from err
        raise
    if not tiles:
        raise SourceError(
            f"{catalogue.title or catalogue.api} has no scene of {source.since} to {source.until} there with at most "
            f"{source.max_cloud:.0%} cloud; widen --from and --to, or --max-cloud"
        )
    pixels = len(tiles) * (source.grid.size_km * 1000 / tiles[0].gsd_m) ** 2
    days = tuple(sorted({str(tile.captured_on) for tile in tiles}))
    return Scenes(len({tile.href for tile in tiles}), len(tiles), days, round(pixels * 3 * COMPRESSED))


def is_offline(error: BaseException | None) -> bool:
    """Whether an error came of a server that could not be connected to."""
    import requests

    while error is not None:
        if isinstance(error, requests.ConnectionError | requests.Timeout):
            return True
        if "Max retries exceeded" in str(error) or "Failed to establish a new connection" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def build_area(
    source: Sentinel2Source,
    model: WildSATModel,
    root: Path,
    options: BuildOptions,
    told: dict[str, Any],
    on_progress: Progress,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> BuildReport:
    """Build the collection, and go on where it stopped when a server stops answering for a while.

    Args:
        source: what to index.
        model: embeds it.
        root: folder of the collection.
        options: how to build.
        told: provenance for people.
        on_progress: as in `build_collection`.
        wait: sleeps so many seconds between attempts.

    Raises:
        SourceError: the servers still don't answer after some attempts; what was embedded is kept.
    """
    for attempt in range(ATTEMPTS):
        try:
            return build_collection(source, model, root, options, told, on_progress)
        except SourceError as err:
            if attempt == ATTEMPTS - 1 or not _is_passing(err):
                raise
            pause = FIRST_WAIT_S * 2**attempt
            logger.warning("%s; going on in %.0f s", err, pause)
            wait(pause)
    raise AssertionError("the last attempt returns or raises")


def _is_passing(error: SourceError) -> bool:
    """Whether trying again may help: a server did not answer, now."""
    return isinstance(error.__cause__, UnreachableError) or isinstance(error, UnreachableError) or is_offline(error)
