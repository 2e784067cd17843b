"""Map tiles of a collection that has no picture beside its tiles: their thumbnails, side by side where they lie."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from wildsat_core.collection import Collection, open_collection, read_current_manifest
from wildsat_core.collection.maintain import publish_imagery
from wildsat_core.collection.manifest import IMAGERY_FILE, Manifest
from wildsat_core.collection.map_tiles import Imagery, MapTile, write_map_tiles
from wildsat_core.errors import CollectionFormatError
from wildsat_core.mercator import MAX_LATITUDE
from wildsat_core.types import BBox, Tile

if TYPE_CHECKING:
    from PIL.Image import Image

MAP_TILE_PX: Final = 512
COARSER: Final = 5  # zooms: there a thumbnail of 128 pixels is a dot of four
QUALITY: Final = 78
MOST_DECODED: Final = 2048  # thumbnails that are kept while their neighbours are painted
# Tiles side by side share a map tile, eight or more of them. Far apart each would have some six to itself, 86 kB.
FEW_MAP_TILES: Final = 1024
TILES_EACH: Final = 2  # at most one map tile for so many tiles, where that is more than a few
MOST_MAP_TILES: Final = 50_000  # 1.5 GB
MOST_MET: Final = 8  # map tiles that a tile meets on average; a thumbnail of 512 pixels meets at most six
MARK: Final = "wildsat_tiles"  # in the metadata: which tiles were painted

At = tuple[int, int]  # column and row of a map tile


class _Place(NamedTuple):
    """A row of the collection and its pixels on a map tile: left, top, right, bottom, perhaps beyond its edges."""

    row: int
    box: tuple[int, int, int, int]


def is_painted(root: Path) -> bool:
    """Whether the map tiles that a collection has were painted of the very tiles that it has now."""
    manifest = read_current_manifest(root)
    try:
        return manifest.imagery is not None and Imagery(root / IMAGERY_FILE).metadata.get(MARK) == _tiles_of(manifest)
    except CollectionFormatError:
        return False


def _tiles_of(manifest: Manifest) -> str:
    """Changes with the tiles that a generation has."""
    files = [segment.id for segment in manifest.segments] + [deleted.file for deleted in manifest.deleted.values()]
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]


def publish_tile_imagery(root: Path, *, wait_s: float = 0.0) -> int:
    """Paint a collection's thumbnails as map tiles, in place of any there, and publish a generation that names them.

    Where several tiles show one place, the newest is on top. What lies beyond 85 degrees has no place on such a map. Of
    tiles far apart, or very many, the finest zooms are left out, so that the map tiles stay few beside the tiles.

    Args:
        root: folder of the collection.
        wait_s: how long to wait for another writer.

    Returns:
        Number of map tiles; 0 where the collection has no thumbnails, and nothing is published.
    """
    collection = open_collection(root)
    wanted = _finest_zoom(collection)
    if wanted is None:
        return 0
    painter = _fitting(collection, wanted)
    zoom, least = painter.zoom, painter.least
    provenance = collection.manifest.provenance
    facts = {
        "name": str(provenance.get("title", root.name)),
        "attribution": str(provenance.get("attribution", "")),
        "format": "webp",
        "type": "overlay",
        "minzoom": str(least),
        "maxzoom": str(zoom),
        "tile_size": str(MAP_TILE_PX),
        MARK: _tiles_of(collection.manifest),
        **({} if (bounds := _bounds(collection)) is None else {"bounds": bounds}),
    }
    count = write_map_tiles(root / IMAGERY_FILE, _painted(painter), facts)
    publish_imagery(root, wait_s=wait_s)
    return count


def _bounds(collection: Collection) -> str | None:
    """West, south, east and north of all tiles; None where some cross the antimeridian or meet at it."""
    boxes = [collection.tile(row).bbox for row in range(len(collection))]
    meet = any(box.east >= 180 for box in boxes) and any(box.west <= -180 for box in boxes)
    if meet or any(box.crosses_antimeridian for box in boxes):
        return None
    west, south, east, north = zip(*(box.as_tuple() for box in boxes), strict=True)
    return f"{min(west)},{min(south)},{max(east)},{max(north)}"


def _finest_zoom(collection: Collection) -> int | None:
    """The zoom whose pixels are nearest to those of a thumbnail; None without thumbnails."""
    for row in range(len(collection)):
        if (picture := _decoded(collection, row)) is not None:
            box = collection.tile(row).bbox
            share = (_down(box.south) - _down(box.north)) / picture.height
            return max(round(-math.log2(share * MAP_TILE_PX)), 0)
    return None


def _fitting(collection: Collection, zoom: int) -> _Painter:
    """A painter of the finest zoom, up to the one given, that does not make too many map tiles."""
    boxes = [collection.tile(row).bbox for row in range(len(collection))]
    most = min(max(len(boxes) // TILES_EACH, FEW_MAP_TILES), MOST_MAP_TILES)
    while zoom and _met(boxes, zoom) > MOST_MET * len(boxes):  # one large tile among small ones
        zoom -= 1
    while (painter := _Painter(collection, zoom)).count > most and zoom:
        zoom -= 1
    return painter


def _met(boxes: Sequence[BBox], zoom: int) -> float:
    """How many map tiles of a zoom some boxes meet, each for itself and about."""
    across = 1 << zoom
    return sum(
        (box.width_deg / 360 * across + 1) * ((_down(box.south) - _down(box.north)) * across + 1) for box in boxes
    )


def _painted(painter: _Painter) -> Iterator[MapTile]:
    """All map tiles that show something, each after those that it is made of."""
    for at in sorted(painter.occupied[painter.least]):
        painter.paint(painter.least, at)
        yield from painter.done
        painter.done.clear()


class _Painter:
    """Paints map tiles, the finest from thumbnails and each other from the four below it.

    Attributes:
        zoom, least: the finest and the coarsest that are painted.
        places: what each map tile of the finest zoom shows, the newest last.
        occupied: the map tiles of each zoom that show something.
        done: map tiles that are painted.
    """

    def __init__(self, collection: Collection, zoom: int) -> None:
        """Find out what lies where."""
        self.zoom, self.least, self.done = zoom, max(zoom - COARSER, 0), list[MapTile]()
        self.places: dict[At, list[_Place]] = defaultdict(list)
        self._thumbnail = lru_cache(maxsize=MOST_DECODED)(lambda row: _decoded(collection, row))
        tiles = sorted(((collection.tile(row), row) for row in range(len(collection))), key=_day)
        for tile, row in tiles:
            if tile.bbox.south < MAX_LATITUDE and tile.bbox.north > -MAX_LATITUDE:
                self._lay(row, tile.bbox)
        self.occupied = [
            {(column >> (zoom - level), line >> (zoom - level)) for column, line in self.places}
            for level in range(zoom + 1)
        ]

    @property
    def count(self) -> int:
        """How many map tiles there will be."""
        return sum(len(occupied) for occupied in self.occupied[self.least :])

    def _lay(self, row: int, box: BBox) -> None:
        """Note which map tiles a tile meets; one over the antimeridian goes on at the other end."""
        across = 1 << self.zoom
        start = (box.west + 180) / 360
        shares = start, _down(box.north), start + box.width_deg / 360, _down(box.south)
        left, top, right, bottom = (round(share * across * MAP_TILE_PX) for share in shares)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        for column in range(left // MAP_TILE_PX, (right - 1) // MAP_TILE_PX + 1):
            for line in range(top // MAP_TILE_PX, (bottom - 1) // MAP_TILE_PX + 1):
                x, y = column * MAP_TILE_PX, line * MAP_TILE_PX
                self.places[column % across, line].append(_Place(row, (left - x, top - y, right - x, bottom - y)))

    def paint(self, zoom: int, at: At) -> Image:
        """A map tile, put into `done` after those below it."""
        from PIL import Image

        canvas = Image.new("RGBA", (MAP_TILE_PX, MAP_TILE_PX))
        if zoom == self.zoom:
            for row, (left, top, right, bottom) in self.places[at]:
                if (picture := self._thumbnail(row)) is not None:
                    canvas.paste(picture.resize((right - left, bottom - top)), (left, top))
        else:
            for across, down in itertools.product((0, 1), (0, 1)):
                below = 2 * at[0] + across, 2 * at[1] + down
                if below in self.occupied[zoom + 1]:
                    smaller = self.paint(zoom + 1, below).reduce(2)
                    canvas.paste(smaller, (across * MAP_TILE_PX // 2, down * MAP_TILE_PX // 2))
        buffer = io.BytesIO()
        canvas.save(buffer, "WEBP", quality=QUALITY, method=0)
        self.done.append(MapTile(zoom, *at, buffer.getvalue()))
        return canvas


def _day(found: tuple[Tile, int]) -> str:
    return str(found[0].captured_on or "")


def _decoded(collection: Collection, row: int) -> Image | None:
    from PIL import Image

    picture = collection.thumbnail(row)
    return None if picture is None else Image.open(io.BytesIO(picture)).convert("RGB")


def _down(lat: float) -> float:
    """How far south a latitude lies on the map, 0 to 1."""
    clipped = math.radians(min(max(lat, -MAX_LATITUDE), MAX_LATITUDE))
    return (1 - math.asinh(math.tan(clipped)) / math.pi) / 2
