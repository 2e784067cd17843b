"""Answers that may be read in parts (RFC 9110, section 14): pictures and exports, as GDAL and DuckDB read files."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

PIECE_BYTES: Final = 1 << 18
KEPT_BYTES: Final = 256 * 2**20  # of written exports, so that whoever reads one in parts does not have it made anew


class Source(Protocol):
    """Bytes that can be read from anywhere in them."""

    size: int

    def read(self, start: int, count: int) -> bytes:
        """Some of the bytes; may be called from several threads."""


class Held:
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        """Hold them."""
        self._content, self.size = content, len(content)

    def read(self, start: int, count: int) -> bytes:
        return self._content[start : start + count]


class Written:
    """Bytes in a file that has no name: it goes when the last who reads it is done."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Write them.

        Raises:
            OSError: there is no room.
        """
        self.size = 0
        with tempfile.TemporaryFile(buffering=0) as file:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
                self.size += len(piece)
            self._descriptor = os.dup(file.fileno())

    def read(self, start: int, count: int) -> bytes:
        return os.pread(self._descriptor, count, start)

    def __del__(self) -> None:
        """Give the room back."""
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class Store:
    """The last files that were written, by their ETag."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        """Start with none."""
        self._most_bytes = most_bytes
        self._files: OrderedDict[str, Written] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, etag: str) -> Written | None:
        with self._lock:
            found = self._files.get(etag)
            if found is not None:
                self._files.move_to_end(etag)
            return found

    def put(self, etag: str, file: Written) -> None:
        with self._lock:
            self._files[etag] = file
            while self._files and sum(kept.size for kept in self._files.values()) > self._most_bytes:
                self._files.popitem(last=False)


def answer_with(request: Request, source: bytes | Source, media_type: str, headers: Mapping[str, str]) -> Response:
    """All of a source, or the part that the request's Range names; 416 where there is no such part.

    Several parts at once are answered with the whole, as the standard allows.
    """
    held = Held(source) if isinstance(source, bytes) else source
    told = dict(headers) | {"Accept-Ranges": "bytes"}
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", told.get("ETag")) != told.get("ETag"):
        return _part(held, 0, held.size, 200, media_type, told)
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked.replace(" ", ""), re.ASCII)
    if found is None or not any(found.groups()):
        return _part(held, 0, held.size, 200, media_type, told)
    if found[1]:
        start, stop = int(found[1]), min(int(found[2]) + 1 if found[2] else held.size, held.size)
    else:  # so many at the end
        start, stop = max(0, held.size - int(found[2])), held.size
    if start >= stop:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{held.size}"})
    told["Content-Range"] = f"bytes {start}-{stop - 1}/{held.size}"
    told["Content-Encoding"] = "identity"  # a part of the bytes as they are: no layer may pack it
    return _part(held, start, stop, 206, media_type, told)


def _part(source: Source, start: int, stop: int, status: int, media_type: str, headers: Mapping[str, str]) -> Response:
    if stop - start <= PIECE_BYTES:
        return Response(source.read(start, stop - start), status, headers, media_type)
    told = dict(headers) | {"Content-Length": str(stop - start)}
    return StreamingResponse(_pieces(source, start, stop), status, told, media_type)


def _pieces(source: Source, start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, PIECE_BYTES):
        yield source.read(at, min(PIECE_BYTES, stop - at))


def media_types(*kinds: str) -> dict[int | str, dict[str, object]]:
    """For the OpenAPI document: what an answer may be, in whole or in part."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        200: {"content": {kind: {"schema": {"type": "object"}} if "json" in kind else binary for kind in kinds}},
        206: {"description": "the part that Range asks for", "content": dict.fromkeys(kinds, binary)},
        416: {"description": "there is no such part"},
    }
