"""From typed words to a structured question: language, negation, species, places, spelling; rules and tables only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from wildsat_core.region import Region
from wildsat_core.search.query import SpeciesTerm
from wildsat_core.search.species import Species, SpeciesTable
from wildsat_core.search.understanding.language import language_of, translate
from wildsat_core.search.understanding.names import (
    HABITATS_TOO,
    IN,
    MOST_WORDS,
    POSITION,
    WORDS_TOO,
    Gazetteer,
    Place,
    load_gazetteer,
)
from wildsat_core.search.understanding.negation import split_negation
from wildsat_core.search.understanding.reading import Reading
from wildsat_core.search.understanding.spelling import correct
from wildsat_core.search.understanding.vocabulary import english_words
from wildsat_core.search.understood import Found
from wildsat_core.text.folding import fold, plain

_WORD = re.compile(r"[^\s,;:!?()\"]+")
_LIKE = re.compile(
    r"(?:^|\s)(?:(?:places?|land|landscapes?|areas?|somewhere|habitats?|country)\s+)?"
    r"(?:like|similar to|resembling|that looks? like|looks? like|same as)"
    r"(?:\s+(?:that\s+)?(?:in|of|around))?(?:\s+the)?\s*$",
    re.IGNORECASE,
)
_ASKING = re.compile(
    r"^(?:please\s+)?(?:show me|find(?: me)?|search(?: for)?|look(?:ing)? for"
    r"|where (?:can (?:i|you|we) (?:see|find)|is|are|do|does)|places? (?:with|where)"
    r"|(?:pictures?|images?|satellite (?:view|image|picture)s?|map) of|(?:the )?home of"
    r"|(?:the )?(?:natural )?habitat of|range of|land of)\s+(?:the\s+|a\s+|an\s+)?",
    re.IGNORECASE,
)
_LIVING = re.compile(
    r"\s+(?:live|lives|living|found|occur|occurs|habitats?|range|territory|in the wild)$", re.IGNORECASE
)
_LEFT_OVER = re.compile(
    rf"^(?:(?:and|but|{POSITION}|the)\s+)+|(?:\s*\b(?:and|but|{POSITION}|the))+$|^[\s,;.]+|[\s,;.?!]+$", re.IGNORECASE
)


def understand(
    text: str,
    species: SpeciesTable,
    gazetteer: Gazetteer | None = None,
    undone: frozenset[str] = frozenset(),
) -> Reading:
    """Read a question.

    Args:
        text: as it was typed.
        species: knows species by name.
        gazetteer: knows places by name; None for the one that comes with the program.
        undone: ids of what was understood and taken back: those words are searched by their meaning.
    """
    return _understood(text, species, gazetteer or load_gazetteer(), undone)


@lru_cache(maxsize=1024)  # the same question is asked for its hits, each map tile of its heat-map, and its export
def _understood(text: str, species: SpeciesTable, gazetteer: Gazetteer, undone: frozenset[str]) -> Reading:
    work = _Work(species, gazetteer, undone)
    folded = fold(text)
    reading = work.read(folded)
    return reading if work.found or reading.message or reading.suggestion else Reading(asked=text, wanted=folded)


@dataclass
class _Work:
    """One question being read."""

    species: SpeciesTable
    gazetteer: Gazetteer
    undone: frozenset[str]
    found: list[Found] = field(default_factory=list)
    terms: list[SpeciesTerm] = field(default_factory=list)
    likes: list[tuple[float, float]] = field(default_factory=list)
    countries: set[str] = field(default_factory=set)
    regions: list[Region] = field(default_factory=list)
    ranges: list[Region] = field(default_factory=list)
    not_countries: set[str] = field(default_factory=set)
    outside: list[Region] = field(default_factory=list)

    def read(self, text: str) -> Reading:
        english, foreign = self._in_english(text)
        if foreign:
            return self._foreign(text)
        wanted, unwanted = split_negation(english)
        taken = [thing for thing in unwanted if self._note("not", thing, thing, f"Without: {thing}.")]
        if not taken:
            wanted = english
        unwanted = [thing for thing in taken if not self._exclude(thing)]
        rest = self._whole_name(_asked_for(wanted))
        if rest:
            rest = _trimmed(self._names_in(rest))
        if rest and not self.terms and (self.countries or self.regions or self.likes):
            rest = self._whole_name(rest) if self._species_named(rest) else rest
        suggestion = None if any(one.kind == "language" for one in self.found) else self._suggestion(text)
        named = not rest and not unwanted
        if not (rest or self.terms or self.likes or unwanted):
            rest = ", ".join(one.words for one in self.found if one.kind in ("country", "place")) or text
        return Reading(
            asked=text,
            found=tuple(self.found),
            wanted=rest,
            unwanted=tuple(unwanted),
            species=tuple(self.terms),
            likes=tuple(self.likes),
            countries=frozenset(self.countries),
            regions=tuple(self.regions),
            ranges=tuple(self.ranges),
            named=named,
            not_countries=frozenset(self.not_countries),
            outside=tuple(self.outside),
            suggestion=suggestion,
        )

    def _note(self, kind: str, words: str, meaning: str, say: str) -> bool:
        """Keep what was understood, unless it was taken back."""
        one = Found(kind, words, meaning, say)  # type: ignore[arg-type]  # callers name the kinds
        if one.id in self.undone:
            return False
        self.found.append(one)
        return True

    def _in_english(self, text: str) -> tuple[str, bool]:
        if self._is_name(text):
            return text, False
        translated = translate(text, english_words())
        if translated.foreign:
            return text, not self._has_name(text)
        if translated.language and self._note(
            "language", text, translated.text, f"Read as {translated.language} for “{translated.text}”."
        ):
            return translated.text, False
        return text, False

    def _foreign(self, text: str) -> Reading:
        message = (
            f"This seems to be {language_of(text)}. Only English is understood, and common words of habitats and "
            "animals in French, Spanish, Portuguese, German, Russian, Arabic and Chinese."
        )
        return Reading(asked=text, wanted=text, foreign=True, message=message)

    def _is_name(self, text: str) -> bool:
        return self.species.get(text) is not None or self.gazetteer.find(text) is not None

    def _has_name(self, text: str) -> bool:
        words = text.split()
        return any(self._is_name(" ".join(words[i:j])) for i in range(len(words)) for j in range(i + 1, len(words) + 1))

    def _exclude(self, thing: str) -> bool:
        """Leave out a country or a place that is not wanted; whether the thing is one."""
        place = self.gazetteer.find(thing)
        if place is None or plain(thing) in HABITATS_TOO:
            return False
        if place.code:
            self.not_countries.add(place.code)
        elif place.region is not None:
            self.outside.append(place.region)
        return True

    def _whole_name(self, text: str) -> str:
        """What is left of a text that is nothing but a name: nothing, or the text when it is none."""
        bare = _LIVING.sub("", text).strip(" .,;?!")
        for name in (bare, *_singular(bare)):
            species = self.species.get(name)
            if species is not None and self._take_species(species, bare):
                return ""
        place = self.gazetteer.find(bare)
        if place is not None and plain(bare) not in HABITATS_TOO:
            return "" if self._take_place(place, bare) else text
        near = self.species.near(bare) if len(bare.split()) > 1 and place is None else []
        if near and not all(word in english_words() for word in plain(bare).split()):
            found = self.species.get(near[0])
            if found is not None and self._take_species(found, bare):
                return ""
        return text

    def _take_species(self, species: Species, words: str) -> bool:
        name = species.common_name
        latin = f" ({species.scientific_name})" if species.scientific_name not in ("", name) else ""
        region = species.region
        where = ", within its range where there are tiles" if region else ""
        if not self._note("species", words, species.scientific_name or name, f"The habitat of {name}{latin}{where}."):
            return False
        self.terms.append(SpeciesTerm(name, species.texts))
        if region is not None:
            self.ranges.append(region)
        return True

    def _take_place(self, place: Place, words: str) -> bool:
        kind = "country" if place.code else "place"
        if not self._note(kind, words, place.name, f"Only in {place.name}."):
            return False
        if place.code:
            self.countries.add(place.code)
        elif place.region is not None:
            self.regions.append(place.region)
        return True

    def _names_in(self, text: str) -> str:
        """Take species and places out of a longer text; what is left of it."""
        position = 0
        while match := self._next_name(text, position):
            start, end, taken = match
            if taken is None:
                position = end
                continue
            text = text[:start] + " " + text[end:]
            position = start
        return text

    def _next_name(self, text: str, position: int) -> tuple[int, int, object] | None:
        """The next name at or after a position: where the words to be taken out begin and end, and what they were.

        None when there is none; a third value of None says that the words stay.
        """
        words = list(_WORD.finditer(text, position))
        for i, first in enumerate(words):
            for last in words[i : i + MOST_WORDS][::-1]:
                name = text[first.start() : last.end()].strip(".,;'")
                single = first is last
                species = None if single else self._species_named(name)
                if species is not None:
                    taken = self._take_species(species, name)
                    return (first.start(), last.end(), species) if taken else (first.start(), last.end(), None)
                place = self.gazetteer.find(name)
                if place is not None and (where := self._stands_for_place(text, first.start(), name, place)):
                    return where[0], last.end(), where[1]
        return None

    def _species_named(self, name: str) -> Species | None:
        return next((s for s in map(self.species.get, (name, *_singular(name))) if s is not None), None)

    def _stands_for_place(self, text: str, start: int, name: str, place: Place) -> tuple[int, object] | None:
        """Where the words of a place begin with its preposition, once it is taken; None when a word is only a word."""
        before = text[:start]
        if like := _LIKE.search(before):
            if place.lon_lat is not None and self._note("like", name, place.name, f"Like {place.name}, anywhere."):
                self.likes.append(place.lon_lat)
                return like.start(), place
            return None
        preposition = IN.search(before)
        if plain(name) in WORDS_TOO and not preposition and (not name[0].isupper() or plain(name) in HABITATS_TOO):
            return None
        if not self._take_place(place, name):
            return None
        return (preposition.start() if preposition else start), place

    def _suggestion(self, text: str) -> str | None:
        """The question spelt rightly, unless it is a name that was understood."""
        names = {plain(one.words) for one in self.found if one.kind in ("species", "place", "country", "like")}
        named = {word for name in names for word in name.split()}
        known = english_words() | named if named else english_words()  # a copy takes a millisecond
        return correct(text, known, self.gazetteer.single_words)


def _singular(name: str) -> list[str]:
    """Forms that a plural may come from."""
    lower = name.lower()
    forms = []
    if lower.endswith("ies"):
        forms.append(name[:-3] + "y")
    if lower.endswith("ves"):
        forms += [name[:-3] + "f", name[:-3] + "fe"]
    if lower.endswith("es"):
        forms.append(name[:-2])
    if lower.endswith("s"):
        forms.append(name[:-1])
    return forms


def _asked_for(text: str) -> str:
    """Without the words that only ask: "show me", "where do ... live"."""
    return _ASKING.sub("", text).strip() or text


def _trimmed(text: str) -> str:
    """Without prepositions, conjunctions and punctuation left at the ends."""
    before = None
    text = " ".join(text.split())
    while before != text:
        before, text = text, _LEFT_OVER.sub("", text).strip()
    return text
