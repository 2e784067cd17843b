"""What may be asked of tiles: their properties, by the names that STAC Items use and by those of hits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from wildsat_core.arrays import plain_numbers
from wildsat_core.countries import load_countries

if TYPE_CHECKING:
    from wildsat_core.collection.reader import Collection

UNDATED_SINCE: Final = dt.date(1970, 1, 1)  # STAC wants an interval where the day is unknown; long before any imagery

Rows = npt.NDArray[np.int64]
Kind = Literal["text", "number", "time", "truth"]


@dataclass(frozen=True, slots=True)
class Property:
    """What may be asked of a tile.

    Attributes:
        kind: with what it can be compared.
        column: (K,) values of some rows; NaN, NaT and None where they are unknown.
        schema: as JSON Schema describes a value.
    """

    kind: Kind
    column: Callable[[Collection, Rows], npt.NDArray[Any]]
    schema: Mapping[str, Any]


def _ids(collection: Collection, rows: Rows) -> npt.NDArray[np.object_]:
    return np.array(collection.tiles.take(rows, ["tile_id"])["tile_id"].to_pylist(), object)


def _sources(collection: Collection, rows: Rows) -> npt.NDArray[np.object_]:
    column = collection.tiles.take(rows, ["source"])["source"].combine_chunks()
    names = np.array([*column.dictionary.to_pylist(), None], object)
    return np.asarray(names[column.indices.fill_null(-1).to_numpy(zero_copy_only=False)])


def _countries(collection: Collection, rows: Rows) -> npt.NDArray[np.object_]:
    tiles = collection.tiles
    return np.asarray(np.array([*tiles.countries, None], object)[tiles.country[rows]])


def _numbers(name: str, factor: float = 1.0) -> Callable[[Collection, Rows], npt.NDArray[np.float64]]:
    """A column of float32 as people write its numbers, so that `= 0.3` finds 0.3; see Tile."""

    def column(collection: Collection, rows: Rows) -> npt.NDArray[np.float64]:
        held = collection.tiles.take(rows, [name])[name].to_numpy().astype(np.float32)
        return np.round(plain_numbers(held) * factor, 9)

    return column


def _country_names(collection: Collection, rows: Rows) -> npt.NDArray[np.object_]:
    countries = load_countries()
    codes = collection.tiles.country[rows]
    names = [countries.name_of(code) for code in collection.tiles.countries]
    return np.asarray(np.array([*names, None], object)[codes])


def _day(collection: Collection, rows: Rows) -> npt.NDArray[np.datetime64]:
    return np.asarray(collection.tiles.captured_on[rows].astype("datetime64[us]"))


def _start(collection: Collection, rows: Rows) -> npt.NDArray[np.datetime64]:
    days = _day(collection, rows)
    return np.where(np.isnat(days), np.datetime64(UNDATED_SINCE, "us"), days)


def _end(collection: Collection, rows: Rows) -> npt.NDArray[np.datetime64]:
    days = _day(collection, rows)
    made = np.datetime64(collection.manifest.created_at.astimezone(dt.UTC).replace(tzinfo=None), "s").astype("M8[us]")
    return np.where(np.isnat(days), made, days + np.timedelta64(86_399, "s"))


_TEXT: Final = {"type": "string"}
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}
_TIME: Final = {"type": "string", "format": "date-time"}

# By the names that STAC Items use.
PROPERTIES: Final[Mapping[str, Property]] = {
    "id": Property("text", _ids, _TEXT | {"title": "Tile"}),
    "datetime": Property("time", _day, _TIME | {"title": "Day of the picture"}),
    "start_datetime": Property("time", _start, _TIME | {"title": "Earliest time of the picture"}),
    "end_datetime": Property("time", _end, _TIME | {"title": "Latest time of the picture"}),
    "gsd": Property("number", _numbers("gsd_m"), {"type": "number", "title": "Metres a pixel"}),
    "eo:cloud_cover": Property(
        "number",
        _numbers("cloud_cover", 100.0),
        {"type": "number", "minimum": 0, "maximum": 100, "title": "Cloud cover in per cent"},
    ),
    "wildsat:source": Property("text", _sources, _TEXT | {"title": "Source"}),
    "wildsat:country": Property("text", _countries, _TEXT | {"title": "Country, ISO 3166-1 alpha-3"}),
    "wildsat:country_name": Property("text", _country_names, _TEXT | {"title": "Country"}),
    "wildsat:land_share": Property("number", _numbers("land_share"), _SHARE | {"title": "Share of land"}),
}
# By the names that hits use.
OTHER_NAMES: Final[Mapping[str, Property]] = {
    "tile_id": PROPERTIES["id"],
    "captured_on": PROPERTIES["datetime"],
    "gsd_m": PROPERTIES["gsd"],
    "cloud_cover": Property("number", _numbers("cloud_cover"), _SHARE | {"title": "Share of cloud"}),
    "source": PROPERTIES["wildsat:source"],
    "country": PROPERTIES["wildsat:country"],
    "country_name": PROPERTIES["wildsat:country_name"],
    "land_share": PROPERTIES["wildsat:land_share"],
}


def property_of(name: object) -> Property | None:
    """The property of a name, None when tiles have none of it."""
    return PROPERTIES.get(str(name)) or OTHER_NAMES.get(str(name))


def queryables(names: Mapping[str, Property] = PROPERTIES) -> dict[str, Any]:
    """JSON Schema of what may be asked, the geometry included."""
    schemas = {name: dict(prop.schema) for name, prop in names.items()}
    return schemas | {"geometry": {"format": "geometry-any", "title": "Outline"}}
