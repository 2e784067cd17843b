"""/docs: the OpenAPI document made readable by Swagger UI, from our own files and without inline script."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from app.answers.ogc import OPENAPI_TYPES
from app.answers.responses import JSONResponse
from app.context import settings_of
from app.routes.route import new_router

router = new_router(tags=["service"], include_in_schema=False)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>WildSAT API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}/static/vendor/swagger-ui-dist/swagger-ui.css">
</head>
<body>
<main id="swagger-ui" data-openapi="{root}/openapi.json"></main>
<script src="{root}/static/vendor/swagger-ui-dist/swagger-ui-bundle.js"></script>
<script src="{root}/docs/start.js"></script>
</body>
</html>
"""

START = """const place = document.getElementById("swagger-ui");
SwaggerUIBundle({ url: place.dataset.openapi, domNode: place, deepLinking: true, validatorUrl: null });
"""


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    """The document for programs; it names the path prefix that the service is published under, if any.

    Whoever asks for it by the type of a link to it gets that type.
    """
    asked = [one.strip() for one in request.headers.get("accept", "").split(",")]
    kind = next((one for one in OPENAPI_TYPES if one in asked), None)
    root = str(request.scope.get("root_path", "")).rstrip("/")
    document: dict[str, Any] = request.app.openapi()
    return JSONResponse(document | ({"servers": [{"url": root}]} if root else {}), media_type=kind)


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API's documentation for people."""
    if not (settings_of(request).static_dir / "vendor" / "swagger-ui-dist" / "swagger-ui-bundle.js").is_file():
        raise HTTPException(
            503,
            "the assets of this page are not installed; run: python -m app.assets. The document is at /openapi.json",
        )
    return HTMLResponse(PAGE.format(root=escape(request.scope.get("root_path", ""))))


@router.get("/docs/start.js")
def start_script() -> Response:
    """Starts Swagger UI; a file because the policy allows no inline script."""
    return Response(START, media_type="text/javascript")
