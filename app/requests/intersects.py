"""The geometry of a STAC item search: any GeoJSON geometry, where the rest of the service takes areas only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wildsat_core.area import MAX_VERTICES, Area
from wildsat_core.errors import InvalidInputError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

THIN = ("Point", "MultiPoint", "LineString", "MultiLineString")


def read_intersects(value: dict[str, Any]) -> Area:
    """Read a geometry; collections of geometries may not hold further collections.

    Raises:
        InvalidInputError: not a well-formed geometry on the globe, or with too many vertices; `intersects` is named.
    """
    import shapely

    members = value.get("geometries") if value.get("type") == "GeometryCollection" else [value]
    if not isinstance(members, list) or not members or not all(isinstance(member, dict) for member in members):
        raise _refusal("is a GeometryCollection without geometries")
    whole = Area(shapely.union_all([_read(member) for member in members]))
    vertices = int(shapely.get_num_coordinates(whole.geometry))
    if vertices > MAX_VERTICES:
        raise _refusal(f"has {vertices} vertices, at most {MAX_VERTICES} are allowed; simplify it")
    return whole


def _read(value: dict[str, Any]) -> BaseGeometry:
    if value.get("type") not in THIN:
        try:
            return Area.from_geojson(value).geometry
        except InvalidInputError as err:
            raise _refusal(f"can't be used: {err}") from err
    return _read_thin(value)


def _read_thin(value: dict[str, Any]) -> BaseGeometry:
    """Points and lines, which enclose nothing."""
    import shapely

    kind = value["type"]
    try:
        bare = json.dumps({"type": kind, "coordinates": value["coordinates"]}, allow_nan=False)
        geometry = shapely.force_2d(shapely.from_geojson(bare))
    except (KeyError, TypeError, ValueError, RecursionError, shapely.errors.GEOSException) as err:
        raise _refusal(f"is not a well-formed GeoJSON {kind}: {err}") from err
    if geometry.is_empty or not geometry.is_valid:
        raise _refusal(f"is not a valid {kind}: {shapely.is_valid_reason(geometry)}")
    west, south, east, north = geometry.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise _refusal(
            f"must lie in longitudes [-180, 180] and latitudes [-90, 90], got bounds {geometry.bounds}; "
            "cut what crosses 180 degrees in two"
        )
    return geometry


def _refusal(said: str) -> InvalidInputError:
    return InvalidInputError(f"intersects {said}", "intersects")
