"""Sentinel-2 from a STAC API: the scenes of an area and time, cut on the kilometre grid.

Scenes stay where they are: GDAL reads the windows it needs from cloud-optimised GeoTIFFs by range requests.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from indexer.sources.catalogues import DEFAULT_COLLECTION
from indexer.sources.dataset import open_dataset, read_error
from indexer.sources.grid import Cell, KilometreGrid
from indexer.sources.pixels import Stretch, reading_of
from indexer.sources.protocol import Candidate, LeftOut, Reading
from indexer.sources.scenes import OFFSET_DAY, Scene, SceneTable, search_scenes
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError
from wildsat_core.types import BBox, Tile

logger = logging.getLogger(__name__)

Pick = Literal["newest", "least-cloudy", "all"]
PICKS: Final[tuple[Pick, ...]] = ("newest", "least-cloudy", "all")
NATIVE_M: Final = 10.0

# Names of a band's asset in the catalogues at hand: Element 84 Earth Search, Microsoft Planetary Computer, Copernicus.
ASSET_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "b01": ("coastal", "B01", "B01_60m"),
    "blue": ("blue", "B02", "B02_10m"),
    "green": ("green", "B03", "B03_10m"),
    "red": ("red", "B04", "B04_10m"),
    "b05": ("rededge1", "B05", "B05_20m"),
    "b06": ("rededge2", "B06", "B06_20m"),
    "b07": ("rededge3", "B07", "B07_20m"),
    "b08": ("nir", "B08", "B08_10m"),
    "b8a": ("nir08", "B8A", "B8A_20m"),
    "b09": ("nir09", "B09", "B09_60m"),
    "b11": ("swir16", "B11", "B11_20m"),
    "b12": ("swir22", "B12", "B12_20m"),
}
VISUAL_KEYS: Final = ("visual", "TCI_10m")

# https://gdal.org/en/stable/user/virtual_file_systems.html#vsicurl: no directory listings, patience with servers.
GDAL_HTTP: Final = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",  # else a file that could not be reached once is missing ever after
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Locator: which files, which bands of them, and the reflectance offset."""

    hrefs: tuple[str, ...]
    offset: int


@dataclass(frozen=True)
class Sentinel2Source:
    """Tiles of the scenes that a catalogue has for an area and time.

    Attributes:
        api: address of the STAC API.
        area: where; cells of the grid with their centre in this box.
        since, until: first and last day.
        grid: how the area is cut.
        max_cloud: largest cloud share of a scene, 0..1.
        pick: which scene a cell is cut from; "all" gives a tile for every date.
        assets: "visual" reads the catalogue's true-colour picture, "bands" the reflectance of each band.
        stretch: map of reflectance x 10,000 to eight bits; only for "bands".
        signer: "module:function" that turns an asset's address into one that may be read, called in the reader.
        tile_px: side of a tile in pixels; None for 10 m pixels.
    """

    api: str
    area: BBox
    since: dt.date
    until: dt.date
    grid: KilometreGrid
    max_cloud: float = 0.3
    pick: Pick = "newest"
    assets: Literal["visual", "bands"] = "visual"
    bands: tuple[str, ...] = RGB
    stretch: Stretch | None = None
    signer: str | None = field(default=None, repr=False)
    tile_px: int | None = None
    collection: str = DEFAULT_COLLECTION
    name: str = "sentinel2"

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.assets == "visual" and (self.bands != RGB or self.stretch is not None):
            raise InvalidInputError(
                "the visual asset has red, green and blue in eight bits: no other bands, no stretch", "assets"
            )
        if self.pick not in PICKS:
            raise InvalidInputError(f"pick must be one of {', '.join(PICKS)}, got {self.pick!r}", "pick")
        if self.since > self.until:
            raise InvalidInputError(f"--from {self.since} is after --to {self.until}", "from")
        if not 0 <= self.max_cloud <= 1:
            raise InvalidInputError(f"max-cloud must lie in [0, 1], got {self.max_cloud}", "max-cloud")
        if unknown := [band for band in self.bands if band not in ASSET_KEYS]:
            raise InvalidInputError(f"Sentinel-2 L2A has no band {', '.join(unknown)}", "bands")
        if self.signer is not None:
            _signer(self.signer)

    def count(self) -> int | None:
        """Cells of the area: with one date a cell, the most that there can be."""
        return None if self.pick == "all" else self.grid.count(self.area)

    def candidates(self) -> Iterator[Candidate | LeftOut]:
        """Cells from north to south, each cut from the scene that the rule picks, or from every date.

        Scenes that can't be understood come first, as left out.

        Raises:
            SourceError: the catalogue can't be searched.
        """
        scenes = []
        for scene in search_scenes(
            self.api, self.collection, self.area, self.since, self.until, self.max_cloud, self._asset_keys
        ):
            if isinstance(scene, LeftOut):
                yield scene
            else:
                scenes.append(scene)
        if self.assets == "bands" and (untold := sum(scene.offset is None for scene in scenes)):
            logger.warning(
                "%d of %d scenes don't tell their processing baseline: reflectance of %s and later is taken to have "
                "1000 added, older one not",
                *(untold, len(scenes), OFFSET_DAY),
            )
        table = SceneTable(scenes)
        for cell in self.grid.cells(self.area):
            for scene in self._picked(table.over(cell.bbox)):
                yield self._candidate(cell, scene)

    def read(self, candidate: Candidate) -> Reading:
        """Resample one cell from its scene.

        Raises:
            UnreachableError: the server does not answer.
        SourceError: an asset can't be read.
        """
        import rasterio

        place: _Place = candidate.locator
        try:
            with rasterio.Env(**GDAL_HTTP):
                values, valid = self._read_assets(place, candidate.tile.bbox)
        except rasterio.errors.RasterioError as err:
            what = f"{candidate.tile.tile_id}: {candidate.tile.href} can't be read"
            raise read_error(what, place.hrefs[0], err) from err
        if place.offset:
            # Below zero after the offset is noise over dark water; the products clip it, too.
            values = np.clip(values.astype(np.int32) + place.offset, 0, None).astype(np.uint16)
        return reading_of(values, valid, self.stretch)

    def provenance(self) -> dict[str, Any]:
        """Where, when and how chosen, cut and stretched."""
        return {
            "source": self.name,
            "input": self.api,
            "catalogue_collection": self.collection,
            "bbox": list(self.area.as_tuple()),
            "from": self.since.isoformat(),
            "to": self.until.isoformat(),
            "max_cloud": self.max_cloud,
            "pick": self.pick,
            "grid": self.grid.name,
            "assets": self.assets,
            "bands": list(self.bands),
            "stretch": str(self.stretch) if self.stretch else None,
            "attribution": f"Contains modified Copernicus Sentinel data {self.since.year}"
            + (f"-{self.until.year}" if self.until.year > self.since.year else ""),
        }

    def _picked(self, covering: Sequence[Scene]) -> list[Scene]:
        """The scene, or the scenes of all dates, that a cell is cut from; whole cover goes before everything."""
        if not covering:
            return []
        if self.pick == "all":
            by_date = {scene.date: scene for scene in reversed(covering)}  # the best cover of a date comes first
            return [by_date[date] for date in sorted(by_date)]
        whole = [scene for scene in covering if scene.cover == covering[0].cover]
        if self.pick == "newest":
            return [max(whole, key=lambda s: (s.date, -_cloud(s), s.scene_id))]
        return [min(whole, key=lambda s: (_cloud(s), -s.date.toordinal(), s.scene_id))]

    def _candidate(self, cell: Cell, scene: Scene) -> Candidate:
        tile = Tile(
            tile_id=f"s2-{self.grid.cell_id(cell)}-{scene.date:%Y%m%d}",
            bbox=cell.bbox,
            gsd_m=self.grid.size_km * 1000 / self._px,
            source=self.name,
            href=scene.scene_id,
            captured_on=scene.date,
            cloud_cover=scene.cloud_cover,
        )
        return Candidate(tile, _Place(scene.hrefs, scene.likely_offset if self.assets == "bands" else 0))

    @property
    def _asset_keys(self) -> list[Sequence[str]]:
        return [VISUAL_KEYS] if self.assets == "visual" else [ASSET_KEYS[band] for band in self.bands]

    @property
    def _px(self) -> int:
        return self.tile_px or max(round(self.grid.size_km * 1000 / NATIVE_M), 16)

    def _read_assets(self, place: _Place, box: BBox) -> tuple[Any, Any]:
        """(C, px, px) and the (px, px) mask: one file with all bands, or a file a band."""
        sign = _signer(self.signer) if self.signer else str
        indexes = (1, 2, 3) if self.assets == "visual" else (1,)
        layers, masks = [], []
        for href in place.hrefs:
            values, valid = _warp_box(sign(href), box, self._px, indexes)
            layers.append(values)
            masks.append(valid)
        return np.concatenate(layers), np.logical_and.reduce(masks)


def _cloud(scene: Scene) -> float:
    """For comparing: a scene whose cloud is unknown is the last choice."""
    return 1.0 if scene.cloud_cover is None else scene.cloud_cover


def _warp_box(href: str, box: BBox, px: int, indexes: tuple[int, ...]) -> tuple[Any, Any]:
    """Resample a box of degrees; UTM scenes go on beyond 180 degrees, so a box over it is one piece."""
    dataset = open_dataset(href, None)
    east = box.east + (360.0 if box.crosses_antimeridian else 0.0)
    values, valid = dataset.warp("EPSG:4326", (box.west, box.south, east, box.north), px, px, indexes)
    # Sentinel-2 products use 0 for no data, whether or not the file says so.
    return values, valid & (values != 0).any(axis=0)


@functools.lru_cache(maxsize=4)
def _signer(name: str) -> Callable[[str], str]:
    """The function that a "module:function" name means.

    Raises:
        InvalidInputError: there is none.
    """
    module, _, function = name.partition(":")
    try:
        found: Callable[[str], str] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as err:
        raise InvalidInputError(f"--signer {name!r} is not an importable module:function: {err}", "signer") from err
    return found
