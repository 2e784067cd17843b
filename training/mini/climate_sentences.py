"""Sentences about climate, terrain and land use, built from attributes that are true of a tile at the same time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.earth.claims import Mask
from training.earth.vocabulary import Phrase, Vocabulary, read_yaml
from training.mini.bank import BATCH, BankBuilder

COMBINATIONS = 8_000
LEAST_CELLS = 12
TRUE_SHARE = 0.55
LAND = ("land", "country", "region", "landscape", "place", "area", "territory")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that may be true of land, and how it is said: before a noun, after "with", and as a sentence."""

    mask: Mask
    adjectives: tuple[str, ...]
    havings: tuple[str, ...]
    clauses: tuple[str, ...]


def add_climate_sentences(
    builder: BankBuilder, vocabulary: Vocabulary, seed: int = 1, combinations: int = COMBINATIONS
) -> None:
    """All sentences of this module, in a fixed order for a fixed seed."""
    rng = np.random.default_rng(seed)
    attributes = read_attributes(vocabulary)
    uses = [
        Phrase(e["say"][0], "use", vocabulary.predicates.mask(e["where"]), tuple(e["say"]))
        for e in read_yaml("uses.yaml")
    ]
    _add_zones(builder, vocabulary)
    _add_attributes(builder, attributes)
    for use in uses:
        said = [form for text in use.sayings for form in (text, f"land of {text}")]
        builder.add(use.mask, said, "use")
    things = [facet for facet in vocabulary.facets.values() if facet.kind == "habitat"] + vocabulary.scenes + uses
    Combiner(builder, attributes, things, list(vocabulary.places.values()), rng).add(combinations)


def read_attributes(vocabulary: Vocabulary) -> list[Attribute]:
    """The table of attributes with their masks."""
    return [
        Attribute(
            vocabulary.predicates.mask(entry["where"]),
            tuple(entry["adj"]),
            tuple(entry["having"]),
            tuple(entry["clause"]),
        )
        for entry in read_yaml("attributes.yaml")
    ]


def _add_zones(builder: BankBuilder, vocabulary: Vocabulary) -> None:
    for code, names in read_yaml("zones.yaml").items():
        said = [f"Koeppen {code}", f"Köppen climate {code}", f"Köppen-Geiger zone {code}"]
        for name in names:
            said += [name, f"{name} (Köppen {code})", f"regions of {name}", name.replace(" climate", "")]
        builder.add(vocabulary.predicates.mask(f"zone('{code}')"), said, "attribute")


def _add_attributes(builder: BankBuilder, attributes: list[Attribute]) -> None:
    for i, attribute in enumerate(attributes):
        noun = LAND[i % len(LAND)]
        said = [f"{text} {form}" for text in attribute.adjectives for form in (noun, "climate")]
        said += [form for text in attribute.havings for form in (text, f"{noun} with {text}")]
        said += [form for text in attribute.clauses for form in (text, f"a place where {text}")]
        builder.add(attribute.mask, said, "attribute")


class Combiner:
    """Joins one to three attributes, perhaps a thing seen there and a place, all true together at some tile."""

    def __init__(
        self,
        builder: BankBuilder,
        attributes: list[Attribute],
        things: list[Phrase],
        places: list[Phrase],
        rng: np.random.Generator,
    ) -> None:
        """Work out what is true of which tile."""
        self._builder, self._rng = builder, rng
        self._attributes, self._things, self._places = attributes, things, places
        self._true = {
            "attribute": _shares(builder, [a.mask for a in attributes]),
            "thing": _shares(builder, [t.mask for t in things]),
            "place": _shares(builder, [p.mask for p in places]),
        }
        self._rarity = {name: 1 / shares.mean(1).clip(1e-4) ** 0.5 for name, shares in self._true.items()}

    def add(self, count: int) -> None:
        """Try `count` tiles; some give no sentence."""
        tiles = self._rng.integers(self._true["thing"].shape[1], size=count)
        for tile in tiles:
            attributes = [self._attributes[i] for i in self._pick("attribute", tile, int(self._rng.integers(1, 4)))]
            things = [self._things[i] for i in self._pick("thing", tile, int(self._rng.random() < 0.65))]
            places = [self._places[i] for i in self._pick("place", tile, int(self._rng.random() < 0.25))]
            masks = [attribute.mask for attribute in attributes] + [phrase.mask for phrase in things + places]
            if len(masks) < 2:
                continue
            mask = np.logical_and.reduce(masks)
            if mask.sum() >= LEAST_CELLS:
                said = {self._sentence(attributes, things, places) for _ in range(2)}
                self._builder.add(mask, sorted(said), "combined")

    def _pick(self, kind: str, tile: int, most: int) -> list[int]:
        true_here = np.flatnonzero(self._true[kind][:, tile] > TRUE_SHARE)
        if not most or not len(true_here):
            return []
        chance = self._rarity[kind][true_here]
        picked = self._rng.choice(true_here, min(most, len(true_here)), replace=False, p=chance / chance.sum())
        return [int(i) for i in picked]

    def _sentence(self, attributes: list[Attribute], things: list[Phrase], places: list[Phrase]) -> str:
        thing = self._one(things[0].sayings) if things else ""
        noun = thing or self._one(LAND)
        where = f" in {places[0].name}" if places else ""
        adjectives = ", ".join(self._one(a.adjectives) for a in attributes[:2])
        havings = " and ".join(self._one(a.havings) for a in attributes)
        clauses = " and ".join(self._one(a.clauses) for a in attributes)
        last = self._one(attributes[-1].havings) if attributes else ""
        forms = [
            f"{adjectives} {noun}{where}",
            f"{noun} with {havings}{where}",
            f"{noun}{where} where {clauses}",
            f"a place{where} where {clauses}" + (f": {thing}" if thing else ""),
            f"{clauses}" + (f"; {thing}" if thing else "") + where,
            f"{havings}" + (f", {thing}" if thing else "") + where,
            f"{adjectives} {noun}{where}, with {last}",
        ]
        return forms[int(self._rng.integers(len(forms)))] if attributes else f"{noun}{where}"

    def _one(self, sayings: tuple[str, ...]) -> str:
        return sayings[int(self._rng.integers(len(sayings)))]


def _shares(builder: BankBuilder, masks: list[Mask]) -> NDArray[np.float32]:
    parts = [builder.shares_of(np.stack(masks[start : start + BATCH])) for start in range(0, len(masks), BATCH)]
    return np.concatenate(parts)
