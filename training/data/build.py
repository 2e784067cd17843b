"""Makes a training set from sightings, texts about species, and imagery."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.data.cells import cell_of, spatial_splits
from training.data.imagery import Imagery, Picture
from training.data.observations import Observation, Observations
from training.data.tables import DatasetAbout, pairs_table, places_table, texts_table, write_dataset
from wildsat_core.errors import InvalidInputError, MissingDataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How places are divided: the side of blocks in degrees, the shares of train, val and test, and a seed."""

    block_deg: float = 10.0
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 123


@dataclass(slots=True)
class BuildReport:
    """What became of the sightings."""

    places: int = 0
    texts: int = 0
    pairs: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """For people."""
        parts = ", ".join(f"{count} {name}" for name, count in self.splits.items())
        return [
            f"{self.pairs} pairs of {self.places} places and {self.texts} texts; places by part: {parts}",
            *(f"left out: {count} {reason}" for reason, count in sorted(self.left_out.items())),
        ]


def build_dataset(
    folder: Path, observations: Observations, texts: pa.Table, imagery: Imagery, *, cell_km: float, plan: SplitPlan
) -> BuildReport:
    """Join sightings to pictures by position and to texts by species, and write the tables.

    A place with pictures of several dates becomes as many places of one site. A sighting pairs the newest of them with
    every text of its species; the others are its pictures of another date.

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
    report = BuildReport()
    by_species = _texts_by_species(texts)
    sites: dict[int, list[int]] = {}  # site -> its rows of places
    pictures: list[Picture] = []
    joined: list[tuple[Observation, int]] = []
    for seen in observations.rows:
        if _key(seen.species) not in by_species:
            report.left_out["sightings of species without a text"] += 1
            continue
        found = imagery.pictures_at(seen.lon, seen.lat)
        if not found:
            report.left_out["sightings without imagery"] += 1
            continue
        if found[0].site not in sites:
            sites[found[0].site] = list(range(len(pictures), len(pictures) + len(found)))
            pictures += found
        joined.append((seen, max(sites[found[0].site], key=lambda row: _newest(pictures[row]))))
    if not joined:
        raise InvalidInputError(f"nothing to train on: {dict(report.left_out)}", "observations")
    used = sorted({row for seen, _ in joined for row in by_species[_key(seen.species)]})
    text_rows = texts.take(used).to_pylist()
    pairs = _pairs(joined, by_species, {row: i for i, row in enumerate(used)}, cell_km)
    places = _places(pictures, cell_km, plan)
    report.places, report.texts, report.pairs = len(places), len(text_rows), len(pairs)
    report.splits = Counter(place["split"] for place in places)
    about = DatasetAbout(
        imagery=_path_from(folder.resolve(), imagery.root.resolve()),
        bands=imagery.bands,
        provenance={"sightings": len(joined), "cell_km": cell_km, "block_deg": plan.block_deg, "seed": plan.seed},
    )
    write_dataset(
        folder, about, places_table(places), texts_table([_text(row) for row in text_rows]), pairs_table(pairs)
    )
    return report


def read_texts(path: Path) -> pa.Table:
    """Read a table of texts, Parquet or CSV, with the columns species, text, source and licence.

    Raises:
        MissingDataError: there is no such file.
        InvalidInputError: it can't be read, or a column is missing.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    if not path.is_file():
        raise MissingDataError(f"there is no table of texts at {path}")
    try:
        table = pa.csv.read_csv(path) if path.suffix.lower() == ".csv" else pq.read_table(path)
    except pa.ArrowInvalid as err:
        raise InvalidInputError(f"{path} can't be read as a table of texts: {err}", "texts") from err
    missing = [name for name in ("species", "text", "source", "licence") if name not in table.column_names]
    if missing:
        raise InvalidInputError(f"{path} lacks the columns {', '.join(missing)}", "texts")
    return table


def _path_from(folder: Path, imagery: Path) -> str:
    """Imagery inside of the data set's folder is named from there, so that the folder can be moved."""
    return str(imagery.relative_to(folder) if imagery.is_relative_to(folder) else imagery)


def _key(species: str) -> str:
    return " ".join(species.lower().split())


def _newest(picture: Picture) -> tuple[bool, Any]:
    return picture.captured_on is not None, picture.captured_on or 0


def _texts_by_species(texts: pa.Table) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for i, (species, text) in enumerate(
        zip(texts.column("species").to_pylist(), texts.column("text").to_pylist(), strict=True)
    ):
        if species and text and text.strip():
            rows[_key(species)].append(i)
    return rows


def _text(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("species", "section", "text", "source", "licence")}


def _places(pictures: list[Picture], cell_km: float, plan: SplitPlan) -> list[dict[str, Any]]:
    lon, lat = [p.lon for p in pictures], [p.lat for p in pictures]
    cells = cell_of(lon, lat, cell_km)
    parts = spatial_splits(lon, lat, plan.block_deg, plan.shares, plan.seed)
    return [
        {
            "path": p.path,
            "window": None if p.window is None else list(p.window),
            "lon": p.lon,
            "lat": p.lat,
            "captured_on": p.captured_on,
            "cell": int(cell),
            "site": p.site,
            "split": str(part),
        }
        for p, cell, part in zip(pictures, cells, parts, strict=True)
    ]


def _pairs(
    joined: list[tuple[Observation, int]], by_species: dict[str, list[int]], text_row: dict[int, int], cell_km: float
) -> list[dict[str, Any]]:
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
