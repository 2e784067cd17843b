"""How long a PCIDSK file must be for its numbers, which GDAL takes for black where the file ends before them.

Source: https://pcidsk.sourceforge.io/pcidsk_file_layout.html. Of tiled files that says nothing: their numbers lie in
blocks of one segment, and another one, written as text before 2011 and as binary since, is the directory of these.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from indexer.sources.stored import StoredFile

_BLOCK: Final = 512  # bytes, in which the file's own header counts
_SEGMENT_HEADER: Final = 1024
_POINTER: Final = 32  # bytes of a segment's entry in the list of segments
_DIRECTORIES: Final = ("SysBMDir", "TileDir ")  # as text, as binary
_TEXT_TILE_BLOCK: Final = 8192


class _Segment(NamedTuple):
    name: str
    start: int  # byte
    length: int


def needed_bytes(file: StoredFile) -> int:
    """Up to the end of the last number.

    Raises:
        ValueError, KeyError, struct.error: its header is cut or wrong.
    """
    head = file.at(0, 464)
    end = (int(head[304:320]) - 1 + int(head[320:336])) * _BLOCK
    segments = {number: segment for number, segment in enumerate(_segments(file, head), 1) if segment is not None}
    for segment in segments.values():
        if segment.name in _DIRECTORIES:
            directory = file.at(segment.start + _SEGMENT_HEADER, segment.length - _SEGMENT_HEADER)
            blocks = _text_blocks(directory) if segment.name == _DIRECTORIES[0] else _binary_blocks(directory)
            for number, last in blocks:
                end = max(end, segments[number].start + _SEGMENT_HEADER + last)
    return end


def _segments(file: StoredFile, head: bytes) -> Iterator[_Segment | None]:
    """The segments in their order; None for numbers that no segment has."""
    pointers = file.at((int(head[440:456]) - 1) * _BLOCK, int(head[456:464]) * _BLOCK)
    for at in range(0, len(pointers), _POINTER):
        pointer = pointers[at : at + _POINTER]
        is_there = pointer[:1] in (b"A", b"L")  # active or locked
        start = (int(pointer[12:23]) - 1) * _BLOCK if is_there else 0
        yield _Segment(pointer[4:12].decode("latin-1"), start, int(pointer[23:32]) * _BLOCK) if is_there else None


def _text_blocks(directory: bytes) -> Iterator[tuple[int, int]]:
    """Of each block that a layer has: the segment where it is, and where in that it ends."""
    layers, blocks = int(directory[10:18]), int(directory[18:26])
    at_layers = 512 + 28 * blocks
    for layer in range(layers):
        entry = directory[at_layers + 24 * layer : at_layers + 24 * (layer + 1)]
        block, left = int(entry[4:12]), int(entry[12:24])
        while block >= 0 and left > 0:
            fields = directory[512 + 28 * block : 512 + 28 * (block + 1)]
            yield int(fields[:4]), int(fields[4:12]) * _TEXT_TILE_BLOCK + min(left, _TEXT_TILE_BLOCK)
            block, left = int(fields[20:28]), left - _TEXT_TILE_BLOCK


def _binary_blocks(directory: bytes) -> Iterator[tuple[int, int]]:
    """The same of the newer directory."""
    layers, block_bytes = struct.unpack_from("<II", directory, 10)
    at_blocks = 512 + (layers + 1) * 18 + layers * 38  # the last of the layers has what is free
    for layer in range(layers):
        _, first, count, left = struct.unpack_from("<HIIQ", directory, 512 + 18 * layer)
        for block in range(first, first + count):
            segment, number = struct.unpack_from("<HI", directory, at_blocks + 6 * block)
            yield segment, number * block_bytes + min(left, block_bytes)
            left -= block_bytes
