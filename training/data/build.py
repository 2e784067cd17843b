"""Makes a training set from sightings, texts about species, and imagery."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.data.cells import cell_of, lie_near, spatial_splits
from training.data.credit import of_texts
from training.data.imagery import Imagery, Picture
from training.data.observations import Observation, Observations
from training.data.tables import (
    BUFFER,
    SPLITS,
    TEXT_COLUMNS,
    DatasetAbout,
    clear_dataset,
    pairs_table,
    places_table,
    texts_table,
    write_dataset,
)
from wildsat_core.errors import InvalidInputError, MissingDataError

if TYPE_CHECKING:
    import pyarrow as pa

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How places are divided.

    Attributes:
        block_deg: side of the blocks that are held out whole.
        shares: of places in train, val and test.
        seed: of the division.
        buffer_km: places so near to a held-out one are not trained on.
    """

    block_deg: float = 10.0
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 123
    buffer_km: float = 0.0


@dataclass(slots=True)
class BuildReport:
    """What became of the sightings."""

    places: int = 0
    texts: int = 0
    pairs: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, places: Rows, texts: Rows, pairs: Rows, plan: SplitPlan) -> BuildReport:
        """Count what was made."""
        splits = Counter(place["split"] for place in places)
        empty = [part for part, share in zip(SPLITS, plan.shares, strict=True) if share and not splits[part]]
        return cls(len(places), len(texts), len(pairs), splits, empty=empty)

    def lines(self) -> list[str]:
        """For people."""
        parts = ", ".join(f"{count} {name}" for name, count in self.splits.items())
        return [
            f"{self.pairs} pairs of {self.places} places and {self.texts} texts; places by part: {parts}",
            *(f"left out: {count} {reason}" for reason, count in sorted(self.left_out.items())),
            *(f"warning: no place fell into {part}; make blocks smaller or try another seed" for part in self.empty),
        ]


def build_dataset(
    folder: Path, observations: Observations, texts: pa.Table, imagery: Imagery, *, cell_km: float, plan: SplitPlan
) -> BuildReport:
    """Join sightings to pictures by position and to texts by species, and write the tables.

    A place with pictures of several dates becomes as many places of one site. A sighting pairs the one nearest in date,
    the newest if it has no date itself, with every text of its species; the others are its pictures of another date.

    Args:
        folder: of the new data set.
        observations: sightings.
        texts: columns species, text, source, licence, and section if there are any.
        imagery: where pictures come from.
        cell_km: side of the equal-area cells that group sightings.
        plan: of the parts.

    Raises:
        InvalidInputError: nothing is left to train on; the report's reasons are in the message.
    """
    left_out: Counter[str] = Counter()
    by_species = _texts_by_species(texts, left_out)
    pictures, joined = _join(observations, by_species, imagery, left_out)
    if not joined:
        raise InvalidInputError(f"nothing to train on: {dict(left_out)}", "observations")
    used = sorted({row for seen, _ in joined for row in by_species[_key(seen.species)]})
    left_out += Counter({"texts of species without a sighting here": sum(map(len, by_species.values())) - len(used)})
    text_rows = [_text(row) for row in texts.take(used).to_pylist()]
    pairs = _pairs(joined, by_species, {row: i for i, row in enumerate(used)}, cell_km)
    places = _places(pictures, cell_km, plan)
    about = DatasetAbout(
        imagery=_path_from(folder.resolve(), imagery.root.resolve()),
        bands=imagery.bands,
        provenance={"sightings": len(joined), "cell_km": cell_km, **asdict(plan), **_credits(observations, text_rows)},
    )
    clear_dataset(folder)
    write_dataset(folder, about, places_table(places), texts_table(text_rows), pairs_table(pairs))
    report = BuildReport.of(places, text_rows, pairs, plan)
    report.left_out = left_out
    return report


def _credits(observations: Observations, texts: Rows) -> dict[str, Any]:
    """Whom the data is owed to, for `dataset.json` and the card of whatever learns from it."""
    return {"observations": observations.credit.model_dump(), "texts": of_texts(texts)}


def read_texts(path: Path) -> pa.Table:
    """Read a table of texts, Parquet or CSV, with the columns species, text, source and licence, all as strings.

    Raises:
        MissingDataError: there is no such file.
        InvalidInputError: it can't be read, is not in UTF-8, or a column is missing.
    """
    import pyarrow as pa

    if not path.is_file():
        raise MissingDataError(f"there is no table of texts at {path}")
    try:
        table = _read_strings(path)
    except pa.ArrowException as err:
        advice = "; save it as UTF-8" if "UTF8" in str(err) else ""
        raise InvalidInputError(f"{path} can't be read as a table of texts: {err}{advice}", "texts") from err
    missing = [name for name in ("species", "text", "source", "licence") if name not in table.column_names]
    if missing:
        raise InvalidInputError(f"{path} lacks the columns {', '.join(missing)}", "texts")
    return table


def _read_strings(path: Path) -> pa.Table:
    """The columns of texts that a file has. Names may be numbers, as those of taxa; here they are strings."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    if path.suffix.lower() == ".csv":
        strings = pa_csv.ConvertOptions(column_types=dict.fromkeys(TEXT_COLUMNS, pa.string()))
        lines = pa_csv.ParseOptions(newlines_in_values=True)
        table = pa_csv.read_csv(path, parse_options=lines, convert_options=strings)
    else:
        table = pq.read_table(path)
    return pa.table({name: table[name].cast(pa.string()) for name in TEXT_COLUMNS if name in table.column_names})


def assign_parts(places: Rows, plan: SplitPlan) -> None:
    """Put every place into a part, in place: whole sites, by the position of their first place."""
    first: dict[int, dict[str, Any]] = {}
    sites = [first.setdefault(place["site"], place) for place in places]
    lon, lat = [site["lon"] for site in sites], [site["lat"] for site in sites]
    for place, part in zip(places, spatial_splits(lon, lat, plan.block_deg, plan.shares, plan.seed), strict=True):
        place["split"] = str(part)
    _keep_apart(places, plan.buffer_km)


def _keep_apart(places: Rows, buffer_km: float) -> None:
    """Take the training sites that come too near to a held-out place out of all parts, in place."""
    held, trained = ([p for p in places if (p["split"] == "train") == wanted] for wanted in (False, True))
    if buffer_km <= 0:
        return
    lon, lat, held_lon, held_lat = ([p[axis] for p in part] for part in (trained, held) for axis in ("lon", "lat"))
    near = lie_near(lon, lat, held_lon, held_lat, buffer_km)
    sites = {place["site"] for place, is_near in zip(trained, near, strict=True) if is_near}
    for place in trained:
        if place["site"] in sites:
            place["split"] = BUFFER


def _path_from(folder: Path, imagery: Path) -> str:
    """Imagery inside of the data set's folder is named from there, so that the folder can be moved."""
    return str(imagery.relative_to(folder) if imagery.is_relative_to(folder) else imagery)


def _key(species: str) -> str:
    return " ".join(species.lower().split())


def _join(
    observations: Observations, by_species: dict[str, list[int]], imagery: Imagery, left_out: Counter[str]
) -> tuple[list[Picture], list[tuple[Observation, int]]]:
    """All pictures of the sites where something was seen, and for each sighting the row of its picture."""
    sites: dict[int, list[int]] = {}  # site -> its rows of pictures
    pictures: list[Picture] = []
    joined: list[tuple[Observation, int]] = []
    for seen in observations.rows:
        if _key(seen.species) not in by_species:
            left_out["sightings of species without a text"] += 1
            continue
        found = imagery.pictures_at(seen.lon, seen.lat)
        if not found:
            left_out["sightings without imagery"] += 1
            continue
        if found[0].site not in sites:
            sites[found[0].site] = list(range(len(pictures), len(pictures) + len(found)))
            pictures += found
        joined.append((seen, _nearest_in_date(sites[found[0].site], pictures, seen.date)))
    return pictures, joined


def _nearest_in_date(rows: list[int], pictures: list[Picture], date: dt.date | None) -> int:
    """The picture taken nearest to a date, the newest if that is not known; pictures without a date come last."""

    def rank(row: int) -> tuple[bool, int, int]:
        taken = pictures[row].captured_on
        if taken is None:
            return True, 0, 0
        return False, 0 if date is None else abs((taken - date).days), -taken.toordinal()

    return min(rows, key=rank)


def _texts_by_species(texts: pa.Table, left_out: Counter[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for i, (species, text) in enumerate(
        zip(texts.column("species").to_pylist(), texts.column("text").to_pylist(), strict=True)
    ):
        if not _key(species or ""):
            left_out["texts without a species"] += 1
        elif not (text or "").strip():
            left_out["blank texts"] += 1
        else:
            rows[_key(species)].append(i)
    return rows


def _text(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in TEXT_COLUMNS}


def _places(pictures: list[Picture], cell_km: float, plan: SplitPlan) -> Rows:
    cells = cell_of([p.lon for p in pictures], [p.lat for p in pictures], cell_km)
    places = [
        {
            "path": p.path,
            "window": None if p.window is None else list(p.window),
            "lon": p.lon,
            "lat": p.lat,
            "captured_on": p.captured_on,
            "cell": int(cell),
            "site": p.site,
        }
        for p, cell in zip(pictures, cells, strict=True)
    ]
    assign_parts(places, plan)
    return places


def _pairs(
    joined: list[tuple[Observation, int]], by_species: dict[str, list[int]], text_row: dict[int, int], cell_km: float
) -> Rows:
    """One row for each place and text, however often the species was seen there; the first sighting's position."""
    cells = cell_of([seen.lon for seen, _ in joined], [seen.lat for seen, _ in joined], cell_km)
    groups: dict[tuple[str, int], int] = {}
    pairs: dict[tuple[int, int], dict[str, Any]] = {}
    for (seen, place), cell in zip(joined, cells, strict=True):
        group = groups.setdefault((_key(seen.species), int(cell)), len(groups))
        for row in by_species[_key(seen.species)]:
            pair = {"place": place, "text": text_row[row], "group": group, "lon": seen.lon, "lat": seen.lat}
            pairs.setdefault((place, text_row[row]), pair)
    return list(pairs.values())
