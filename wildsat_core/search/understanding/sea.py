"""Whether a question is about land or its coasts, so that pictures of the sea are no answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Words of the sea, of what lies in it, and of what lives there. A picture of a coast shows land.
_AT_SEA = (
    "seas?", "seabirds?", "seaweeds?", "seagrass(?:es)?", "oceans?", "oceanic", "marine", "maritime", "pelagic",
    "offshore", "overseas", "bays?", "gulfs?", "straits?", "sounds?", "islands?", "isles?", "islets?",
    "archipelagos?", "archipelagoes", "atolls?", "corals?", "reefs?", "kelp", "skerr(?:y|ies)", "ice floes?",
    "pack ice", "drift ice", "icebergs?", "penguins?", "seals?", "sea ?lions?", "walrus(?:es)?", "puffins?",
    "albatross(?:es)?", "gulls?", "seagulls?", "terns?", "gannets?", "guillemots?", "auks?", "petrels?", "whales?",
    "dolphins?", "porpoises?", "orcas?", "manatees?", "dugongs?", "polar bears?", "sharks?", "marine iguanas?",
)  # fmt: skip
_SEA = re.compile(rf"(?<![\w-])(?:{'|'.join(_AT_SEA)})(?![\w-])", re.IGNORECASE)
# The same words where no sea is meant to be seen.
_INLAND = re.compile(
    r"(?<!\w)(?:seas? of (?:sand|grass|grasses|dunes|trees|green|ice)|sand seas?|sea level"
    r"|(?:above|below|at) (?:the )?sea(?: level)?"
    r"|(?:far|away|remote) from (?:the |any )?(?:seas?|oceans?|coasts?|shores?)"
    r"|oceanic climates?|coastal plains?|inland deltas?|sky islands?|heat islands?)(?!\w)",
    re.IGNORECASE,
)


def is_about_land(texts: Sequence[str]) -> bool:
    """Whether there are texts, none of which speaks of the sea, of islands or of what lives there."""
    return bool(texts) and not any(_SEA.search(_INLAND.sub(" ", text)) for text in texts)
