"""Sentences about flagship species, ecoregions, mammals and birds, with the land where they may live.

Ranges are approximations made here from published facts, never occurrence records: a box, narrowed by habitat and
climate.
Sources: PanTHERIA (Jones et al. 2009) for mammals, AVONET (Tobias et al. 2022) for birds, WWF WildFinder for names and
ecoregions; the flagship lines are our own general knowledge.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from pathlib import Path
from typing import TypeVar

import numpy as np

from training.earth.claims import Mask
from training.earth.vocabulary import Phrase, Vocabulary, read_csv, read_yaml
from training.mini.bank import BATCH, BankBuilder, Shares
from training.mini.species_tables import BirdRange, MammalRange, habitat_masks, read_birds, read_mammals

# fmt: off
COMMON_WORDS = {
    "Great", "Desert", "Islands", "North", "South", "Forest", "Plain", "Basin", "Mountains", "Coast", "Gulf",
    "Range", "East", "Central", "West", "Southern", "Western", "Highlands", "Peninsula", "Plateau", "River",
    "Delta", "Cape", "Plains", "Island", "Lakes", "Ocean",
}
# fmt: on
# Of single species a part is enough: the rest would only add more of the same, and queries find species in tables.
MAMMAL_SAMPLE, BIRD_SAMPLE = 0.5, 0.25
NUMEROUS = 0.98  # a tile with as many species of a family as this quantile of tiles has the full share


def add_species_sentences(builder: BankBuilder, vocabulary: Vocabulary, data: Path, seed: int = 0) -> None:
    """All sentences of this module, in a fixed order for a fixed seed."""
    rng = random.Random(seed)
    _add_flagships(builder, vocabulary, rng)
    _add_ecoregions(builder, vocabulary, data, rng)
    surroundings = Surroundings(builder, vocabulary)
    families = read_yaml("families.yaml")
    richness: dict[str, list[Shares]] = defaultdict(list)
    _add_mammals(builder, vocabulary, surroundings, read_mammals(data / "species", families["mammals"]), richness, rng)
    _add_birds(builder, vocabulary, surroundings, read_birds(data / "species", families["birds"]), richness, rng)
    _add_families(builder, richness)


class Surroundings:
    """Names the habitats and places that a range mostly lies in, for the wording of its sentences."""

    def __init__(self, builder: BankBuilder, vocabulary: Vocabulary) -> None:
        """Work out the tiles of every habitat and place."""
        self.habitats = [facet for facet in vocabulary.facets.values() if facet.kind == "habitat"]
        self.places = list(vocabulary.places.values())
        self._habitat = builder.shares_of(np.stack([phrase.mask for phrase in self.habitats]))
        self._place = builder.shares_of(np.stack([phrase.mask for phrase in self.places]))

    def habitats_of(self, shares: Shares, most: int = 2) -> list[Phrase]:
        """Habitats of a quarter of the range, (N,) shares of cells; first those that it fills out of proportion."""
        cover = self._habitat @ shares / max(shares.sum(), 1e-6)
        usual = self._habitat.sum(1) / self._habitat.sum() * 10 + 0.02
        return _best(self.habitats, cover, cover * np.sqrt(cover / usual), most)

    def places_of(self, shares: Shares, most: int = 2) -> list[str]:
        """Places that hold a quarter of the range, (N,) shares of cells, favouring small ones."""
        common = self._place @ shares
        cover = common / max(shares.sum(), 1e-6)
        precision = common / self._place.sum(1).clip(1e-6)
        return [phrase.name for phrase in _best(self.places, cover, cover * np.sqrt(precision), most)]


def _best(phrases: list[Phrase], cover: Shares, score: Shares, most: int) -> list[Phrase]:
    return [phrases[row] for row in np.argsort(-score)[:most] if cover[row] > 0.25]


def flagship_mask(vocabulary: Vocabulary, row: dict[str, str]) -> Mask:
    """Land of a row of the table of flagship species, (N,): its habitats within its boxes, or the boxes alone."""
    habitat, place = vocabulary.any_facet(row["facets"].split()), vocabulary.any_place(row["where"])
    return habitat & place if (habitat & place).sum() >= 8 else place


def _add_flagships(builder: BankBuilder, vocabulary: Vocabulary, rng: random.Random) -> None:
    for row in read_csv("flagships.csv"):
        mask = flagship_mask(vocabulary, row)
        names, note = row["names"], row["note"]
        said = [f"{names}; {note}", f"{note}, home of {names}"]
        for name in names.split(", "):
            forms = [
                f"{name} habitat",
                f"where {name} live",
                f"{name} in the wild",
                f"land of the {name}",
                f"{name}, {note}",
            ]
            said += [name, *rng.sample(forms, 2)]
        builder.add(mask, said, "flagship")


def _add_ecoregions(builder: BankBuilder, vocabulary: Vocabulary, data: Path, rng: random.Random) -> None:
    tables = read_yaml("ecology.yaml")
    with (data / "species" / "wildfinder-ecoregions_list.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            facets = next((names for start, names in tables["biomes"].items() if row["biome"].startswith(start)), None)
            realm = tables["realms"].get(row["realm"])
            if facets is None or realm is None:
                continue
            realm_mask = np.logical_or.reduce([vocabulary.places[name].mask for name in realm])
            biome = vocabulary.any_facet(facets) & realm_mask
            named = [vocabulary.places[name].mask for name in _places_named(row["ecoregion"], vocabulary)]
            if named:
                place = np.logical_or.reduce(named) & realm_mask
                mask = biome & place if (biome & place).sum() >= 8 else place
                said = [
                    row["ecoregion"],
                    f"{row['ecoregion']}, {row['biome'].lower()}",
                    f"{row['ecoregion']} ecoregion",
                ]
                builder.add(mask, said, "ecoregion")
            elif rng.random() < 0.5:
                builder.add(biome, [f"{row['ecoregion']}, {row['biome'].lower()}, {row['realm']} realm"], "ecoregion")


def _places_named(ecoregion: str, vocabulary: Vocabulary) -> list[str]:
    """Places whose name, or a telling word of it, is in an ecoregion's name."""
    lower = ecoregion.lower()
    words = set(lower.replace("-", " ").split())
    found = []
    for name in vocabulary.places:
        telling = {w.lower() for w in name.split() if len(w) > 3 and w[0].isupper() and w not in COMMON_WORDS}
        if name.lower() in lower or telling & words:
            found.append(name)
    return found


def _add_mammals(
    builder: BankBuilder,
    vocabulary: Vocabulary,
    surroundings: Surroundings,
    mammals: list[MammalRange],
    richness: dict[str, list[Shares]],
    rng: random.Random,
) -> None:
    chosen = [(mammal, mammal.mask(vocabulary)) for mammal in mammals if rng.random() < MAMMAL_SAMPLE]
    for batch in _batches(chosen):
        for (mammal, _), shares in zip(batch, builder.shares_of(np.stack([mask for _, mask in batch])), strict=True):
            if not shares.any():
                continue
            richness[mammal.family].append(shares)
            habitat = " and ".join(rng.choice(p.sayings) for p in surroundings.habitats_of(shares)) or "varied habitats"
            place = " and ".join(surroundings.places_of(shares)) or "the wild"
            traits = " ".join(trait for trait in mammal.traits if rng.random() < 0.5)
            said = [f"{mammal.name}, a {traits} {mammal.family} of {habitat} in {place}"]
            if mammal.has_common_name or rng.random() < 0.5:
                said.append(mammal.name)
            if rng.random() < 0.3:
                said.append(f"{mammal.family} of {place}, {habitat}")
            builder.add_shares(shares, said, "mammal")


def _add_birds(
    builder: BankBuilder,
    vocabulary: Vocabulary,
    surroundings: Surroundings,
    birds: list[BirdRange],
    richness: dict[str, list[Shares]],
    rng: random.Random,
) -> None:
    land = habitat_masks(vocabulary)
    chosen = [(bird, bird.mask(vocabulary, land)) for bird in birds if rng.random() < BIRD_SAMPLE]
    for batch in _batches(chosen):
        for (bird, _), shares in zip(batch, builder.shares_of(np.stack([mask for _, mask in batch])), strict=True):
            if not shares.any():
                continue
            richness[bird.family].append(shares)
            habitats = surroundings.habitats_of(shares, 1)
            scene = f", {rng.choice(habitats[0].sayings)}" if habitats and rng.random() < 0.5 else ""
            place = " and ".join(surroundings.places_of(shares, 1 if rng.random() < 0.6 else 2)) or "the wild"
            density = bird.density if rng.random() < 0.4 else ""
            where = f"{density} {bird.habitat_words}{scene} in {place}"
            said = [f"{bird.name}, {bird.family} of {where}" if rng.random() < 0.6 else f"{bird.family} of {where}"]
            builder.add_shares(shares, said, "bird")


def _add_families(builder: BankBuilder, richness: dict[str, list[Shares]]) -> None:
    """'hummingbirds': where many species of the family live, so that one rare species can't speak for its group."""
    for family, ranges in sorted(richness.items()):
        if len(ranges) < 2:
            continue
        count = (np.stack(ranges) > 0.4).sum(0).astype(np.float32)
        most = float(np.quantile(count[count > 0], NUMEROUS)) if (count > 0).any() else 1.0
        share = (count / max(most, 1.0)).clip(0, 1) ** 1.5
        words = [word.strip() for part in family.split(", ") for word in part.split(" or ")]
        said = [family, *[plural(word) for word in words], f"many kinds of {plural(words[0])}", f"{words[0]} habitat"]
        builder.add_shares(share, said, "family")


def plural(word: str) -> str:
    """English plural, good enough for names of animals."""
    irregular = {
        "wolf": "wolves",
        "mouse": "mice",
        "goose": "geese",
        "sheep": "sheep",
        "deer": "deer",
        "wild cattle": "wild cattle",
    }
    for single, many in irregular.items():
        if word == single or word.endswith(f" {single}"):
            return word[: -len(single)] + many
    if word.endswith("y") and word[-2] not in "aeo":
        return word[:-1] + "ies"
    if word.endswith("s"):
        return word
    sibilant = word.endswith(("ch", "sh", "x", "o")) and word not in ("cuckoo", "flamingo", "kangaroo")
    return word + ("es" if sibilant else "s")


Range = TypeVar("Range", MammalRange, BirdRange)


def _batches(items: list[tuple[Range, Mask]]) -> list[list[tuple[Range, Mask]]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
