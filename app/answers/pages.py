"""The page, rendered on the server: the same results that its script would show, so that it works without one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from app.answers.ogc import collection_entry
from app.context import catalog_of

TEMPLATES_DIR = Path(__file__).resolve().parent.parent / "templates"


@lru_cache(maxsize=1)
def templates() -> Jinja2Templates:
    """The page's templates, read once; autoescaping is on."""
    return Jinja2Templates(directory=TEMPLATES_DIR)


def render_page(
    request: Request,
    *,
    query: dict[str, Any],
    result: dict[str, Any] | None = None,
    problem: dict[str, Any] | None = None,
    tile: dict[str, Any] | None = None,
    ignored: Sequence[str] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """The map page with a result, a problem or a selected tile, and the names of parameters that mean nothing to it."""
    served = catalog_of(request).all()
    entries = [collection_entry(s) for s in served]
    chosen = next((e for e in entries if e["name"] == query.get("collection")), entries[0] if entries else None)
    context = {
        "root": request.scope.get("root_path", ""),
        "collections": entries,
        "collection": chosen,
        "query": query,
        "result": result,
        "problem": problem,
        "tile": tile,
        "ignored": ignored,
        "contract": request.app.state.contract(),
    }
    status = problem["status"] if problem else 200
    return templates().TemplateResponse(request, "index.html", context, status, headers or {})


def render_problem(request: Request, problem: dict[str, Any], headers: dict[str, str]) -> Response:
    """The page that tells a browser what went wrong."""
    asked = {name: value for name, value in request.query_params.items() if len(value) <= 500}
    return render_page(request, query=asked, problem=problem, headers=headers)
