"""SatlasPretrain's Sentinel-2 tree: <root>/<image>/<tci or band>/<column>_<row>.png, Web Mercator zoom 13, 512 pixels.

Each image is one scene; `metadata/image_times.json` of the data set maps image names to ISO times. Its eight-bit bands
beside `tci` are reflectance x 10,000 divided by 32 (https://github.com/allenai/satlas/blob/main/Normalization.md).
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from indexer.sources.picture import read_picture
from indexer.sources.places import centre_in, slug
from indexer.sources.protocol import MOST_IN_PARTITION, Candidate, LeftOut, Partition, Reading
from indexer.sources.times import utc_day
from indexer.sources.walking import files_below, is_of_a_program
from wildsat_core.bands import RGB
from wildsat_core.errors import SourceError
from wildsat_core.mercator import map_tile_box, pixel_m
from wildsat_core.types import BBox, Tile

ZOOM: Final = 13
TILE_PX: Final = 512
_FILE: Final = re.compile(r"^(\d{1,4})_(\d{1,4})\.png$")


@dataclass(frozen=True)
class SatlasSource:
    """Tiles of a SatlasPretrain tree.

    Attributes:
        root: folder of the images.
        dates: `image_times.json`; None leaves tiles without a date.
        bands: red, green and blue come from `tci`, any other from the folder of its name.
        area: only tiles with their centre in this box.
    """

    root: str
    dates: str | None = None
    bands: tuple[str, ...] = RGB
    area: BBox | None = None
    name: str = "satlas"

    def __post_init__(self) -> None:
        """Say at once when there is no such folder or table."""
        if not Path(self.root).is_dir():
            raise SourceError(f"{self.root} is not a folder")
        _dates(self.dates)

    def count(self) -> int | None:
        """None: counting the files takes as long as listing them."""
        return None

    def partitions(self) -> Iterator[Partition]:
        """An image each: one scene."""
        for image in self._images():
            tiles = len(self._tiles(image))
            for first in range(0, tiles, MOST_IN_PARTITION):
                above = min(first + MOST_IN_PARTITION, tiles)
                yield Partition(f"{image}-{first}", above - first, (image, first, above))

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate | LeftOut]:
        """Images by name, and in each its tiles by file name."""
        dates = _dates(self.dates)
        for part in self.partitions() if partition is None else (partition,):
            image, first, above = part.locator
            for column, row in self._tiles(image)[first:above]:
                if not (0 <= column < 1 << ZOOM and 0 <= row < 1 << ZOOM):
                    yield LeftOut("off the map", f"{self.root}/{image}: zoom {ZOOM} has no tile {column}_{row}")
                    continue
                candidate = self._candidate(image, column, row, dates.get(image))
                if self.area is None or centre_in(self.area, candidate.tile.bbox):
                    yield candidate

    def read(self, candidate: Candidate) -> Reading:
        """All bands of a tile, (C, 512, 512) uint8.

        Raises:
            SourceError: a band's file is missing or damaged; a missing band is never filled in.
        """
        image, file_name = candidate.locator
        folder = Path(self.root) / image
        others = [band for band in self.bands if band not in RGB]
        by_band = {band: read_picture(str(folder / band / file_name), (1,)) for band in others}
        colours = read_picture(str(folder / "tci" / file_name), (1, 2, 3))
        layers = [colours.pixels[RGB.index(band)] if band in RGB else by_band[band].pixels[0] for band in self.bands]
        if len({layer.shape for layer in layers}) > 1:
            raise SourceError(f"{folder}: the bands of {file_name} differ in size")
        return Reading(np.stack(layers), max([colours.missing, *(r.missing for r in by_band.values())]))

    def inputs(self) -> Iterator[str]:
        """All files of the tree's images, and the table of their times."""
        yield from ([self.dates] if self.dates else [])
        for image in self._images():
            yield from map(str, files_below(Path(self.root) / image, {".png"}))

    def provenance(self) -> dict[str, Any]:
        """What."""
        return {"source": self.name, "input": Path(self.root).resolve().name, "bands": list(self.bands)}

    def _images(self) -> list[str]:
        """Folders of images by name."""
        folders = (path for path in Path(self.root).iterdir() if not is_of_a_program(path.name))
        return sorted(path.name for path in folders if (path / "tci").is_dir())

    def _tiles(self, image: str) -> list[tuple[int, int]]:
        """Column and row of an image's tiles, by file name."""
        names = sorted(path.name for path in (Path(self.root) / image / "tci").iterdir())
        found = (_FILE.fullmatch(name) for name in names)
        return [(int(match[1]), int(match[2])) for match in found if match]

    def _candidate(self, image: str, column: int, row: int, date: dt.date | None) -> Candidate:
        box = map_tile_box(ZOOM, column, row)
        tile = Tile(
            tile_id=f"satlas-{slug(image)}-{column}_{row}",
            bbox=box,
            gsd_m=pixel_m(box, TILE_PX),
            source=self.name,
            href=f"{image}/tci/{column}_{row}.png",
            captured_on=date,
        )
        return Candidate(tile, (image, f"{column}_{row}.png"))


@functools.lru_cache(maxsize=2)
def _dates(path: str | None) -> dict[str, dt.date]:
    """Day of each image.

    Raises:
        SourceError: not a JSON object of ISO times.
    """
    if path is None:
        return {}
    try:
        times = json.loads(Path(path).read_text(encoding="utf-8"))
        return {image: day for image, time in times.items() if (day := utc_day(time)) is not None}
    except (OSError, ValueError, AttributeError, TypeError) as err:
        raise SourceError(f"{path} must map image names to ISO times, as image_times.json does: {err}") from err
