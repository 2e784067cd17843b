"""Where the tiles of a collection are searched: in this process, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wildsat_core.collection import open_collection
from wildsat_core.collection.manifest import Manifest, read_current_manifest

if TYPE_CHECKING:
    from wildsat_core.search.engine import SearchEngine
    from wildsat_core.search.plan import QueryModel
    from wildsat_core.search.ray_shards import RayCluster
    from wildsat_core.search.scorer import ScanSettings

ModelOf = Callable[[Manifest], "QueryModel"]


class Engines(Protocol):
    """Opens collections for searching."""

    def open(self, root: Path, model_of: ModelOf, previous: SearchEngine | None) -> SearchEngine:
        """Open the live generation of a collection and read ahead what its first search needs.

        Args:
            root: folder of the collection.
            model_of: gives the model of a manifest, or refuses it.
            previous: of an earlier generation; what both have in common is not prepared again.
        """
        ...


class LocalEngines:
    """Shards in this process."""

    def __init__(self, *, device: str | None, ann_rows: int, shards: int = 1) -> None:
        """Remember.

        Args:
            device: torch device that holds the vectors and scans them; None scans on the CPU.
            ann_rows: tiles from which on a collection's approximate indexes are used.
            shards: how many shards a collection is cut into.
        """
        self._device, self._ann_rows, self._shards = device, ann_rows, shards

    def open(self, root: Path, model_of: ModelOf, previous: SearchEngine | None) -> SearchEngine:
        """See `Engines`."""
        from wildsat_core.search.engine import SearchEngine

        collection = open_collection(root, previous=previous.collection if previous else None)
        engine = SearchEngine(
            collection,
            model_of(collection.manifest),
            ann_rows=self._ann_rows,
            device=self._device,
            shards=self._shards,
            previous=previous,
        )
        engine.warm()
        return engine


class RayEngines:
    """Shards on a Ray cluster, which is joined when the first collection is opened."""

    def __init__(self, address: str, *, shards: int, replicas: int, device: str | None) -> None:
        """Remember.

        Args:
            address: of the cluster, or "auto".
            shards: how many shards a collection is cut into.
            replicas: how many actors hold each.
            device: torch device that an actor scans on; None scans on the CPU.
        """
        self._address, self._shards, self._replicas, self._device = address, shards, replicas, device
        self._cluster: RayCluster | None = None

    def open(self, root: Path, model_of: ModelOf, previous: SearchEngine | None) -> SearchEngine:
        """See `Engines`."""
        from wildsat_core.search.engine import SearchEngine

        manifest = read_current_manifest(root)
        model = model_of(manifest)
        before = previous.shards if previous else None
        shards = self.cluster.open(root, manifest, model.typical_texts(), self._settings(), before)
        engine = SearchEngine.over(shards, model)
        engine.warm()
        return engine

    @property
    def cluster(self) -> RayCluster:
        """The cluster's actors."""
        from wildsat_core.search.ray_shards import RayCluster

        if self._cluster is None:
            self._cluster = RayCluster(self._address, self._shards, self._replicas)
        return self._cluster

    def _settings(self) -> ScanSettings:
        from wildsat_core.search.scorer import ScanSettings

        return ScanSettings(device=self._device)
