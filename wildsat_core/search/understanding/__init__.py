"""Turns typed words into a structured question, and says what it understood; rules and tables, no language model."""

from wildsat_core.search.understanding.reading import Reading
from wildsat_core.search.understanding.understand import understand

__all__ = ["Reading", "understand"]
