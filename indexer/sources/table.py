"""The sources by name, each built from the same set of options, which a command line or a script fills in."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Final

from indexer.sources.folder import FolderSource, find_table
from indexer.sources.grid import KilometreGrid
from indexer.sources.majortom import MajorTomSource
from indexer.sources.pixels import Stretch
from indexer.sources.protocol import Source
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.sources.satlas import SatlasSource
from indexer.sources.sentinel2 import DEFAULT_COLLECTION, EARTH_SEARCH, PICKS, Sentinel2Source
from indexer.sources.xyz import XyzSource
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError
from wildsat_core.types import BBox

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceRequest:
    """What a person asked to index; an option that the source does not take is refused.

    Attributes:
        kind: a name in `SOURCES`, or `VECTORS`.
        input: file, folder or address, as the source wants it.
        tile_km, step_km: kilometre grid; without tile_km rasters are cut along their own pixels.
        tile_px, step_px: size in pixels; for the pixel grid also the step.
        band_indexes: which of a file's bands, counted from 1, in the order of `bands`.
        area: only tiles centred in this box.
        since, until, max_cloud, pick, assets, signer, catalogue: of a STAC catalogue.
        table, gsd_m: of a folder of pictures.
        dates: of a SatlasPretrain tree; metadata: of a Major TOM data set; zoom: of map tiles.
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
    since: dt.date | None = None
    until: dt.date | None = None
    max_cloud: float = 0.3
    pick: str = "newest"
    assets: str = "visual"
    signer: str | None = None
    catalogue: str = DEFAULT_COLLECTION
    table: str | None = None
    gsd_m: float | None = None
    dates: str | None = None
    metadata: str | None = None
    zoom: int | None = None

    @property
    def file_bands(self) -> tuple[int, ...]:
        """Bands of the file: those asked for, or the first ones."""
        return self.band_indexes or tuple(range(1, len(self.bands) + 1))


def make_source(request: SourceRequest) -> Source:
    """Build the source that a request names.

    Raises:
        InvalidInputError: no such source, an option that it needs is missing, or one that it does not take is given.
    """
    if request.kind == VECTORS:
        raise InvalidInputError(
            "the source 'parquet' holds vectors, not pictures: only `wildsat index build` and `add` take it", "source"
        )
    check_options(request)
    return SOURCES[request.kind](request)


def check_options(request: SourceRequest) -> None:
    """Refuse options that the source would ignore.

    Raises:
        InvalidInputError: naming them, and those that it takes; or there is no such source.
    """
    taken = OPTIONS.get(request.kind)
    if taken is None:
        raise InvalidInputError(f"unknown source {request.kind!r}; there are {', '.join(sorted(OPTIONS))}", "source")
    given = [f.name for f in fields(request) if f.default is not MISSING and getattr(request, f.name) != f.default]
    if ignored := [name for name in given if name not in taken]:
        raise InvalidInputError(
            f"the source {request.kind!r} does not take {', '.join(map(_option, ignored))}; "
            f"it takes {', '.join(map(_option, taken))}",
            _option(ignored[0]).removeprefix("--"),
        )


def _option(name: str) -> str:
    """How a field of a request is typed; polygons of --area come as the box around them."""
    return "--" + _OPTION_NAMES.get(name, name).replace("_", "-")


def _grid(request: SourceRequest) -> KilometreGrid | PixelGrid:
    other = "step_px" if request.tile_km is not None else "step_km"
    if getattr(request, other) is not None:
        raise InvalidInputError(
            f"{_option(other)} belongs to --tile-{other[-2:]}: give --tile-km and --step-km for a kilometre grid, or "
            "--tile-px and --step-px",
            other.replace("_", "-"),
        )
    if request.tile_km is not None:
        return KilometreGrid(request.tile_km, request.tile_km if request.step_km is None else request.step_km)
    if request.tile_px is None:
        raise InvalidInputError("say how to cut the raster: --tile-km for a kilometre grid, or --tile-px", "tile-km")
    return PixelGrid(request.tile_px, request.tile_px if request.step_px is None else request.step_px)


def _raster(request: SourceRequest) -> Source:
    return RasterSource(
        path=request.input,
        grid=_grid(request),
        extent=request.extent,
        bands=request.bands,
        band_indexes=request.file_bands,
        stretch=request.stretch,
        nodata=request.nodata,
        tile_px=request.tile_px if request.tile_km is not None else None,
        area=request.area,
        scene=request.scene,
        captured_on=request.captured_on,
    )


def _sentinel2(request: SourceRequest) -> Source:
    if request.area is None or request.since is None or request.until is None:
        raise InvalidInputError(
            "a catalogue is searched by place and time: give --bbox or --area, --from and --to", "bbox"
        )
    pick = next((p for p in PICKS if p == request.pick), None)
    if pick is None:
        raise InvalidInputError(f"--pick must be one of {', '.join(PICKS)}, got {request.pick!r}", "pick")
    if request.assets not in ("visual", "bands"):
        raise InvalidInputError(f"--assets must be visual or bands, got {request.assets!r}", "assets")
    size_km = DEFAULT_TILE_KM if request.tile_km is None else request.tile_km
    return Sentinel2Source(
        api=request.input,
        area=request.area,
        since=request.since,
        until=request.until,
        grid=KilometreGrid(size_km, size_km if request.step_km is None else request.step_km),
        max_cloud=request.max_cloud,
        pick=pick,
        assets="visual" if request.assets == "visual" else "bands",
        bands=request.bands,
        stretch=request.stretch,
        signer=request.signer,
        tile_px=request.tile_px,
        collection=request.catalogue,
    )


def _folder(request: SourceRequest) -> Source:
    table = None if request.table == NO_TABLE else request.table or find_table(request.input)
    source = FolderSource(
        root=request.input,
        table=table,
        gsd_m=request.gsd_m,
        band_indexes=request.file_bands,
        bands=request.bands,
        stretch=request.stretch,
        area=request.area,
    )
    if request.table is None and table is not None and (unnamed := source.unnamed()):
        logger.warning(
            "the pictures and their places are those of %s, which does not name %d of the folder's pictures: "
            "--table %s reads all pictures that say themselves where they lie",
            *(table, unnamed, NO_TABLE),
        )
    return source


def _satlas(request: SourceRequest) -> Source:
    return SatlasSource(request.input, request.dates, request.bands, request.area)


def _xyz(request: SourceRequest) -> Source:
    return XyzSource(request.input, request.zoom, request.area, request.scene)


def _majortom(request: SourceRequest) -> Source:
    return MajorTomSource(request.input, request.metadata, request.area)


NO_TABLE: Final = "none"  # of a folder: not even one that lies in it
DEFAULT_TILE_KM: Final = 2.56  # 256 pixels of 10 m
VECTORS: Final = "parquet"  # the one kind without pictures; see indexer/vectors/files.py
SOURCES: Final[dict[str, Callable[[SourceRequest], Source]]] = {
    "raster": _raster,
    "sentinel2": _sentinel2,
    "folder": _folder,
    "satlas": _satlas,
    "xyz": _xyz,
    "majortom": _majortom,
}
# What each source takes of a request, beside `input`.
OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "raster": (
        *("tile_km", "step_km", "tile_px", "step_px", "extent", "area", "bands", "band_indexes", "stretch", "nodata"),
        *("scene", "captured_on"),
    ),
    "sentinel2": (
        *("tile_km", "step_km", "tile_px", "area", "since", "until", "max_cloud", "pick", "assets", "bands"),
        *("stretch", "signer", "catalogue"),
    ),
    "folder": ("table", "gsd_m", "area", "bands", "band_indexes", "stretch"),
    "satlas": ("dates", "area", "bands"),
    "xyz": ("zoom", "area", "scene"),
    "majortom": ("metadata", "area"),
    VECTORS: ("area",),
}
DEFAULT_INPUTS: Final[Mapping[str, str]] = {"sentinel2": EARTH_SEARCH}
_OPTION_NAMES: Final = {"area": "bbox", "captured_on": "date", "since": "from", "until": "to"}
