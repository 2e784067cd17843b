"""Outlines as catalogues give them, brought onto the globe.

GeoJSON asks for polygons that are cut at the antimeridian (RFC 7946, section 3.1.9). Many are not: their rings go on
beyond 180 degrees, or jump from 179.9 to -179.9, which taken at its word is a ring round the whole globe; some cross
themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wildsat_core.area import onto_globe

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Ring = npt.NDArray[np.float64]


def outline_on_globe(geometry: Mapping[str, Any]) -> BaseGeometry:
    """A valid polygon or multipolygon within longitudes [-180, 180].

    Args:
        geometry: a GeoJSON Polygon or MultiPolygon, or a GeometryCollection of some and what else lies within.

    Raises:
        KeyError, TypeError, ValueError: something else, or nothing is left of it.
    """
    import shapely

    polygons = [_polygon(rings) for rings in _rings_of(geometry)]
    if not polygons:
        raise ValueError(f"its geometry is a {geometry['type']}, not a polygon")
    globe = shapely.box(-540, -90, 540, 90)
    outline = onto_globe(shapely.intersection(shapely.union_all(polygons), globe))
    if not outline.area > 0:
        raise ValueError("its geometry covers nothing")
    return outline


def _rings_of(geometry: Mapping[str, Any]) -> list[Sequence[Sequence[Sequence[float]]]]:
    """The rings of each polygon in a geometry."""
    kind = geometry["type"]
    if kind == "GeometryCollection":
        return [rings for part in geometry["geometries"] for rings in _rings_of(part)]
    if kind == "Polygon":
        return [geometry["coordinates"]]
    return list(geometry["coordinates"]) if kind == "MultiPolygon" else []


def _polygon(rings: Sequence[Sequence[Sequence[float]]]) -> BaseGeometry:
    """One polygon, its rings unwrapped, repaired where it crosses itself."""
    import shapely

    plain = [np.array([position[:2] for position in ring], np.float64) for ring in rings]
    if not plain or any(ring.ndim != 2 or len(ring) < 4 or not np.isfinite(ring).all() for ring in plain):
        raise ValueError("its geometry has rings of less than four finite positions")
    outer = _unwrapped(plain[0])
    # A whole-globe box runs from -180 to 180: unwrapped nothing would be left of it.
    if np.ptp(outer[:, 0]) == 0:
        outer = plain[0]
    holes = [_beside(_unwrapped(ring), outer) for ring in plain[1:]]
    return _areas(shapely.make_valid(shapely.Polygon(outer, holes)))


def _unwrapped(ring: Ring) -> Ring:
    """A ring whose neighbouring positions are less than half a turn apart; round a pole, closed by way of the pole."""
    lon = np.unwrap(ring[:, 0], period=360.0)
    lon -= 360.0 * np.round((lon.min() + lon.max()) / 720.0)  # where its middle is on the map
    unwrapped = np.column_stack([lon, ring[:, 1]])
    if abs(lon[-1] - lon[0]) > 180.0:
        pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
        unwrapped = np.vstack([unwrapped, [(lon[-1], pole), (lon[0], pole), (lon[0], ring[0, 1])]])
    return unwrapped


def _beside(hole: Ring, outer: Ring) -> Ring:
    """A hole moved by whole turns to where its polygon is."""
    turn = 360.0 * round((outer[:, 0].mean() - hole[:, 0].mean()) / 360.0)
    moved: Ring = hole + np.array([turn, 0.0])
    return moved


def _areas(geometry: BaseGeometry) -> BaseGeometry:
    """The polygons of what a repair leaves, without its lines and points."""
    import shapely

    pieces = [piece for part in shapely.get_parts(geometry) for piece in shapely.get_parts(part)]
    return shapely.union_all([piece for piece in pieces if piece.geom_type == "Polygon"])
