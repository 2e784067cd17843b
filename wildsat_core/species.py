"""Species by common or scientific name, and the habitat texts that stand for them in a query."""

from __future__ import annotations

import csv
import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wildsat_core.errors import CollectionFormatError, SpeciesNotFoundError
from wildsat_core.search.query import SpeciesTerm

TABLE = Path(__file__).parent / "data" / "species.csv"
COLUMNS = ("common_name", "scientific_name", "habitat")


@dataclass(frozen=True, slots=True)
class Species:
    """A species and where it lives.

    Attributes:
        scientific_name: empty where the common name means several species.
        habitat: a few words on its habitat.
    """

    common_name: str
    scientific_name: str
    habitat: str

    @property
    def texts(self) -> tuple[str, ...]:
        """What stands for the species in a query: its land as people describe it, with and without its name."""
        return f"{self.common_name} habitat", self.habitat, f"{self.habitat}, home of {self.common_name}"


class SpeciesTable:
    """Finds species by name; letters' case and spaces don't matter."""

    def __init__(self, species: Sequence[Species]) -> None:
        """Index both names; where two share one, the first stays."""
        self.species = tuple(species)
        self._by_name: dict[str, Species] = {}
        for one in species:
            for name in (one.common_name, one.scientific_name):
                if name:
                    self._by_name.setdefault(_key(name), one)

    @classmethod
    def read(cls, path: Path) -> SpeciesTable:
        """Read a CSV file with the columns common_name, scientific_name and habitat.

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
            species.append(Species(**values))
        return cls(species)

    def find(self, name: str) -> Species:
        """The species of a name.

        Raises:
            SpeciesNotFoundError: unknown; names like it are suggested.
        """
        found = self._by_name.get(_key(name))
        if found is None:
            near = difflib.get_close_matches(_key(name), list(self._by_name), n=3)
            hint = f"; is it {' or '.join(near)}?" if near else "; describe its habitat in words instead"
            raise SpeciesNotFoundError(
                f"no species {name[:100]!r} in the table of {len(self.species)}{hint}", "species"
            )
        return found

    def matching(self, words: str, limit: int) -> list[Species]:
        """Species in whose names every word begins a word, alphabetically; all when there is no word."""
        wanted = _key(words).split()

        def fits(one: Species) -> bool:
            heard = _key(f"{one.common_name} {one.scientific_name}").replace("-", " ").split()
            return all(any(part.startswith(word) for part in heard) for word in wanted)

        return [one for one in sorted(self.species, key=lambda s: s.common_name) if fits(one)][:limit]

    def term(self, name: str, weight: float = 1.0) -> SpeciesTerm:
        """A query term for a species' name.

        Raises:
            SpeciesNotFoundError: unknown.
        """
        species = self.find(name)
        return SpeciesTerm(species.common_name, species.texts, weight=weight)


@functools.lru_cache(maxsize=4)
def load_species(path: Path = TABLE) -> SpeciesTable:
    """The table that comes with the program, or another one; read once."""
    return SpeciesTable.read(path)


def _key(name: str) -> str:
    return " ".join(name.casefold().split())
