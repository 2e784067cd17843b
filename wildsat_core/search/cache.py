"""A small cache of things made from queries: the least recently used goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Keeps `size` values; threads that ask for the same missing one wait for a single making of it."""

    def __init__(self, size: int) -> None:
        """Start empty."""
        self._size = size
        self._entries: OrderedDict[Key, Future[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Key) -> bool:
        """Whether the value of a key is here, or being made."""
        with self._lock:
            return key in self._entries

    def known(self, key: Key) -> Value | None:
        """The value of a key, None when it is not here; waits for one that is being made."""
        with self._lock:
            entry = self._entries.get(key)
        return entry.result() if entry else None

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made by `make` when it is not there; what `make` raises is raised and not kept."""
        with self._lock:
            entry = self._entries.get(key)
            mine = entry is None
            if entry is None:
                entry = self._entries[key] = Future()
                while len(self._entries) > self._size:
                    self._entries.popitem(last=False)
            else:
                self._entries.move_to_end(key)
        if mine:
            try:
                entry.set_result(make())
            except BaseException as err:
                with self._lock:
                    if self._entries.get(key) is entry:
                        del self._entries[key]
                entry.set_exception(err)
                raise
        return entry.result()
