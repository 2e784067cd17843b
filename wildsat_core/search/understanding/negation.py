"""What a question does not want: "not X", "X but no Y", "without Z", "-W"."""

from __future__ import annotations

import re

# Longest first; each is followed by what is not wanted, up to a comma, a semicolon or the next of them.
_SIGNS = (
    "but not",
    "but no",
    "but without",
    "and not",
    "and no",
    "with no",
    "other than",
    "rather than",
    "instead of",
    "apart from",
    "away from",
    "except for",
    "excluding",
    "except",
    "without any",
    "without",
    "never",
    "not",
    "no",
)
_SIGN = re.compile(rf"(?<![\w-])(?:{'|'.join(_SIGNS)})(?![\w-])|(?:(?<=\s)|^)-(?=[^\W\d_])", re.IGNORECASE)
_END = re.compile(r"[,;.]|\bbut\b", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:a|an|any|the|in|of|on|near)\s+", re.IGNORECASE)
MOST_WORDS = 4  # a longer clause is a description ("it never rains more than ..."), which the model reads whole


def split_negation(text: str) -> tuple[str, list[str]]:
    """What is wanted, and each thing that is not.

    Args:
        text: folded.

    Returns:
        The rest of the text, maybe empty, and the unwanted things; ("...", []) where nothing is negated, or where the
        negation is part of a description that is better read whole.
    """
    pieces, unwanted, position = [], [], 0
    for sign in _SIGN.finditer(text):
        if sign.start() < position:
            continue
        end = _end_of(text, sign.end())
        thing = _ARTICLE.sub("", text[sign.end() : end].strip())
        if not thing or len(thing.split()) > MOST_WORDS:
            continue
        pieces.append(text[position : sign.start()])
        unwanted.append(thing)
        position = end
    pieces.append(text[position:])
    wanted = " ".join(" ".join(pieces).split()).strip(" ,;.")
    return (wanted, unwanted) if unwanted else (text, [])


def _end_of(text: str, start: int) -> int:
    stops = [match.start() for match in (_END.search(text, start), _SIGN.search(text, start)) if match]
    return min([len(text), *stops])
