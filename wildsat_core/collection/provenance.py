"""What people are told of a collection's imagery, when it comes from several builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Provenance = Mapping[str, Any]

# Words for people; the other facts tell one source from another.
_WORDS: Final = ("title", "description", "license", "attribution", "notice")
_JOINED: Final = {"attribution": "; ", "notice": " "}  # all of them must be shown


def with_source(before: Provenance, told: Provenance, *, new: bool = True) -> dict[str, Any]:
    """The provenance of a collection after a build.

    That of the first source stays where it is; from the second on they are listed under "sources", and every source's
    attribution and notice is in that of the collection. A source that is there already, by its facts, is not listed
    again, but its words are those told last.

    Args:
        before: of the last generation.
        told: of the build; of a collection when it has "sources".
        new: whether tiles came with it; a source that gave none is not listed.
    """
    sources = _sources(before)
    for one in _sources(told):
        same = next((i for i, source in enumerate(sources) if _facts(source) == _facts(one)), None)
        if same is not None:
            sources[same] = {**sources[same], **one}
        elif new:
            sources.append(one)
    return _merged(sources)


def _sources(provenance: Provenance) -> list[dict[str, Any]]:
    """Each source of a collection; what is told beside them counts as one more."""
    sources = [dict(source) for source in provenance.get("sources", [])]
    merged = _merged(sources)
    rest = {key: value for key, value in provenance.items() if key != "sources" and merged.get(key) != value}
    return [*sources, rest] if rest else sources


def _facts(source: Provenance) -> dict[str, Any]:
    return {key: value for key, value in source.items() if key not in _WORDS}


def _merged(sources: list[dict[str, Any]]) -> dict[str, Any]:
    if len(sources) < 2:
        return dict(sources[0]) if sources else {}
    merged = {key: value for source in reversed(sources) for key, value in source.items()}
    for key, between in _JOINED.items():
        told = list(dict.fromkeys(source[key] for source in sources if source.get(key)))
        if told:
            merged[key] = between.join(told)
    return {**merged, "sources": sources}
