"""What was understood of a question's words; plain values that travel with the query to its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["species", "country", "place", "like", "not", "language"]


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was understood.

    Attributes:
        kind: what sort of thing.
        words: as they stand in the question.
        meaning: what they were taken for.
        say: a sentence for people.
    """

    kind: Kind
    words: str
    meaning: str
    say: str

    @property
    def id(self) -> str:
        """Names it, so that it can be taken back: the kind, a colon, and the words in lower case."""
        return f"{self.kind}:{self.words.casefold()}"


@dataclass(frozen=True, slots=True)
class Understood:
    """All that was understood.

    Attributes:
        found: in the order of the question.
        suggestion: the question with a misspelt word put right, None when there is none.
        message: a sentence for people where hits mean little, None where they do.
        foreign: the question is in a language that is not understood.
        named: the question is a name alone, so that there is a match whatever the model makes of the words.
        about_land: the question is about land, so that tiles that show sea are left out unless `min_land` says else.
    """

    found: tuple[Found, ...] = ()
    suggestion: str | None = None
    message: str | None = None
    foreign: bool = False
    named: bool = False
    about_land: bool = False
