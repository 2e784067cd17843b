"""Areas that a searcher draws or uploads: GeoJSON polygons with holes, checked once, then tested against many boxes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import InvalidInputError, LimitExceededError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

MAX_VERTICES = 20_000


@dataclass(frozen=True, slots=True)
class Area:
    """A polygon or multipolygon inside longitudes [-180, 180], valid, with holes.

    Two things touch when they share a point: an area and a tile that share only an edge intersect.
    """

    geometry: BaseGeometry

    @classmethod
    def from_geojson(cls, value: str | dict[str, Any]) -> Area:
        """Read a Polygon, MultiPolygon, Feature or FeatureCollection of these.

        Longitudes beyond 180 degrees, as drawing tools give them across the antimeridian, are brought back by cutting.

        Raises:
            InvalidInputError: not GeoJSON, not a polygon, not valid (the reason is named), or outside the globe.
            LimitExceededError: more than MAX_VERTICES vertices.
        """
        import shapely

        geometries = [_shape(g) for g in _polygon_geometries(_as_dict(value))]
        if not geometries:
            raise InvalidInputError("area has no polygon in it; draw at least one", "area")
        vertices = sum(int(shapely.get_num_coordinates(g)) for g in geometries)
        if vertices > MAX_VERTICES:
            raise LimitExceededError(
                f"area has {vertices} vertices, at most {MAX_VERTICES} are allowed; simplify it", "area"
            )
        for geometry in geometries:
            _check(geometry)
        return cls(onto_globe(shapely.union_all(geometries)))

    @classmethod
    def from_file(cls, path: Path) -> Area:
        """Read a GeoJSON file.

        Raises:
            InvalidInputError: it can't be read, or holds no area; see `from_geojson`.
        """
        try:
            return cls.from_geojson(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as err:
            why = getattr(err, "strerror", None) or err
            raise InvalidInputError(f"area file {path} can't be read: {why}", "area") from err

    def intersects(
        self, west: npt.NDArray[Any], south: npt.NDArray[Any], east: npt.NDArray[Any], north: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """Which boxes share a point with the area.

        Args:
            west: (N,) degrees.
            south: (N,) degrees.
            east: (N,) degrees, unwrapped: never less than west, up to west + 360.
            north: (N,) degrees.

        Returns:
            (N,) bool.
        """
        import shapely

        shapely.prepare(self.geometry)
        hit = np.asarray(shapely.intersects(self.geometry, shapely.box(west, south, east, north)))
        # The part of a box beyond 180 degrees lies on the other side of the map; an edge at 180 is one at -180 too.
        for turn, beyond in ((-360.0, np.flatnonzero(east >= 180.0)), (360.0, np.flatnonzero(west <= -180.0))):
            if beyond.size:
                moved = shapely.box(west[beyond] + turn, south[beyond], east[beyond] + turn, north[beyond])
                hit[beyond] |= shapely.intersects(self.geometry, moved)
        return hit

    def to_geojson(self) -> dict[str, Any]:
        import shapely

        return dict(json.loads(shapely.to_geojson(self.geometry)))


def _as_dict(value: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as err:
            raise InvalidInputError(f"area is not JSON: {err}", "area") from err
    if not isinstance(value, dict):
        raise InvalidInputError(f"area must be a GeoJSON object, got {type(value).__name__}", "area")
    return value


def _polygon_geometries(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Walk Feature and FeatureCollection down to bare polygons; anything else is refused by name."""
    kind = value.get("type")
    if kind == "FeatureCollection":
        features = value.get("features")
        if not isinstance(features, list):
            raise InvalidInputError("area FeatureCollection has no list of features", "area")
        return [g for f in features for g in _polygon_geometries(_as_dict(f))]
    if kind == "Feature":
        return _polygon_geometries(_as_dict(value.get("geometry") or {}))
    if kind not in ("Polygon", "MultiPolygon"):
        raise InvalidInputError(f"area must be a Polygon or MultiPolygon (or features of these), got {kind!r}", "area")
    return [value]


def _shape(value: dict[str, Any]) -> BaseGeometry:
    import shapely

    try:
        return shapely.from_geojson(
            json.dumps({"type": value["type"], "coordinates": value["coordinates"]}, allow_nan=False)
        )
    except (KeyError, TypeError, ValueError, RecursionError, shapely.errors.GEOSException) as err:
        raise InvalidInputError(f"area is not a well-formed GeoJSON {value.get('type')}: {err}", "area") from err


def _check(geometry: BaseGeometry) -> None:
    import shapely

    if geometry.is_empty:
        raise InvalidInputError("area has a polygon without any position", "area")
    west, south, east, north = geometry.bounds
    if west < -540 or east > 540 or east - west > 360 or south < -90 or north > 90:
        raise InvalidInputError(
            "area must lie within latitudes [-90, 90] and span at most 360 degrees of longitude, "
            f"got bounds {geometry.bounds}",
            "area",
        )
    if not geometry.is_valid:
        raise InvalidInputError(
            f"area is not a valid polygon: {shapely.is_valid_reason(geometry)}; draw it without "
            "crossings, or repair it, as with shapely.make_valid",
            "area",
        )


def onto_globe(geometry: BaseGeometry) -> BaseGeometry:
    """Polygons within longitudes [-540, 540], cut at 180 degrees, the parts beyond it moved back onto the globe."""
    import shapely
    from shapely.affinity import translate

    west, _, east, _ = geometry.bounds
    if west >= -180 and east <= 180:
        return geometry
    parts = []
    for turn in (-360.0, 0.0, 360.0):
        part = geometry.intersection(shapely.box(-180.0 + turn, -90.0, 180.0 + turn, 90.0))
        polygons = [p for p in shapely.get_parts(part) if p.geom_type == "Polygon" and p.area > 0]
        parts += [translate(p, xoff=-turn) for p in polygons]
    return shapely.union_all(parts)
