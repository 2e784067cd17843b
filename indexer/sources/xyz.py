"""Web map tiles as imagery: an MBTiles file, a folder of z/x/y pictures, or an address with {z}, {x} and {y}."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from indexer.sources.library_errors import library_errors
from indexer.sources.picture import decode_picture
from indexer.sources.places import centre_in, slug
from indexer.sources.protocol import Candidate, LeftOut, Partition, Reading
from indexer.sources.tile_schemes import SCHEMES, TileScheme, meets, scheme_named
from indexer.sources.tile_stores import MBTilesFile, StoredTile, TileFolder, TileServer, TileStore, check_address
from wildsat_core.addresses import without_secrets
from wildsat_core.bands import RGB
from wildsat_core.errors import SourceError
from wildsat_core.mercator import pixel_m
from wildsat_core.types import BBox, Tile

DEFAULT_TILE_PX: Final = 256


@dataclass(frozen=True)
class XyzSource:
    """Map tiles of one zoom.

    Attributes:
        location: file, folder or address template.
        zoom: which zoom; None takes the finest of a file or folder.
        area: only tiles with their centre in this box; an address needs one.
        hosts: hosts that an address may name, from $WILDSAT_XYZ_HOSTS if left out.
        scene: first part of tile ids.
        tile_px: side of a map tile, for the size of its pixels on the ground; None asks the first one of a file or
            folder, and takes 256 for an address.
        scheme: how tiles are numbered, a name in `SCHEMES`; None reads it from what lies beside the tiles.
    """

    location: str
    zoom: int | None = None
    area: BBox | None = None
    scene: str | None = None
    hosts: tuple[str, ...] | None = field(default=None, repr=False)
    tile_px: int | None = None
    scheme: str | None = None
    bands: tuple[str, ...] = RGB
    name: str = "xyz"

    def __post_init__(self) -> None:
        """Check the address, and how the tiles are numbered, before anything is read."""
        if self.is_address:
            check_address(self.location, self.hosts, self.zoom, self.area)
        elif not Path(self.location).exists():
            raise SourceError(f"{self._shown} is neither a file, a folder nor an address with {{z}}, {{x}} and {{y}}")
        _ = self._numbering

    @property
    def is_address(self) -> bool:
        return "://" in self.location

    def count(self) -> int | None:
        """Number of map tiles; None for a folder, which must be walked to count, and where only some are asked for."""
        return self._store.count(self._zoom()) if self.is_address or self.area is None else None

    def inputs(self) -> Iterator[str]:
        """The file, or the files of the zoom."""
        yield from self._store.inputs(self._zoom())

    def partitions(self) -> Iterator[Partition]:
        """Neighbouring map tiles.

        Raises:
            SourceError: there is no such zoom, or the file is damaged.
        """
        yield from self._store.partitions(self._zoom())

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate | LeftOut]:
        """Map tiles in a fixed order.

        Raises:
            SourceError: there is no such zoom, the file is damaged, or its tiles are not where it says that they are.
        """
        zoom, side_px = self._zoom(), self.tile_px
        scheme, bounds = self._numbering
        for part in self.partitions() if partition is None else (partition,):
            for stored in self._store.stored_tiles(zoom, part):
                if isinstance(stored, LeftOut):
                    yield stored
                    continue
                box = scheme.box(*stored[:3])
                if box is None:
                    yield LeftOut("off the map", f"{self._shown}: zoom {zoom} has no tile {stored.column}/{stored.row}")
                    continue
                if bounds is not None:
                    self._check_side(scheme, bounds, box, stored)
                if self.area is not None and not centre_in(self.area, box):
                    continue
                side_px = side_px or self._side_px(stored)
                yield Candidate(self._tile(scheme, stored, box, side_px), stored)

    def read(self, candidate: Candidate) -> Reading:
        """One map tile, (3, H, W) uint8.

        Raises:
            SourceError: missing or not a picture.
        """
        stored: StoredTile = candidate.locator
        reading = decode_picture(self._store.picture(stored), (1, 2, 3), candidate.tile.tile_id)
        beyond = round(self._cut_off(stored.zoom, candidate.tile.bbox) * reading.pixels.shape[1])
        return replace(reading, pixels=reading.pixels[:, beyond:]) if beyond else reading

    def provenance(self) -> dict[str, Any]:
        """What and which zoom."""
        return {"source": self.name, "input": self._scene, "zoom": self._zoom(), "bands": list(self.bands)}

    @functools.cached_property
    def _store(self) -> TileStore:
        if self.is_address:
            assert self.area is not None
            usual = SCHEMES["tms" if "{-y}" in self.location else "xyz"]
            return TileServer(self.location, scheme_named(self.scheme) if self.scheme else usual, self.area)
        return MBTilesFile(self.location) if Path(self.location).is_file() else TileFolder(self.location)

    @functools.cached_property
    def _numbering(self) -> tuple[TileScheme, BBox | None]:
        """How the tiles are numbered, and bounds to check that by where it was not told by hand."""
        return (scheme_named(self.scheme), None) if self.scheme else self._store.scheme()

    @property
    def _shown(self) -> str:
        return without_secrets(self.location)

    @property
    def _scene(self) -> str:
        if self.scene:
            return self.scene
        host = self._shown.partition("://")[2].partition("/")[0]
        return slug(host if self.is_address else Path(self.location).resolve().stem)

    def _check_side(self, scheme: TileScheme, bounds: BBox, box: BBox, stored: StoredTile) -> None:
        """Refuse tiles that would lie within their bounds if rows were counted from the other side.

        Raises:
            SourceError: saying so.
        """
        other = scheme.mirrored
        mirrored = other.box(*stored[:3])
        if not meets(box, bounds) and mirrored is not None and meets(mirrored, bounds):
            raise SourceError(
                f"{self._shown} says that its tiles lie within {bounds.as_tuple()}. With rows counted from the "
                f"{scheme.rows_from}, tile {stored.zoom}/{stored.column}/{stored.row} lies at latitude "
                f"{box.centre[1]:.3f}, outside; counted from the {other.rows_from}, it is inside. Look at the pictures "
                "and say with --scheme xyz (rows from the north) or --scheme tms (from the south) how they are numbered"
            )

    def _tile(self, scheme: TileScheme, stored: StoredTile, box: BBox, side_px: int) -> Tile:
        """Numbered from the north, whatever the scheme, so that a place has one id."""
        zoom, column, row = stored.zoom, stored.column, scheme.from_north(stored.zoom, stored.row)
        degrees = "" if scheme.profile == "mercator" else f"{scheme.degrees_at_0:g}deg-"
        height_px = max(round(side_px * (1.0 - self._cut_off(zoom, box))), 1)
        return Tile(
            tile_id=f"{self._scene}-{degrees}{zoom}-{column}-{row}",
            bbox=box,
            gsd_m=pixel_m(box, height_px),
            source=self.name,
            href=f"{zoom}/{column}/{row}",
        )

    def _cut_off(self, zoom: int, box: BBox) -> float:
        return self._numbering[0].cut_off(zoom, box)

    def _side_px(self, stored: StoredTile) -> int:
        from PIL import Image

        if self.is_address:
            return DEFAULT_TILE_PX
        with (
            contextlib.suppress(*library_errors(), SourceError),
            Image.open(io.BytesIO(self._store.picture(stored))) as picture,
        ):
            return int(picture.width)
        return DEFAULT_TILE_PX

    def _zoom(self) -> int:
        zoom = self._store.finest_zoom() if self.zoom is None else self.zoom
        if zoom is None:
            raise SourceError(f"{self._shown} holds no map tiles")
        return zoom
