"""Questions in other languages than English: common words of habitats and animals are translated, the rest is named.

The table `data/glossary.csv` has the words in the languages of the United Nations, Portuguese and German.
"""

from __future__ import annotations

import csv
import functools
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from wildsat_core.text.folding import plain

GLOSSARY = Path(__file__).resolve().parents[2] / "data" / "glossary.csv"
NAMES = {
    "fr": "French",
    "es": "Spanish",
    "pt": "Portuguese",
    "de": "German",
    "ru": "Russian",
    "ar": "Arabic",
    "zh": "Chinese",
}
LONGEST = 4  # words of an entry
SCRIPTS = {
    "CYRILLIC": "Russian or a language written like it",
    "ARABIC": "Arabic or a language written like it",
    "CJK": "Chinese or Japanese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
    "DEVANAGARI": "Hindi or a language written like it",
    "BENGALI": "Bengali",
    "THAI": "Thai",
    "HEBREW": "Hebrew",
    "GREEK": "Greek",
    "GEORGIAN": "Georgian",
    "ARMENIAN": "Armenian",
    "TAMIL": "Tamil",
    "ETHIOPIC": "Amharic",
}
# Little words that English lacks: two of them, or one beside words that are not English, make a text foreign.
LITTLE = {
    "fr": "le la les un une des du de et est dans avec sans sur pour où les aux près ou que qui d l",
    "es": "el la los las un una unos de del y en con sin para por donde cerca que muy al",
    "pt": "o a os as um uma de do da dos das e em com sem para por onde perto que no na",
    "de": "der die das den dem ein eine einen und in im mit ohne auf für wo bei von am zum zur nicht viele wenig",
}
_JOINING = "le la les de des du del el los las do da dos das der die das und et y e en em in im con com"
JOINING = frozenset(_JOINING.split())


@dataclass(frozen=True, slots=True)
class Translated:
    """A text brought to English as far as it goes.

    Attributes:
        text: with the known words in English.
        language: of the words that were found, None when none was.
        foreign: what is left is not English.
    """

    text: str
    language: str | None
    foreign: bool


def translate(text: str, is_english: frozenset[str]) -> Translated:
    """Put the words of the glossary into English; say whether what is left is foreign.

    A text that could be English stays as it is: "lion" and "steppe" are words of both.

    Args:
        text: folded.
        is_english: words, in lower case, that English has.
    """
    script = _script_of(text)
    words = plain(text).split()
    if script is None and all(word in is_english or word.isdigit() for word in words) and not _is_latin_foreign(words):
        return Translated(text, None, foreign=False)
    found = _translate_words(words, is_english)
    if found is None:
        return Translated(text, None, foreign=script is not None or _is_latin_foreign(words))
    english, language, left = found
    rest = [word for word in left if word not in JOINING and word not in is_english]
    return Translated(english, NAMES[language], foreign=bool(rest) and script is not None)


def language_of(text: str) -> str:
    """What a foreign text seems to be written in, for people."""
    script = _script_of(text)
    if script is not None:
        return SCRIPTS[script]
    words = plain(text).split()
    scores = {code: sum(word in _little()[code] for word in words) for code in LITTLE}
    best = max(scores, key=lambda code: scores[code])
    return NAMES[best] if scores[best] else "another language than English"


def _script_of(text: str) -> str | None:
    """The first script of a text's letters that is not Latin."""
    for letter in text:
        if letter.isalpha() and not letter.isascii():
            name = unicodedata.name(letter, "")
            for script in SCRIPTS:
                if name.startswith(script):
                    return script
    return None


@functools.cache
def _little() -> dict[str, frozenset[str]]:
    return {code: frozenset(plain(words).split()) for code, words in LITTLE.items()}


def _is_latin_foreign(words: list[str]) -> bool:
    """Whether little words of one other language make up a good part of a text and English ones do not."""
    english = sum(word in ENGLISH_LITTLE for word in words)
    foreign = max(sum(word in little for word in words) for little in _little().values())
    return foreign >= 2 and foreign > english and len(words) >= 3


_ENGLISH_LITTLE = "the a an of and or with without in on at near where is are to by for from that which"
ENGLISH_LITTLE = frozenset(_ENGLISH_LITTLE.split())


def _translate_words(words: list[str], is_english: frozenset[str]) -> tuple[str, str, list[str]] | None:
    """English text, language and the words that were not in the glossary; None when none was that English lacks."""
    best: tuple[int, str, str, list[str]] | None = None
    for language, entries in _glossary().items():
        english, left, known, telling, i = [], [], 0, 0, 0
        while i < len(words):
            for size in range(min(LONGEST, len(words) - i), 0, -1):
                phrase = entries.get(" ".join(words[i : i + size]))
                if phrase:
                    english.append(phrase)
                    telling += any(word not in is_english for word in words[i : i + size])
                    known, i = known + size, i + size
                    break
            else:
                left.append(words[i])
                if words[i] not in JOINING:
                    english.append(words[i])
                i += 1
        if telling and (best is None or known > best[0]):
            best = (known, " ".join(english), language, left)
    return best[1:] if best else None


@functools.cache
def _glossary() -> dict[str, dict[str, str]]:
    """For each language its words and what they are in English."""
    found: dict[str, dict[str, str]] = {code: {} for code in NAMES}
    with GLOSSARY.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for code in NAMES:
                for word in row[code].split("|"):
                    if word:
                        found[code].setdefault(plain(word), row["en"])
    return found
