"""Your area in a few minutes: the least cloudy Sentinel-2 scenes of a place and time, as a collection to search."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from indexer.cluster.build import build_collection
from indexer.pipeline.left_out import LeftOutCounter
from indexer.sources.catalogues import Catalogue
from indexer.sources.protocol import Candidate, UnreachableError
from indexer.sources.sentinel2 import Sentinel2Source
from wildsat_core.errors import InvalidInputError, SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from indexer.pipeline.listing import Chooser
    from indexer.pipeline.options import BuildOptions, Progress
    from indexer.pipeline.report import BuildReport
    from wildsat_core.models.model import WildSATModel

logger = logging.getLogger(__name__)

# True-colour scenes are three bytes a pixel, which their compression brings to about this share.
COMPRESSED: Final = 0.6
MOST_TILES: Final = 300_000  # half a million square kilometres in tiles of 1.28 km: 9 GB to read, and hours
ATTEMPTS: Final = 4
FIRST_WAIT_S: Final = 5.0
_OF_ANSWERS: Final = "error responses"  # how urllib3 ends what it says of a server that is busy


@dataclass(frozen=True, slots=True)
class Scenes:
    """What a catalogue has for an area: the tiles, and how many scenes are read for them, of which days.

    Attributes:
        left_out: what was not chosen, by reason.
    """

    scenes: int
    tiles: list[Candidate]
    days: tuple[str, ...]
    bytes_to_read: int
    left_out: LeftOutCounter

    def text(self) -> str:
        """A line for the terminal."""
        days = self.days[0] if len(self.days) == 1 else f"{self.days[0]} to {self.days[-1]}"
        size, scenes = self.bytes_to_read / 2**20, "1 scene" if self.scenes == 1 else f"{self.scenes:,} scenes"
        return f"{scenes} of {days}, {len(self.tiles):,} tiles, about {size:,.{0 if size > 9 else 1}f} MiB to read"


def check_size(source: Sentinel2Source, name: str) -> None:
    """Refuse an area that nobody would wait for, before its cells are listed.

    Raises:
        InvalidInputError: it has more than MOST_TILES cells.
    """
    tiles = source.grid.count(source.area)
    if tiles > MOST_TILES:
        raise InvalidInputError(
            f"{name} is too large: {tiles:,} tiles of {source.grid.size_km:g} km, and at most {MOST_TILES:,} are read "
            "at once. Give a part of it with --bbox W,S,E,N, or larger tiles with --tile-km; for all of it there is "
            "'wildsat index build sentinel2'",
            "area",
        )


def look(source: Sentinel2Source, catalogue: Catalogue, chooser: Chooser) -> Scenes:
    """Search the catalogue and choose the scenes, without reading any.

    Raises:
        SourceError: the catalogue is out of reach, or has no scene that will do; says so in a sentence.
    """
    left_out = LeftOutCounter()
    try:
        chosen = list(chooser.choose(source, left_out))
    except SourceError as err:
        if is_busy(err):
            raise SourceError(
                f"{catalogue.title or catalogue.api} is too busy to be searched now; give the same command again later"
            ) from err
        if is_offline(err):
            raise SourceError(
                f"{catalogue.title or catalogue.api} is out of reach: is there a network here? The area needs one, the "
                "demo (`wildsat demo`) does not"
            ) from err
        raise
    if not chosen:
        raise SourceError(
            f"{catalogue.title or catalogue.api} has no scene of {source.since} to {source.until} there with at most "
            f"{source.max_cloud:.0%} cloud; widen --from and --to, or --max-cloud"
        )
    tiles = [candidate.tile for candidate in chosen]
    pixels = len(tiles) * (source.grid.size_km * 1000 / tiles[0].gsd_m) ** 2
    days = tuple(sorted({str(tile.captured_on) for tile in tiles}))
    return Scenes(len({tile.href for tile in tiles}), chosen, days, round(pixels * 3 * COMPRESSED), left_out)


def is_offline(error: BaseException | None) -> bool:
    """Whether an error came of a server that could not be connected to."""
    import requests

    return any(
        isinstance(cause, requests.ConnectionError | requests.Timeout)
        or "Failed to establish a new connection" in str(cause)
        or ("Max retries exceeded" in str(cause) and _OF_ANSWERS not in str(cause))
        for cause in _causes(error)
    )


def is_busy(error: BaseException | None) -> bool:
    """Whether an error came of a server that answered, but each time with a status that says to come back later."""
    return any(_OF_ANSWERS in str(cause) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


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
    furthest = _Furthest(on_progress)
    for attempt in range(ATTEMPTS):
        try:
            return build_collection(source, model, root, options, told, furthest.attempt())
        except SourceError as err:
            if attempt == ATTEMPTS - 1 or not _is_passing(err):
                raise
            pause = FIRST_WAIT_S * 2**attempt
            logger.warning("%s; going on in %.0f s", err, pause)
            wait(pause)
    raise AssertionError("the last attempt returns or raises")


class _Furthest:
    """Progress of several attempts, each of which counts what those before it did, too: only what goes beyond them."""

    def __init__(self, on_progress: Progress) -> None:
        """Tell `on_progress`."""
        self._on_progress, self._shown = on_progress, 0

    def attempt(self) -> Progress:
        """What one more attempt tells."""
        dealt = 0

        def advance(more: int) -> None:
            nonlocal dealt
            dealt += more
            if dealt > self._shown:
                self._on_progress(dealt - self._shown)
                self._shown = dealt

        return advance


def _is_passing(error: SourceError) -> bool:
    """Whether trying again may help: a server did not answer, now."""
    return any(isinstance(cause, UnreachableError) for cause in _causes(error)) or is_offline(error) or is_busy(error)
