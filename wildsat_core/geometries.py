"""Any GeoJSON geometry to compare tiles with: points and lines too, where `wildsat_core.area` takes areas only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wildsat_core.area import MAX_VERTICES, Area
from wildsat_core.errors import InvalidInputError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

THIN = ("Point", "MultiPoint", "LineString", "MultiLineString")


def read_geometry(value: Mapping[str, Any], parameter: str) -> BaseGeometry:
    """Read a geometry, or that of a feature; collections of geometries may not hold further collections.

    Args:
        value: GeoJSON.
        parameter: named in errors.

    Raises:
        InvalidInputError: not a well-formed geometry on the globe, or with too many vertices.
    """
    import shapely

    if value.get("type") == "Feature" and isinstance(value.get("geometry"), Mapping):
        value = value["geometry"]
    members = value.get("geometries") if value.get("type") == "GeometryCollection" else [value]
    if not isinstance(members, list) or not members or not all(isinstance(member, Mapping) for member in members):
        raise InvalidInputError(f"{parameter} is a GeometryCollection without geometries", parameter)
    whole = shapely.union_all([_read(member, parameter) for member in members])
    vertices = int(shapely.get_num_coordinates(whole))
    if vertices > MAX_VERTICES:
        raise InvalidInputError(
            f"{parameter} has {vertices} vertices, at most {MAX_VERTICES} are allowed; simplify it", parameter
        )
    return whole


def _read(value: Mapping[str, Any], parameter: str) -> BaseGeometry:
    try:
        if value.get("type") not in THIN:
            return Area.from_geojson(dict(value)).geometry
        return _read_thin(value)
    except InvalidInputError as err:
        raise InvalidInputError(f"{parameter} can't be used: {err}", parameter) from err


def _read_thin(value: Mapping[str, Any]) -> BaseGeometry:
    """Points and lines, which enclose nothing."""
    import shapely

    kind = value["type"]
    try:
        bare = json.dumps({"type": kind, "coordinates": value["coordinates"]}, allow_nan=False)
        geometry = shapely.force_2d(shapely.from_geojson(bare))
    except (KeyError, TypeError, ValueError, RecursionError, shapely.errors.GEOSException) as err:
        raise InvalidInputError(f"it is not a well-formed GeoJSON {kind}: {err}") from err
    if geometry.is_empty or not geometry.is_valid:
        raise InvalidInputError(f"it is not a valid {kind}: {shapely.is_valid_reason(geometry)}")
    west, south, east, north = geometry.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise InvalidInputError(
            f"it must lie in longitudes [-180, 180] and latitudes [-90, 90], got bounds {geometry.bounds}; "
            "cut what crosses 180 degrees in two"
        )
    return geometry
