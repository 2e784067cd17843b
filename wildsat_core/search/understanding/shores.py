"""Whether a question is about land, so that pictures of the sea are no answer; what is about coasts keeps them."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Words of the sea, of where it meets the land, and of what lives there.
_SHORES = (
    "seas?", "seaside", "seashores?", "seabirds?", "seaweeds?", "seagrass(?:es)?", "seacoasts?", "oceans?",
    "oceanic", "marine", "maritime", "pelagic", "offshore", "overseas", "coasts?", "coastal", "coastlines?",
    "shores?", "shorelines?", "beach(?:es)?", "bays?", "gulfs?", "straits?", "sounds?", "fjords?", "fiords?",
    "rias?", "islands?", "isles?", "islets?", "archipelagos?", "archipelagoes", "peninsulas?", "atolls?", "corals?",
    "reefs?", "lagoons?", "estuar(?:y|ies|ine)", "deltas?", "river mouths?", "mouths? of (?:a|the) rivers?",
    "mangroves?", "tid(?:e|es|al)", "intertidal", "mudflats?", "salt ?marsh(?:es)?", "brackish",
    "salty?[ -]waters?", "saltwater", "surf", "waves", "stilt roots", "kelp", "harbou?rs?", "lighthouses?",
    "skerr(?:y|ies)", "ice floes?", "pack ice", "drift ice", "icebergs?", "penguins?", "seals?", "sea ?lions?",
    "walrus(?:es)?", "puffins?", "albatross(?:es)?", "gulls?", "seagulls?", "terns?", "gannets?", "guillemots?",
    "auks?", "petrels?", "cormorants?", "pelicans?", "whales?", "dolphins?", "porpoises?", "orcas?", "manatees?",
    "dugongs?", "polar bears?", "sharks?", "turtles?", "marine iguanas?",
)  # fmt: skip
_SHORE = re.compile(rf"(?<![\w-])(?:{'|'.join(_SHORES)})(?![\w-])", re.IGNORECASE)
# The same words where no sea is meant to be seen.
_INLAND = re.compile(
    r"(?<!\w)(?:seas? of (?:sand|grass|grasses|dunes|trees|green|ice)|sand seas?|sea level"
    r"|(?:above|below|at) (?:the )?sea(?: level)?"
    r"|(?:far|away|remote) from (?:the |any )?(?:seas?|oceans?|coasts?|shores?)"
    r"|oceanic climates?|coastal plains?|inland deltas?|sky islands?|heat islands?)(?!\w)",
    re.IGNORECASE,
)


def is_about_land(texts: Sequence[str]) -> bool:
    """Whether there are texts, none of which speaks of the sea or its shores."""
    return bool(texts) and not any(_SHORE.search(_INLAND.sub(" ", text)) for text in texts)
