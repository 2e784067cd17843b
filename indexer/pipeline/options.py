"""How a build runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from indexer.pipeline.reading import ReadOptions, default_workers
from wildsat_core.area import Area
from wildsat_core.countries import Countries
from wildsat_core.land import LandMask
from wildsat_core.types import BBox

Progress = Callable[[int], None]


@dataclass(frozen=True)
class BuildOptions:
    """How a build runs; none of these but `min_land` and `max_missing` decides which tiles it ends with.

    Attributes:
        batch_tiles: tiles embedded at once.
        workers: processes that read tiles; 0 reads in this one.
        segment_tiles: tiles a segment, the most that a kill loses.
        land: outlines of land, None to take the sea too; min_land: smallest share of land of a tile.
        countries: outlines of countries, None to leave out countries.
        area: only tiles that meet these polygons; centres_in: only tiles centred in this box, where the source itself
            does not see to it.
        any_scale: index tiles of a scale that the model is not for, too.
        max_bad: largest share of what is given that may be bad: damaged pictures, rows that can't be
            understood. None for half, or three.
        on_known: what to do with tiles that are indexed already.
        restart: begin anew: drop what an interrupted build of the same kind left, instead of going on from it.
        wait_s: how long to wait for another writer of the same collection.
        compiled: whether the encoder is compiled; None: where it can be, after a minute of encoding.
        threads: of the encoder on a CPU. None leaves it all cores, as torch does: readers are a bounded number of
            tiles ahead, so that on a CPU, where encoding takes longest, they mostly wait and leave it their cores.
    """

    batch_tiles: int = 256
    workers: int = field(default_factory=default_workers)
    segment_tiles: int = 16_384
    read: ReadOptions = field(default_factory=ReadOptions)
    land: LandMask | None = None
    min_land: float = 0.0
    countries: Countries | None = None
    area: Area | None = None
    centres_in: BBox | None = None
    any_scale: bool = False
    max_bad: float | None = None
    on_known: Literal["skip", "replace"] = "skip"
    restart: bool = False
    wait_s: float = 0.0
    compiled: bool | None = None
    threads: int | None = None
