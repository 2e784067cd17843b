"""Tiles and hits as GeoJSON features (RFC 7946): longitude first, footprints across 180 degrees cut in two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wildsat_core.countries import load_countries
from wildsat_core.geo import bbox_geometry
from wildsat_core.place_names import place_name
from wildsat_core.search.query import SearchHit
from wildsat_core.types import BBox, Tile

DECIMALS = 7  # of a degree: a centimetre on the ground


def hit_feature(hit: SearchHit, links: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One hit with its rank, score, percentile and fit; with the shares of its terms when they were asked for."""
    ranking: dict[str, Any] = {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "percentile": round(hit.percentile, 4),
        "fit": hit.fit,
    }
    if hit.shares:
        ranking["shares"] = [{"term": s.term, "space": s.space, "value": round(s.value, 6)} for s in hit.shares]
    return tile_feature(hit.tile, ranking, links)


def tile_feature(
    tile: Tile, ranking: Mapping[str, Any] | None = None, links: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A tile as a Feature.

    Args:
        tile: the tile.
        ranking: properties put before the tile's own.
        links: properties put after them.
    """
    lon, lat = tile.lon_lat
    return {
        "type": "Feature",
        "id": tile.tile_id,
        "bbox": rounded(tile.bbox.as_tuple()),
        "geometry": tile_geometry(tile),
        "properties": {
            "tile_id": tile.tile_id,
            **(ranking or {}),
            "lon": round(lon, DECIMALS),
            "lat": round(lat, DECIMALS),
            "captured_on": tile.captured_on.isoformat() if tile.captured_on else None,
            "cloud_cover": tile.cloud_cover,
            "gsd_m": tile.gsd_m,
            "source": tile.source,
            "country": tile.country,
            "country_name": country_name(tile.country),
            "land_share": tile.land_share,
            "place": place_name(round(lon, DECIMALS), round(lat, DECIMALS), tile.country),
            **(links or {}),
        },
    }


def tile_geometry(tile: Tile, *, multi: bool = False) -> dict[str, Any]:
    """Outline of a tile, outer rings counter-clockwise: the exact one where it has one, else its box.

    Args:
        tile: the tile.
        multi: a MultiPolygon whatever the tile is, for layers that may hold one kind of geometry only.
    """
    if tile.footprint_wkb is None:
        geometry = bbox_geometry(BBox(*rounded(tile.bbox.as_tuple())))
    else:
        import shapely

        outline = shapely.orient_polygons(shapely.from_wkb(tile.footprint_wkb))
        geometry = dict(json.loads(shapely.to_geojson(outline)))
        geometry["coordinates"] = rounded(geometry["coordinates"])
    if multi and geometry["type"] == "Polygon":
        return {"type": "MultiPolygon", "coordinates": [geometry["coordinates"]]}
    return geometry


def rounded(coordinates: Any) -> Any:  # noqa: ANN401 - a number, or lists of them of any depth
    """Coordinates in degrees to DECIMALS, the precision that RFC 7946 advises and a little more."""
    if isinstance(coordinates, list | tuple):
        return [rounded(one) for one in coordinates]
    return round(coordinates, DECIMALS)


def country_name(code: str | None) -> str | None:
    """Short English name, None for an unknown code."""
    return load_countries().name_of(code) if code else None
