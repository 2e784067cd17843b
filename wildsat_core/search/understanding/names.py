"""Places by name: regions, protected areas, mountains, waters, islands, cities and countries, as people write them."""

from __future__ import annotations

import csv
import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wildsat_core.countries import load_countries
from wildsat_core.region import Region
from wildsat_core.text.folding import plain
from wildsat_core.types import BBox

PLACES = Path(__file__).resolve().parents[2] / "data" / "places.csv"
MOST_WORDS = 6

LANGUAGES = ("en", "fr", "es", "pt", "de", "it", "nl", "ru", "ar", "zh")
# Names that are written and that the Unicode names of territories lack. Whole kingdoms' parts are in places.csv.
ALSO_CALLED = {
    "USA": "United States of America|America|US|U.S.|U.S.A.|USA|the States",
    "GBR": "UK|U.K.|Britain|Great Britain",
    "COD": "DRC|DR Congo|D.R. Congo|Democratic Republic of the Congo|Congo Kinshasa|Zaire",
    "COG": "Republic of the Congo|Congo Brazzaville",
    "CIV": "Ivory Coast|Cote d'Ivoire",
    "MMR": "Burma",
    "NLD": "Holland|the Netherlands",
    "CZE": "Czech Republic",
    "TUR": "Turkey|Turkiye",
    "XKX": "Kosovo",
    "SWZ": "Swaziland",
    "TLS": "East Timor",
    "CPV": "Cape Verde",
    "ARE": "UAE|Emirates",
    "KOR": "Korea",
    "RUS": "Russian Federation",
    "CAF": "Central African Republic|CAR",
    "PNG": "Papua New Guinea|PNG",
    "BIH": "Bosnia",
    "TTO": "Trinidad",
    "PHL": "the Philippines",
    "GMB": "The Gambia",
    "MKD": "Macedonia",
    "VAT": "Vatican",
}
# Adjectives that people put before a habitat ("Brazilian savanna").
ADJECTIVES = {
    "BRA": "Brazilian", "MEX": "Mexican", "KEN": "Kenyan", "IND": "Indian", "CHN": "Chinese", "JPN": "Japanese",
    "RUS": "Russian", "CAN": "Canadian", "NOR": "Norwegian", "SWE": "Swedish", "FIN": "Finnish", "ESP": "Spanish",
    "FRA": "French", "ITA": "Italian", "GRC": "Greek", "ZAF": "South African", "NAM": "Namibian", "TZA": "Tanzanian",
    "ETH": "Ethiopian", "EGY": "Egyptian", "MAR": "Moroccan", "CHL": "Chilean", "PER": "Peruvian", "BOL": "Bolivian",
    "ECU": "Ecuadorian", "COL": "Colombian", "VEN": "Venezuelan", "IDN": "Indonesian", "PHL": "Philippine",
    "VNM": "Vietnamese", "THA": "Thai", "MNG": "Mongolian", "ISL": "Icelandic", "NZL": "New Zealand",
}  # fmt: skip
# Names that are words, too: taken for a place only with a preposition, a capital letter, or alone.
_WORDS_TOO = (
    "turkey chad jordan georgia guinea java nice jasper lena ob manu lope rio zion atlas baja victoria orange amazon "
    "mali togo niger oman cuba peru china colorado selous us car arctic indian midwest korea macedonia cascades"
)
# What stands before the name of a place.
POSITION = r"(?:in|of|near|from|around|at|on|inside|within|across|throughout|along|over|for|to)(?:\s+the)?"
IN = re.compile(rf"(?:^|\s|,)\s*{POSITION}\s*$", re.IGNORECASE)
# Habitats that bear the name of their land: as words they mean the habitat, which may lie elsewhere.
_HABITATS_TOO = "outback pampas caatinga cerrado altiplano llanos chaco karoo alps"
# Names of countries in other languages that are plain words of English, whose meaning goes first.
_ENGLISH_FIRST = frozenset({"island", "grenade"})
HABITATS_TOO = frozenset(_HABITATS_TOO.split())
WORDS_TOO = frozenset(_WORDS_TOO.split()) | HABITATS_TOO


@dataclass(frozen=True, slots=True)
class Place:
    """One named place: a country by its code, or a region.

    Attributes:
        kind: as in places.csv, or "country".
    """

    name: str
    kind: str
    code: str | None = None
    region: Region | None = None

    @property
    def lon_lat(self) -> tuple[float, float] | None:
        """The middle of its first box."""
        if self.region is None:
            return None
        box = self.region.boxes[0]
        return (box.west + box.width_deg / 2 + 180) % 360 - 180, (box.south + box.north) / 2


class Gazetteer:
    """Finds places by name; case, accents and punctuation don't matter."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        """Keep the places by the keys of their names."""
        self._places = dict(places)

    def find(self, name: str) -> Place | None:
        """The place of a name, with or without "the"."""
        key = plain(name)
        return self._places.get(key) or self._places.get(key.removeprefix("the "))

    def nearest(self, name: str) -> str | None:
        """The name that a misspelt one was probably meant to be, as its place is called; None where none is near."""
        near = difflib.get_close_matches(plain(name), self._places, n=1, cutoff=0.8)
        return self._places[near[0]].name if near else None

    @functools.cached_property
    def single_words(self) -> dict[str, str]:
        """The own names of places that are one word, by their keys."""
        names = {plain(place.name): place.name for place in self._places.values()}
        return {key: name for key, name in names.items() if " " not in key}

    def names(self) -> dict[Place, list[str]]:
        """Every place, and the keys of its names."""
        found: dict[Place, list[str]] = {}
        for name, place in self._places.items():
            found.setdefault(place, []).append(name)
        return found

    def matching(self, words: str, limit: int) -> list[tuple[str, Place]]:
        """Places with the name by which each was found: names that begin with the words, then those with all of them.

        Each place comes once, the shorter names first.
        """
        begin, wanted = plain(words), plain(words).split()
        parts = {name: name.split() for name in self._places}
        fits = [
            name for name in parts if wanted and all(any(part.startswith(w) for part in parts[name]) for w in wanted)
        ]
        found: dict[Place, str] = {}
        for name in sorted(fits, key=lambda name: (not name.startswith(begin), len(name), name)):
            found.setdefault(self._places[name], name)
        return [(name, place) for place, name in found.items()][:limit]


@functools.cache
def load_gazetteer() -> Gazetteer:
    """The places that come with the program; read once."""
    places: dict[str, Place] = {}
    for code, names in _country_names().items():
        for name in names:
            if plain(name) not in _ENGLISH_FIRST:
                places.setdefault(plain(name), Place(names[0], "country", code=code))
    with PLACES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            region = Region(row["name"], tuple(_box(box) for box in row["boxes"].split(";")))
            place = Place(row["name"], row["kind"], region=region)
            for name in (row["name"], *row["aliases"].split("|")):
                if name:
                    places.setdefault(plain(name), place)
    return Gazetteer(places)


def _box(text: str) -> BBox:
    west, south, east, north = (float(edge) for edge in text.split())
    return BBox(west, south, east, north)


@functools.cache
def two_letters() -> dict[str, str]:
    """ISO 3166-1 alpha-2 codes of the countries by their alpha-3 codes, where there are any."""
    from babel.core import get_global

    aliases = get_global("territory_aliases")
    return {code: aliases[code][0] for code in load_countries().names if len(aliases.get(code, ())) == 1}


def _country_names() -> dict[str, list[str]]:
    """Names of every country, the English one first, from the Unicode locale data of the package babel."""
    from babel import Locale

    letters = two_letters()
    languages = [Locale.parse(language).territories for language in LANGUAGES]
    names = {}
    for code, shown in load_countries().names.items():
        short = letters.get(code)
        known = [shown]
        known += [territories[short] for territories in languages if short and short in territories]
        known += [*ALSO_CALLED.get(code, "").split("|"), ADJECTIVES.get(code, "")]
        if named := [name for name in dict.fromkeys(known) if name]:
            names[code] = named
    return names
