"""How folders and files of map tiles are numbered: rows from the north or the south, in Web Mercator or in degrees.

The numbering is read from what lies beside the tiles: `tilemapresource.xml` (TMS, as gdal2tiles writes it), a TileJSON,
or the metadata of an MBTiles file. Where that can't be so, or says nothing that is known here, it is refused: a wrong
guess would turn the Earth upside down.
"""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree import ElementTree as ET

from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.mercator import MAX_LATITUDE, map_tile_box
from wildsat_core.types import BBox

TMS_FILE: Final = "tilemapresource.xml"
TILEJSON_FILES: Final = ("tile.json", "tiles.json", "tilejson.json", "metadata.json")
_MERCATOR_SYSTEMS: Final = re.compile(r"\b(3857|3785|900913|41001|102100|102113)\b|mercator", re.IGNORECASE)
_DEGREE_SYSTEMS: Final = re.compile(r"\b(4326|CRS84)\b|geodetic|WGS ?84$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TileScheme:
    """A numbering of map tiles.

    Attributes:
        rows_from: the side of the map where row 0 is.
        profile: Web Mercator, or plate carree degrees.
        degrees_at_0: width of a tile of zoom 0 in degrees; geodetic pyramids begin with two tiles or with one.
    """

    rows_from: Literal["north", "south"] = "north"
    profile: Literal["mercator", "geodetic"] = "mercator"
    degrees_at_0: float = 360.0

    def columns(self, zoom: int) -> int:
        """Number of columns of a zoom."""
        return round(360.0 / self.degrees_at_0) << zoom

    def rows(self, zoom: int) -> int:
        """Number of rows of a zoom; of a geodetic pyramid that begins with one tile, half lie beyond the north pole."""
        return 1 << zoom

    def from_north(self, zoom: int, row: int) -> int:
        """A row as this scheme numbers it, counted from the north; the same the other way round."""
        return row if self.rows_from == "north" else self.rows(zoom) - 1 - row

    def columns_in(self, area: BBox, zoom: int) -> list[int]:
        """Columns whose centre lies between west and east, eastwards from -180."""
        count = self.columns(zoom)

        def run(west: float, east: float) -> range:
            first, last = (west + 180.0) / 360.0 * count - 0.5, (east + 180.0) / 360.0 * count - 0.5
            return range(max(math.ceil(first), 0), min(math.floor(last), count - 1) + 1)

        if area.crosses_antimeridian:
            return [*run(-180.0, area.east), *run(area.west, 180.0)]
        return [*run(area.west, area.east)]

    def rows_in(self, area: BBox, zoom: int) -> list[int]:
        """Rows whose centre lies between south and north, from north to south."""
        every = range(self.rows(zoom))

        def south_of_equator(north_row: int) -> float:  # grows with the row
            box = self.box(zoom, 0, self.from_north(zoom, north_row))
            return -box.centre[1] if box else -math.inf

        first = bisect.bisect_left(every, -area.north, key=south_of_equator)
        above = bisect.bisect_right(every, -area.south, key=south_of_equator)
        return [self.from_north(zoom, row) for row in every[first:above]]

    def box(self, zoom: int, column: int, row: int) -> BBox | None:
        """Box of a tile; None where there is no such tile on the globe."""
        if not (0 <= column < self.columns(zoom) and 0 <= row < self.rows(zoom)):
            return None
        north_row = self.from_north(zoom, row)
        if self.profile == "mercator":
            return map_tile_box(zoom, column, north_row)
        side = self.degrees_at_0 / (1 << zoom)
        south = -90.0 + (self.rows(zoom) - 1 - north_row) * side
        west = -180.0 + column * side
        if south >= 90.0:
            return None
        return BBox(west, south, min(west + side, 180.0), min(south + side, 90.0))

    def cut_off(self, zoom: int, box: BBox) -> float:
        """Share of a tile's height that lies beyond the north pole, as of the first zooms of geodetic pyramids."""
        if self.profile == "mercator":
            return 0.0
        return 1.0 - (box.north - box.south) / (self.degrees_at_0 / (1 << zoom))

    @property
    def mirrored(self) -> TileScheme:
        """The same with rows counted from the other side."""
        return TileScheme("south" if self.rows_from == "north" else "north", self.profile, self.degrees_at_0)


# What --scheme takes; those in degrees begin with two tiles at zoom 0, as OGC's WorldCRS84Quad and TMS's
# global-geodetic do: https://docs.ogc.org/is/17-083r4/17-083r4.html, https://wiki.osgeo.org/wiki/Tile_Map_Service_Specification
SCHEMES: Final[Mapping[str, TileScheme]] = {
    "xyz": TileScheme(),
    "tms": TileScheme("south"),
    "xyz-geodetic": TileScheme("north", "geodetic", 180.0),
    "tms-geodetic": TileScheme("south", "geodetic", 180.0),
}


def scheme_named(name: str) -> TileScheme:
    """The scheme that --scheme names.

    Raises:
        InvalidInputError: there is none of this name.
    """
    if name not in SCHEMES:
        raise InvalidInputError(f"--scheme must be one of {', '.join(SCHEMES)}, got {name!r}", "scheme")
    return SCHEMES[name]


def scheme_of_folder(folder: Path) -> tuple[TileScheme, BBox | None]:
    """Scheme of a z/x/y folder, and the bounds that it is said to have, as far as they are told in degrees.

    Raises:
        SourceError: what lies beside the tiles can't be read, or names a scheme that is not known here.
    """
    if (folder / TMS_FILE).is_file():
        return _of_tms(folder / TMS_FILE), None  # programs disagree about the order and unit of its bounds
    for name in TILEJSON_FILES:
        if (folder / name).is_file():
            return scheme_of_metadata(_json(folder / name), str(folder / name), TileScheme())
    return TileScheme(), None


def scheme_of_metadata(facts: Mapping[str, Any], where: str, usual: TileScheme) -> tuple[TileScheme, BBox | None]:
    """Scheme and bounds by the words of TileJSON, which MBTiles files use, too.

    Args:
        facts: the metadata.
        where: names it in messages.
        usual: the scheme of a file that says nothing of it.

    Raises:
        SourceError: it names something that is not known here, or says that the tiles are no pictures.
    """
    if str(facts.get("format", "")).lower() in ("pbf", "mvt"):
        raise SourceError(f"{where} says that its map tiles are vectors (format {facts['format']}), not pictures")
    rows = str(facts.get("scheme") or "").lower()
    if rows not in ("", "xyz", "tms"):
        raise SourceError(f"{where} has the scheme {rows!r}, which is not known here; say with --scheme what it means")
    rows_from = {"": usual.rows_from, "xyz": "north", "tms": "south"}[rows]
    system = str(facts.get("crs") or facts.get("srs") or facts.get("profile") or facts.get("projection") or "")
    bounds = _bounds(facts.get("bounds"))
    north = rows_from == "north"
    if not system or _MERCATOR_SYSTEMS.search(system):
        return SCHEMES["xyz" if north else "tms"], bounds
    if _DEGREE_SYSTEMS.search(system):
        return SCHEMES["xyz-geodetic" if north else "tms-geodetic"], bounds
    raise SourceError(
        f"{where} places its map tiles in {system!r}; only Web Mercator and degrees can be read. Index the raster that "
        "they were made from with --source raster"
    )


def _of_tms(path: Path) -> TileScheme:
    """Scheme by a TileMap document: rows from the south, in the projection and with the pixel sizes that it tells."""
    try:
        root = ET.fromstring(path.read_bytes())  # noqa: S314 - expat itself bounds what a document can grow to
    except (OSError, ET.ParseError) as err:
        raise SourceError(f"{path} can't be read: {err}; say with --scheme how its tiles are numbered") from err
    sets = root.find("TileSets")
    system = " ".join([root.findtext("SRS") or "", (sets.get("profile") or "") if sets is not None else ""]).strip()
    profile = (sets.get("profile") or "").lower() if sets is not None else ""
    if profile in ("raster", "none", "local") or not system:
        raise SourceError(
            f"{path} says that its tiles are cut along a raster's own pixels (profile {profile or 'unknown'}), so "
            "their numbers are no places: index the raster that they were made from with --source raster"
        )
    if "mercator" in profile or (not profile and _MERCATOR_SYSTEMS.search(system)):
        return SCHEMES["tms"]
    if "geodetic" in profile or _DEGREE_SYSTEMS.search(system):
        return TileScheme("south", "geodetic", _degrees_at_0(root, path))
    raise SourceError(
        f"{path} places its tiles in {system!r}; only Web Mercator and degrees can be read. Index the raster that they "
        "were made from with --source raster"
    )


def _degrees_at_0(root: ET.Element, path: Path) -> float:
    """Width of a tile of zoom 0, by the pixel size of the first zoom that is told; 180 where none is."""
    form, sets = root.find("TileFormat"), root.find("TileSets")
    side_px = float((form.get("width") if form is not None else None) or 256)
    for one in sets if sets is not None else ():
        if one.get("units-per-pixel") and one.get("order"):
            degrees = float(one.get("units-per-pixel", "")) * side_px * 2.0 ** int(one.get("order", ""))
            for known in (180.0, 360.0):
                if math.isclose(degrees, known, rel_tol=1e-3):
                    return known
            raise SourceError(f"{path}: its tiles of zoom 0 would be {degrees:g} degrees wide, not 180 or 360")
    return 180.0


def _json(path: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise SourceError(f"{path} can't be read: {err}; say with --scheme how the tiles are numbered") from err
    return facts if isinstance(facts, dict) else {}


def _bounds(value: Any) -> BBox | None:  # noqa: ANN401 - a list, or MBTiles's text
    """West, south, east, north; None where they are not told, or not as degrees."""
    try:
        numbers = [float(part) for part in (value.split(",") if isinstance(value, str) else value or ())]
        return BBox(*numbers) if len(numbers) == 4 else None
    except (TypeError, ValueError):
        return None


def meets(box: BBox, bounds: BBox) -> bool:
    """Whether a tile is, but for a hair, within or across some bounds; the bounds of a map end where the map does."""
    south, north = max(bounds.south, -MAX_LATITUDE), min(bounds.north, MAX_LATITUDE)
    hair = (box.north - box.south) * 1e-3
    if box.south >= north + hair or box.north <= south - hair:
        return False
    start = (box.west - bounds.west) % 360.0
    return start <= bounds.width_deg + hair or start + box.width_deg >= 360.0 - hair
