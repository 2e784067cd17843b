"""Whom data is owed to: licences and the citation of sightings, as their publishers write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

# As GBIF's tables (CC_BY_NC_4_0) and archives (addresses of legal codes) name them, iNaturalist (CC-BY-NC) and others.
_CREATIVE_COMMONS = re.compile(
    r"(?:creativecommons\.org/licenses/|\bcc[-_ ])(by(?:[-_](?:nc|nd|sa))*)(?:[-_/ v]*(\d[._]\d))?"
)
_WAIVER = re.compile(r"creativecommons\.org/publicdomain/(?:zero|mark)|\bcc[-_ ]?0|^public domain")
UNKNOWN = "not said"


class Credit(BaseModel):
    """What must be said of sightings wherever they, or a model that learned from them, are shown.

    Attributes:
        citation: as the publisher wants to be cited; empty where nobody said.
        doi: of the download, as 10.15468/dl.abcdef; empty where there is none.
        rights: terms in words, where rows have no licences of their own.
        licences: number of sightings under each licence.
        datasets: how many data sets of a publisher these are from; None where nobody said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    citation: str = ""
    doi: str = ""
    rights: str = ""
    licences: dict[str, int] = Field(default_factory=dict)
    datasets: int | None = None

    def lines(self) -> list[str]:
        """For people."""
        told = [f"cite: {self.citation}"] if self.citation else []
        if self.doi and self.doi not in self.citation:
            told.append(f"DOI: https://doi.org/{self.doi}")
        if self.rights:
            told.append(f"terms: {self.rights}")
        return [*told, f"licences: {in_words(self.licences)}"] if self.licences else told


def licence_name(text: str | None) -> str:
    """A licence under one name, whoever writes it: "CC-BY-NC-4.0", "CC0-1.0"; others as they are written."""
    said = " ".join((text or "").split())
    lower = said.lower()
    if _WAIVER.search(lower):
        return "CC0-1.0"
    if found := _CREATIVE_COMMONS.search(lower):
        parts, version = found[1].replace("_", "-").upper(), (found[2] or "").replace("_", ".")
        return f"CC-{parts}-{version}" if version else f"CC-{parts}"
    return said or UNKNOWN


def in_words(licences: Mapping[str, int]) -> str:
    """Licences and how often each, the commonest first."""
    return ", ".join(f"{name} ({count})" for name, count in Counter(licences).most_common())


def of_texts(texts: list[dict[str, Any]]) -> dict[str, int]:
    """How many texts are of each source and licence."""
    return dict(Counter(f"{row['source'] or UNKNOWN}, {licence_name(row['licence'])}" for row in texts).most_common())
