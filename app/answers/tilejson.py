"""TileJSON (https://github.com/mapbox/tilejson-spec), which map libraries take in place of an address of map tiles."""

from __future__ import annotations

from typing import Any

from app.catalog import Served

TILE_PX = 256  # of the heat-map
HEAT_ZOOMS = (0, 14)  # beyond, tiles are so large on the screen that libraries may stretch what they have


def tilejson(
    served: Served, name: str, tiles: str, zooms: tuple[int, int], tile_px: int, media_type: str
) -> dict[str, Any]:
    """A document for map tiles of a collection.

    Args:
        served: the collection, whose attribution and extent are told.
        name: for people.
        tiles: absolute address with {z}, {x} and {y}.
        zooms: the least and the greatest that there are pictures of.
        tile_px: side of a picture; no part of the specification, but MapLibre and others read it.
        media_type: of the pictures.
    """
    west, south, east, north = served.engine.spatial_extent
    return {
        "tilejson": "3.0.0",
        "name": name,
        "version": f"1.0.{served.manifest.generation}",
        "attribution": served.manifest.provenance.get("attribution") or "",
        "scheme": "xyz",
        "tiles": [tiles],
        "tileSize": tile_px,
        "format": media_type.removeprefix("image/"),
        "minzoom": zooms[0],
        "maxzoom": zooms[1],
        # Map libraries know no box across 180 degrees.
        "bounds": [west, max(south, -85.051129), east, min(north, 85.051129)] if west <= east else [-180, -85, 180, 85],
    }
