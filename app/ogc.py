"""Collections as OGC API Features and STAC describe them."""

from __future__ import annotations

from typing import Any

from app.catalog import Served


def spatial_extent(served: Served) -> list[float]:
    """Box around all live tiles, -180 to 180 when one crosses; the whole globe for an empty collection."""
    tiles = served.collection.tiles
    if not tiles.live.any():
        return [-180.0, -90.0, 180.0, 90.0]
    west, south = float(tiles.west[tiles.live].min()), float(tiles.south[tiles.live].min())
    east, north = float(tiles.east[tiles.live].max()), float(tiles.north[tiles.live].max())
    if east > 180.0:
        west, east = -180.0, 180.0
    return [round(v, 6) for v in (west, south, east, north)]


def temporal_extent(served: Served) -> list[str | None]:
    """First and last day as RFC 3339 times; nulls when no tile's day is known."""
    span = served.collection.tiles.dates_spanned()
    return [f"{span[0].isoformat()}T00:00:00Z", f"{span[1].isoformat()}T23:59:59Z"] if span else [None, None]


def collection_entry(served: Served) -> dict[str, Any]:
    """A collection with its extent, links and what this service adds under "wildsat"."""
    manifest = served.collection.manifest
    told = manifest.provenance
    path, imagery = f"/collections/{served.name}", imagery_entry(served)
    return {
        "id": served.name,
        "name": served.name,
        "title": told.get("title") or served.name,
        "description": told.get("description") or f"Satellite tiles of the collection {served.name}.",
        "notice": told.get("notice"),
        "attribution": told.get("attribution"),
        "imagery": imagery is not None,
        "imagery_max_zoom": imagery["maxzoom"] if imagery else None,
        "extent": {
            "spatial": {"bbox": [spatial_extent(served)], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
            "temporal": {"interval": [temporal_extent(served)]},
        },
        "itemType": "feature",
        "crs": ["http://www.opengis.net/def/crs/OGC/1.3/CRS84"],
        "wildsat": {
            "tiles": len(served.collection),
            "generation": manifest.generation,
            "model": manifest.model.name,
            "notice": told.get("notice"),
            "default_blend": default_blend(served),
            "spaces": {name: {"dim": spec.dim, "metric": spec.metric} for name, spec in manifest.spaces.items()},
            "imagery": imagery,
            "created_at": manifest.created_at.isoformat(),
        },
        "links": [
            {"rel": "self", "href": path, "type": "application/json"},
            {"rel": "items", "href": f"{path}/items", "type": "application/geo+json"},
        ],
    }


def default_blend(served: Served) -> float:
    return float(served.model.default_blend) if "place" in served.collection.spaces else 0.0


def imagery_entry(served: Served) -> dict[str, Any] | None:
    """URL template and zooms of the collection's own imagery, None without any."""
    if served.imagery is None:
        return None
    least, greatest = served.imagery.zooms
    return {"tiles": f"/collections/{served.name}/imagery/{{z}}/{{x}}/{{y}}", "minzoom": least, "maxzoom": greatest}
