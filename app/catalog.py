"""The collections that the service answers from: opened once, replaced whole when a new generation is published."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.engines import Engines
from app.failures import NotServedError
from app.logs import Seldom
from app.threads import limit_threads
from wildsat_core.collection import list_collections
from wildsat_core.collection.manifest import IMAGERY_FILE, Manifest, read_identity
from wildsat_core.collection.map_tiles import Imagery
from wildsat_core.errors import CollectionFormatError, CollectionNotFoundError, WildsatError
from wildsat_core.printable import printable
from wildsat_core.search.habitats import HabitatNames
from wildsat_core.search.phrases import read_phrases

if TYPE_CHECKING:
    from wildsat_core.search.engine import SearchEngine
    from wildsat_core.search.plan import QueryModel

ModelLoader = Callable[[str], "QueryModel"]

log = logging.getLogger(__name__)

RETRY_S = 60.0  # after which a collection is tried again though its files are the same: its model may be there now


@dataclass(frozen=True)
class Served:
    """One generation of one collection with everything that answers need. A request uses one Served throughout."""

    engine: SearchEngine
    model: QueryModel
    imagery: Imagery | None = None  # map tiles of the collection's own, None when it has none
    identity: str = ""  # tells this state of the folder from every other

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def manifest(self) -> Manifest:
        """What is served."""
        return self.engine.manifest

    @property
    def notice(self) -> str | None:
        """What a reader must be told, as the engine says."""
        return self.engine.notice

    @cached_property
    def habitats(self) -> HabitatNames:
        """Names for what a tile shows."""
        return HabitatNames(self.engine, read_phrases())


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed: on which state of the files, and from when on it may be tried again on the same."""

    files: str
    again_s: float


class Catalog:
    """Opens collections, keeps them by name, and swaps in new generations.

    Readers take a Served from a dictionary that is replaced and never changed, so no lock stands in a request's way; a
    request that runs while a new generation arrives finishes on the one it began with.
    """

    def __init__(
        self,
        folder: Path,
        default: str,
        load: ModelLoader,
        engines: Engines,
        names: Callable[[], list[str]] | None = None,
    ) -> None:
        """Remember where to look; `open_all` opens.

        Args:
            folder: its sub-folders are the collections.
            default: the collection that is searched when a request names none.
            load: gives the model of a name; called once for each.
            engines: opens collections for searching.
            names: gives those that there are, having brought them into the folder; None: all that lie in it.
        """
        self._names = names or partial(list_collections, folder)
        self.folder = folder
        self.default = default
        self._load = load
        self._engines = engines
        self.refused: dict[str, str] = {}
        self._served: dict[str, Served] = {}
        self._models: dict[str, QueryModel] = {}
        self._failures: dict[str, Failure] = {}
        self._reload = threading.Lock()

    def open_all(self) -> None:
        """Open every collection of the folder that is not open yet.

        Raises:
            WildsatError: the default collection is there but can't be served; others are kept out with a logged error.
        """
        for name in self._names():
            if name in self._served:
                continue
            try:
                self._open(name)
            except Exception as err:
                if name == self.default:
                    raise
                self._refuse(name, err)

    def get(self, name: str | None = None) -> Served:
        """The served collection of a name, or the default one.

        Raises:
            CollectionNotFoundError: no such collection; the known ones are named.
            NotServedError: it is there but was refused, or nothing is served yet.
        """
        served = self._served
        if name is None:
            if not served:
                raise NotServedError(
                    "no collection is loaded yet; build one with `wildsat demo` or `wildsat index build`"
                )
            return served.get(self.default) or served[min(served)]
        if name in served:
            return served[name]
        if name in self.refused:
            raise NotServedError(f"collection {name!r} can't be served: its files or its model don't fit; see the log")
        raise CollectionNotFoundError(f"no collection {name[:80]!r}; there are: {', '.join(sorted(served)) or 'none'}")

    def get_as_of(self, name: str, generation: int | None) -> Served:
        """The served collection of a name, not older than a generation that a client has seen.

        Several processes that serve together see a new generation one after the other.

        Raises:
            CollectionNotFoundError, NotServedError: as `get`.
        """
        served = self.get(name)
        if generation is not None and generation > served.manifest.generation:
            self.refresh()
            served = self.get(name)
        return served

    @property
    def state(self) -> object:
        """Another object whenever what is served has changed."""
        return self._served

    def all(self) -> list[Served]:
        """Every served collection, the default one first."""
        served = self._served
        return sorted(served.values(), key=lambda s: (s.name != self.default, s.name))

    def refresh(self) -> None:
        """Look once for new generations, new collections and removed ones."""
        with self._reload:
            names = self._names()
            for gone in set(self._served) - set(names):
                self._served = {n: s for n, s in self._served.items() if n != gone}
                log.info("collection %s is gone and no longer served", gone)
            self._forget_all_but(names)
            for name in names:
                self._refresh(name)

    def _forget_all_but(self, names: list[str]) -> None:
        """One that was removed may come back from a backup in the very state that was tried before."""
        self._failures = {name: failure for name, failure in self._failures.items() if name in names}
        self.refused = {name: why for name, why in self.refused.items() if name in names}

    def _refresh(self, name: str) -> None:
        try:
            identity = read_identity(self.folder / name)
            if name in self._served and self._served[name].identity == identity:
                self._accept(name)
            elif self._may_be_tried(name):
                self._open(name)
                log.info("collection %s: serving generation %d", name, self._served[name].manifest.generation)
        except Exception as err:  # noqa: BLE001 - whatever is wrong with one collection, the others are looked at
            self._refuse(name, err)

    def _may_be_tried(self, name: str) -> bool:
        """Whether the files have changed since the last failure, or so much time has gone that the rest may have."""
        failure = self._failures.get(name)
        return failure is None or time.monotonic() >= failure.again_s or _files_of(self.folder / name) != failure.files

    def _accept(self, name: str) -> None:
        if name in self.refused:
            self.refused = {n: why for n, why in self.refused.items() if n != name}
        self._failures.pop(name, None)

    def _refuse(self, name: str, error: Exception) -> None:
        """Keep a collection out, or stay on its last good generation, and say so once."""
        message = printable(str(error) or type(error).__name__)
        if self.refused.get(name) != message:
            stays = (
                f"; still serving generation {self._served[name].manifest.generation}" if name in self._served else ""
            )
            unforeseen = None if isinstance(error, WildsatError | OSError) else error
            log.error("collection %s can't be served: %s%s", printable(name), message, stays, exc_info=unforeseen)
        self.refused = self.refused | {name: message}

    def _open(self, name: str) -> None:
        root = self.folder / name
        # As the files are before they are read: what changes meanwhile is another state.
        self._failures[name] = Failure(_files_of(root), time.monotonic() + RETRY_S)
        identity = read_identity(root)
        before = self._served.get(name)

        def model_of(manifest: Manifest) -> QueryModel:
            if manifest.name != name:
                raise CollectionFormatError(
                    f"the collection in {root} calls itself {manifest.name!r}; rename the folder"
                )
            return self._model(manifest.model.name)

        # Ready before it is swapped in, so that no request waits for it.
        engine = self._engines.open(root, model_of, before.engine if before else None)
        served = Served(engine, engine.model, _imagery_of(root), identity)
        self._served = self._served | {name: served}
        self._accept(name)

    def _model(self, name: str) -> QueryModel:
        """Load a model once, however many collections use it."""
        if name not in self._models:
            self._models[name] = self._load(name)
        return self._models[name]


def _imagery_of(root: Path) -> Imagery | None:
    """Map tiles of a collection; it can be searched without them, so damaged ones are left out and named."""
    path = root / IMAGERY_FILE
    try:
        return Imagery(path) if path.is_file() else None
    except CollectionFormatError as err:
        log.error("collection %s is served without its imagery: %s", root.name, err)
        return None


def _files_of(root: Path) -> str:
    """The state of all files below a folder, without reading them."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - thousands of files, several times a second
            try:
                told = os.stat(path)  # noqa: PTH116
                found.append(f"{path}:{told.st_ino}:{told.st_size}:{told.st_mtime_ns}:{told.st_ctime_ns}")
            except OSError as err:
                found.append(f"{path}:{err.errno}")
    return hashlib.sha256("\n".join(sorted(found)).encode("utf-8", "surrogateescape")).hexdigest()


def registry_loader(device: str, threads: int) -> ModelLoader:
    """Loads models by their registry name; the text encoder is warmed so that no searcher waits for it.

    Args:
        device: torch device of the encoders.
        threads: that one encoding may take.
    """

    def load(name: str) -> QueryModel:
        from wildsat_core.models.registry import load_model

        model = load_model(name, device).optimise_for_inference()
        limit_threads(threads)  # the first model loads torch
        if model.config.text_head is not None:
            model.embed_texts(["forest"])
        return model

    return load


class Watcher:
    """A thread that refreshes a catalog every so often."""

    def __init__(self, catalog: Catalog, interval_s: float) -> None:
        """Prepare; `start` begins."""
        self._catalog = catalog
        self._interval_s = interval_s
        self._seldom = Seldom()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wildsat-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self._catalog.refresh()
            except Exception as err:
                if self._seldom.may_say(repr(err)):  # it is tried again several times a second
                    log.exception("looking for new generations failed, and perhaps more often")
