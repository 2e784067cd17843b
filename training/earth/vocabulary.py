"""What can be said about land: facets, places and scenes from the tables, each with its mask over land cells."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import yaml

from training.earth.cells import Cells
from training.earth.claims import Mask, Predicates
from wildsat_core.errors import InvalidInputError

ISLAND_LIMITS_KM2 = {"Borneo": 1.2e6}  # boxes that would cover a piece of the continent


@dataclass(frozen=True, slots=True)
class Phrase:
    """One thing that can be true of land: its mask (N,), and the ways of saying it, best first."""

    name: str
    kind: str
    mask: Mask
    sayings: tuple[str, ...]


class Vocabulary:
    """Facets, places and scenes over one set of land cells.

    Attributes:
        facets: by name; `kind` is habitat, climate or terrain.
        places: by name; the name is how it is said.
        scenes: what one sees or does there.
        demonyms: adjectives of places, such as "Andean".
    """

    def __init__(self, cells: Cells) -> None:
        """Read the tables and evaluate every predicate (a few seconds)."""
        self.cells = cells
        self.facets: dict[str, Phrase] = {}
        self.places: dict[str, Phrase] = {}
        self.predicates = Predicates(cells, self._facet_mask, self._place_mask)
        self._read_places()
        self._read_facets()
        scenes = read_yaml("scenes.yaml") + read_yaml("wildlife.yaml") + read_yaml("vivid.yaml")
        self.scenes = [
            Phrase(entry["say"][0], "scene", self.predicates.mask(entry["where"]), tuple(entry["say"]))
            for entry in scenes
        ]
        self.demonyms = {name: self.predicates.mask(text) for name, text in read_yaml("demonyms.yaml").items()}

    def _read_places(self) -> None:
        for name, text in read_yaml("continents.yaml").items():
            self.places[name] = Phrase(name, "place", self.predicates.mask(text), (name,))
        for row in read_csv("places.csv"):
            edges = [float(edge) for edge in row["boxes"].replace(";", " ").split()]
            mask = self.predicates.box(*edges)
            if row["name"] in ISLAND_LIMITS_KM2:
                mask &= self.cells.island_km2 < ISLAND_LIMITS_KM2[row["name"]]
            self.places.setdefault(row["name"], Phrase(row["name"], "place", mask, (row["name"],)))

    def _read_facets(self) -> None:
        for kind, entries in read_yaml("facets.yaml").items():
            for name, entry in entries.items():
                mask = self.predicates.mask(entry["where"])
                self.facets[name] = Phrase(name, kind, mask, tuple(entry["say"]))

    def _facet_mask(self, name: str) -> Mask:
        if name not in self.facets:
            raise InvalidInputError(f"unknown facet {name!r}; facets may name only those above them in facets.yaml")
        return self.facets[name].mask

    def _place_mask(self, name: str) -> Mask:
        if name not in self.places:
            raise InvalidInputError(f"unknown place {name!r}; places stand in continents.yaml and places.csv")
        return self.places[name].mask

    def any_facet(self, names: list[str]) -> Mask:
        """Land where at least one of the named facets is true, (N,)."""
        return np.asarray(np.logical_or.reduce([self._facet_mask(name) for name in names]))

    def any_place(self, text: str) -> Mask:
        """(N,) land in one of the places: names or boxes `west south east north` in degrees, parted by semicolons."""
        mask = np.zeros(len(self.cells), np.bool_)
        for part in text.split(";"):
            stripped = part.strip()
            if stripped in self.places:
                mask |= self.places[stripped].mask
            else:
                mask |= self.predicates.box(*(float(edge) for edge in stripped.split()))
        return mask


def read_yaml(name: str) -> Any:  # noqa: ANN401 - the tables differ in shape
    """One of the tables of this package."""
    return yaml.safe_load((resources.files("training.earth") / "tables" / name).read_text(encoding="utf-8"))


def tables_digest() -> str:
    """Eight digits that change with any table of this package, to name what was made of them and is kept."""
    tables = (resources.files("training.earth") / "tables").iterdir()
    return hashlib.sha256(b"".join(sorted(table.read_bytes() for table in tables))).hexdigest()[:8]


def read_csv(name: str) -> list[dict[str, str]]:
    """Rows of one of the comma-separated tables of this package."""
    text = (resources.files("training.earth") / "tables" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
