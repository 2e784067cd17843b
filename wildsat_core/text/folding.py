"""One form for texts that look alike: full-width letters, ligatures, invisible characters, curly quotes."""

from __future__ import annotations

import unicodedata

# Marks that are drawn alike and typed by whatever keyboard is at hand.
_ALIKE = str.maketrans(dict.fromkeys("‘’‚‛′`´", "'") | dict.fromkeys("“”„‟″«»", '"') | dict.fromkeys("‐‑‒–—―−", "-"))

_ASCII_WORDS = str.maketrans({c: " " for c in map(chr, range(128)) if not c.isalnum()})


def fold(text: str) -> str:
    """Unicode NFKC without invisible characters, quotes and dashes as on a keyboard, single spaces.

    Invisible are the characters of category Cf (zero-width spaces and joiners, soft hyphens, marks of direction, byte
    order marks) and variation selectors: nobody sees them, and each would make another word.
    """
    visible = (c for c in unicodedata.normalize("NFKC", text) if not _is_invisible(c))
    return " ".join(unicodedata.normalize("NFKC", "".join(visible)).translate(_ALIKE).split())


def plain(text: str) -> str:
    """A key for comparing names: folded, without accents, lower case, other signs than letters and digits as spaces."""
    if text.isascii():  # nearly all of the 80,000 names that are read at the start
        return " ".join(text.lower().translate(_ASCII_WORDS).split())
    apart = unicodedata.normalize("NFKD", fold(text).casefold())
    letters = (c for c in apart if not unicodedata.combining(c))
    return " ".join("".join(c if c.isalnum() else " " for c in letters).replace("ß", "ss").split())


def _is_invisible(c: str) -> bool:
    return unicodedata.category(c) == "Cf" or "\ufe00" <= c <= "\ufe0f" or "\U000e0100" <= c <= "\U000e01ef"
