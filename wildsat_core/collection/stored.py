"""All collections of a store, for who serves their copies."""

from __future__ import annotations

import logging
import time

from wildsat_core.collection.copies import Copies, copies_of
from wildsat_core.collection.manifest import holds_collection, is_collection_name, list_collections
from wildsat_core.collection.mirror import mirrored
from wildsat_core.collection.store import open_store
from wildsat_core.errors import CollectionNotFoundError, UnreachableError, WildsatError

logger = logging.getLogger(__name__)


class StoredCollections:
    """The names of those that can be served, brought up to date now and then."""

    def __init__(self, address: str, interval_s: float, kind: Copies = Copies.WHOLE) -> None:
        """Remember.

        Args:
            address: of the store.
            interval_s: how long what was found there is not looked for again.
            kind: what is brought of each.
        """
        self.folder = copies_of(address, kind)
        self._store, self._interval_s = open_store(address), interval_s
        self._names: list[str] = []
        self._next_s = 0.0
        self._told: dict[str, str] = {}

    def names(self) -> list[str]:
        """Bring all up to date; gives those that can be served.

        What can't be brought is logged once, and served as it is in the cache, if it is there.
        """
        if time.monotonic() >= self._next_s:
            try:
                self._names = [
                    name for name in self._store.folders() if is_collection_name(name) and self._brought(name)
                ]
                self._told.pop("", None)
            except UnreachableError as err:
                self._tell("", err)
                self._names = self._names or list_collections(self.folder)
            self._next_s = time.monotonic() + self._interval_s
        return self._names

    def _brought(self, name: str) -> bool:
        mirror = mirrored(self._store.address, name, self.folder)
        try:
            mirror.pull()
        except CollectionNotFoundError:
            mirror.forget()
        except (WildsatError, OSError) as err:
            self._tell(name, err)
        else:
            self._told.pop(name, None)
        return holds_collection(mirror.root)

    def _tell(self, name: str, problem: Exception) -> None:
        if self._told.get(name) != str(problem):
            self._told[name] = str(problem)
            logger.error("%s; what the cache has is served", problem)
