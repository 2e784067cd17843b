"""Plain names of habitats: what a tile may be called, and the background that no tile should answer as a whole."""

from __future__ import annotations

import functools
from pathlib import Path

PHRASES = Path(__file__).resolve().parent.parent / "data" / "habitats.txt"


@functools.cache
def read_phrases(path: Path = PHRASES) -> tuple[str, ...]:
    """Phrases, one a line; blank lines and lines that begin with # don't count."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
