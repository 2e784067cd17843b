"""Sentences about the kinds of ground, each in many wordings, and their embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

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
# How the phrases of a list in lexicon.yaml are said beside alone; those of `where` are said by `places` only.
LIST_FRAMES: dict[str, tuple[str, ...]] = {
    "names": FRAMES,
    "animals": ("{} live here", "home of {}", "habitat of {}", "a place for {}"),
    "plants": ("{} grow here", "land with {}", "{} as far as one sees"),
    "things": ("a place with {}", "{} from above", "{} everywhere"),
    "looks": ("{} from above", "it looks {}", "{} in a satellite picture"),
}
PAIRED = ("names", "animals", "plants", "things", "looks")
PLACES, WHERE = "places", "where"


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
        for kind, entry in _table("kinds.yaml").items()
    }


def read_lexicon() -> dict[str, dict[str, list[str]]]:
    """Phrases by kind and list."""
    return {
        kind: {name: phrases.split(", ") for name, phrases in lists.items()}
        for kind, lists in _table("lexicon.yaml").items()
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
        if name == PLACES:
            continue
        if name == WHERE:
            frames = lists[PLACES]
            for row, text in enumerate(phrases):
                yield frames[row % len(frames)].format(text)
                yield str(rng.choice(frames)).format(text)
            continue
        yield from phrases
        for text in phrases[::2]:
            if name in LIST_FRAMES:
                yield str(rng.choice(LIST_FRAMES[name])).format(text)
        if name in PAIRED:
            yield from map(" and ".join, zip(phrases[::2], phrases[1::2], strict=False))


def embed_sentences(texts: Sequence[str], cache: Path) -> NDArray[np.float32]:
    """(S, 384) embeddings of length 1 from minilm, kept in a file beside the texts that they are of."""
    listed = cache.with_suffix(".txt")
    joined = "\n".join(texts) + "\n"
    if not (cache.is_file() and listed.is_file() and listed.read_text(encoding="utf-8") == joined):
        from wildsat_core.text.minilm import MiniLMEncoder

        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, MiniLMEncoder().encode(texts).astype(np.float16))
        listed.write_text(joined, encoding="utf-8")
    return np.asarray(np.load(cache), dtype=np.float32)


def _table(name: str) -> dict[str, dict[str, str]]:
    text = (resources.files("training.sentinel") / "tables" / name).read_text(encoding="utf-8")
    table: dict[str, dict[str, str]] = yaml.safe_load(text)
    return table
