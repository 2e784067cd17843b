"""Reads sightings from CSV files as GBIF and iNaturalist write them."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from wildsat_core.errors import InvalidInputError, MissingDataError

# Column names of plain tables, Darwin Core (GBIF, https://dwc.tdwg.org/terms/) and iNaturalist exports, in this order.
SPECIES = ("species", "scientificname", "scientific_name", "taxon_name")
LONGITUDE = ("lon", "longitude", "decimallongitude")
LATITUDE = ("lat", "latitude", "decimallatitude")
DATE = ("date", "eventdate", "observed_on")

csv.field_size_limit(1 << 20)


@dataclass(frozen=True, slots=True)
class Observation:
    """One sighting: a species at a place, on a day if known."""

    species: str
    lon: float
    lat: float
    date: dt.date | None = None


@dataclass(slots=True)
class Observations:
    """What a file gave: sightings, and how many rows were left out for which reason."""

    rows: list[Observation] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def report(self) -> str:
        """One line for people."""
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items()))
        return f"{len(self.rows)} sightings read" + (f"; rows left out: {left_out}" if left_out else "")


def read_observations(path: str | Path) -> Observations:
    """Read a CSV or tab-separated file with a header.

    A row is left out and counted when its species is blank, or its position is not a number, out of range, or exactly
    0, 0, where lost positions end up. A date that can't be read is counted, and the row is kept without it.

    Raises:
        MissingDataError: there is no such file.
        InvalidInputError: a column is missing, or the file is not text.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(f"there is no file of observations at {file}")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = _reader(lines)
            columns = _find_columns(next(reader, []), file)
            return _read_rows(reader, columns)
    except UnicodeDecodeError as err:
        raise InvalidInputError(f"{file} is not in UTF-8 ({err}); save it as UTF-8", "observations") from err
    except csv.Error as err:
        raise InvalidInputError(
            f"{file} can't be read as a table: {err}; look for a quote that is not closed, or a file that is no text",
            "observations",
        ) from err


def _reader(lines: TextIO) -> Iterator[list[str]]:
    """Rows of a table, the header first. Tab-separated ones, as GBIF's, quote nothing: a quote in them is a letter.

    In others a quote that is never closed is an error: it would swallow all the rows after it.
    """
    header = lines.readline()
    rows = itertools.chain([header], lines)
    return csv.reader(rows, delimiter="\t", quoting=csv.QUOTE_NONE) if "\t" in header else csv.reader(rows, strict=True)


def _find_columns(names: list[str], file: Path) -> tuple[int, int, int, int | None]:
    lower = [name.strip().lower() for name in names]

    def find(wanted: tuple[str, ...]) -> int | None:
        return next((lower.index(name) for name in wanted if name in lower), None)

    species, lon, lat = (find(wanted) for wanted in (SPECIES, LONGITUDE, LATITUDE))
    if species is None or lon is None or lat is None:
        raise InvalidInputError(
            f"{file} needs columns for species ({', '.join(SPECIES)}), longitude ({', '.join(LONGITUDE)}) and latitude "
            f"({', '.join(LATITUDE)}); it has {', '.join(names) or 'none'}",
            "observations",
        )
    return species, lon, lat, find(DATE)


def _read_rows(rows: Iterable[list[str]], columns: tuple[int, int, int, int | None]) -> Observations:
    result = Observations()
    species_at, lon_at, lat_at, date_at = columns
    for row in rows:
        if len(row) <= max(species_at, lon_at, lat_at):
            result.skipped["too short"] += 1
            continue
        species = " ".join(row[species_at].split())
        if not species:
            result.skipped["without a species"] += 1
            continue
        position = _position(row[lon_at], row[lat_at])
        if isinstance(position, str):
            result.skipped[position] += 1
            continue
        date = None
        if date_at is not None and len(row) > date_at and row[date_at].strip():
            date = _date(row[date_at].strip())
            if date is None:
                result.skipped["dates not understood (rows kept)"] += 1
        result.rows.append(Observation(species, *position, date))
    return result


def _position(lon_text: str, lat_text: str) -> tuple[float, float] | str:
    """Longitude and latitude, or what is wrong with them."""
    try:
        lon, lat = float(lon_text), float(lat_text)
    except ValueError:
        return "with a position that is not a number"
    if not (math.isfinite(lon) and math.isfinite(lat) and -180 <= lon <= 180 and -90 <= lat <= 90):
        return "with a position off the globe"
    return (lon, lat) if (lon, lat) != (0.0, 0.0) else "at 0, 0"


def _date(text: str) -> dt.date | None:
    """The day of an ISO 8601 date, time or interval."""
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        return None
