"""Sentinel-2 from a STAC API: the scenes of an area and time, cut on the kilometre grid.

Scenes stay where they are: GDAL reads the windows it needs from cloud-optimised GeoTIFFs by range requests.
"""

from __future__ import annotations

import datetime as dt
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Final, Literal, Self

from indexer.sources.catalogues import DEFAULT_COLLECTION
from indexer.sources.grid import Cell, KilometreGrid
from indexer.sources.mosaics import Layer, Mask, Pixels, filled, is_filled, median
from indexer.sources.pixels import Stretch, reading_of
from indexer.sources.protocol import MOST_IN_PARTITION, Candidate, LeftOut, Partition, Reading, Version
from indexer.sources.scene_reader import ScenePlace, SceneReader, find_signer
from indexer.sources.scenes import LEAST_COVER, OFFSET_DAY, Scene, SceneTable, search_scenes
from wildsat_core.addresses import public_name, same_when_signed_anew
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import BBox, Tile

logger = logging.getLogger(__name__)

MOST_OTHERS: Final = 3  # scenes that are tried where the first one shows nothing of a cell
MOST_LAYERS: Final = 12  # scenes of a mosaic
Pick = Literal["newest", "least-cloudy", "all"]
PICKS: Final[tuple[Pick, ...]] = ("newest", "least-cloudy", "all")
Mosaic = Literal["newest", "clearest", "median"]
MOSAICS: Final[tuple[Mosaic, ...]] = ("newest", "clearest", "median")
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
# https://github.com/stac-extensions/eo#common-band-names, where it is another than the name here.
COMMON_NAMES: Final[Mapping[str, str]] = {
    "b01": "coastal", "b05": "rededge071", "b06": "rededge075", "b07": "rededge078", "b08": "nir", "b8a": "nir08",
    "b09": "nir09", "b11": "swir16", "b12": "swir22",
}  # fmt: skip
VISUAL_KEYS: Final = ("visual", "TCI_10m")


@dataclass(frozen=True)
class Sentinel2Source:
    """Tiles of the scenes that a catalogue has for an area and time.

    Attributes:
        api: address of the STAC API.
        area: where; cells of the grid with their centre in this box.
        since, until: first and last day.
        grid: how the area is cut.
        max_cloud: largest cloud share of a scene, 0..1.
        pick: which scene a cell is cut from; "all" gives a tile for every date. Where it shows nothing of a cell, the
            next ones are tried.
        mosaic: make a cell of several scenes instead: "newest" and "clearest" (by the scene's cloud) fill its gaps from
            the next scene, "median" takes each pixel's median. None makes it of one.
        offset: to be added to stored reflectance; None as the catalogue tells of each scene.
        assets: "visual" reads the catalogue's true-colour picture, "bands" the reflectance of each band.
        stretch: map of reflectance x 10,000 to eight bits; only for "bands".
        signer: "module:function" that turns an asset's address into one that may be read, called in the reader.
        tile_px: side of a tile in pixels; None for 10 m pixels.
        only: ids of the scenes that count, whatever else the catalogue has; None for all.
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
    mosaic: Mosaic | None = None
    offset: int | None = None
    only: frozenset[str] | None = field(default=None, repr=False)
    name: str = "sentinel2"

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.assets == "visual" and (self.bands != RGB or self.stretch is not None):
            raise InvalidInputError(
                "the visual asset has red, green and blue in eight bits: no other bands, no stretch", "assets"
            )
        if self.pick not in PICKS:
            raise InvalidInputError(f"pick must be one of {', '.join(PICKS)}, got {self.pick!r}", "pick")
        if self.mosaic not in (None, *MOSAICS):
            raise InvalidInputError(f"mosaic must be one of {', '.join(MOSAICS)}, got {self.mosaic!r}", "mosaic")
        if self.mosaic is not None and self.pick != "newest":
            raise InvalidInputError("a mosaic is made of all scenes: --pick has no part in it", "pick")
        if self.offset is not None and self.assets == "visual":
            raise InvalidInputError("the visual asset has no offset: --offset is of --assets bands", "offset")
        if self.since > self.until:
            raise InvalidInputError(f"--from {self.since} is after --to {self.until}", "from")
        if not 0 <= self.max_cloud <= 1:
            raise InvalidInputError(f"max-cloud must lie in [0, 1], got {self.max_cloud}", "max-cloud")
        if unknown := [band for band in self.bands if band not in ASSET_KEYS]:
            raise InvalidInputError(f"Sentinel-2 L2A has no band {', '.join(unknown)}", "bands")
        if self.signer is not None:
            find_signer(self.signer)

    def count(self) -> int | None:
        """Cells of the area: with one date a cell, the most that there can be."""
        return None if self.pick == "all" else self.grid.count(self.area)

    def partitions(self) -> Iterator[Partition]:
        """Blocks of neighbouring cells; with a tile for every date, parts of them."""
        for block in self.grid.blocks(self.area):
            for first in range(0, block.cells, self._cells_at_once):
                above = min(first + self._cells_at_once, block.cells)
                tiles = (above - first) * self._most_a_cell
                yield Partition(f"{block.key}-{first}", min(tiles, MOST_IN_PARTITION), (block, first, above))

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate | LeftOut]:
        """Cells, scene by scene, each cut from the scene that the rule picks, or from every date.

        Scenes that can't be understood come first, as left out. The catalogue is searched once for each block of cells.

        Raises:
            SourceError: the catalogue can't be searched.
        """
        if partition is not None:
            block, first, above = partition.locator
            cells = list(self.grid.cells_of(block, self.area))[first:above]
            yield from self._listed(cells, [cells], is_all=False)
            return
        blocks = list(self.grid.blocks(self.area))
        told: set[str] = set()
        for block in blocks:
            cells = list(self.grid.cells_of(block, self.area))
            size = self._cells_at_once
            parts = [cells[first : first + size] for first in range(0, len(cells), size)]
            for found in self._listed(cells, parts, is_all=len(blocks) < 2):
                if isinstance(found, Candidate) or found.what not in told:  # a scene may lie in several blocks
                    yield found
                    told |= {found.what} if isinstance(found, LeftOut) else set()

    def read(self, candidate: Candidate) -> Reading:
        """Resample one cell from its scene, or from several.

        Raises:
            UnreachableError: the server does not answer.
            OffsetInDoubtError: the offset that the catalogue tells is not in the pixels.
            SourceError: an asset can't be read.
        """
        places: tuple[ScenePlace, ...] = candidate.locator
        if self.mosaic is None:
            [place] = places
            reading = reading_of(*self._reader.read(place, candidate.tile), self.stretch)
            is_first = place.scene_id == candidate.tile.href
            return reading if is_first else replace(reading, tile=_of(candidate.tile, place))
        values, valid, used = self._mosaicked(candidate, places)
        return replace(reading_of(values, valid, self.stretch), tile=_made_of(candidate.tile, used))

    def prepare(self, candidates: Sequence[Candidate]) -> None:
        """Fetch what some cells need of their first scenes, or of all that a median is taken of, in few requests.

        Raises:
            SourceError: it can't be had.
        """
        boxes: dict[ScenePlace, list[BBox]] = {}
        for candidate in candidates:
            for place in candidate.locator if self.mosaic == "median" else candidate.locator[:1]:
                boxes.setdefault(place, []).append(candidate.tile.bbox)
        for place, some in boxes.items():
            self._reader.prepare(place, some)

    def inputs(self) -> Iterator[Version]:
        """The scenes by what the catalogue says of them, where one search gives all.

        A large area is searched block by block while it is listed; searching all of it to begin with took as long
        again.

        Raises:
            SourceError: the catalogue can't be searched.
        """
        if len(list(itertools.islice(self.grid.blocks(self.area), 2))) > 1:
            return
        for scene in self._search(self.area):
            if isinstance(scene, Scene) and (self.only is None or scene.scene_id in self.only):
                addresses = (same_when_signed_anew(href) for asset in scene.assets for href in asset.hrefs)
                yield Version(scene.scene_id, "\0".join((scene.version, str(scene.offset), *addresses)))

    def scene_ids(self) -> set[str]:
        """The scenes that the catalogue has now."""
        return {scene.scene_id for scene in self._search(self.area) if not isinstance(scene, LeftOut)}

    def pinned(self, scene_ids: Iterable[str]) -> Self:
        """The same source of these scenes alone."""
        return replace(self, only=frozenset(scene_ids))

    def provenance(self) -> dict[str, Any]:
        """Where, when and how chosen, cut and stretched."""
        return {
            "source": self.name,
            "input": public_name(self.api),
            "catalogue_collection": self.collection,
            "bbox": list(self.area.as_tuple()),
            "from": self.since.isoformat(),
            "to": self.until.isoformat(),
            "max_cloud": self.max_cloud,
            "pick": self.pick,
            "mosaic": self.mosaic,
            "grid": self.grid.name,
            "assets": self.assets,
            "offset": self.offset,
            "bands": list(self.bands),
            "stretch": str(self.stretch) if self.stretch else None,
            "attribution": f"Contains modified Copernicus Sentinel data {self.since.year}"
            + (f"-{self.until.year}" if self.until.year > self.since.year else ""),
        }

    @property
    def _most_a_cell(self) -> int:
        """Tiles that a cell can have: one for each date, or one."""
        return (self.until - self.since).days + 1 if self.pick == "all" else 1

    @property
    def _cells_at_once(self) -> int:
        return max(MOST_IN_PARTITION // self._most_a_cell, 1)

    def _listed(self, cells: list[Cell], parts: list[list[Cell]], *, is_all: bool) -> Iterator[Candidate | LeftOut]:
        """Candidates of some cells, after one search; those of each part ordered by scene.

        Args:
            cells: all of them.
            parts: the same, cut.
            is_all: whether they are all cells of the area.
        """
        scenes = []
        for scene in self._search(self.area if is_all else _box_around(cells)):
            if isinstance(scene, LeftOut):
                yield scene
            elif self.only is None or scene.scene_id in self.only:
                scenes.append(scene)
        if self.assets == "bands" and self.offset is None:
            _tell_unknown_offsets(scenes)
        table = SceneTable(sorted(scenes, key=self._preference))
        places = {scene.scene_id: self._place(scene) for scene in scenes}
        for part in parts:
            least = LEAST_COVER if self.mosaic is None else LEAST_OF_MOSAIC
            covering = table.over_each([cell.bbox for cell in part], least)
            by_scene: dict[str, list[Candidate]] = {}
            for cell, over in zip(part, covering, strict=True):
                for candidate in self._of_cell(cell, over, places):
                    by_scene.setdefault(candidate.locator[0].scene_id, []).append(candidate)
            for group in by_scene.values():
                yield from group

    def _search(self, box: BBox) -> Iterator[Scene | LeftOut]:
        return search_scenes(
            self.api,
            self.collection,
            box,
            self.since,
            self.until,
            self.max_cloud,
            self._asset_keys,
            [] if self.assets == "visual" else [COMMON_NAMES.get(band, band) for band in self.bands],
        )

    def _of_cell(self, cell: Cell, scenes: Sequence[Scene], places: Mapping[str, ScenePlace]) -> Iterator[Candidate]:
        """The tile of a cell, or those of all dates; whole cover goes before everything.

        Args:
            cell: where.
            scenes: over it, in the order of preference.
            places: by scene.
        """
        head, gsd_m = f"s2-{self.grid.cell_id(cell)}", self.grid.size_km * 1000 / self._px
        if self.mosaic is not None:
            tile_id = f"{head}-{self.mosaic}-{self.since:%Y%m%d}-{self.until:%Y%m%d}"
            if scenes:
                tile = Tile(tile_id, cell.bbox, gsd_m, self.name)
                yield Candidate(tile, tuple(places[scene.scene_id] for scene in scenes[:MOST_LAYERS]))
            return

        def first_of(best: Sequence[Scene]) -> Candidate:
            """A candidate of the first scene, with the next ones where that shows nothing."""
            first, *others = (places[scene.scene_id] for scene in best[: 1 + MOST_OTHERS])
            tile = Tile(
                tile_id=f"{head}-{first.day}",
                bbox=cell.bbox,
                gsd_m=gsd_m,
                source=self.name,
                href=first.scene_id,
                captured_on=first.date,
                cloud_cover=first.cloud_cover,
            )
            instead = tuple(f"{head}-{place.day}" for place in others)
            return Candidate(tile, (first,), tuple((place,) for place in others), instead)

        covering = sorted(scenes, key=attrgetter("cover"), reverse=True)  # stable: else by preference
        if self.pick == "all":
            for date in sorted({scene.date for scene in covering}):
                yield first_of([scene for scene in covering if scene.date == date])
        elif covering:
            yield first_of(covering)

    def _preference(self, scene: Scene) -> tuple[float, float, str]:
        """For sorting: the newest scene first, or the clearest."""
        if "least-cloudy" in (self.pick, _PICK_OF[self.mosaic]):
            return _cloud(scene), -scene.date.toordinal(), scene.scene_id
        return -scene.date.toordinal(), _cloud(scene), scene.scene_id

    def _place(self, scene: Scene) -> ScenePlace:
        offset = scene.likely_offset if self.offset is None else self.offset
        return ScenePlace(
            scene_id=scene.scene_id,
            date=scene.date,
            day=f"{scene.date:%Y%m%d}",
            cloud_cover=scene.cloud_cover,
            assets=scene.assets,
            offset=offset if self.assets == "bands" else 0,
            classes=scene.classes if self.mosaic in ("clearest", "median") else None,
        )

    @property
    def _asset_keys(self) -> list[Sequence[str]]:
        return [VISUAL_KEYS] if self.assets == "visual" else [ASSET_KEYS[band] for band in self.bands]

    @property
    def _px(self) -> int:
        return self.tile_px or max(round(self.grid.size_km * 1000 / NATIVE_M), 16)

    @property
    def _reader(self) -> SceneReader:
        return SceneReader(self._px, self.signer)

    def _mosaicked(self, candidate: Candidate, places: Sequence[ScenePlace]) -> tuple[Pixels, Mask, list[ScenePlace]]:
        """A cell made of several scenes: values, mask, and the scenes that there is something of in it.

        A scene that can't be read is passed over, unless none can.
        """
        layers: list[Layer] = []
        read: list[ScenePlace] = []
        fault: SourceError | None = None
        for place in places:
            try:
                values, valid = self._reader.read(place, candidate.tile)
                clear = self._reader.clear(place, candidate.tile)
            except SourceError as err:
                fault = fault or err
                continue
            layers.append(Layer(values, valid, clear))
            read.append(place)
            if self.mosaic != "median" and is_filled(layers):
                break
        if fault is not None and not layers:
            raise fault
        if not layers:
            raise SourceError(f"{candidate.tile.tile_id}: no scene has data there")
        values, valid, used = median(layers) if self.mosaic == "median" else filled(layers)
        return values, valid, [read[i] for i in used]


LEAST_OF_MOSAIC: Final = 0.01  # of a cell, for a scene to have a part in its mosaic
_PICK_OF: Final[Mapping[Mosaic | None, Pick | None]] = {
    None: None, "newest": "newest", "clearest": "least-cloudy", "median": "least-cloudy"
}  # fmt: skip


def _of(tile: Tile, place: ScenePlace) -> Tile:
    """The tile of the same cell that another scene makes."""
    return replace(
        tile,
        tile_id=f"{tile.tile_id.rpartition('-')[0]}-{place.day}",
        href=place.scene_id,
        captured_on=place.date,
        cloud_cover=place.cloud_cover,
    )


def _made_of(tile: Tile, used: Sequence[ScenePlace]) -> Tile:
    """A mosaic's tile with the date and cloud of its scene, where it turned out to be of one only."""
    ids = dict.fromkeys(place.scene_id for place in used)
    dates, clouds = {place.date for place in used}, {place.cloud_cover for place in used}
    return replace(
        tile,
        href=" ".join(ids),
        captured_on=dates.pop() if len(dates) == 1 else None,
        cloud_cover=clouds.pop() if len(ids) == 1 and clouds else None,
    )


def _tell_unknown_offsets(scenes: Sequence[Scene]) -> None:
    if untold := sum(scene.offset is None for scene in scenes):
        logger.warning(
            "%d of %d scenes don't tell their processing baseline: reflectance of %s and later is taken to have "
            "1000 added, older one not",
            *(untold, len(scenes), OFFSET_DAY),
        )


def _box_around(cells: Sequence[Cell]) -> BBox:
    """The box that holds the boxes of neighbouring cells, by way of 180 degrees where they lie on both sides."""
    south, north = min(cell.bbox.south for cell in cells), max(cell.bbox.north for cell in cells)
    first = cells[0].bbox.west
    starts = [(cell.bbox.west - first + 180.0) % 360.0 - 180.0 for cell in cells]
    west, east = min(starts), max(s + cell.bbox.width_deg for s, cell in zip(starts, cells, strict=True))
    if east - west >= 360.0:
        return BBox(-180.0, south, 180.0, north)
    ends = [(first + lon + 180.0) % 360.0 - 180.0 for lon in (west, east)]
    return BBox(ends[0], south, 180.0 if ends[1] == -180.0 else ends[1], north)


def _cloud(scene: Scene) -> float:
    """For comparing: a scene whose cloud is unknown is the last choice."""
    return 1.0 if scene.cloud_cover is None else scene.cloud_cover
