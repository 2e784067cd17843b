"""The table of species that ships with the search: names, habitat and range of birds, mammals and reptiles.

`wildsat dataset species` makes it. Sources: AVONET (Tobias et al. 2022, CC BY 4.0) for birds, PanTHERIA (Jones et
al. 2009) and WWF WildFinder for mammals, GARD 1.1 (Roll et al. 2017, CC0) for reptiles, TetraDENSITY (Santini et al.
2018, CC BY 4.0) for the wording of habitats, and the taxonomy of NCBI (public domain), as the package taxoniq carries
it, for common names.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.earth.vocabulary import Phrase, Vocabulary, read_yaml
from training.mini.species_tables import BIRD_HABITATS, DENSITY, habitat_masks, read_birds, read_mammals
from wildsat_core.errors import MissingExtraError

log = logging.getLogger(__name__)

HALF_DEGREE = 720  # columns of the half-degree grid, row 0 in the north
EVERY = 8  # of the land cells, enough to see which habitats a range covers
LEAST_COVER = 0.25
SHORTEST_WORDING, LONGEST_WORDING = 4, 60
TRUE_BIRD_HABITATS = {name for name in BIRD_HABITATS if name not in {"NA", "Human Modified"}}


@dataclass(frozen=True, slots=True)
class SpeciesFacts:
    """One species, with another common name where it has two: its range is a box, and half-degree cells where known."""

    scientific: str
    common: str
    also: str
    group: str
    habitat: str
    box: tuple[float, float, float, float]
    cells: tuple[int, ...] = ()


def write_species(rows: list[SpeciesFacts], path: Path) -> None:
    """Write the table as Parquet, sorted by scientific name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sorted(rows, key=lambda row: row.scientific)
    columns = {
        "scientific": [row.scientific for row in rows],
        "common": [row.common for row in rows],
        "also": [row.also for row in rows],
        "group": [row.group for row in rows],
        "habitat": [row.habitat for row in rows],
    }
    edges = {name: pa.array([row.box[i] for row in rows], pa.float32()) for i, name in enumerate("wsen")}
    # Steps between ascending cells are small numbers, which compress well.
    steps = pa.array([np.diff(row.cells, prepend=0).tolist() for row in rows], pa.list_(pa.int32()))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns | edges | {"steps": steps}), path, compression="zstd", compression_level=19)


def gather_species(
    vocabulary: Vocabulary, data: Path, names: Callable[[list[str]], dict[str, str]]
) -> list[SpeciesFacts]:
    """Birds, mammals and reptiles of the tables, each scientific name once.

    Args:
        vocabulary: tells which habitats a range covers.
        data: folder that holds species/.
        names: gives common names for scientific names, where it knows them.
    """
    folder, wordings = data / "species", _wordings(data / "species" / "tetradensity_habitat_points.csv.gz")
    namer = _HabitatNamer(vocabulary)
    found: dict[str, SpeciesFacts] = {}
    rows = [*_mammals(folder, namer), *_birds(folder, vocabulary, namer), *_reptiles(folder, namer)]
    common = names([one.scientific for one in rows])
    for one in rows:
        habitat = wordings.get(one.scientific, one.habitat)
        other = common.get(one.scientific, "")
        name = one.common or other
        also = other if other.casefold() != name.casefold() else ""
        found.setdefault(one.scientific, replace(one, common=name, also=also, habitat=habitat))
    log.info("%d species, %d with a common name", len(found), sum(bool(one.common) for one in found.values()))
    return list(found.values())


def names_of_ncbi(scientific: list[str]) -> dict[str, str]:
    """Common names by scientific name, of those that NCBI's taxonomy has one for.

    Raises:
        MissingExtraError: the package taxoniq is not installed.
    """
    try:
        import taxoniq
    except ImportError as err:
        raise MissingExtraError("taxoniq", "train", "common names of species") from err
    found = {}
    for name in scientific:
        # It raises errors of several kinds for names that it does not know, and for those without a common name.
        with contextlib.suppress(Exception):
            found[name] = str(taxoniq.Taxon(scientific_name=name).common_name)
    return found


class _HabitatNamer:
    """Names the habitats that a range mostly lies in."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        cells = vocabulary.cells
        self._phrases: list[Phrase] = [one for one in vocabulary.facets.values() if one.kind == "habitat"]
        self._masks = np.stack([phrase.mask[::EVERY] for phrase in self._phrases]).astype(np.float32)
        self.lon, self.lat = cells.lon[::EVERY], cells.lat[::EVERY]
        self.half = _half_degree(self.lon, self.lat)
        self._usual = self._masks.mean(1) + 0.01

    def of(self, inside: NDArray[np.bool_], most: int = 2) -> str:
        """Words for the habitats that cover most of a range, favouring those that it fills out of proportion."""
        if not inside.any():
            return ""
        cover = self._masks[:, inside].mean(1)
        best = np.argsort(-cover * np.sqrt(cover / self._usual))[:most]
        return " and ".join(self._phrases[i].sayings[0] for i in best if cover[i] > LEAST_COVER)

    def in_box(self, box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
        west, south, east, north = box
        return (self.lon >= west) & (self.lon <= east) & (self.lat >= south) & (self.lat <= north)


def _half_degree(lon: NDArray[np.floating], lat: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.asarray(np.floor((90 - lat) * 2) * HALF_DEGREE + np.floor((lon + 180) * 2), dtype=np.int64)


def _mammals(folder: Path, namer: _HabitatNamer) -> Iterator[SpeciesFacts]:
    families = read_yaml("families.yaml")["mammals"]
    for mammal in read_mammals(folder, families):
        common = mammal.name if mammal.has_common_name else ""
        habitat = namer.of(namer.in_box(mammal.box))
        yield SpeciesFacts(mammal.scientific, common, "", "mammal", habitat, mammal.box)


def _birds(folder: Path, vocabulary: Vocabulary, namer: _HabitatNamer) -> Iterator[SpeciesFacts]:
    land = {name: mask[::EVERY] for name, mask in habitat_masks(vocabulary).items()}
    densities = set(DENSITY.values())
    for bird in read_birds(folder, read_yaml("families.yaml")["birds"]):
        inside = namer.in_box(bird.box)
        own = inside & land[bird.habitat]
        around = namer.of(own if own.sum() >= 2 else inside, 1)
        words = bird.habitat_words if bird.habitat in TRUE_BIRD_HABITATS else ""
        density = bird.density if bird.density in densities and words else ""
        habitat = ", ".join(part for part in (f"{density} {words}".strip(), around) if part)
        yield SpeciesFacts(bird.name, "", "", "bird", habitat, bird.box)


def _reptiles(folder: Path, namer: _HabitatNamer) -> Iterator[SpeciesFacts]:
    with np.load(folder / "gard_reptiles_05deg.npz", allow_pickle=False) as stored:
        names = [str(name) for name in stored["species"]]
        owner, flat = stored["s"], stored["y"].astype(np.int64) * HALF_DEGREE + stored["x"]
    order = np.lexsort((flat, owner))
    owner, flat = owner[order], flat[order]
    cuts = np.searchsorted(owner, np.arange(len(names) + 1))
    for number, name in enumerate(names):
        cells = np.unique(flat[cuts[number] : cuts[number + 1]])
        if not len(cells):
            continue
        row, column = np.divmod(cells, HALF_DEGREE)
        box = (column.min() / 2 - 180, 90 - (row.max() + 1) / 2, (column.max() + 1) / 2 - 180, 90 - row.min() / 2)
        habitat = namer.of(np.isin(namer.half, cells))
        yield SpeciesFacts(name, "", "", "reptile", habitat, tuple(float(edge) for edge in box), tuple(cells.tolist()))  # type: ignore[arg-type]  # four edges


def _wordings(path: Path) -> dict[str, str]:
    """The habitat wording recorded most often for a species."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            wording = " ".join(row["Habitat"].split())
            if SHORTEST_WORDING <= len(wording) <= LONGEST_WORDING and wording.upper() != "NA":
                counted[row["scientificNameStd"]][wording.lower()] += 1
    return {name: counter.most_common(1)[0][0] for name, counter in counted.items()}
