"""Tiles and collections as STAC 1.1 describes them (https://github.com/radiantearth/stac-spec)."""

from __future__ import annotations

from typing import Any

from app.answers.addresses import Addresses
from app.answers.ogc import QUERYABLES, SCHEMA
from app.catalog import Served
from wildsat_core.search.geojson import country_name, rounded, tile_geometry
from wildsat_core.search.properties import UNDATED_SINCE
from wildsat_core.types import Tile

STAC_VERSION = "1.1.0"
JSON = "application/json"
GEOJSON = "application/geo+json"
EO_EXTENSION = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"


def stac_item(served: Served, tile: Tile, at: Addresses) -> dict[str, Any]:
    """A tile as a STAC Item, a GeoJSON Feature too. All geometries are of one kind, as map programs want it."""
    collection = at.collection(served.name)
    clouds = {} if tile.cloud_cover is None else {"eo:cloud_cover": round(100 * tile.cloud_cover, 7)}
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [EO_EXTENSION] if clouds else [],
        "id": tile.tile_id,
        "collection": served.name,
        "bbox": rounded(tile.bbox.as_tuple()),
        "geometry": tile_geometry(tile, multi=True),
        "properties": _times(served, tile)
        | ({"gsd": tile.gsd_m} if tile.gsd_m > 0 else {})
        | clouds
        | {
            "wildsat:source": tile.source,
            "wildsat:country": tile.country,
            "wildsat:country_name": country_name(tile.country),
            "wildsat:land_share": tile.land_share,
        },
        "assets": {
            "thumbnail": {
                "href": at.picture(served.name, served.manifest.generation, tile.tile_id),
                "type": "image/webp",
                "roles": ["thumbnail"],
                "title": "Thumbnail",
            }
        },
        "links": [
            {"rel": "self", "href": at.item(served.name, tile.tile_id), "type": GEOJSON},
            {"rel": "collection", "href": collection, "type": JSON},
            {"rel": "parent", "href": collection, "type": JSON},
            {"rel": "root", "href": at.root, "type": JSON},
        ],
    }


def _times(served: Served, tile: Tile) -> dict[str, Any]:
    """The day where it is known, else null; and the interval, which every Item has, so that tables of them have it."""
    if tile.captured_on is not None:
        day = tile.captured_on.isoformat()
        return {
            "datetime": f"{day}T00:00:00Z",
            "start_datetime": f"{day}T00:00:00Z",
            "end_datetime": f"{day}T23:59:59Z",
        }
    made = served.manifest.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"datetime": None, "start_datetime": f"{UNDATED_SINCE}T00:00:00Z", "end_datetime": made}


def stac_collection(served: Served, entry: dict[str, Any], at: Addresses) -> dict[str, Any]:
    """An OGC collection with what STAC wants besides; its links become absolute."""
    told = served.manifest.provenance
    path = at.collection(served.name)
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
            {"rel": "root", "href": at.root, "type": JSON},
            {"rel": "parent", "href": at.root, "type": JSON},
            {"rel": "items", "href": f"{path}/items", "type": GEOJSON, "title": "The tiles"},
            {"rel": QUERYABLES, "href": f"{path}/queryables", "type": "application/schema+json"},
            {"rel": SCHEMA, "href": f"{path}/schema", "type": "application/schema+json"},
        ],
    }
