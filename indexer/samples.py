"""A second collection beside the demo: real Sentinel-2 chips of the whole world, where a folder of data has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from indexer.cluster.build import build_collection
from indexer.pipeline.options import BuildOptions, Progress
from indexer.pipeline.reading import ReadOptions
from indexer.pipeline.report import BuildReport
from indexer.pipeline.tile_imagery import publish_tile_imagery
from indexer.sources.pixels import Stretch
from indexer.sources.protocol import Candidate, LeftOut, Partition, Reading
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.sources.walking import files_below
from wildsat_core.bands import RGB
from wildsat_core.collection import read_current_manifest
from wildsat_core.collection.aside import move_stranger_aside, stranger_in
from wildsat_core.countries import load_countries
from wildsat_core.errors import CollectionNotFoundError
from wildsat_core.land import load_land
from wildsat_core.models.registry import load_model, model_ref

NAME: Final = "sentinel2-samples"
MODEL: Final = "wildsat-s2"
TILE_PX: Final = 64
TRUE_COLOUR: Final = (4, 3, 2)
STRETCH: Final = Stretch(0, 3000)
DATA: Final = "WILDSAT_DATA"

PROVENANCE: Final = {
    "title": "Sentinel-2 samples",
    "description": "Two dozen places of 2.56 km from all over the world at 10 m a pixel, cut into squares of 640 m.",
    "attribution": "Contains modified Copernicus Sentinel data",
    "notice": "These are samples of a few places: what is not among them can't be found.",
}


@dataclass(frozen=True)
class ChipsSource:
    """Tiles of every raster in a folder, cut along its own pixels; twelve bands of reflectance x 10,000."""

    folder: str
    name: str = "raster"
    bands: tuple[str, ...] = RGB

    @cached_property
    def _rasters(self) -> list[RasterSource]:
        grid = PixelGrid(TILE_PX, TILE_PX)
        return [
            RasterSource(str(path), grid, band_indexes=TRUE_COLOUR, stretch=STRETCH, scene=path.stem)
            for path in sorted(files_below(self.folder, {".tif"}))
        ]

    def partitions(self) -> Iterator[Partition]:
        """Those of each raster."""
        for number, raster in enumerate(self._rasters):
            for part in raster.partitions():
                yield Partition(f"{raster.scene}-{part.key}", part.at_most, (number, part))

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate | LeftOut]:
        """Raster after raster."""
        for part in self.partitions() if partition is None else (partition,):
            number, of_raster = part.locator
            for found in self._rasters[number].candidates(of_raster):
                yield found if isinstance(found, LeftOut) else Candidate(found.tile, (number, found.locator))

    def count(self) -> int | None:
        """Tiles of all rasters."""
        return sum(raster.count() or 0 for raster in self._rasters)

    def read(self, candidate: Candidate) -> Reading:
        """Pixels of one tile."""
        number, locator = candidate.locator
        reading: Reading = self._rasters[number].read(Candidate(candidate.tile, locator))
        return reading

    def provenance(self) -> dict[str, Any]:
        """What was cut, and how."""
        return {"source": self.name, "tile_px": TILE_PX, "stretch": str(STRETCH), "bands": list(self.bands)}


def samples_folder() -> Path | None:
    """The chips of the folder that $WILDSAT_DATA names; None when there are none."""
    data = os.environ.get(DATA)
    folder = Path(data) / "sentinel2" if data else None
    return folder if folder and any(files_below(folder, {".tif"})) else None


def are_there(root: Path, model: str = MODEL) -> bool:
    """Whether the samples lie there already, made by the model in use."""
    try:
        return stranger_in(read_current_manifest(root), model_ref(model), PROVENANCE["title"]) is None
    except CollectionNotFoundError:
        return False


def build_samples(root: Path, folder: Path, model: str = MODEL, on_progress: Progress = lambda _: None) -> BuildReport:
    """Build the collection of samples.

    Args:
        root: folder of the collection. Another one that lies there is moved aside first, whole.
        folder: the chips.
        model: name or directory.
        on_progress: called with the number of tiles dealt with.
    """
    move_stranger_aside(root, model_ref(model), PROVENANCE["title"])
    options = BuildOptions(workers=0, countries=load_countries(), land=load_land(), read=ReadOptions(TILE_PX))
    report = build_collection(ChipsSource(str(folder)), load_model(model), root, options, PROVENANCE, on_progress)
    publish_tile_imagery(root)
    return report
