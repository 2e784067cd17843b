"""Sentences about habitats, climates, terrain and places, and combinations of them that are true somewhere."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.earth.vocabulary import Phrase, Vocabulary, read_yaml
from training.mini.bank import BankBuilder

FRAMES = (
    "{}",
    "{}",
    "{}",
    "satellite view of {}",
    "habitat: {}",
    "landscape of {}",
    "places with {}",
    "where to find {}",
    "an area of {}",
    "{} habitat",
    "species living in {}",
    "{} seen from above",
    "land of {}",
)
IN_PLACE = ("{} in {}", "{} of {}", "{}, {}")
KIND_OF_LAND = {
    "coast": "coast < 70",
    "mountains": "relief > 900",
    "lowlands": "elev < 250",
    "forests": "facet('forest')",
    "grasslands": "facet('grass')",
    "dry country": "rain < 450",
    "wetlands": "facet('wetland') | facet('delta')",
    "islands": "island < 900000",
    "highlands": "elev > 1000",
}
COMPOSITIONS = 7_000
LEAST_CELLS = 15
FEWEST_PAIRED, MOST_PAIRED = 100, 0.85  # cells, and the share of a land that a quality says nothing new of
PAIRS = 4  # wordings of each
SEA = [
    "sea",
    "open sea",
    "ocean",
    "open ocean",
    "the deep blue sea",
    "high seas",
    "sea water",
    "nothing but sea",
    "water",
]
WORD_TABLES = ("words.yaml", "terms.yaml")
FIELD_TABLES = (  # whole fields of language, thousands of phrases that need no frames
    "vegetation.yaml",
    "ecoregion_names.yaml",
    "ecoregion_names_east.yaml",
    "climates.yaml",
    "livelihoods.yaml",
    "wild.yaml",
    "landforms.yaml",
    "regions.yaml",
    "waters.yaml",
    "plants.yaml",
    "fauna.yaml",
    "classifications.yaml",
    "everyday.yaml",
    "local_words.yaml",
)
WORD_FRAMES = ("{} landscape", "where is {}", "show me {}", "{} from space", "{} nature", "find {}")


def add_habitat_sentences(builder: BankBuilder, vocabulary: Vocabulary, seed: int = 0) -> None:
    """All sentences of this module, in a fixed order for a fixed seed."""
    rng = random.Random(seed)
    _add_single(builder, vocabulary, rng)
    _add_words(builder, vocabulary, rng)
    add_pairs(builder, vocabulary, rng)
    _add_in_places(builder, vocabulary, rng)
    _add_demonyms(builder, vocabulary, rng)
    Composer(builder, vocabulary, seed).add(COMPOSITIONS)


def add_pairs(builder: BankBuilder, vocabulary: Vocabulary, rng: random.Random) -> None:
    """'cold grassland': a quality and a land, where the quality tells some of that land from the rest."""
    table = read_yaml("pairs.yaml")
    for land in table["lands"]:
        everywhere = vocabulary.predicates.mask(land["where"])
        for quality in table["qualities"]:
            mask = everywhere & vocabulary.predicates.mask(quality["where"])
            if FEWEST_PAIRED < mask.sum() < MOST_PAIRED * everywhere.sum():
                pairs = [f"{one} {other}" for one in quality["say"] for other in land["say"]]
                builder.add(mask, rng.sample(pairs, min(PAIRS, len(pairs))), "pair")


def _add_single(builder: BankBuilder, vocabulary: Vocabulary, rng: random.Random) -> None:
    for facet in vocabulary.facets.values():
        said = list(facet.sayings)
        if facet.kind == "habitat":
            said += [rng.choice(FRAMES).format(text) for text in facet.sayings]
        elif facet.kind == "climate":
            said = [f"{text} climate" for text in said] + [f"a place that is {text}" for text in said]
        else:
            said += [f"land {text}" for text in said]
        builder.add(facet.mask, said, "atom")
    for scene in vocabulary.scenes:
        builder.add(scene.mask, list(scene.sayings), "atom")
    for place in vocabulary.places.values():
        name = place.name
        said = [name, f"landscapes of {name}", f"nature and wildlife of {name}", f"{name} countryside"]
        builder.add(place.mask, said, "place")


def _add_words(builder: BankBuilder, vocabulary: Vocabulary, rng: random.Random) -> None:
    """Words as people type them and as classifications have them, half of them in a frame too; then whole fields."""
    for entry in _entries(WORD_TABLES):
        framed = [rng.choice(WORD_FRAMES).format(text) for text in entry["say"] if rng.random() < 0.5]
        builder.add(vocabulary.predicates.mask(entry["where"]), [*entry["say"], *framed], "word")
    builder.add_sea(SEA)
    for entry in _entries(FIELD_TABLES):
        builder.add(vocabulary.predicates.mask(entry["where"]), entry["say"], "field")


def _entries(tables: tuple[str, ...]) -> list[dict[str, Any]]:
    return [entry for table in tables for entry in read_yaml(table)]


def _add_in_places(builder: BankBuilder, vocabulary: Vocabulary, rng: random.Random) -> None:
    """'cloud forest in Ecuador', where that covers a fair part of the place or of the habitat."""
    weight = np.cos(np.radians(vocabulary.cells.lat)).astype(np.float32)
    habitats = [facet for facet in vocabulary.facets.values() if facet.kind == "habitat"]
    habitats += [scene for scene in vocabulary.scenes if scene.mask.sum() > LEAST_CELLS]
    land_kinds = {name: vocabulary.predicates.mask(text) for name, text in KIND_OF_LAND.items()}
    masks = np.stack([habitat.mask for habitat in habitats]).astype(np.float32)
    total = masks @ weight
    for place in vocabulary.places.values():
        rows = np.flatnonzero(place.mask)
        common = masks[:, rows] @ weight[rows]
        size = weight[rows].sum()
        for habitat, area, everywhere in zip(habitats, common, total, strict=True):
            typical = area > 60 and (area > 0.12 * size or area > 0.05 * everywhere)
            dense = area > 10 and area > (0.2 if habitat.kind == "habitat" else 0.3) * size
            if (typical or dense) and (habitat.kind == "habitat" or rng.random() < 0.35):
                text = rng.choice(IN_PLACE).format(rng.choice(habitat.sayings), place.name)
                builder.add(habitat.mask & place.mask, [text], "in_place")
        for name, mask in land_kinds.items():
            covered = mask[rows].sum()
            if 12 < covered < 0.8 * len(rows):
                form = rng.choice([f"{name} of {place.name}", f"{place.name} {name}", f"{name} in {place.name}"])
                builder.add(mask & place.mask, [form], "in_place")


def _add_demonyms(builder: BankBuilder, vocabulary: Vocabulary, rng: random.Random) -> None:
    habitats = [facet for facet in vocabulary.facets.values() if facet.kind == "habitat"]
    land_kinds = {name: vocabulary.predicates.mask(text) for name, text in KIND_OF_LAND.items()}
    for adjective, mask in vocabulary.demonyms.items():
        for habitat in habitats:
            common = habitat.mask & mask
            if common.sum() > max(LEAST_CELLS, 0.06 * mask.sum()):
                sayings = rng.sample(habitat.sayings, min(2, len(habitat.sayings)))
                builder.add(common, [f"{adjective} {text}" for text in sayings], "in_place")
        for name, land in land_kinds.items():
            if (land & mask).sum() > LEAST_CELLS:
                builder.add(land & mask, [f"{adjective} {name}"], "in_place")


@dataclass(slots=True)
class _Chosen:
    habitats: list[Phrase]
    climates: list[Phrase]
    terrains: list[Phrase]
    places: list[Phrase]

    def all(self) -> list[Phrase]:
        return self.habitats + self.climates + self.terrains + self.places


class Composer:
    """Sentences that join two to five things which are true together at some tile.

    Rare things are chosen more often, so that the sentences do not all speak of ice and taiga.
    """

    def __init__(self, builder: BankBuilder, vocabulary: Vocabulary, seed: int) -> None:
        """Work out which phrase is true of which tile."""
        self._builder = builder
        self._rng = np.random.default_rng(seed)
        self._phrases = [*vocabulary.facets.values(), *vocabulary.places.values()]
        self._scenes = vocabulary.scenes
        shares = [builder.shares_of(np.stack([p.mask for p in group])) for group in _groups(self._phrases, 32)]
        self._shares = np.concatenate(shares)
        self._weight = 1 / self._shares.mean(1).clip(1e-5) ** 0.6
        self._kind = np.asarray([phrase.kind for phrase in self._phrases])

    def add(self, count: int) -> None:
        """Try `count` tiles; some give no sentence."""
        for _ in range(count):
            tile = int(self._rng.integers(self._shares.shape[1]))
            true_here = np.flatnonzero(self._shares[:, tile] > 0.5)
            chosen = _Chosen(
                self._pick(true_here, "habitat", 1 if self._rng.random() < 0.75 else 2),
                self._pick(true_here, "climate", int(self._rng.choice(3, p=[0.35, 0.45, 0.2]))),
                self._pick(true_here, "terrain", int(self._rng.random() < 0.5)),
                self._pick(true_here, "place", int(self._rng.random() < 0.45)),
            )
            if len(chosen.all()) < 2:
                continue
            mask = np.logical_and.reduce([phrase.mask for phrase in chosen.all()])
            if mask.sum() >= LEAST_CELLS:
                self._builder.add(mask, [self._sentence(chosen)], "composed")

    def _pick(self, rows: NDArray[np.int64], kind: str, most: int) -> list[Phrase]:
        rows = rows[self._kind[rows] == kind]
        if not len(rows) or not most:
            return []
        share = self._weight[rows] / self._weight[rows].sum()
        return [self._phrases[row] for row in self._rng.choice(rows, min(most, len(rows)), replace=False, p=share)]

    def _sentence(self, chosen: _Chosen) -> str:
        habitat = " and ".join(self._say(p) for p in chosen.habitats) or "land"
        climate = [self._say(p) for p in chosen.climates]
        after = " ".join(text for text in climate if text.startswith("with"))
        before = ", ".join(text for text in climate if not text.startswith("with"))
        terrain = " ".join(self._say(p) for p in chosen.terrains)
        place = " and ".join(self._say(p) for p in chosen.places)
        forms = [
            f"{before} {habitat} {after} {terrain}" + (f" in {place}" if place else ""),
            ", ".join(text for text in (habitat, *climate, terrain) if text) + (f"; {place}" if place else ""),
            (f"{place}: " if place else "") + f"{before} {habitat} {terrain} {after}",
            f"{habitat} {terrain} {after}" + (f", {place}" if place else "") + (f", {before}" if before else ""),
        ]
        return str(forms[self._rng.integers(len(forms))]).strip()

    def _say(self, phrase: Phrase) -> str:
        return phrase.sayings[self._rng.integers(len(phrase.sayings))]


def _groups(phrases: list[Phrase], size: int) -> list[list[Phrase]]:
    return [phrases[start : start + size] for start in range(0, len(phrases), size)]
