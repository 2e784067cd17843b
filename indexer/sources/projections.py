"""Coordinate systems: which are of the Earth, and longitudes and latitudes of places in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexer.sources.library_errors import library_errors
from wildsat_core.errors import SourceError

DEGREES: Final = "EPSG:4326"

# Radii that people have given the Earth, from spheres of weather models to 19th-century ellipsoids, in metres.
_EARTH_RADIUS_M: Final = (6_330_000.0, 6_400_000.0)

_HAIR_DEG: Final = 1e-6

Floats = npt.NDArray[np.float64]


def check_earth(what: str, crs: Any) -> None:  # noqa: ANN401
    """Refuse a coordinate system that is not of the Earth.

    Raises:
        SourceError: it is of another celestial body, or of none.
    """
    if not (crs.is_geographic or crs.is_projected):
        raise SourceError(f"{what} is placed in a system that is not tied to the Earth: {crs.to_string()[:80]}")
    radius_m = next(_radii(crs.to_dict(projjson=True)), None)
    if radius_m is not None and not _EARTH_RADIUS_M[0] <= radius_m <= _EARTH_RADIUS_M[1]:
        name = crs.to_dict(projjson=True).get("name", "unnamed")
        raise SourceError(
            f"{what} is not of the Earth: its coordinate system {name!r} is of a body with a radius of "
            f"{radius_m / 1000:,.0f} km"
        )


def _radii(json: Any) -> Iterator[float]:  # noqa: ANN401 - whatever stands in PROJJSON
    """Radii of the ellipsoids of a system described in PROJJSON, in metres."""
    if isinstance(json, list):
        for part in json:
            yield from _radii(part)
    elif isinstance(json, dict):
        ellipsoid = json.get("ellipsoid")
        if isinstance(ellipsoid, dict):
            radius = ellipsoid.get("radius", ellipsoid.get("semi_major_axis"))
            if isinstance(radius, dict):
                unit = radius.get("unit")
                radius = radius["value"] * (unit.get("conversion_factor", 1.0) if isinstance(unit, dict) else 1.0)
            if radius is not None:
                yield float(radius)
        for part in json.values():
            yield from _radii(part)


def to_degrees(crs: Any, x: Any, y: Any) -> tuple[Floats, Floats]:  # noqa: ANN401
    """Longitudes and latitudes of places in a system, in the shape given; NaN where a place is not on the globe.

    From one system of degrees to another, PROJ also moves places beyond the poles, which are none.
    """
    lon, lat = transform_each(crs, DEGREES, x, y)
    off = ~np.isfinite(lon) | ~np.isfinite(lat) | (np.abs(lat) > 90.0 + _HAIR_DEG)
    return np.where(off, np.nan, lon), np.where(off, np.nan, np.clip(lat, -90.0, 90.0))


def transform_each(source: Any, target: Any, x: Any, y: Any) -> tuple[Floats, Floats]:  # noqa: ANN401
    """Transform places of any shape; inf where PROJ has no answer."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    found = _finite_parts(source, target, x.ravel(), y.ravel())
    return found[0].reshape(x.shape), found[1].reshape(x.shape)


def _finite_parts(source: Any, target: Any, x: Floats, y: Floats) -> Floats:  # noqa: ANN401
    """(2, N): GDAL raises for some calls with a few places that fail, so these are asked in halves."""
    try:
        return np.array(transform(source, target, x, y))
    except library_errors():
        if len(x) == 1:
            return np.full((2, 1), np.inf)
        half = len(x) // 2
        parts = [_finite_parts(source, target, x[part], y[part]) for part in (slice(half), slice(half, None))]
        return np.concatenate(parts, axis=1)


def transform(source: Any, target: Any, x: Any, y: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Transform lists of places, as rasterio does, with its errors."""
    import rasterio.warp

    return rasterio.warp.transform(source, target, x, y)  # type: ignore[no-any-return]
