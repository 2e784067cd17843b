"""The application: `create_app(settings)` puts the layers and routes together; the lifespan opens the collections."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from app.answers.ranges import Store
from app.answers.responses import JSONResponse
from app.catalog import Catalog, ModelLoader, Watcher, registry_loader
from app.engines import Engines, LocalEngines, RayEngines
from app.errors import install_handlers
from app.layers.body_limit import BodyLimitMiddleware
from app.layers.clients import ClientsMiddleware
from app.layers.crashes import CrashMiddleware
from app.layers.gate import Gate, LoadMiddleware
from app.layers.head import HeadMiddleware
from app.layers.headers import HeadersMiddleware
from app.layers.kept import KeptMiddleware
from app.layers.proxies import ProxiesMiddleware
from app.layers.timing import MetricsMiddleware
from app.metrics import Metrics
from app.openapi import TAGS, describe_errors, operation_id
from app.policies import Directory
from app.requests.contract import page_contract
from app.routes import (
    changes,
    collections,
    docs,
    export,
    health,
    heatmap,
    maps,
    page,
    places,
    search,
    species,
    stac_search,
    tiles,
    upload,
)
from app.settings import Settings
from app.static_files import PageFiles
from app.threads import limit_threads
from wildsat_core import __version__
from wildsat_core.collection.copies import Copies
from wildsat_core.collection.stored import StoredCollections
from wildsat_core.countries import load_countries
from wildsat_core.search.species import TABLE, load_species
from wildsat_core.search.understanding import understand

log = logging.getLogger(__name__)

RATES = "rates.sqlite"  # in the folder in which several processes count together
PACKED_TYPES = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/vnd.apache.parquet")  # packing them again gains nothing

ROUTERS = (
    page.router,
    search.router,
    changes.router,
    upload.router,
    export.router,
    species.router,
    places.router,
    tiles.router,
    collections.router,
    stac_search.router,
    heatmap.router,
    maps.router,
    health.router,
    docs.router,
)


def create_app(
    settings: Settings | None = None, load: ModelLoader | None = None, together: Path | None = None
) -> FastAPI:
    """Build the application; nothing is read from disk before it starts.

    Args:
        settings: None reads the environment.
        load: gives the model of a name; None loads from the registry.
        together: folder in which several processes that serve together count; None where there is one.
    """
    settings = settings or Settings()
    app = FastAPI(
        title="WildSAT",
        summary="Search the Earth's habitats: satellite tiles ranked by text, picture, place or species.",
        version=__version__,
        lifespan=_lifespan,
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        default_response_class=JSONResponse,
        openapi_url=None,  # a route of ours, as strict as the others
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    stored = _stored(settings) if settings.store else None
    app.state.catalog = Catalog(
        stored.folder if stored else settings.collections,
        settings.default_collection,
        load or registry_loader(settings.device, settings.threads),
        _engines(settings),
        stored.names if stored else None,
    )
    app.state.gate = Gate(settings.max_running, settings.max_waiting, settings.max_wait_s)
    app.state.export_gate = Gate(settings.max_exports, settings.max_exports, settings.max_wait_s)
    app.state.exports = Store()
    app.state.metrics = Metrics(app.state.catalog, together)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", PageFiles(directory=settings.static_dir, check_dir=False), name="static")
    routes = [route for router in ROUTERS for route in router.routes]
    app.state.directory = Directory([*routes, *(route for route in app.routes if hasattr(route, "name"))])
    app.state.contract = functools.cache(functools.partial(page_contract, settings))
    install_handlers(app)
    describe_errors(app)
    _add_layers(app, settings, together)
    return app


def _add_layers(app: FastAPI, settings: Settings, together: Path | None) -> None:
    """Middleware, innermost first: a refused client and a crash still get CORS, metrics, headers and an id."""
    # Inside of HEAD, which then has the packed answer's headers. Level 6 packs 10 % better in three times the time.
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=1, exclude_content_types=PACKED_TYPES)
    app.add_middleware(HeadMiddleware)
    policy_of, catalog = app.state.directory.of, app.state.catalog
    if settings.max_kept_bytes:
        app.add_middleware(KeptMiddleware, policy_of, state=lambda: catalog.state, most_bytes=settings.max_kept_bytes)
    app.add_middleware(
        BodyLimitMiddleware, policy_of, json_bytes=settings.max_body_bytes, upload_bytes=settings.max_upload_bytes
    )
    app.add_middleware(LoadMiddleware, policy_of, most=settings.max_requests)
    app.add_middleware(ClientsMiddleware, policy_of, settings=settings, counted_in=together and together / RATES)
    app.add_middleware(CrashMiddleware)
    if settings.answers_other_pages:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.named_origins) or ["*"],
            allow_methods=["GET", "HEAD", "POST"] if settings.named_origins else ["GET", "HEAD"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "Range", "X-API-Key"],
            expose_headers=["Accept-Ranges", "Content-Length", "Content-Range", "ETag", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(MetricsMiddleware, metrics=app.state.metrics)
    app.add_middleware(
        HeadersMiddleware,
        policy_of,
        allow_cross_origin=settings.answers_other_pages,
        embed_origins=settings.embed_origins,
        log_queries=settings.log_queries,
    )
    app.add_middleware(ProxiesMiddleware, trusted=settings.trusted_proxies)


def _stored(settings: Settings) -> StoredCollections:
    """Those of the store; actors of a cluster fetch the segments of their own shards themselves."""
    assert settings.store
    kind = Copies.FACTS if settings.engine == "ray" else Copies.WHOLE
    return StoredCollections(settings.store, settings.store_interval_s, kind)


def _engines(settings: Settings) -> Engines:
    device = None if settings.device == "cpu" else settings.device
    if settings.engine == "ray":
        return RayEngines(settings.ray_address, shards=settings.shards, replicas=settings.replicas, device=device)
    return LocalEngines(device=device, ann_rows=settings.ann_rows, shards=settings.shards)


def _warm(settings: Settings) -> None:
    """Read what the first searcher would otherwise wait for; a damaged table stops the start."""
    load_countries()
    understand("forest", load_species(settings.species_table or TABLE))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open models and collections once, then watch for new generations until the end."""
    settings: Settings = app.state.settings
    catalog: Catalog = app.state.catalog
    limit_threads(settings.threads)
    await run_in_threadpool(catalog.open_all)
    await run_in_threadpool(_warm, settings)
    if not catalog.all():
        where = settings.store or settings.collections
        log.warning("no collection in %s yet; the service is up and not ready", where)
    watcher = Watcher(catalog, settings.swap_interval_s)
    watcher.start()
    try:
        yield
    finally:
        await run_in_threadpool(watcher.stop)
