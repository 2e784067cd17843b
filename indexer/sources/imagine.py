"""How long an Erdas Imagine file must be for its numbers, which GDAL takes for black where it is cut.

Source: https://gdal.org/en/stable/drivers/raster/hfa.html, which links the description by Erdas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from indexer.sources.stored import StoredFile, beside

_BITS: Final = (1, 2, 4, 8, 8, 16, 16, 32, 32, 32, 64, 64, 128)  # of a pixel, by the number of its type
_MOST_NODES: Final = 1_000_000  # a damaged tree may go round in a circle


class _Node(NamedTuple):
    """Of the tree that a file is: what kind of data it has, and where; likewise of the node above."""

    kind: str
    data: int
    above: int


def needed_bytes(file: StoredFile) -> Iterator[tuple[str, int]]:
    """The file, and those that it says its numbers are in; up to the end of the last number of each.

    Raises:
        ValueError, struct.error: its description of itself is cut or wrong.
    """
    end = 0
    for node in _nodes(file):
        if node.kind == "Edms_State":
            count, blocks = file.unpack("<II", node.data + 14)
            for block in range(count):
                _, offset, size, is_there = file.unpack("<hIIH", blocks + 14 * block)
                end = max(end, offset + size if is_there else 0)
        elif node.kind == "ImgExternalRaster":
            yield _beside(file, node)
    yield file.name, end


def _nodes(file: StoredFile) -> Iterator[_Node]:
    """All nodes below the root."""
    (header,) = file.unpack("<I", 16)
    (root,) = file.unpack("<8xI", header)
    waiting, seen = [(root, 0)], 0
    while waiting:
        at, above = waiting.pop()
        following, child, place, _, _, kind = file.unpack("<I8xIIi64s32s", at)
        yield _Node(kind.split(b"\0")[0].decode("latin-1"), place, above)
        waiting += [(following, above)] if following else []
        waiting += [(child, place)] if child else []
        if (seen := seen + 1) > _MOST_NODES:
            raise ValueError("its tree goes round in a circle")


def _beside(file: StoredFile, node: _Node) -> tuple[str, int]:
    """The file in which a layer's pixels are, with those of others, block by block; and how long it must be."""
    width, height, _, kind, across, down = file.unpack("<iiHHii", node.above)
    (length,) = file.unpack("<I", node.data)
    name = file.at(node.data + 8, length).split(b"\0")[0].decode("latin-1")
    start, layers = file.unpack("<8xQI", node.data + 8 + length)
    blocks = math.ceil(width / across) * math.ceil(height / down) * layers
    return beside(file.name, name), start + blocks * math.ceil(across * down * _BITS[kind] / 8)
