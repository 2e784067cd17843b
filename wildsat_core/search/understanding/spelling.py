"""Did you mean: misspelt words of habitats, places and animals, put right in a suggestion and never in the search."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from wildsat_core.search.species import one_edit_apart
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


def correct(text: str, known: frozenset[str], also: Iterable[str] = ()) -> str | None:
    """The text with its misspelt words put right, None when there is none or none that can be guessed.

    Args:
        text: folded.
        known: words, in lower case, that are spelt rightly.
        also: further words to guess from, such as those of names.
    """
    words, changed = text.split(), False
    for i, word in enumerate(words):
        core = plain(word)
        if " " in core or len(core) < SHORTEST:
            continue
        better = MISTAKEN.get(core) or (None if core in known or core.isdigit() else _nearest(core, also))
        if better and better != core:
            words[i], changed = better, True
    return " ".join(words) if changed else None


def _nearest(word: str, also: Iterable[str]) -> str | None:
    for table in (load_words(), also):
        for other in table:
            if one_edit_apart(word, other):
                return other
    if len(word) >= TWO_EDITS_FROM:
        for other in load_words():
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
