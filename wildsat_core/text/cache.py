"""Remembers text embeddings: the last ones in memory, and all of them in a file where one is named.

A query comes again and again, and with a 7-billion-parameter encoder it costs far more than the search. Entries are
kept by encoder, revision and text, so that no encoder answers with another one's vectors. The file is SQLite. It only
saves work: where it can't be used (a full disk, another program's file, one that is locked), texts are encoded anew.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from wildsat_core.batching import Batcher
from wildsat_core.text import TextEncoder

DEFAULT_ENTRIES = 4096
MOST_BYTES = 512 * 2**20  # of the file: 300,000 texts of 384 numbers, 30,000 of 4,096
ENTRY_BYTES = 64  # of key and page beside the numbers
PAUSE_S = 60.0  # without the file after it has failed
_BATCH = 16  # callers whose texts are encoded together at most
Vectors = npt.NDArray[np.float32]
T = TypeVar("T")

log = logging.getLogger(__name__)

_TABLE = "CREATE TABLE IF NOT EXISTS embeddings (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"


class CachedTextEncoder:
    """A text encoder that encodes each text once; safe in several threads.

    The encoder runs in one thread at a time, and then for all the texts that came while it ran before.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        entries: int = DEFAULT_ENTRIES,
        path: str | Path | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Wrap an encoder.

        Args:
            encoder: called for texts that are not remembered, without repeats.
            entries: how many embeddings stay in memory, the most recently used ones.
            path: of the SQLite file; None keeps nothing beyond this process.
            most_bytes: of the file; a part of the entries goes when it is full.
        """
        self.encoder = encoder
        self.name = encoder.name
        self._entries = entries
        self._memory: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = threading.Lock()
        self._encode_together: Batcher[list[str], Vectors] = Batcher(self._encode_lists, _BATCH)
        self._prefix = f"{encoder.name}\0{getattr(encoder, 'revision', '')}\0{encoder.dim}\0"
        self._file = (
            None if path is None else _CacheFile(Path(path), max(1, most_bytes // (4 * self.dim + ENTRY_BYTES)))
        )

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.encoder.dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Embed texts, (B, E) float32, in the order given."""
        keys = [self._key(text) for text in texts]
        found = self._recall(set(keys))
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if new:
            fresh = self._encode_together(list(new.values()))
            found |= dict(zip(new, fresh, strict=True))
            self._remember({key: found[key] for key in new})
        if not keys:
            return np.zeros((0, self.dim), np.float32)
        return np.stack([found[key] for key in keys])

    def _encode_lists(self, lists: Sequence[list[str]]) -> list[Vectors]:
        """Embed the texts of several callers, each text once."""
        position = {text: i for i, text in enumerate(dict.fromkeys(text for texts in lists for text in texts))}
        vectors = self.encoder.encode(list(position))
        return [vectors[[position[text] for text in texts]] for texts in lists]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _key(self, text: str) -> bytes:
        return hashlib.sha256((self._prefix + text).encode("utf-8", "surrogatepass")).digest()

    def _recall(self, keys: set[bytes]) -> dict[bytes, Vectors]:
        with self._lock:
            found = {}
            for key in keys & self._memory.keys():
                self._memory.move_to_end(key)
                found[key] = self._memory[key]
            if self._file is None:
                return found
            stored = self._file.read(keys - found.keys())
            found |= {
                key: np.frombuffer(content, "<f4").astype(np.float32)
                for key, content in stored.items()
                if len(content) == 4 * self.dim
            }
            return found

    def _remember(self, fresh: dict[bytes, Vectors]) -> None:
        with self._lock:
            for key, vector in fresh.items():
                self._memory[key] = vector
                self._memory.move_to_end(key)
            while len(self._memory) > self._entries:
                self._memory.popitem(last=False)
            if self._file is not None:
                self._file.write({key: np.asarray(vector, "<f4").tobytes() for key, vector in fresh.items()})


class _CacheFile:
    """The file; guarded by the encoder's own lock. It never raises for what goes wrong with the file."""

    def __init__(self, path: Path, most: int) -> None:
        self._path, self._most = path, most
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._held = 0  # entries, when they were last counted, and those written since
        self._resume_s = 0.0
        self._use(lambda connection: None)

    def read(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The vectors of those keys that are there."""

        def read(connection: sqlite3.Connection) -> dict[bytes, bytes]:
            query = "SELECT vector FROM embeddings WHERE key = ?"
            rows = ((key, connection.execute(query, (key,)).fetchone()) for key in keys)
            return {key: row[0] for key, row in rows if row is not None}

        return self._use(read) or {}

    def write(self, vectors: Mapping[bytes, bytes]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", vectors.items())
                self._held += len(vectors)
                if self._held > self._most:
                    self._make_room(connection)

        self._use(write)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Drop about an eighth: keys are hashes, so a range of them is a fair sample."""
        self._held = connection.execute("SELECT count(*) FROM embeddings").fetchone()[0]
        while self._held > self._most:
            first = secrets.randbelow(256)
            here = connection.execute(
                "DELETE FROM embeddings WHERE key BETWEEN ? AND ?",
                (bytes([first]), bytes([min(first + 31, 255)]) + b"\xff" * 31),
            )
            self._held -= here.rowcount

    def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do something with the file; None where that fails, and for a while after."""
        if self._closed or time.monotonic() < self._resume_s:
            return None
        try:
            if self._connection is None:
                self._connection = self._open()
            return work(self._connection)
        except (sqlite3.Error, OSError) as err:
            log.warning(
                "the cache of text embeddings %s is not used for %g s: %s; delete it, make room, or name another file",
                self._path, PAUSE_S, err,
            )  # fmt: skip
            self._resume_s = time.monotonic() + PAUSE_S
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Waiting longer for another process than encoding takes would be of no use.
        connection = sqlite3.connect(self._path, timeout=0.5, check_same_thread=False)
        try:
            with connection:
                connection.execute(_TABLE)
                connection.execute("PRAGMA journal_mode=WAL")
            self._held = connection.execute("SELECT count(*) FROM embeddings").fetchone()[0]
        except sqlite3.Error:
            connection.close()
            raise
        return connection
