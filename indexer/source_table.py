"""The sources by name, each built from the same set of options, which a command line or a script fills in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from indexer.grid import KilometreGrid
from indexer.pixels import Stretch
from indexer.sources.protocol import Source
from indexer.sources.raster import PixelGrid, RasterSource
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError
from wildsat_core.types import BBox


@dataclass(frozen=True)
class SourceRequest:
    """What a person asked to index; each source takes what concerns it.

    Attributes:
        kind: a name in `SOURCES`.
        input: file, folder or address, as the source wants it.
        tile_km, step_km: kilometre grid; without tile_km rasters are cut along their own pixels.
        tile_px, step_px: size in pixels; for the pixel grid also the step.
        band_indexes: which of a file's bands, counted from 1, in the order of `bands`.
    """

    kind: str
    input: str
    tile_km: float | None = None
    step_km: float | None = None
    tile_px: int | None = None
    step_px: int | None = None
    extent: BBox | None = None
    area: BBox | None = None
    bands: tuple[str, ...] = RGB
    band_indexes: tuple[int, ...] | None = None
    stretch: Stretch | None = None
    nodata: float | None = None
    scene: str | None = None
    captured_on: dt.date | None = None


def make_source(request: SourceRequest) -> Source:
    """Build the source that a request names.

    Raises:
        InvalidInputError: no such source, or an option that it needs is missing.
    """
    builder = SOURCES.get(request.kind)
    if builder is None:
        raise InvalidInputError(f"unknown source {request.kind!r}; there are {', '.join(sorted(SOURCES))}", "source")
    return builder(request)


def _grid(request: SourceRequest) -> KilometreGrid | PixelGrid:
    if request.tile_km is not None:
        return KilometreGrid(request.tile_km, request.step_km or request.tile_km)
    if request.tile_px is None:
        raise InvalidInputError("say how to cut the raster: --tile-km for a kilometre grid, or --tile-px", "tile-km")
    return PixelGrid(request.tile_px, request.step_px or request.tile_px)


def _raster(request: SourceRequest) -> Source:
    return RasterSource(
        path=request.input,
        grid=_grid(request),
        extent=request.extent,
        bands=request.bands,
        band_indexes=request.band_indexes or tuple(range(1, len(request.bands) + 1)),
        stretch=request.stretch,
        nodata=request.nodata,
        tile_px=request.tile_px if request.tile_km is not None else None,
        area=request.area,
        scene=request.scene,
        captured_on=request.captured_on,
    )


SOURCES: Final[dict[str, Callable[[SourceRequest], Source]]] = {"raster": _raster}
