"""Where a file says that it lies, or an extent that is given: coordinate system and transform, or control points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np

from indexer.sources.cf import is_of_degrees
from indexer.sources.georeference import Bounds
from indexer.sources.library_errors import library_errors, sentence
from indexer.sources.stored import gdal_name, open_stored
from indexer.sources.view import open_raster
from wildsat_core.addresses import is_remote, public_name
from wildsat_core.errors import SourceError
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from affine import Affine


@dataclass(frozen=True, slots=True)
class FileGeoreference:
    """Where a file lies: by an affine transform, or by ground control points."""

    crs: Any
    transform: Affine
    points: Sequence[Any] = ()

    def xml(self) -> str:
        """As a virtual raster has it."""
        wkt = escape(self.crs.to_wkt(version="WKT2_2019"))
        if not self.points:
            t = self.transform
            numbers = ",".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
            return f"<SRS>{wkt}</SRS><GeoTransform>{numbers}</GeoTransform>"
        points = "".join(f'<GCP Pixel="{p.col!r}" Line="{p.row!r}" X="{p.x!r}" Y="{p.y!r}"/>' for p in self.points)
        return f"<GCPList><SRS>{wkt}</SRS>{points}</GCPList>"


def told_place(path: str) -> str | None:
    """In which words a file says where it lies; None where it doesn't.

    Raises:
        SourceError: not a raster.
    """
    with open_raster(path) as header:
        if header.rpcs:
            return "rational polynomials"
        if header.tags(ns="GEOLOCATION"):
            return "a longitude and a latitude for each pixel, row or column"
        if is_of_degrees(header):
            return "EPSG:4326"
        crs = _crs_of(header)
        if crs is None or (_is_identity(header) and not header.gcps[0]):
            return None
        return str(crs.to_string())[:60]


def file_georeference(header: Any, path: str, extent: BBox | None) -> FileGeoreference:  # noqa: ANN401
    """Where an open file lies, by the extent given or by what it says.

    Raises:
        SourceError: it does not say, or only in a way that needs a model of the terrain.
    """
    from rasterio.crs import CRS

    if extent is not None:
        return FileGeoreference(CRS.from_epsg(4326), box_transform(unwrapped(extent), header.width, header.height))
    crs, points = _crs_of(header), header.gcps[0]
    is_affine = not _is_identity(header)
    if crs is None and is_affine and is_of_degrees(header):
        return FileGeoreference(CRS.from_epsg(4326), header.transform)
    if crs is not None and is_affine:
        return FileGeoreference(crs, header.transform)
    if crs is not None and len(points) >= 3:
        return FileGeoreference(crs, header.transform, _side_by_side(points, crs))
    shown = public_name(path)
    raise SourceError(f"{shown} {_why_no_place(header, crs, shown, is_affine=is_affine)}")


def _crs_of(header: Any) -> Any:  # noqa: ANN401
    """Its own, that of its control points or, for a picture with a world file, that of the `.prj` beside it.

    Raises:
        SourceError: the `.prj` can't be understood.
    """
    from rasterio.crs import CRS

    points, crs_of_points = header.gcps
    if (crs := header.crs or (crs_of_points if points else None)) is not None:
        return crs
    if is_remote(header.name) or _is_identity(header):
        return None
    # GDAL reads it for few formats.
    with open_stored(f"{gdal_name(header.name).rpartition('.')[0]}.prj") as file:
        if file is None:
            return None
        try:
            return CRS.from_wkt(file.at(0, file.length).decode("latin-1"), morph_from_esri_dialect=True)
        except library_errors() as err:
            raise SourceError(f"{file.name}, which tells where {header.name} lies: {sentence(err)}") from err


def _is_identity(header: Any) -> bool:  # noqa: ANN401
    """Whether a file's transform is one that stands for none: pixel numbers are coordinates.

    Rows may run either way, pixels be counted from their middles, and rows from the lowest one. The last could be a
    place, of degrees, but of metres only a hundred kilometres and more from where any projected system is used.
    """
    a, b, x, d, e, y = header.transform[:6]
    if (a, b, d, abs(e)) != (1, 0, 0, 1):
        return False
    from_lowest = header.height if e < 0 and header.crs is not None and header.crs.is_projected else 0
    return bool(abs(x) <= 0.5 and (abs(y) <= 0.5 or abs(y - from_lowest) <= 0.5))


def _side_by_side(points: Sequence[Any], crs: Any) -> Sequence[Any]:  # noqa: ANN401
    """Ground control points of degrees with no jump of a whole turn between them, as over the antimeridian."""
    from rasterio.control import GroundControlPoint

    if not crs.is_geographic:
        return points
    turn = 2 * math.pi / float(crs.units_factor[1])
    x = np.array([point.x for point in points])
    middle = np.angle(np.exp(2j * np.pi * x / turn).sum()) / (2 * np.pi) * turn
    near = x - np.round((x - middle) / turn) * turn
    if not np.isfinite(near).all() or np.ptp(near) >= np.ptp(x):
        return points
    return [
        GroundControlPoint(row=point.row, col=point.col, x=float(east), y=point.y, z=point.z)
        for point, east in zip(points, near, strict=True)
    ]


def _why_no_place(header: Any, crs: Any, shown: str, *, is_affine: bool) -> str:  # noqa: ANN401
    """What is missing, and what to do about it."""
    if header.rpcs:
        return (
            "is placed by rational polynomials (RPCs), which need a model of the terrain: warp it first, with "
            f"`gdalwarp -rpc -to RPC_DEM=dem.tif -t_srs EPSG:4326 {shown} warped.tif`"
        )
    if header.tags(ns="GEOLOCATION"):
        return (
            "has a longitude and a latitude for each pixel, row or column: warp it first, with "
            f"`gdalwarp -geoloc -t_srs EPSG:4326 {shown} warped.tif`"
        )
    if header.gcps[0]:
        return (
            f"has {len(header.gcps[0])} ground control points, "
            + ("too few to place it" if crs else "but does not say in which coordinate system they are")
            + ": give --extent west,south,east,north in degrees"
        )
    if crs is not None:
        return (
            f"names a coordinate system ({crs.to_string()[:60]}) but not where in it its pixels lie: give --extent "
            "west,south,east,north in degrees, or a geotransform with `gdal_edit -a_ullr`"
        )
    if is_affine:
        return (
            "has coordinates but does not say in which system: name it with `gdal_edit -a_srs EPSG:CODE`, or give "
            "--extent west,south,east,north in degrees"
        )
    return "does not say where it lies: give --extent west,south,east,north in degrees"


def box_transform(bounds: Bounds, width: int, height: int) -> Affine:
    """Pixel to place for a picture of this size over west, south, east, north."""
    from affine import Affine

    west, south, east, north = bounds
    return Affine((east - west) / width, 0.0, west, 0.0, (south - north) / height, north)


def unwrapped(extent: BBox) -> Bounds:
    """West, south, east, north with east beyond 180 degrees where the box crosses the antimeridian."""
    west, south, east, north = extent.as_tuple()
    return west, south, east + (360.0 if extent.crosses_antimeridian else 0.0), north
