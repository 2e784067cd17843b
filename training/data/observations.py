"""Reads sightings as GBIF, iNaturalist and eBird give them, and plain tables."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from training.data.credit import Credit, licence_name
from training.data.observation_tables import Row, Table, open_table
from wildsat_core.errors import InvalidInputError, MissingDataError

# Column names of plain tables, Darwin Core (GBIF, https://dwc.tdwg.org/terms/), iNaturalist exports and eBird's Basic
# Dataset, in small letters, in this order.
SPECIES = ("species", "scientificname", "scientific_name", "scientific name", "taxon_name")
LONGITUDE = ("lon", "longitude", "decimallongitude")
LATITUDE = ("lat", "latitude", "decimallatitude")
DATE = ("date", "eventdate", "observed_on", "observation date")
LICENCE = ("licence", "license")
STATUS = ("occurrencestatus",)  # "ABSENT" where a species was looked for in vain
OBSCURED = ("coordinates_obscured",)  # iNaturalist moves threatened species by up to 22 km
DATASET = ("datasetkey",)
COLUMNS = frozenset((*SPECIES, *LONGITUDE, *LATITUDE, *DATE, *LICENCE, *STATUS, *OBSCURED, *DATASET))
NAMED_ROWS = 3  # of each reason


@dataclass(frozen=True, slots=True)
class Observation:
    """One sighting: a species at a place, on a day if known."""

    species: str
    lon: float
    lat: float
    date: dt.date | None = None


@dataclass(slots=True)
class Observations:
    """What a file gave.

    Attributes:
        rows: sightings.
        skipped: how many rows were left out for which reason.
        lines: the first few of them by number, as they stand in the file.
        credit: whom the sightings are owed to.
    """

    rows: list[Observation] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    lines: dict[str, list[int]] = field(default_factory=dict)
    credit: Credit = field(default_factory=Credit)

    def report(self) -> str:
        """Lines for people: how many were read, what was left out, and whom to cite."""
        left_out = "; ".join(f"{count} {reason}{self._named(reason)}" for reason, count in sorted(self.skipped.items()))
        read = f"{len(self.rows)} sightings read" + (f"; rows left out: {left_out}" if left_out else "")
        return "\n".join([read, *self.credit.lines()])

    def leave_out(self, reason: str, line: int) -> None:
        """Count a row that is left out, and keep its number if it is among the first."""
        self.skipped[reason] += 1
        if len(named := self.lines.setdefault(reason, [])) < NAMED_ROWS:
            named.append(line)

    def _named(self, reason: str) -> str:
        lines = self.lines.get(reason, [])
        more = ", …" if self.skipped[reason] > len(lines) else ""
        return f" (row {', '.join(map(str, lines))}{more})" if lines else ""


def read_observations(path: str | Path) -> Observations:
    """Read sightings.

    Taken are tables with a header (comma- or tab-separated), Parquet (a file, or a folder of them), Darwin Core
    archives as GBIF and iNaturalist give them, zips of one table or of Parquet, and eBird's Basic Dataset. Licences,
    DOI and citation are kept, as far as the file says them.

    A row is left out and counted when its species is blank, when it says that the species was not there, when its
    position was moved on purpose, is not a number, out of range, or exactly 0, 0, where lost positions end up. A date
    that can't be read is counted, and the row is kept without it.

    Raises:
        MissingDataError: there is no such file.
        InvalidInputError: a column is missing, or the file is damaged or none of these.
    """
    file = Path(path)
    if not file.exists():
        raise MissingDataError(f"there is no file of observations at {file}")
    with open_table(file, COLUMNS) as table:
        return _read_rows(table, _Columns.of(table.names, file))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where what is asked of a table stands; None where it has no such column."""

    species: int
    lon: int
    lat: int
    date: int | None
    licence: int | None
    status: int | None
    obscured: int | None
    dataset: int | None

    @classmethod
    def of(cls, names: Row, file: Path) -> _Columns:
        lower = [(name or "").strip().lower() for name in names]

        def find(wanted: tuple[str, ...]) -> int | None:
            return next((lower.index(name) for name in wanted if name in lower), None)

        species, lon, lat = (find(wanted) for wanted in (SPECIES, LONGITUDE, LATITUDE))
        if species is None or lon is None or lat is None:
            raise InvalidInputError(
                f"{file} needs columns for species ({', '.join(SPECIES)}), longitude ({', '.join(LONGITUDE)}) and "
                f"latitude ({', '.join(LATITUDE)}); it has {', '.join(filter(None, names)) or 'none'}",
                "observations",
            )
        return cls(species, lon, lat, *map(find, (DATE, LICENCE, STATUS, OBSCURED, DATASET)))


def _read_rows(table: Table, columns: _Columns) -> Observations:
    result = Observations()
    licences: Counter[str] = Counter()
    datasets: set[str] = set()
    for line, row in table.rows:
        seen = _sighting(row, columns)
        if isinstance(seen, str):
            result.leave_out(seen, line)
            continue
        if seen.date is None and _value(row, columns.date):
            result.leave_out("dates not understood (rows kept)", line)
        result.rows.append(seen)
        if columns.licence is not None:
            licences[licence_name(_value(row, columns.licence))] += 1
        if dataset := _value(row, columns.dataset):
            datasets.add(dataset)
    counted = {"licences": dict(licences.most_common()), "datasets": len(datasets) or None}
    result.credit = table.credit.model_copy(update=counted)
    return result


def _sighting(row: Row, columns: _Columns) -> Observation | str:
    """A row's sighting, or why it is left out."""
    if len(row) <= max(columns.species, columns.lon, columns.lat):
        return "too short"
    species = " ".join(_value(row, columns.species).split())
    if not species:
        return "without a species"
    if _value(row, columns.status).upper() == "ABSENT":
        return "of a species that was not there"
    if _value(row, columns.obscured).lower() in ("true", "t", "1"):
        return "with a position that was moved to protect the species"
    position = _position(_value(row, columns.lon), _value(row, columns.lat))
    return position if isinstance(position, str) else Observation(species, *position, _date(_value(row, columns.date)))


def _value(row: Row, column: int | None) -> str:
    """A field without blanks around it; empty where there is none."""
    return "" if column is None or column >= len(row) else (row[column] or "").strip()


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
