"""The OpenAPI document: names of operations, groups, and the one shape that every error has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.errors import PROBLEM_JSON
from app.policies import POLICIES, Key, Policy

TAGS = [
    {"name": "search", "description": "Rank tiles by text, tile, place, picture or species"},
    {"name": "tiles", "description": "One tile: what it is, its picture, what is like it"},
    {"name": "collections", "description": "What can be searched; OGC API Features and STAC"},
    {"name": "maps", "description": "Pictures for a web map"},
    {"name": "service", "description": "Health, metrics and documentation"},
]

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details as in RFC 9457",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "what was wrong, what was seen, what to do"},
        "parameter": {"type": "string", "description": "the parameter at fault"},
        "request_id": {"type": "string", "description": "name of this request in the service's log"},
    },
}

ERRORS = {
    "400": "the body can't be read at all; for collections and STAC, what is 422 elsewhere",
    "401": "a key is needed, or the key is not known",
    "404": "no such collection or tile",
    "405": "the address does not take this method",
    "409": "the collection has changed since the first page",
    "413": "the body or the picture is larger than allowed",
    "415": "the body or the picture is of a kind that is not read",
    "422": "a parameter is malformed or out of range; it is named",
    "429": "too many requests; Retry-After says when to come back",
    "501": "an optional package is not installed",
    "503": "overloaded, or not ready; Retry-After says when to come back",
}


def operation_id(route: APIRoute) -> str:
    """The function's name: short, and stable for generated clients."""
    return route.name


KEYS = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
NOT_MODIFIED = {"description": "the client has this answer already"}


def _under_policy(operation: dict[str, Any], policy: Policy, *, keys_needed: bool) -> None:
    """Add what the table of policies says of a route: keys, 304, and bodies that are no text."""
    if policy.key is not Key.OPEN:
        needed = keys_needed and policy.key is Key.NEEDED
        operation["security"] = [*([] if needed else [{}]), *({name: []} for name in KEYS)]
    if policy.tagged:
        operation["responses"]["304"] = NOT_MODIFIED
    for media_type, content in operation["responses"].get("200", {}).get("content", {}).items():
        if media_type.startswith("image/") or media_type.endswith("parquet"):
            content["schema"] = {"type": "string", "format": "binary"}


def _limit_of_items(document: dict[str, Any]) -> dict[str, Any]:
    parameters = document["paths"]["/collections/{name}/items"]["get"]["parameters"]
    limit: dict[str, Any] = next(parameter for parameter in parameters if parameter["name"] == "limit")
    return limit


def describe_errors(app: FastAPI) -> None:
    """Have every operation list the same error answers, and what its policy means for clients."""
    build: Callable[[], dict[str, Any]] = app.openapi
    answers = {
        status: {"description": text, "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
        for status, text in ERRORS.items()
    }

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = PROBLEM_SCHEMA
            document["components"]["securitySchemes"] = KEYS
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"].update(answers)
                    policy = POLICIES[operation["operationId"]]
                    _under_policy(operation, policy, keys_needed=app.state.settings.require_key)
            # QGIS looks for the greatest page of items here.
            document["components"]["parameters"] = {"limit": _limit_of_items(document)}
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
