"""Places on the sphere: boxes across the antimeridian, great-circle distance, a curve that keeps neighbours together.

Longitude comes first everywhere. Only numpy is needed here; areas with shapely are in `wildsat_core/area.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import InvalidInputError
from wildsat_core.types import BBox

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
KM_PER_DEGREE = math.pi * EARTH_RADIUS_KM / 180.0

Floats = npt.NDArray[np.float64]


def parse_bbox(value: str | Sequence[float]) -> BBox:
    """Read west, south, east, north from "w,s,e,n" or a sequence of four numbers.

    Raises:
        InvalidInputError: not four finite numbers, or out of range.
    """
    parts = value.split(",") if isinstance(value, str) else list(value)
    if len(parts) != 4:
        raise InvalidInputError(f"bbox needs four numbers west,south,east,north, got {value!r}", "bbox")
    try:
        west, south, east, north = (float(p) for p in parts)
    except (TypeError, ValueError) as err:
        raise InvalidInputError(f"bbox needs four numbers west,south,east,north, got {value!r}", "bbox") from err
    return BBox(west, south, east, north)


def check_lon_lat(lon: float, lat: float) -> None:
    """Refuse a position outside the globe.

    Raises:
        InvalidInputError: not finite, |lon| > 180 or |lat| > 90.
    """
    if not (math.isfinite(lon) and -180 <= lon <= 180):
        raise InvalidInputError(f"longitude must lie in [-180, 180], got {lon}", "lon")
    if not (math.isfinite(lat) and -90 <= lat <= 90):
        raise InvalidInputError(f"latitude must lie in [-90, 90], got {lat}", "lat")


def wrap_lon(lon: Any) -> Any:  # noqa: ANN401 - a float or an array of any shape comes back as it went in
    """Bring longitudes into [-180, 180)."""
    return (lon + 180.0) % 360.0 - 180.0


def box_centres(
    west: npt.ArrayLike, south: npt.ArrayLike, east: npt.ArrayLike, north: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Longitudes and latitudes of the centres of boxes in degrees, all of one shape; west > east crosses 180."""
    west, east = np.asarray(west, np.float64), np.asarray(east, np.float64)
    lon = wrap_lon((west + np.where(east < west, east + 360.0, east)) / 2)
    return lon, (np.asarray(south, np.float64) + np.asarray(north, np.float64)) / 2


def unit_vectors(lon: npt.ArrayLike, lat: npt.ArrayLike) -> Floats:
    """Degrees to points on the unit sphere, (..., 3)."""
    lam, phi = np.radians(np.asarray(lon, np.float64)), np.radians(np.asarray(lat, np.float64))
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def great_circle_km(lon_a: npt.ArrayLike, lat_a: npt.ArrayLike, lon_b: npt.ArrayLike, lat_b: npt.ArrayLike) -> Floats:
    """Great-circle distance in kilometres between positions in degrees; shapes broadcast.

    The haversine form keeps its precision for near points, where the arc cosine does not.
    """
    lam_a, phi_a, lam_b, phi_b = (np.radians(np.asarray(v, np.float64)) for v in (lon_a, lat_a, lon_b, lat_b))
    h = np.sin((phi_b - phi_a) / 2) ** 2 + np.cos(phi_a) * np.cos(phi_b) * np.sin((lam_b - lam_a) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0))), np.float64)


def square_bbox(lon: float, lat: float, side_km: float) -> BBox:
    """Box of about side_km x side_km around a centre; near a pole it grows to the whole parallel."""
    half_lat = side_km / KM_PER_DEGREE / 2
    south, north = max(lat - half_lat, -90.0), min(lat + half_lat, 90.0)
    half_lon = half_lat / max(math.cos(math.radians(lat)), 1e-9)
    if half_lon >= 180.0:
        return BBox(-180.0, south, 180.0, north)
    west, east = wrap_lon(lon - half_lon), wrap_lon(lon + half_lon)
    return BBox(west, south, east if east != -180.0 else 180.0, north)


def bbox_geometry(bbox: BBox) -> dict[str, Any]:
    """GeoJSON geometry of a box; one that crosses 180 degrees becomes a MultiPolygon (RFC 7946, section 3.1.9)."""

    def ring(west: float, east: float) -> list[list[list[float]]]:
        s, n = bbox.south, bbox.north
        return [[[west, s], [east, s], [east, n], [west, n], [west, s]]]

    if not bbox.crosses_antimeridian:
        return {"type": "Polygon", "coordinates": ring(bbox.west, bbox.east)}
    return {"type": "MultiPolygon", "coordinates": [ring(bbox.west, 180.0), ring(-180.0, bbox.east)]}


def boxes_meet(
    box: BBox,
    west: Floats,
    south: Floats,
    east: Floats,
    north: Floats,
) -> npt.NDArray[np.bool_]:
    """Which of N boxes, edges (N,) in degrees with east unwrapped, share a point with a box, (N,); edges count."""
    query_west, query_east = box.west, box.west + box.width_deg
    meets_lat = (south <= box.north) & (north >= box.south)
    meets_lon = np.zeros(west.shape, bool)
    for turn in (-360.0, 0.0, 360.0):
        meets_lon |= (west + turn <= query_east) & (east + turn >= query_west)
    return meets_lat & meets_lon


def curve_key(lon: npt.ArrayLike, lat: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Position along a Hilbert curve of order 16 over degrees east and north, (N,) uint64.

    Sorting by it puts tiles that are near on the ground near in the file, so that a block of rows has a small box.
    Rotation rule: J. Skilling, "Programming the Hilbert curve", AIP Conf. Proc. 707 (2004), in two dimensions.
    """
    order = 16
    cells = (1 << order) - 1
    x = np.clip((np.asarray(lon, np.float64) + 180.0) / 360.0 * cells, 0, cells).astype(np.int64)
    y = np.clip((np.asarray(lat, np.float64) + 90.0) / 180.0 * cells, 0, cells).astype(np.int64)
    key = np.zeros(x.shape, np.uint64)
    for level in range(order - 1, -1, -1):
        side = 1 << level
        right, upper = (x & side) > 0, (y & side) > 0
        quadrant = (3 * right) ^ upper
        key = (key << np.uint64(2)) | quadrant.astype(np.uint64)
        # Turn the lower quadrants so that the curve leaves each where the next begins.
        flip = ~upper & right
        x, y = np.where(flip, cells - x, x), np.where(flip, cells - y, y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
    return key
