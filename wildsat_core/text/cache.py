"""Remembers text embeddings: the last ones in memory, and all of them in a file where one is named.

A query comes again and again, and with a 7-billion-parameter encoder it costs far more than the search. Entries are
kept by encoder, revision and text, so that no encoder answers with another one's vectors. The file is SQLite.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wildsat_core.batching import Batcher
from wildsat_core.errors import CheckpointError
from wildsat_core.text import TextEncoder

DEFAULT_ENTRIES = 4096
_BATCH = 16  # callers whose texts are encoded together at most
Vectors = npt.NDArray[np.float32]

_TABLE = "CREATE TABLE IF NOT EXISTS embeddings (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"


class CachedTextEncoder:
    """A text encoder that encodes each text once; safe in several threads.

    The encoder runs in one thread at a time, and then for all the texts that came while it ran before.
    """

    def __init__(self, encoder: TextEncoder, entries: int = DEFAULT_ENTRIES, path: str | Path | None = None) -> None:
        """Wrap an encoder.

        Args:
            encoder: called for texts that are not remembered, without repeats.
            entries: how many embeddings stay in memory, the most recently used ones.
            path: of the SQLite file; None keeps nothing beyond this process.

        Raises:
            CheckpointError: the file is not a cache.
        """
        self.encoder = encoder
        self.name = encoder.name
        self._entries = entries
        self._memory: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = threading.Lock()
        self._encode_together: Batcher[list[str], Vectors] = Batcher(self._encode_lists, _BATCH)
        self._prefix = f"{encoder.name}\0{getattr(encoder, 'revision', '')}\0{encoder.dim}\0"
        self._file = None if path is None else _open(Path(path))

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
            for key in keys - found.keys():
                row = self._file.execute("SELECT vector FROM embeddings WHERE key = ?", (key,)).fetchone()
                if row is not None and len(row[0]) == 4 * self.dim:
                    found[key] = np.frombuffer(row[0], "<f4").astype(np.float32)
            return found

    def _remember(self, fresh: dict[bytes, Vectors]) -> None:
        with self._lock:
            for key, vector in fresh.items():
                self._memory[key] = vector
                self._memory.move_to_end(key)
            while len(self._memory) > self._entries:
                self._memory.popitem(last=False)
            if self._file is not None:
                rows = [(key, np.asarray(vector, "<f4").tobytes()) for key, vector in fresh.items()]
                with self._file:
                    self._file.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", rows)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)  # guarded by the encoder's own lock
    try:
        with connection:
            connection.execute(_TABLE)
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as err:
        connection.close()
        raise CheckpointError(
            f"{path} is not a cache of text embeddings: {err}; delete it or name another file"
        ) from err
    return connection
