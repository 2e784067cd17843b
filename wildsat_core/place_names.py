"""Where a tile lies, in words: an island, a part of a country, or a sea and the coast that is near.

Outlines decide, boxes only name: a piece of land bears an island's name when it lies in that island's box and belongs
to a country that has a part in the island. So no box gives its name to the mainland beside it, or to other countries'
islands. The boxes are those of `data/places.csv`, which are searched too, and of `data/names.csv`, which only serve
here.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wildsat_core.countries import Countries, load_countries
from wildsat_core.geo import wrap_lon

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

DATA: Final = Path(__file__).parent / "data"
MOSTLY: Final = 0.6  # share of the box around a piece of land that must lie in an island's
SMALL_DEG: Final = 6.0  # a country whose mainland is smaller has no parts worth telling
BESIDE_DEG: Final = 3.0  # islands so near to the mainland count to its parts
TOUCHING_DEG: Final = 0.02  # between two countries' outlines on one island
COAST_KM: Final = 600.0  # a coast so far away still tells where one is
ALL_AROUND_DEG: Final = 350.0
COMPASS: Final = (
    ("South-western", "Southern", "South-eastern"),
    ("Western", "Central", "Eastern"),
    ("North-western", "Northern", "North-eastern"),
)

Box = tuple[float, float, float, float]  # west, south, east, north; east may go on past 180


@dataclass(frozen=True, slots=True)
class Named:
    """A name and the boxes that it is for."""

    name: str
    kind: str
    boxes: tuple[Box, ...]

    @property
    def size(self) -> float:
        """Of all boxes, in square degrees."""
        return sum((east - west) * (north - south) for west, south, east, north in self.boxes)

    def holds_mostly(self, box: Box) -> bool:
        """Whether most of another box lies in one of these."""
        west, south, east, north = box
        area = max((east - west) * (north - south), 1e-9)
        return any(_overlap(box, mine) >= MOSTLY * area for mine in self.boxes)


@dataclass(frozen=True, slots=True, eq=False)
class Land:
    """A piece of a country's land, the box around it, and the country's code."""

    piece: BaseGeometry
    bounds: Box
    code: str


class PlaceNames:
    """Names for places, from outlines of countries and named boxes."""

    def __init__(self, countries: Countries, named: Sequence[Named]) -> None:
        """Keep what is named by size: the smallest that fits gives its name."""
        by_size = sorted(named, key=lambda one: one.size)
        self._countries = countries
        self._islands = [one for one in by_size if one.kind == "island"]
        self._regions = [one for one in by_size if one.kind in ("region", "territory")]
        self._seas = [(box, one.name) for one in by_size if one.kind == "sea" for box in one.boxes]
        self._mainlands: dict[str, tuple[Box, BaseGeometry]] = {}
        self._island_of: dict[int, str | None] = {}
        self._sharing: dict[str, frozenset[str]] = {}

    def name(self, lon: float, lat: float, code: str | None) -> str:
        """Words for a place.

        Args:
            lon: in degrees.
            lat: in degrees.
            code: ISO 3166-1 alpha-3 code of its country, None at sea.
        """
        country = self._countries.name_of(code) if code else None
        if code is None or country is None:
            return self._sea(lon, lat)
        piece = self._countries.piece_near(lon, lat, code)
        if piece is None:
            return country
        mainland, largest = self._mainland(code)
        if named := self._island(piece, code):
            return _of(named, country)
        if piece is not largest and not _near(piece, mainland):
            named = self._first(self._regions, piece)
            return _of(named, country) if named else f"Islands of {country}"
        return _part(lon, lat, mainland, country)

    def _island(self, piece: BaseGeometry, code: str) -> str | None:
        """The island's name that a piece of land bears; pieces are few, and live as long as their countries."""
        if id(piece) not in self._island_of:
            box = piece.bounds
            held = (one for one in self._islands if one.holds_mostly(box))
            self._island_of[id(piece)] = next((one.name for one in held if code in self._countries_on(one)), None)
        return self._island_of[id(piece)]

    def _countries_on(self, island: Named) -> frozenset[str]:
        """The countries that share the largest piece of land in an island's boxes."""
        if island.name not in self._sharing:
            left = [land for land in self._lands if island.holds_mostly(land.bounds)]
            joined = [left.pop(left.index(max(left, key=lambda land: land.piece.area)))] if left else []
            for one in joined:  # grows on the way
                beside = [land for land in left if land.piece.distance(one.piece) < TOUCHING_DEG]
                left = [land for land in left if land not in beside]
                joined += beside
            self._sharing[island.name] = frozenset(land.code for land in joined)
        return self._sharing[island.name]

    @functools.cached_property
    def _lands(self) -> list[Land]:
        """All pieces of all countries."""
        countries = self._countries
        return [Land(piece, piece.bounds, code) for code in countries.names for piece in countries.pieces(code)]

    @staticmethod
    def _first(named: Sequence[Named], piece: BaseGeometry) -> str | None:
        box = piece.bounds
        return next((one.name for one in named if one.holds_mostly(box)), None)

    def _sea(self, lon: float, lat: float) -> str:
        if sea := next((name for box, name in self._seas if _is_in(lon, lat, box)), None):
            return sea
        coast = self._countries.code_at([[lon, lat]], within_km=COAST_KM)[0]
        country = self._countries.name_of(coast) if coast else None
        return f"{ocean(lon, lat)} off {country}" if country else ocean(lon, lat)

    def _mainland(self, code: str) -> tuple[Box, BaseGeometry]:
        """The box of a country's largest piece, going on past 180 degrees where the land does, and that piece."""
        if code not in self._mainlands:
            pieces = self._countries.pieces(code)
            largest = max(pieces, key=lambda piece: piece.area)
            west, south, east, north = largest.bounds
            if east >= 180.0 and west > -180.0:
                beyond = [p.bounds for p in pieces if p.bounds[0] <= -180.0]
                east = max([east, *(bounds[2] + 360.0 for bounds in beyond)])
            self._mainlands[code] = (west, south, east, north), largest
        return self._mainlands[code]


def ocean(lon: float, lat: float) -> str:
    """The ocean at a place of open water; where two meet, a meridian or a stair of them divides."""
    if lat > 66.5:
        return "Arctic Ocean"
    if lat < -60.0:
        return "Southern Ocean"
    americas = -100.0 if lat > 22 else -90.0 if lat > 14 else -80.0 if lat > 8 else -70.0
    asia = 100.0 if lat > -2 else 116.0 if lat > -10 else 142.0 if lat > -30 else 147.0
    if americas < lon <= 20.0 or (lat > 30 and americas < lon <= 45.0):
        return f"{_half(lat)} Atlantic Ocean"
    return "Indian Ocean" if 20.0 < lon <= asia and lat < 30 else f"{_half(lat)} Pacific Ocean"


def _half(lat: float) -> str:
    return "North" if lat >= 0 else "South"


def _of(name: str, country: str) -> str:
    """A name with its country, unless one of them says the other already."""
    if name in country or name.startswith(country):
        return country
    return name if country in name else f"{name}, {country}"


def _part(lon: float, lat: float, box: Box, country: str) -> str:
    west, south, east, north = box
    if max(east - west, north - south) < SMALL_DEG:
        return country
    if east - west >= ALL_AROUND_DEG:
        return f"{'Eastern' if lon >= 0 else 'Western'} {country}"
    beside = lon + 360.0 if lon < west - BESIDE_DEG and east > 180.0 else lon
    column, row = _third((beside - west) / (east - west)), _third((lat - south) / (north - south))
    return f"{COMPASS[row][column]} {country}"


def _third(share: float) -> int:
    return max(0, min(2, int(share * 3)))


def _is_in(lon: float, lat: float, box: Box) -> bool:
    west, south, east, north = box
    return south <= lat <= north and 0.0 <= (lon - west) % 360.0 <= east - west


def _near(piece: BaseGeometry, box: Box) -> bool:
    """Whether the middle of a piece of land lies in a box or beside it."""
    west, south, east, north = piece.bounds
    wider = (box[0] - BESIDE_DEG, box[1] - BESIDE_DEG, box[2] + BESIDE_DEG, box[3] + BESIDE_DEG)
    return _is_in(float(wrap_lon((west + east) / 2)), (south + north) / 2, wider)


def _overlap(one: Box, other: Box) -> float:
    """Square degrees that two boxes share; neither is turned round the globe to meet the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _read(path: Path) -> Iterator[Named]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            boxes = [tuple(float(edge) for edge in box.split()) for box in row["boxes"].split(";")]
            turned = tuple((w, s, e if e >= w else e + 360.0, n) for w, s, e, n in boxes)
            yield Named(row["name"], row["kind"], turned)


@functools.cache
def load_place_names() -> PlaceNames:
    """The names that come with the program; read once."""
    return PlaceNames(load_countries(), [*_read(DATA / "names.csv"), *_read(DATA / "places.csv")])


@functools.lru_cache(maxsize=65_536)
def place_name(lon: float, lat: float, code: str | None) -> str:
    """Where a place lies, in words; those of a tile are asked for again and again."""
    return load_place_names().name(lon, lat, code)
