"""What every source of imagery offers: a cheap, ordered list of tiles, and the pixels of any one of them.

The two are apart so that listing can skip what is indexed already, or lies at sea, before anything is decoded, and so
that decoding can run in worker processes. A source is therefore picklable: it holds settings, and opens files when it
first reads in a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import SourceError
from wildsat_core.types import Tile

Pixels = npt.NDArray[np.generic]

MOST_IN_PARTITION: Final = 16_384


class NotAPictureError(SourceError):
    """A file is missing, damaged or of no known format."""


class NoPlaceError(SourceError):
    """A picture does not say where it lies, and nothing else does."""

    reason = "no place"


class NotEightBitError(SourceError):
    """Pixels are of a type that the model does not take."""

    reason = "not eight-bit"


class UnreachableError(SourceError):
    """A server does not answer, or not now. Some of these in a row end a build, to be gone on with later."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tile that a source could read.

    Attributes:
        tile: what is known before reading.
        locator: where its pixels are; only its own source looks inside. Picklable and small.
        otherwise: other locators, of which the first that shows something is read where this one shows nothing or can't
            be read. The reading says what tile it is then.
        instead: the id of the tile that each of these would give.
        indexed: whether there is one more, whose tile is indexed already: nothing else needs to be read.
    """

    tile: Tile
    locator: Any = None
    otherwise: tuple[Any, ...] = ()
    instead: tuple[str, ...] = ()
    indexed: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """Those of all tiles that it may turn out to be."""
        return self.tile.tile_id, *self.instead


@dataclass(frozen=True, slots=True)
class Partition:
    """Neighbouring tiles of a source, which are listed, read and written as one piece of work.

    Attributes:
        key: its name among the partitions of the source, the same at every start.
        at_most: no more tiles than this, and never more than MOST_IN_PARTITION.
        locator: which tiles; only its own source looks inside. Picklable and small.
    """

    key: str
    at_most: int
    locator: Any = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that a source came upon while listing and that can't become a tile.

    Attributes:
        reason: for the report, where equal ones are counted.
        what: names it and says more, for the log.
    """

    reason: str
    what: str


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """Where the pixels of a reading lie.

    Attributes:
        crs: coordinate system, as WKT or a name that GDAL knows.
        transform: a, b, c, d, e, f of x = a column + b row + c, y = d column + e row + f, from the outer corner.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a tile gave.

    Attributes:
        pixels: (C, H, W) uint8, uint16 or float, bands in the source's order.
        missing: share of pixels without data, in [0, 1].
        tile: the tile as it turned out, where reading decides what it is made from; None for the candidate's own.
        place: where they lie; None for squares of the tile's box, north up.
    """

    pixels: Pixels
    missing: float = 0.0
    tile: Tile | None = None
    place: PixelPlace | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """An input that is told apart by what its catalogue says of it, without asking for its files.

    Attributes:
        name: for messages.
        mark: changes when the input does.
        changed_s: when it was changed last, in seconds of the epoch; 0 where that is not told.
    """

    name: str
    mark: str
    changed_s: float = 0.0


@runtime_checkable
class Pinnable(Protocol):
    """A source that asks a catalogue, which may know more scenes tomorrow."""

    def scene_ids(self) -> set[str]:
        """The scenes that there are now.

        Raises:
            SourceError: the catalogue can't be searched.
        """
        ...

    def pinned(self, scene_ids: Iterable[str]) -> Source:
        """The same source of these scenes alone."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A source of which neighbouring tiles are cheaper to fetch together than one by one."""

    def prepare(self, candidates: Sequence[Candidate]) -> None:
        """Fetch what some candidates need, which will be read next, in this process.

        Raises:
            SourceError: it can't be had; reading each of them tells more.
        """
        ...


class Source(Protocol):
    """A set of tiles in a fixed order, the same at every start, so that an interrupted build can go on.

    Its `repr` says all that decides which tiles it gives and what they show, as that of a dataclass does: builds are
    told apart by it. Fields that don't matter for that, or are secret, are declared with repr=False.

    Attributes:
        name: the kind of source, stored with each tile.
        bands: names of the bands that `read` gives, in order.
    """

    @property
    def name(self) -> str: ...

    @property
    def bands(self) -> tuple[str, ...]: ...

    def partitions(self) -> Iterator[Partition]:
        """All tiles cut into pieces of work, in order, by what is cheap to know: nothing is decoded or searched for.

        Raises:
            SourceError: the source can't be listed as asked.
        """
        ...

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate | LeftOut]:
        """Tiles, in order, without decoding pixels, and what could not be listed.

        Args:
            partition: one of `partitions()`, perhaps of an equal source in another process; None for all of them.
                Together they give what None gives: each tile once.

        Raises:
            SourceError: the source can't be listed as asked.
        """
        ...

    def count(self) -> int | None:
        """How many candidates there are; None where only listing them would tell."""
        ...

    def read(self, candidate: Candidate) -> Reading:
        """Pixels of one tile. Called in worker processes.

        Raises:
            UnreachableError: its server does not answer; the build ends after some of these in a row.
            SourceError: this tile can't be read; the build counts it and goes on.
        """
        ...

    def provenance(self) -> dict[str, Any]:
        """Facts for the manifest: kind of source, where it was read from, stretch, grid. JSON values only."""
        ...
