"""Tiles and collections as STAC 1.1 describes them (https://github.com/radiantearth/stac-spec)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from app.answers.ogc import UNDATED_SINCE
from app.catalog import Served
from wildsat_core.search.geojson import country_name, rounded, tile_geometry
from wildsat_core.types import Tile

STAC_VERSION = "1.1.0"
JSON = "application/json"
GEOJSON = "application/geo+json"


def stac_item(served: Served, tile: Tile, base: str) -> dict[str, Any]:
    """A tile as a STAC Item, which is a GeoJSON Feature too.

    Args:
        served: its collection.
        tile: the tile.
        base: absolute address of the service, without a slash at the end.
    """
    collection = f"{base}/collections/{served.name}"
    picture = f"{base}/tiles/{quote(tile.tile_id, safe='')}/thumbnail.webp?collection={served.name}"
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": tile.tile_id,
        "collection": served.name,
        "bbox": rounded(tile.bbox.as_tuple()),
        "geometry": tile_geometry(tile),
        "properties": _times(served, tile)
        | {
            "gsd": tile.gsd_m,
            "wildsat:source": tile.source,
            "wildsat:cloud_cover": tile.cloud_cover,
            "wildsat:country": tile.country,
            "wildsat:country_name": country_name(tile.country),
        },
        "assets": {"thumbnail": {"href": picture, "type": "image/webp", "roles": ["thumbnail"], "title": "Thumbnail"}},
        "links": [
            {"rel": "self", "href": f"{collection}/items/{quote(tile.tile_id, safe='')}", "type": GEOJSON},
            {"rel": "collection", "href": collection, "type": JSON},
            {"rel": "parent", "href": collection, "type": JSON},
            {"rel": "root", "href": f"{base}/", "type": JSON},
        ],
    }


def _times(served: Served, tile: Tile) -> dict[str, Any]:
    """The day where it is known; else the widest true statement: before the collection was made."""
    if tile.captured_on is not None:
        return {"datetime": f"{tile.captured_on.isoformat()}T00:00:00Z"}
    made = served.collection.manifest.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"datetime": None, "start_datetime": f"{UNDATED_SINCE}T00:00:00Z", "end_datetime": made}


def stac_collection(served: Served, entry: dict[str, Any], base: str) -> dict[str, Any]:
    """An OGC collection with what STAC wants besides; its links become absolute."""
    told = served.collection.manifest.provenance
    path = f"{base}/collections/{served.name}"
    providers = [{"name": told["attribution"], "roles": ["producer"]}] if told.get("attribution") else []
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "license": told.get("license") or "other",
        "providers": providers,
        **entry,
        "links": [
            {"rel": "self", "href": path, "type": JSON},
            {"rel": "root", "href": f"{base}/", "type": JSON},
            {"rel": "parent", "href": f"{base}/", "type": JSON},
            {"rel": "items", "href": f"{path}/items", "type": GEOJSON, "title": "The tiles"},
        ],
    }
