"""Sentences about the kinds of ground, each in many wordings, and their embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
import yaml
from numpy.typing import NDArray

from training.earth.kinds import KINDS

FRAMES = (
    "a satellite picture of {}",
    "{} seen from above",
    "an area with {}",
    "habitat: {}",
    "where to find {}",
    "land covered by {}",
    "an aerial photo of {}",
    "a place with {}",
)
# How the phrases of a list in lexicon.yaml are said beside alone; those of `where` are said by `places` only, those of
# `nouns` by `lies`.
LIST_FRAMES: dict[str, tuple[str, ...]] = {
    "names": FRAMES,
    "animals": ("{} live here", "home of {}", "habitat of {}", "a place for {}"),
    "plants": ("{} grow here", "land with {}", "{} as far as one sees"),
    "things": ("a place with {}", "{} from above", "{} everywhere"),
    "looks": ("{} from above", "it looks {}", "{} in a satellite picture"),
}
PAIRED = ("names", "animals", "plants", "things", "looks")
PLACES, WHERE = "places", "where"
NOUNS, LIES = "nouns", "lies"
TABLES = resources.files("training.sentinel") / "tables"
KIND_WORDINGS, LEXICON = TABLES / "kinds.yaml", TABLES / "lexicon.yaml"


@dataclass(frozen=True, slots=True)
class Sentences:
    """S sentences; row i of every array is sentence i.

    Attributes:
        texts: (S,).
        claims: (S,) row of the claim that each makes; here the row of `KINDS`.
    """

    texts: list[str]
    claims: NDArray[np.int64]


def read_wordings() -> dict[str, list[tuple[str, bool]]]:
    """Wordings by kind, each with whether it fits into a frame."""
    return {
        kind: [(text, True) for text in entry["say"]] + [(text, False) for text in entry["sentence"]]
        for kind, entry in _table(KIND_WORDINGS).items()
    }


def read_lexicon() -> dict[str, dict[str, list[str]]]:
    """Phrases by kind and list."""
    return {
        kind: {name: phrases.split(", ") for name, phrases in lists.items()} for kind, lists in _table(LEXICON).items()
    }


def kind_sentences(seed: int = 0) -> Sentences:
    """All that is said of every kind: wordings and phrases alone, in frames and, of one list, in twos; none twice."""
    rng = np.random.default_rng(seed)
    lexicon = read_lexicon()
    claims: dict[str, int] = {}
    for kind, wordings in read_wordings().items():
        for said in (_framed(wordings, rng), _listed(lexicon.get(kind, {}), rng)):
            for text in said:
                claims.setdefault(text, KINDS.index(kind))
    return Sentences(list(claims), np.asarray(list(claims.values())))


def _framed(wordings: Sequence[tuple[str, bool]], rng: np.random.Generator) -> Iterator[str]:
    """Wordings as they stand, and each that fits into a frame in one."""
    for text, fits in wordings:
        yield text
        if fits:
            yield str(rng.choice(FRAMES)).format(text)


def _listed(lists: dict[str, list[str]], rng: np.random.Generator) -> Iterator[str]:
    """Phrases alone, every other one in a frame, and neighbours in a list as a pair."""
    for name, phrases in lists.items():
        if name in (PLACES, LIES):
            continue
        if name == WHERE:
            yield from _placed(phrases, lists[PLACES], rng)
            continue
        if name == NOUNS:
            yield from _lying(phrases, lists[LIES])
            continue
        yield from phrases
        for text in phrases[::2]:
            if name in LIST_FRAMES:
                yield str(rng.choice(LIST_FRAMES[name])).format(text)
        if name in PAIRED:
            yield from map(" and ".join, zip(phrases[::2], phrases[1::2], strict=False))


def _placed(regions: Sequence[str], frames: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """Each region in the next frame and in a chance one."""
    for row, region in enumerate(regions):
        yield frames[row % len(frames)].format(region)
        yield str(rng.choice(frames)).format(region)


def _lying(nouns: Sequence[str], frames: Sequence[str]) -> Iterator[str]:
    """Each noun in every third frame: in all of them it would count for more than any other phrase."""
    for row, noun in enumerate(nouns):
        for frame in frames[-row % 3 :: 3]:
            yield frame.format(noun)


def _table(path: Traversable) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return table
