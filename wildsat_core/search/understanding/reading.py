"""What was understood of a question, and the structured query that it becomes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wildsat_core.region import Region
from wildsat_core.search.query import Filters, PlaceTerm, Query, SpeciesTerm, Term, TextTerm
from wildsat_core.search.understanding.sea import is_about_land
from wildsat_core.search.understood import Found, Understood

MOST_SHOW_LAND = 0.5  # of the tiles of a place that is land, rather than islands in the sea
NEGATED = -1.0  # weight of what is not wanted beside a wish of weight 1


@dataclass(frozen=True, slots=True)
class Reading:
    """A question taken apart.

    Attributes:
        asked: the question as it was typed.
        found: what was understood, in the order of the question.
        wanted: words that are searched by their meaning; empty when nothing of the kind is left.
        unwanted: likewise, what hits should not be like.
        species: what lives there.
        likes: places that hits should be like, (lon, lat).
        countries: ISO 3166-1 alpha-3 codes; hits lie in one of them.
        regions: hits lie in each of these.
        ranges: of the species; hits lie in each of these where the collection has tiles there.
        not_countries: hits lie in none of them.
        outside: hits lie in none of these.
        suggestion: the question with a misspelt word put right, None when there is none.
        foreign: it is in a language that is not understood.
        message: a sentence for people where hits mean little, None where they do.
        named: the question is a name alone.
    """

    asked: str
    found: tuple[Found, ...] = ()
    wanted: str = ""
    unwanted: tuple[str, ...] = ()
    species: tuple[SpeciesTerm, ...] = ()
    likes: tuple[tuple[float, float], ...] = ()
    countries: frozenset[str] = frozenset()
    regions: tuple[Region, ...] = ()
    ranges: tuple[Region, ...] = ()
    not_countries: frozenset[str] = frozenset()
    outside: tuple[Region, ...] = ()
    suggestion: str | None = None
    foreign: bool = False
    message: str | None = None
    named: bool = False

    @property
    def understood(self) -> Understood:
        """What the answer tells."""
        return Understood(self.found, self.suggestion, self.message, self.foreign, self.named, self.about_land)

    @property
    def about_land(self) -> bool:
        """Whether hits should show land: a name alone, or a place that they are to be like, says nothing of that.

        What is only said not to be wanted ("not forest", "no sea") leaves land to be shown.
        """
        if (self.named and not self.species) or self.foreign or self.likes:
            return False
        wanted = (self.wanted,) if self.wanted else ()
        texts = (*wanted, *(text for one in self.species for text in one.texts))
        return is_about_land(texts) if texts else bool(self.unwanted)

    @property
    def _show_land(self) -> float | None:
        """Wherever there is land for what is about it; for a name alone, unless it is of an archipelago or a sea."""
        if self.about_land:
            return 0.0
        return MOST_SHOW_LAND if self.named and not (self.species or self.likes) else None

    @property
    def terms(self) -> tuple[Term, ...]:
        """What to rank by."""
        wanted: list[Term] = [TextTerm(self.wanted)] if self.wanted else []
        wanted += [*self.species, *(PlaceTerm(lon, lat) for lon, lat in self.likes)]
        return (*wanted, *(TextTerm(text, weight=NEGATED) for text in self.unwanted))

    def narrow(self, filters: Filters) -> Filters:
        """Filters that were given, and those of the question beside them."""
        countries = filters.countries or self.countries
        if filters.countries and self.countries:
            countries = (filters.countries & self.countries) or filters.countries
        return replace(
            filters,
            countries=countries,
            regions=(*filters.regions, *self.regions),
            ranges=(*filters.ranges, *self.ranges),
            not_countries=filters.not_countries | self.not_countries,
            outside=(*filters.outside, *self.outside),
            show_land=self._show_land if filters.min_land is None else filters.show_land,
        )

    def apply(self, query: Query) -> Query:
        """A query with the question's terms before its own, and its filters narrowed."""
        terms = (*self.terms, *query.terms)
        return replace(query, terms=terms, filters=self.narrow(query.filters), understood=self.understood)
