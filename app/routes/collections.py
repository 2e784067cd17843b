"""What can be searched."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from app.context import catalog_of
from app.ogc import collection_entry
from app.parameters import CollectionName

router = APIRouter(tags=["collections"])


@router.get("/collections")
def collections(request: Request) -> dict[str, Any]:
    """Every collection, the default one first."""
    entries = [collection_entry(served) for served in catalog_of(request).all()]
    return {"collections": entries, "links": [{"rel": "self", "href": "/collections", "type": "application/json"}]}


@router.get("/collections/{name}")
def collection(request: Request, name: CollectionName) -> dict[str, Any]:
    """One collection."""
    return collection_entry(catalog_of(request).get(name))
