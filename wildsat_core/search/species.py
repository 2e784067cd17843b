"""Species by common or scientific name, the habitat texts that stand for them in a query, and where they live.

Two tables: a short one of well-known animals and plants with a wording of their habitat each, which a service may
replace, and the facts of some 25,700 birds, mammals and reptiles (`data/species.parquet`; sources in
`training/mini/species_facts.py` and the model card).
"""

from __future__ import annotations

import csv
import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import CollectionFormatError, SpeciesNotFoundError
from wildsat_core.region import Region
from wildsat_core.search.query import SpeciesTerm
from wildsat_core.text.folding import plain
from wildsat_core.types import BBox

TABLE = Path(__file__).resolve().parent.parent / "data" / "species.csv"
FACTS = Path(__file__).resolve().parent.parent / "data" / "species.parquet"
COLUMNS = ("common_name", "scientific_name", "habitat")
SUGGESTED = 3
NO_STEPS = np.empty(0, np.int32)
LEAST_LETTERS = 5  # of a name that may be one letter off: shorter ones are too near to one another


@dataclass(frozen=True, slots=True)
class Species:
    """A species and where it lives.

    Attributes:
        common_name: the scientific name where there is no common one.
        scientific_name: empty where the common name means several species.
        habitat: a few words on its habitat.
        also: another common name, empty when there is none.
        box: around its range, None where that is not known.
        steps: from one half-degree cell of its range to the next, where these are known.
    """

    common_name: str
    scientific_name: str
    habitat: str
    also: str = ""
    box: BBox | None = None
    steps: npt.NDArray[np.int32] = field(default_factory=lambda: NO_STEPS, compare=False, repr=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """What stands for the species in a query: its land as people describe it, with and without its name."""
        return f"{self.common_name} habitat", self.habitat, f"{self.habitat}, home of {self.common_name}"

    @property
    def region(self) -> Region | None:
        """Where it lives, None where that is not known."""
        if self.box is None:
            return None
        return Region(f"range of {self.common_name}", (self.box,), tuple(np.cumsum(self.steps).tolist()))


class SpeciesTable:
    """Finds species by name; case, accents and punctuation don't matter."""

    def __init__(self, species: Sequence[Species]) -> None:
        """Index both names; where two share one, the first stays, with the range of the second if it has none."""
        self.species, other_names = _merged(species)
        self._by_name: dict[str, Species] = {}
        self._by_word: dict[str, list[str]] = defaultdict(list)
        names = [(name, one) for one in self.species for name in (one.common_name, one.scientific_name, one.also)]
        for name, one in [*names, *other_names]:
            key = _key(name)
            if key and key not in self._by_name:
                self._by_name[key] = one
                for word in key.split():
                    self._by_word[word].append(key)

    @classmethod
    def read(cls, path: Path, facts: Path | None = None) -> SpeciesTable:
        """Read a CSV file with the columns common_name, scientific_name and habitat.

        Args:
            path: the CSV file.
            facts: a Parquet file with further species, as `training.mini.species_facts` writes it.

        Raises:
            CollectionFormatError: no such file, other columns, or a row without a name or habitat.
        """
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError) as err:
            raise CollectionFormatError(f"species table {path} can't be read: {err}") from err
        species = []
        for number, row in enumerate(rows, start=2):
            values = {column: (row.get(column) or "").strip() for column in COLUMNS}
            if not (values["common_name"] and values["habitat"]):
                raise CollectionFormatError(f"species table {path}, line {number}: common_name or habitat is missing")
            species.append(Species(values["common_name"], values["scientific_name"], values["habitat"]))
        return cls([*species, *(_read_facts(facts) if facts else ())])

    def get(self, name: str) -> Species | None:
        """The species of exactly this name, None when there is none."""
        return self._by_name.get(_key(name))

    def near(self, name: str) -> list[str]:
        """Keys of known names that are one letter off, or of which one word is.

        A letter added, left out, changed or swapped with its neighbour spoils one word only; names are looked for by
        the words that are right, and a name of one word among those of its first or last letters.
        """
        key = _key(name)
        if len(key) < LEAST_LETTERS:
            return []
        words = key.split()
        candidates = [other for word in words for other in self._by_word.get(word, ())]
        if len(words) == 1:
            candidates = self._single_words
        return list(dict.fromkeys(other for other in candidates if other != key and one_edit_apart(key, other)))

    @functools.cached_property
    def _single_words(self) -> list[str]:
        return [key for key in self._by_name if " " not in key]

    def find(self, name: str) -> Species:
        """The species of a name.

        Raises:
            SpeciesNotFoundError: unknown; names like it are suggested.
        """
        found = self.get(name)
        if found is None:
            near = self.near(name)[:SUGGESTED] or self._sharing_a_word(_key(name))[:SUGGESTED]
            hint = f"; is it {' or '.join(near)}?" if near else "; describe its habitat in words instead"
            raise SpeciesNotFoundError(
                f"no species {name[:100]!r} in the table of {len(self.species)}{hint}", "species"
            )
        return found

    def _sharing_a_word(self, key: str) -> list[str]:
        """Names with a word of a name in them, or one that begins as one of its words does."""
        for word in key.split()[::-1]:
            if named := self._by_word.get(word):
                return sorted(named, key=len)
        start = key[:4]
        return sorted((name for name in self._by_name if len(start) == 4 and name.startswith(start)), key=len)

    def matching(self, words: str, limit: int) -> list[Species]:
        """Species in whose names every word begins a word, alphabetically; all where nothing is asked."""
        wanted = plain(words).split()
        if words.strip() and not wanted:  # signs alone, which begin no name
            return []
        return [one for one, heard in self._heard if all(any(part.startswith(w) for part in heard) for w in wanted)][
            :limit
        ]

    @functools.cached_property
    def _heard(self) -> list[tuple[Species, list[str]]]:
        """Every species with the words of its names, alphabetically, those with a common name first."""
        ordered = sorted(self.species, key=lambda one: (one.common_name == one.scientific_name, one.common_name))
        return [(one, plain(f"{one.common_name} {one.scientific_name}").split()) for one in ordered]

    def term(self, name: str, weight: float = 1.0) -> SpeciesTerm:
        """A query term for a species' name.

        Raises:
            SpeciesNotFoundError: unknown.
        """
        species = self.find(name)
        return SpeciesTerm(species.common_name, species.texts, weight=weight)


def _merged(rows: Iterable[Species]) -> tuple[tuple[Species, ...], list[tuple[str, Species]]]:
    """Each species once, the first row of it with the range of a later one; and the later rows' names."""
    first: dict[str, Species] = {}
    moved: dict[tuple[str, str], str] = {}
    later: list[tuple[str, str]] = []
    for number, one in enumerate(rows):
        key = plain(one.scientific_name) or f"row {number}"
        key = key if key in first else moved.setdefault(_whatever_the_genus(one), key)
        known = first.get(key)
        if known is None:
            first[key] = one
            continue
        later += [(name, key) for name in (one.common_name, one.scientific_name, one.also)]
        if known.box is None:
            first[key] = replace(known, box=one.box, steps=one.steps)
    for key, one in first.items():  # a subspecies lives somewhere in the range of its species
        of_species = first.get(" ".join(key.split()[:2]))
        if one.box is None and of_species is not None:
            first[key] = replace(one, box=of_species.box, steps=of_species.steps)
    return tuple(first.values()), [(name, first[key]) for name, key in later]


def _whatever_the_genus(one: Species) -> tuple[str, str]:
    """What stays of a name when a species is moved to another genus, as *Uncia uncia* was to *Panthera uncia*.

    The epithet's ending may follow the gender of the genus; without one, common names mean what they like.
    """
    epithet = plain(one.scientific_name).split()[1:]
    return plain(one.common_name), epithet[0][:5] if epithet else plain(one.scientific_name)


def _read_facts(path: Path) -> list[Species]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    steps = table.column("steps").combine_chunks()
    offsets, values = steps.offsets.to_numpy(), steps.values.to_numpy()
    names = zip(*(table.column(name).to_pylist() for name in ("scientific", "common", "also", "habitat")), strict=True)
    edges = np.stack([table.column(name).to_numpy() for name in "wsen"], 1).astype(float)
    edges = np.clip(edges, [-180, -90, -180, -90], [180, 90, 180, 90]).tolist()
    return [
        Species(
            common or scientific,
            scientific,
            habitat or common or scientific,
            also,
            BBox(*edges[row]),
            values[offsets[row] : offsets[row + 1]],
        )
        for row, (scientific, common, also, habitat) in enumerate(names)
    ]


def _key(name: str) -> str:
    return plain(name).replace("grey", "gray")


def one_edit_apart(a: str, b: str) -> bool:
    """Whether one letter added, left out, changed or swapped with its neighbour makes one word of the other."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    if len(a) == len(b):
        swapped = a[start : start + 2][::-1] == b[start : start + 2] and a[start + 2 :] == b[start + 2 :]
        return a[start + 1 :] == b[start + 1 :] or swapped
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return longer[start + 1 :] == shorter[start:]


@functools.lru_cache(maxsize=4)
def load_species(path: Path = TABLE) -> SpeciesTable:
    """The table that comes with the program, or another one in its place, with the facts of all species; read once."""
    return SpeciesTable.read(path, FACTS)
