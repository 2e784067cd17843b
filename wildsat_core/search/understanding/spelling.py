"""Did you mean: misspelt words of habitats, places and animals, put right in a suggestion and never in the search."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from wildsat_core.search.species import one_edit_apart
from wildsat_core.search.understanding.names import IN
from wildsat_core.text.folding import plain

WORDS = Path(__file__).resolve().parents[2] / "data" / "words.txt"
# Words that are English, too, and that nobody means here.
MISTAKEN = {
    "dessert": "desert",
    "forrest": "forest",
    "desserts": "deserts",
    "savana": "savanna",
    "step": "steppe",
    "planes": "plains",
}
SHORTEST = 4
TWO_EDITS_FROM = 8  # letters from which a word may be two letters off


def correct(text: str, known: frozenset[str], places: Mapping[str, str]) -> str | None:
    """The text with its misspelt words put right, None when there is none or none that can be guessed.

    A plural of a known word is right, and its singular; a word behind "in" is a place's name rather than another one.

    Args:
        text: folded.
        known: words, in lower case, that are spelt rightly.
        places: names of one word, by their keys, to guess from beside the words of habitats.
    """
    words, changed = text.split(), False
    for i, word in enumerate(words):
        core = plain(word)
        if " " in core or len(core) < SHORTEST:
            continue
        tables: tuple[Collection[str], ...] = (load_words(), places)
        if IN.search(" ".join(words[:i])):
            tables = tables[::-1]
        better = MISTAKEN.get(core) or (None if _is_right(core, known) else _nearest(core, tables))
        if better and better != core:
            words[i], changed = places.get(better, better), True
    return " ".join(words) if changed else None


def _is_right(word: str, known: frozenset[str]) -> bool:
    return word in known or word.isdigit() or not {word.removesuffix("s"), f"{word}s"}.isdisjoint(load_words())


def _nearest(word: str, tables: Sequence[Collection[str]]) -> str | None:
    for table in tables:
        if near := [other for other in table if one_edit_apart(word, other)]:
            return next((other for other in near if other[0] == word[0]), near[0])  # few mistake the first letter
    if len(word) >= TWO_EDITS_FROM:
        for table in tables:
            for other in table:
                if other[0] == word[0] and abs(len(other) - len(word)) <= 2 and _edits(word, other) <= 2:
                    return other
    return None


def _edits(a: str, b: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != other))
    return row[-1]


@functools.cache
def load_words() -> tuple[str, ...]:
    """Words of habitats, landforms, climates and animals, most used first."""
    return tuple(WORDS.read_text(encoding="utf-8").split())
