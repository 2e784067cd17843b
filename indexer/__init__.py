"""From sources of imagery to the segments of a collection."""
