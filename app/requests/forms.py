"""The forms of what a request holds, in its URL or body: boxes, days, countries, ids, and how far numbers may go."""

from __future__ import annotations

import datetime as dt
import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from wildsat_core.geo import check_lon_lat
from wildsat_core.ids import TILE_ID
from wildsat_core.search.changes import Period
from wildsat_core.search.query import MAX_DISTANCE_KM, MAX_K, MAX_OFFSET, SpeciesTerm, clean_text

MAX_LABELS_IN_URL = 200
SpeciesTexts = Callable[[str, float], SpeciesTerm]

NUMBER = r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?"  # as any program writes it


@dataclass(frozen=True, slots=True)
class Form:
    """The fixed form of a string; the error says what the form is, with an example, not a regular expression."""

    pattern: str
    meaning: str
    example: str

    def check(self, value: str) -> str:
        # fullmatch, since `$` would let a last line feed through; ASCII, since \\d is any script's digit otherwise.
        if not re.fullmatch(self.pattern, value, re.ASCII):
            shown = value if len(value) <= 80 else value[:79] + "…"
            raise ValueError(f"must be {self.meaning}, such as {self.example}, got {shown!r}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401
        """Check after pydantic has made sure of a string."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Tell clients the form."""
        told = {"pattern": f"^(?:{self.pattern})$", "description": self.meaning, "examples": [self.example]}
        return handler(schema) | told


def cleaned(parameter: str) -> AfterValidator:
    """Makes a text as the core wants it; errors name the parameter."""
    return AfterValidator(lambda text: clean_text(text, parameter))


def _on_globe(text: str) -> str:
    """Check longitude and latitude here, where the error can name the parameter that they came in."""
    lon, lat, *_ = numbers(text)
    check_lon_lat(lon, lat)
    return text


Box = Annotated[
    str, Form(rf"{NUMBER}(?:,{NUMBER}){{3}}", "four numbers west,south,east,north in degrees", "-75,-15,-60,5")
]
# OGC and STAC allow a third axis; heights play no part here.
OgcBox = Annotated[
    str,
    Form(
        rf"{NUMBER}(?:,{NUMBER}){{3}}(?:,{NUMBER},{NUMBER})?",
        "four numbers west,south,east,north in degrees, or six with the least and greatest height",
        "-75,-15,-60,5",
    ),
]
LonLat = Annotated[
    str,
    Form(rf"{NUMBER},{NUMBER}", "two numbers longitude,latitude in degrees", "-60.5,-3.1"),
    AfterValidator(_on_globe),
]
Disc = Annotated[
    str,
    Form(rf"{NUMBER},{NUMBER},{NUMBER}", "longitude,latitude,radius in km", "-60.5,-3.1,250"),
    AfterValidator(_on_globe),
]


def _day(value: Any) -> Any:  # noqa: ANN401 - whatever came; numbers would be taken for seconds since 1970
    return Form(r"\d{4}-\d{2}-\d{2}", "a day YYYY-MM-DD", "2023-06-30").check(str(value))


Day = Annotated[dt.date, BeforeValidator(_day)]


def _on_calendar(text: str) -> str:
    period(text)
    return text


_SPAN = r"\d{4}(?:-\d{2}(?:-\d{2})?)?"
Days = Annotated[
    str,
    Form(
        rf"{_SPAN}|(?:{_SPAN}|\.\.)/(?:{_SPAN}|\.\.)",
        "a year, a month or a day, or two of these with / between them, .. for an open end",
        "2019-06/2019-09",
    ),
    AfterValidator(_on_calendar),
]
Countries = Annotated[str, Form(r"[A-Z]{3}(?:,[A-Z]{3}){0,249}", "ISO 3166-1 alpha-3 codes with commas", "BRA,PER")]
Months = Annotated[
    str, Form(r"(?:[1-9]|1[0-2])(?:,(?:[1-9]|1[0-2])){0,11}", "months of the year, 1 to 12, with commas", "6,7,8")
]
TileId = Annotated[str, Form(TILE_ID, "the id of a tile", "raster-42-117")]
TileIds = Annotated[
    str,
    Form(
        rf"{TILE_ID}(?:,{TILE_ID}){{0,{MAX_LABELS_IN_URL - 1}}}",
        f"up to {MAX_LABELS_IN_URL} tile ids with commas",
        "raster-42-117,raster-42-118",
    ),
]
Share = Annotated[float, Field(ge=0, le=1)]
Percentile = Annotated[float, Field(ge=0, lt=100)]
Distance = Annotated[float, Field(ge=0, le=MAX_DISTANCE_KM)]
HitCount = Annotated[int, Field(ge=1, le=MAX_K)]
HitOffset = Annotated[int, Field(ge=0, le=MAX_OFFSET)]
Crs84 = Literal["http://www.opengis.net/def/crs/OGC/1.3/CRS84"]  # longitude and latitude in degrees, in this order
CollectionName = Annotated[str, Form(r"[a-z0-9][a-z0-9_-]{0,63}", "the name of a collection", "demo")]


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a text that its form has passed."""
    return tuple(float(part) for part in text.split(","))


def ids(text: str | None) -> tuple[str, ...]:
    """Ids with commas, each once, in the order given."""
    return tuple(dict.fromkeys(text.split(","))) if text else ()


def period(text: str) -> Period:
    """The days of a text of the form `Days`.

    Raises:
        ValueError: there is no such day, or the last comes before the first.
    """
    first, _, last = text.partition("/")
    found = Period(_first_day(first), _last_day(last or first))
    if found.first and found.last and found.first > found.last:
        raise ValueError(f"must not end before it begins, got {text!r}")
    return found


def _first_day(span: str) -> dt.date | None:
    return None if span == ".." else dt.date.fromisoformat(span + "-01-01"[len(span) - 4 :])


def _last_day(span: str) -> dt.date | None:
    first = _first_day(span)
    if first is None or len(span) == 10:
        return first
    year, month = (first.year, 12) if len(span) == 4 else (first.year, first.month)
    return first.replace(month=month, day=monthrange(year, month)[1])
