"""From search results to GeoJSON. Links start with "/" and mean "below the service's root path"."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote, urlencode

from app.catalog import Served
from wildsat_core.search.geojson import hit_feature
from wildsat_core.search.query import MAX_APART, MAX_OFFSET, Change, ChangesResult, SearchHit, SearchResult


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
    return _about(served, result, query) | {
        "returned": len(result.hits),
        "missing": asdict(result.missing) if result.missing else None,
        "backend": result.backend,
        "links": _page_links(path, query, len(result.hits), result.matched, _furthest(query)) if path else [],
        "features": [hit_feature(hit, tile_links(served, hit.tile.tile_id)) for hit in result.hits],
    }


def change_collection(
    served: Served, result: ChangesResult, query: dict[str, Any], path: str | None = "/changes"
) -> dict[str, Any]:
    """The answer to what changed.

    Args:
        served: where it was searched.
        result: the places.
        query: the normalised query, echoed.
        path: where the same can be asked by URL, None when it can't.
    """
    pages = _page_links(path, query, len(result.changes), result.matched, MAX_OFFSET) if path else []
    return _about(served, result, query) | {
        "returned": len(result.changes),
        "links": pages,
        "features": [_change_feature(served, change) for change in result.changes],
    }


def _about(served: Served, result: SearchResult | ChangesResult, query: dict[str, Any]) -> dict[str, Any]:
    """What every ranking says of where and how it was asked, before its features."""
    return {
        "type": "FeatureCollection",
        "query": query,
        "collection": result.collection,
        "generation": result.generation,
        "model": result.model,
        **notes(served),
        "matched": result.matched,
        "total": result.total,
        "no_match": result.no_match,
        "understood": understood(result),
        "blend": result.blend,
        "timings_ms": {stage: round(ms, 3) for stage, ms in result.timings_ms.items()},
    }


def _change_feature(served: Served, change: Change) -> dict[str, Any]:
    """A place where its later tile is, with what is known of both."""

    def told(hit: SearchHit) -> dict[str, Any]:
        properties: dict[str, Any] = hit_feature(hit, tile_links(served, hit.tile.tile_id))["properties"]
        return {name: value for name, value in properties.items() if name != "rank"}

    return hit_feature(change.after) | {
        "properties": {
            "rank": change.rank,
            "difference": round(change.difference, 6),
            "before": told(change.before),
            "after": told(change.after),
        }
    }


def understood(result: SearchResult | ChangesResult) -> dict[str, Any] | None:
    """What was read from typed words, None where nothing was to be read."""
    reading = result.understood
    if reading is None:
        return None
    return {
        "found": [
            {"id": one.id, "kind": one.kind, "words": one.words, "meaning": one.meaning, "say": one.say}
            for one in reading.found
        ],
        "suggestion": reading.suggestion,
        "message": reading.message,
        "about_land": reading.about_land,
    }


def notes(served: Served) -> dict[str, Any]:
    """What a reader must be told about the imagery."""
    return {"notice": served.notice, "attribution": served.manifest.provenance.get("attribution")}


def _furthest(query: dict[str, Any]) -> int:
    """The greatest offset that a search takes."""
    apart = "spacing_km" in query or "max_per_country" in query or not query.get("overlapping")
    return MAX_APART - int(query["k"]) if apart else MAX_OFFSET


def _page_links(path: str, query: dict[str, Any], returned: int, matched: int, furthest: int) -> list[dict[str, str]]:
    links = [{"rel": "self", "href": f"{path}?{urlencode(query)}", "type": "application/geo+json"}]
    offset, k = int(query.get("offset", 0)), int(query["k"])
    if returned == k and offset + k < matched and offset + k <= furthest:
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


def tile_links(served: Served, tile_id: str) -> dict[str, str]:
    """Where a tile's picture and the tiles like it are; the picture's address changes when the collection does."""
    base, where = f"/tiles/{quote(tile_id, safe='')}", f"?collection={quote(served.name)}"
    picture = f"{base}/thumbnail.webp{where}&generation={served.manifest.generation}"
    return {"thumbnail": picture, "similar": f"{base}/similar{where}"}
