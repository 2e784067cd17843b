"""Options that several commands take, and the dataclasses that they are shared by.

Typer makes a command of a dataclass: its fields are the options, its docstring is the help. It reads the annotations,
so in these modules they can't be postponed to strings.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Final, Self

import typer

from indexer.sources.pixels import Stretch
from indexer.sources.places import area_box
from indexer.sources.protocol import Source
from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.types import BBox

# An option by the panel of the help that it stands in.
imagery: Final = partial(typer.Option, rich_help_panel="Imagery")
tiles: Final = partial(typer.Option, rich_help_panel="Tiles")
into: Final = partial(typer.Option, rich_help_panel="Collection")
running: Final = partial(typer.Option, rich_help_panel="Running")

Bands = Annotated[str, imagery(metavar="NAME,…", help="Names of the bands, as the model takes them.")]
BandIndexes = Annotated[
    str | None,
    imagery(
        metavar="N,…",
        help="Which of the file's bands these are, from 1.",
        show_default="as it calls them",
    ),
]
StretchTo = Annotated[
    str | None,
    imagery(metavar="LOW,HIGH", help="Stored values that become 0 and 255.", show_default="values stay as they are"),
]
Day = Annotated[str | None, imagery(metavar="YYYY-MM-DD", help="Day of the imagery.")]
Scene = Annotated[str | None, imagery(metavar="NAME", help="First part of tile ids.", show_default="the file's name")]
StepKm = Annotated[
    float | None,
    tiles(metavar="KM", help="Distance of tile centres; less overlaps.", show_default="as --tile-km"),
]
Workers = Annotated[
    int | None,
    running(min=0, metavar="N", help="Processes that read; 0 reads in this one.", show_default="cores less one"),
]
DryRun = Annotated[bool, running("--dry-run", help="Print tiles, bytes and time; write nothing.")]
Wait = Annotated[float, running("--wait", min=0, metavar="SECONDS", help="Wait for other writers.")]


@dataclass(frozen=True, kw_only=True)
class WhereOptions:
    """Which tiles are taken, by place."""

    bbox: Annotated[str | None, tiles(metavar="W,S,E,N", help="Only tiles centred in this box of degrees.")] = None
    area: Annotated[Path | None, tiles(metavar="FILE", help="Only tiles that meet the polygons of a GeoJSON file.")] = (
        None
    )
    max_bad: Annotated[
        float | None,
        tiles(min=0, max=1, metavar="SHARE", help="Most bad pictures or rows, 0 to 1.", show_default="half, or three"),
    ] = None
    min_land: Annotated[
        float, tiles(min=0, max=1, metavar="SHARE", help="Least land of a tile, 0 to 1; 0 takes the sea, too.")
    ] = 0.0

    @cached_property
    def polygons(self) -> Area | None:
        """Those of --area."""
        return Area.from_file(self.area) if self.area else None

    @property
    def box(self) -> BBox | None:
        """The box of --bbox, else that around --area."""
        if self.bbox:
            return parse_bbox(self.bbox)
        return area_box(self.polygons) if self.polygons else None


@dataclass(frozen=True, kw_only=True)
class PictureOptions(WhereOptions, ABC):
    """What every kind of pictures takes."""

    max_missing: Annotated[float, tiles(min=0, max=1, metavar="SHARE", help="Most of a tile without data, 0 to 1.")] = (
        0.3
    )

    def of_side(self, side_km: float) -> Self:
        """The same with tiles of this side, where the kind cuts tiles and nobody said how large they are to be."""
        return self

    @abstractmethod
    def source(self) -> Source:
        """The source that the options describe.

        Raises:
            InvalidInputError: an option can't be read, is missing, or contradicts another one.
            SourceError: there is no such imagery.
        """


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(","))


def band_numbers(text: str | None) -> tuple[int, ...] | None:
    """Bands of a file, counted from 1; None where they are left to the file.

    Raises:
        InvalidInputError: not whole numbers.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as err:
        raise InvalidInputError(
            f"--band-indexes must be whole numbers like 4,3,2, got {text!r}", "band-indexes"
        ) from err


def stretch_of(text: str | None) -> Stretch | None:
    """Stretch that --stretch asks for."""
    return Stretch.parse(text) if text else None
