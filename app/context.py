"""What routes need of the running application, as typed look-ups."""

from __future__ import annotations

from fastapi import Request

from app.catalog import Catalog, Served
from app.metrics import Metrics
from app.policies import ANEW
from app.settings import Settings
from wildsat_core.search.query import ChangesResult, Query, SearchResult
from wildsat_core.search.species import TABLE, SpeciesTable, load_species


def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def catalog_of(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


def metrics_of(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


def species_of(request: Request) -> SpeciesTable:
    """The species table, read at the first need; the lifespan reads it too, so that a bad one stops the start."""
    return load_species(settings_of(request).species_table or TABLE)


def run_search(request: Request, served: Served, query: Query) -> SearchResult:
    """Search and count what it took."""
    result = served.engine.search(query)
    count_answer(request, result)
    if result.missing:
        request.scope[ANEW] = True
    return result


def count_answer(request: Request, result: SearchResult | ChangesResult) -> None:
    """Count what it took, and whether it was about nothing, which is counted each time anew."""
    metrics = metrics_of(request)
    metrics.observe_stages({stage: ms / 1000.0 for stage, ms in result.timings_ms.items()})
    if result.no_match:
        metrics.no_match.inc()
        request.scope[ANEW] = True


def base_url(request: Request) -> str:
    """Absolute address of the service, without a slash at the end: as configured, else as the client reached it."""
    return settings_of(request).public_url.rstrip("/") or str(request.base_url).rstrip("/")
