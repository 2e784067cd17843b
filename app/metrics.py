"""Prometheus metrics: requests by route, stages of a search, and what is being served. One registry per application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from app.catalog import Catalog

REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STAGE_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """What the service counts and times."""

    def __init__(self, catalog: Catalog, together: Path | None = None) -> None:
        """Create the metrics in a registry of their own, so that tests may build many applications.

        Args:
            catalog: what is served.
            together: folder in which this process and others count; prometheus-client has read the same from the
                environment. None for a process alone.
        """
        self._catalog, self._together = catalog, together
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "wildsat_request_seconds",
            "Time from request to the answer's first byte",
            ["route", "method", "status"],
            registry=self.registry,
            buckets=REQUEST_BUCKETS_S,
        )
        self.stages = Histogram(
            "wildsat_search_stage_seconds",
            "Time in each stage of a search",
            ["stage"],
            registry=self.registry,
            buckets=STAGE_BUCKETS_S,
        )
        self.no_match = Counter(
            "wildsat_searches_without_match",
            "Searches for words about nothing that the model knows of places",
            registry=self.registry,
        )
        self.registry.register(_CatalogCollector(catalog))

    def observe_stages(self, timings_s: Mapping[str, float]) -> None:
        for stage, seconds in timings_s.items():
            self.stages.labels(stage).observe(seconds)

    def timed(self, stage: str) -> AbstractContextManager[object]:
        """Observe how long a stage takes."""
        return self.stages.labels(stage).time()

    def render(self) -> bytes:
        """The text that a Prometheus server reads."""
        if self._together is None:
            return generate_latest(self.registry)
        of_all = CollectorRegistry()  # what every process has counted, and what this one serves
        MultiProcessCollector(of_all, path=str(self._together))  # type: ignore[no-untyped-call]
        of_all.register(_CatalogCollector(self._catalog))
        return generate_latest(of_all)


class _CatalogCollector(Collector):
    """Reads the served collections when asked, so that a swap needs no bookkeeping."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def collect(self) -> Iterable[Metric]:
        """Gauges by collection."""
        tiles = GaugeMetricFamily("wildsat_collection_tiles", "Live tiles served", labels=["collection"])
        generation = GaugeMetricFamily("wildsat_collection_generation", "Generation served", labels=["collection"])
        for served in self._catalog.all():
            tiles.add_metric([served.name], served.manifest.tiles)
            generation.add_metric([served.name], served.manifest.generation)
        refused = GaugeMetricFamily(
            "wildsat_collections_refused", "Collections that can't be served", value=len(self._catalog.refused)
        )
        return tiles, generation, refused
