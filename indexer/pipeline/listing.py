"""From all candidates of a source to those worth reading: new ones, on land, with their country."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from indexer.pipeline.left_out import LeftOutCounter
from indexer.sources.places import centre_in
from indexer.sources.protocol import Candidate, LeftOut, Source
from wildsat_core.area import Area
from wildsat_core.countries import Countries
from wildsat_core.geo import KM_PER_DEGREE
from wildsat_core.land import LandMask
from wildsat_core.types import BBox

_LOOKED_AT_ONCE = 2048
REASONS_BEFORE_READING = ("already indexed", "outside the area", "sea")


@dataclass(frozen=True)
class Chooser:
    """Decides which candidates are read.

    Attributes:
        known: tells which of some ids are indexed already.
        land: tells what share of a tile is land; None leaves it unknown.
        min_land: smallest share of land of a tile's box, counted generously.
        countries: None to leave countries as the source gives them.
        area: only tiles that meet these polygons; None for no such limit.
        centres_in: only tiles centred in this box; None for no such limit.
    """

    known: Callable[[set[str]], set[str]]
    land: LandMask | None = None
    min_land: float = 0.0
    countries: Countries | None = None
    area: Area | None = None
    centres_in: BBox | None = None

    def choose(self, source: Source, left_out: LeftOutCounter) -> Iterator[Candidate]:
        """Candidates of a whole source to read, in order; the others are counted in `left_out` by reason."""
        return self.among(source.candidates(), left_out)

    def among(self, listed: Iterable[Candidate | LeftOut], left_out: LeftOutCounter) -> Iterator[Candidate]:
        """The same of a part of it."""
        listed = iter(listed)
        while group := list(itertools.islice(listed, _LOOKED_AT_ONCE)):
            yield from self.pick([c for c in group if isinstance(c, Candidate)], left_out)
            for fault in (c for c in group if isinstance(c, LeftOut)):
                left_out.note(fault)

    def pick(self, group: list[Candidate], left_out: LeftOutCounter) -> list[Candidate]:
        """Those of a group that are worth reading, in order; the others are counted in `left_out`."""
        known = self.known({tile_id for c in group for tile_id in c.ids})
        fresh = [_up_to_known(c, known) for c in group if c.tile.tile_id not in known]
        left_out["already indexed"] += len(group) - len(fresh)
        inside = self._in_area(fresh)
        left_out["outside the area"] += len(fresh) - len(inside)
        dry = self._on_land(inside)
        left_out["sea"] += len(inside) - len(dry)
        return self._with_countries(dry)

    def _in_area(self, group: list[Candidate]) -> list[Candidate]:
        if self.centres_in is not None:
            group = [c for c in group if centre_in(self.centres_in, c.tile.bbox)]
        if self.area is None or not group:
            return group
        west, south, east, north = np.array([c.tile.bbox.as_tuple() for c in group]).T
        meets = self.area.intersects(west, south, np.where(east < west, east + 360.0, east), north)
        return [c for c, hit in zip(group, meets, strict=True) if hit]

    def _on_land(self, group: list[Candidate]) -> list[Candidate]:
        if self.land is None or not group:
            return group
        boxes = [c.tile.bbox for c in group]
        if self.min_land:
            enough = self.land.share(boxes, generous=True) >= self.min_land
            group = [c for c, passes in zip(group, enough, strict=True) if passes]
            boxes = [c.tile.bbox for c in group]
        shares = self.land.share(boxes).round(4).tolist()
        return [replace(c, tile=replace(c.tile, land_share=share)) for c, share in zip(group, shares, strict=True)]

    def _with_countries(self, group: list[Candidate]) -> list[Candidate]:
        if self.countries is None or not group:
            return group
        # A coastal tile whose centre is at sea belongs to the land that it shows.
        heights_km = [(c.tile.bbox.north - c.tile.bbox.south) * KM_PER_DEGREE for c in group]
        codes = self.countries.code_at([c.tile.lon_lat for c in group], within_km=max(heights_km) / 2)
        return [
            c if code is None or c.tile.country else replace(c, tile=replace(c.tile, country=code))
            for c, code in zip(group, codes, strict=True)
        ]


def _up_to_known(candidate: Candidate, known: set[str]) -> Candidate:
    """Without the others from the first on whose tile is known: it would be read and embedded only to be dropped."""
    at = next((i for i, tile_id in enumerate(candidate.instead) if tile_id in known), None)
    if at is None:
        return candidate
    return replace(candidate, otherwise=candidate.otherwise[:at], instead=candidate.instead[:at], indexed=True)
