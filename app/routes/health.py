"""Two questions kept apart: is the process up, and can it answer searches. And what it has counted."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from app.answers.responses import JSONResponse
from app.answers.schemas import Alive, Readiness
from app.context import catalog_of, metrics_of, settings_of
from app.routes.route import new_router

router = new_router(tags=["service"])


@router.get("/livez", response_model=Alive)
async def livez() -> dict[str, Any]:
    """The process is up."""
    return {"status": "up"}


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(request: Request) -> Response:
    """Collections are loaded: which, at what generation, with how many tiles, and which were refused."""
    catalog = catalog_of(request)
    served = [
        {
            "name": s.name,
            "generation": s.manifest.generation,
            "tiles": s.manifest.tiles,
            "model": s.manifest.model.name,
        }
        for s in catalog.all()
    ]
    ready = bool(served)
    body = {"status": "ready" if ready else "not ready", "collections": served, "refused": sorted(catalog.refused)}
    return JSONResponse(body, 200 if ready else 503, {} if ready else {"Retry-After": "1"})


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Counts and times for Prometheus."""
    if not settings_of(request).metrics:
        raise HTTPException(404, "metrics are switched off: set WILDSAT_METRICS=true")
    return Response(metrics_of(request).render(), media_type=CONTENT_TYPE_LATEST)
