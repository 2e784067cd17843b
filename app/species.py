"""Species' names to their habitat texts."""

from __future__ import annotations

from wildsat_core.search.query import SpeciesTerm


def species_term(name: str) -> SpeciesTerm:
    """The name itself as the only text."""
    return SpeciesTerm(name, (name,))
