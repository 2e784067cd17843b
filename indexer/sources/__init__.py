"""Where imagery comes from. Each source lists tiles cheaply, then reads the pixels of one tile at a time."""

from indexer.sources.protocol import Candidate, LeftOut, Reading, Source

__all__ = ["Candidate", "LeftOut", "Reading", "Source"]
