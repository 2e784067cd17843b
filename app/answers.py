"""From search results to GeoJSON. Links start with "/" and mean "below the service's root path"."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from app.catalog import Served
from wildsat_core.countries import load_countries
from wildsat_core.geo import bbox_geometry
from wildsat_core.search.query import SearchHit, SearchResult
from wildsat_core.types import Tile


def feature_collection(
    served: Served, result: SearchResult, query: dict[str, Any], path: str | None = "/search"
) -> dict[str, Any]:
    """The answer to a search.

    Args:
        served: where it was searched.
        result: the hits.
        query: the normalised query, echoed.
        path: where the same query can be asked by URL, None when it can't (a picture or a JSON body).
    """
    return {
        "type": "FeatureCollection",
        "query": query,
        "collection": result.collection,
        "generation": result.generation,
        "model": result.model,
        **notes(served),
        "matched": result.matched,
        "total": result.total,
        "returned": len(result.hits),
        "no_match": result.no_match,
        "blend": result.blend,
        "timings_ms": {stage: round(ms, 3) for stage, ms in result.timings_ms.items()},
        "links": _page_links(path, query, len(result.hits), result.matched) if path else [],
        "features": [hit_feature(served.name, hit) for hit in result.hits],
    }


def notes(served: Served) -> dict[str, Any]:
    """What a reader must be told about the imagery."""
    provenance = served.collection.manifest.provenance
    return {"notice": provenance.get("notice"), "attribution": provenance.get("attribution")}


def _page_links(path: str, query: dict[str, Any], returned: int, matched: int) -> list[dict[str, str]]:
    links = [{"rel": "self", "href": f"{path}?{urlencode(query)}", "type": "application/geo+json"}]
    offset, k = int(query.get("offset", 0)), int(query["k"])
    if returned == k and offset + k < matched:
        links.append(
            {
                "rel": "next",
                "href": f"{path}?{urlencode(query | {'offset': offset + k})}",
                "type": "application/geo+json",
            }
        )
    if offset > 0:
        previous = {name: value for name, value in query.items() if name != "offset"}
        if offset > k:
            previous["offset"] = offset - k
        links.append({"rel": "prev", "href": f"{path}?{urlencode(previous)}", "type": "application/geo+json"})
    return links


def hit_feature(collection: str, hit: SearchHit) -> dict[str, Any]:
    """One hit as a Feature."""
    ranking: dict[str, Any] = {"rank": hit.rank, "score": round(hit.score, 6), "percentile": round(hit.percentile, 4)}
    if hit.shares:
        ranking["shares"] = [{"term": s.term, "space": s.space, "value": round(s.value, 6)} for s in hit.shares]
    return tile_feature(collection, hit.tile, ranking)


def tile_feature(collection: str, tile: Tile, ranking: dict[str, Any] | None = None) -> dict[str, Any]:
    """A tile as a Feature; a footprint across 180 degrees is a MultiPolygon."""
    lon, lat = tile.lon_lat
    links = tile_links(collection, tile.tile_id)
    return {
        "type": "Feature",
        "id": tile.tile_id,
        "bbox": list(tile.bbox.as_tuple()),
        "geometry": geometry_of(tile),
        "properties": {
            "tile_id": tile.tile_id,
            **(ranking or {}),
            "lon": round(lon, 6),
            "lat": round(lat, 6),
            "captured_on": tile.captured_on.isoformat() if tile.captured_on else None,
            "cloud_cover": tile.cloud_cover,
            "gsd_m": tile.gsd_m,
            "source": tile.source,
            "country": tile.country,
            "country_name": country_name(tile.country),
            **links,
        },
    }


def tile_links(collection: str, tile_id: str) -> dict[str, str]:
    """Where a tile's picture and its neighbours in looks are."""
    base, where = f"/tiles/{quote(tile_id, safe='')}", f"?collection={quote(collection)}"
    return {"thumbnail": f"{base}/thumbnail.webp{where}", "similar": f"{base}/similar{where}"}


def geometry_of(tile: Tile) -> dict[str, Any]:
    """GeoJSON outline of a tile: the exact one where it has one, else its box."""
    if tile.footprint_wkb is None:
        return bbox_geometry(tile.bbox)
    import shapely

    return dict(json.loads(shapely.to_geojson(shapely.from_wkb(tile.footprint_wkb))))


def country_name(code: str | None) -> str | None:
    """Short English name, None for an unknown code or where the outlines are not installed."""
    countries = load_countries() if code else None
    return countries.name_of(code) if countries and code else None
