"""Small questions about places and names that several sources ask."""

from __future__ import annotations

import math
import re

from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import KM_PER_DEGREE, wrap_lon
from wildsat_core.types import BBox


def slug(text: str) -> str:
    """Letters, digits, '-', '_' and '.' only, so that ids are safe in addresses.

    Raises:
        InvalidInputError: nothing is left.
    """
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")
    if not kept:
        raise InvalidInputError(f"no tile id can be made of {text!r}; name the scene with --scene", "scene")
    return kept


def centre_in(area: BBox, box: BBox) -> bool:
    """Whether the centre of a box lies in an area, either of which may cross the antimeridian."""
    lon, lat = box.centre
    return area.south <= lat <= area.north and (lon - area.west) % 360.0 <= area.width_deg


def box_around(lon: float, lat: float, width_km: float, height_km: float) -> BBox:
    """Box of this size around a place; near a pole it grows to the whole parallel."""
    half_lat = height_km / KM_PER_DEGREE / 2
    half_lon = width_km / KM_PER_DEGREE / 2 / max(math.cos(math.radians(lat)), 1e-9)
    south, north = max(lat - half_lat, -90.0), min(lat + half_lat, 90.0)
    if half_lon >= 180:
        return BBox(-180.0, south, 180.0, north)
    east = float(wrap_lon(lon + half_lon))
    return BBox(float(wrap_lon(lon - half_lon)), south, 180.0 if east == -180.0 else east, north)
