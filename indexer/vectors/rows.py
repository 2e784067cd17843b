"""Rows of Parquet files as tiles: id, place and date by the columns that there are, as people name them.

A place is a geometry (WKB, WKT, GeoJSON, or GeoArrow's nested numbers), a box (a struct, a list, or four columns), or a
longitude and a latitude. Geometries in another coordinate system than longitude and latitude of WGS 84 are transformed,
by what the file says of it: https://geoparquet.org/releases/v1.1.0/ and https://geoarrow.org/extension-types.html.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from indexer.sources.columns import BOXES, CLOUDS, CORNERS, DATES, GEOMETRIES, IDS, LONGITUDES_LATITUDES, find, find_all
from indexer.sources.outlines import outline_on_globe
from indexer.sources.places import area_box, cloud_share, known_share
from indexer.sources.times import utc_day
from wildsat_core.addresses import public_name
from wildsat_core.area import Area
from wildsat_core.errors import SourceError
from wildsat_core.geo import check_lon_lat, square_bbox
from wildsat_core.ids import tile_id_of
from wildsat_core.types import BBox, Tile

if TYPE_CHECKING:
    import pyarrow as pa
    from shapely.geometry.base import BaseGeometry

DEFAULT_SIDE_KM: Final = 2.56  # of a place that comes as a point
BAD_ROW: Final = "bad row"
_WGS84: Final = ("EPSG:4326", "OGC:CRS84")
_ISO3: Final = re.compile(r"[A-Z]{3}")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_SRID: Final = re.compile(r"SRID=(\d{1,9});", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RowReader:
    """Which columns of a file say what.

    Attributes:
        path: the file, for messages.
        id, box, geometry, date, cloud: names of columns; None where the file has none.
        corners: four columns of a box; lon_lat: two of a point.
        crs: of the geometry, as rasterio reads it; None for longitude and latitude of WGS 84.
        exported: written by this program, so that `is_box` says whether the geometry is more than the box.
    """

    path: Path
    id: str
    box: str | None
    geometry: str | None
    corners: tuple[str, ...] | None
    lon_lat: tuple[str, ...] | None
    date: tuple[str, ...]
    cloud: str | None
    crs: str | None
    exported: bool

    @classmethod
    def of(cls, path: Path, schema: pa.Schema) -> RowReader:
        """Look at a file's columns.

        Raises:
            SourceError: none of them holds ids, or places, or the coordinate system can't be understood.
        """
        names = schema.names
        id_column = find(names, IDS)
        if id_column is None:
            raise SourceError(f"{path} has no column of ids ({', '.join(IDS)}); it has: {', '.join(names)}")
        geometry, crs = _geometry_column(path, schema)
        reader = cls(
            path=path,
            id=id_column,
            box=find(names, BOXES),
            geometry=geometry,
            corners=find_all(names, CORNERS),
            lon_lat=find_all(names, LONGITUDES_LATITUDES),
            date=tuple(name for known in DATES if (name := find(names, [known]))),
            cloud=find(names, CLOUDS),
            crs=crs,
            exported="is_box" in names,
        )
        if not (reader.box or geometry or reader.corners or reader.lon_lat):
            raise SourceError(
                f"{path} does not say where its rows are: it needs a geometry (WKB, WKT or GeoArrow), a bbox, or "
                f"columns such as lon and lat; it has: {', '.join(names)}"
            )
        return reader

    @property
    def columns(self) -> list[str]:
        """Those to be read."""
        others = ("is_box", "gsd_m", "source", "country", "href", "land_share")
        found = (self.id, self.box, self.geometry, *(self.corners or ()), *(self.lon_lat or ()), *self.date, self.cloud)
        return [*dict.fromkeys(name for name in (*found, *others) if name)]

    def tiles(self, table: pa.Table) -> Iterator[Tile | str]:
        """A tile for each row of a table with those of `columns` that the file has, or what is wrong with the row."""
        import shapely

        columns = [_values(table[name]) for name in table.column_names]
        rows = [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
        shapes = self._shapes([row[self.geometry] for row in rows]) if self.geometry else [None] * len(rows)
        for row, shape in zip(rows, shapes, strict=True):
            try:
                yield self._tile(row, shape)
            except (ValueError, TypeError, KeyError, IndexError, OverflowError, shapely.errors.GEOSException) as err:
                yield f"the row of {self.id} {row[self.id]!r}: {str(err) or type(err).__name__}"

    def _shapes(self, values: Sequence[Any]) -> list[BaseGeometry | Exception | None]:
        """Geometries in degrees, None where there is none, and what is wrong with those that can't be read."""
        if self.exported:  # its boxes say it all
            return [None] * len(values)
        shapes: list[BaseGeometry | Exception | None] = [_shape_or_fault(value) for value in values]
        by_crs: dict[str, list[int]] = {}
        for i, shape in enumerate(shapes):
            if shape is not None and not isinstance(shape, Exception) and (crs := self.crs or _own_crs(shape)):
                by_crs.setdefault(crs, []).append(i)
        for crs, rows in by_crs.items():
            for i, shape in zip(rows, _in_degrees([shapes[i] for i in rows], crs), strict=True):
                shapes[i] = shape
        return shapes

    def _tile(self, row: Mapping[str, Any], shape: BaseGeometry | Exception | None) -> Tile:
        """Raises ValueError and its like where a row can't be understood."""
        for name, value in row.items():
            if isinstance(value, Exception):
                raise ValueError(f"its {name} can't be read: {value}")
        if row[self.id] is None:
            raise ValueError("it has no id")
        name = str(row[self.id])
        tile_id = tile_id_of(name)
        box, outline = self._place(row, shape)
        country = row.get("country")
        return Tile(
            tile_id=tile_id,
            bbox=box,
            gsd_m=_ground_m(row.get("gsd_m")),
            source=str(row.get("source") or "parquet"),
            href=public_name(str(row.get("href") or ("" if tile_id == name else name))),
            captured_on=utc_day(next((row[c] for c in self.date if row[c] is not None), None)),
            cloud_cover=cloud_share(row[self.cloud] if self.cloud else None),
            country=country if isinstance(country, str) and _ISO3.fullmatch(country) else None,
            land_share=known_share(row.get("land_share"), "land_share"),
            footprint_wkb=outline,
        )

    def _place(self, row: Mapping[str, Any], shape: BaseGeometry | Exception | None) -> tuple[BBox, bytes | None]:
        """Box and, where it says too much, outline of a row."""
        import shapely

        box = _box(row[self.box]) if self.box and row[self.box] is not None else None
        if self.exported and box is not None:
            outline = row[self.geometry] if self.geometry else None
            if box.width_deg == 360.0 and isinstance(outline, bytes):  # which readers prune by, not what it covers
                box = area_box(Area(shapely.from_wkb(outline)))
            return box, outline if row["is_box"] is False else None
        if isinstance(shape, Exception):
            raise shape
        if shape is not None:
            return _place_of(shape)
        if box is None and self.corners and all(row[c] is not None for c in self.corners):
            box = BBox(*(float(row[c]) for c in self.corners))
        if box is not None:
            return (box, None) if box.width_deg and box.north > box.south else (_around(*box.centre), None)
        if self.lon_lat and all(row[c] is not None for c in self.lon_lat):
            lon, lat = (float(row[c]) for c in self.lon_lat)
            return _around(lon, lat), None
        raise ValueError("it has no place")


def _place_of(shape: BaseGeometry) -> tuple[BBox, bytes | None]:
    """Box and outline of a geometry in degrees; of a line or points, a square around their middle."""
    import shapely

    if shape.is_empty:
        raise ValueError("its geometry is empty")
    if shape.geom_type not in ("Polygon", "MultiPolygon"):
        return _around(*shape.centroid.coords[0]), None
    outline = outline_on_globe(shapely.geometry.mapping(shape))
    box = area_box(Area(outline))
    is_box = not box.crosses_antimeridian and outline.equals(shapely.box(*box.as_tuple()))
    return box, None if is_box else shapely.to_wkb(outline)


def _around(lon: float, lat: float) -> BBox:
    check_lon_lat(lon, lat)
    return square_bbox(lon, lat, DEFAULT_SIDE_KM)


def _ground_m(value: Any) -> float:  # noqa: ANN401 - whatever the column holds
    """Metres of a pixel, 0 where it is not known."""
    if value is None or math.isnan(float(value)):
        return 0.0
    with np.errstate(over="ignore"):
        metres = float(np.float32(value))  # as it is stored
    if not 0 <= metres < math.inf:
        raise ValueError(f"gsd_m must be a size in metres, got {value}")
    return metres


def _box(value: Any) -> BBox:  # noqa: ANN401 - a struct or a list
    """A box of either form; a list of six has heights in it.

    Raises:
        ValueError: neither.
    """
    if isinstance(value, Mapping):
        names = find_all(value, CORNERS)
        if names is None:
            raise ValueError(f"a box needs the corners xmin, ymin, xmax and ymax, it has: {', '.join(value)}")
        numbers: Sequence[Any] = [value[name] for name in names]
    else:
        numbers = [*value[:2], *value[3:5]] if len(value) == 6 else value
    if len(numbers) != 4 or any(number is None for number in numbers):
        raise ValueError(f"a box needs four numbers west, south, east, north, got {value}")
    return BBox(*(float(number) for number in numbers))


def _shape_or_fault(value: Any) -> BaseGeometry | Exception | None:  # noqa: ANN401 - as of `_shape`
    import shapely

    try:
        return None if value is None else _shape(value)
    except (ValueError, TypeError, KeyError, IndexError, shapely.errors.GEOSException) as err:
        return ValueError(f"its geometry can't be read: {err}")


def _shape(value: Any) -> BaseGeometry:  # noqa: ANN401 - bytes, text or nested numbers
    """A geometry in any of its forms."""
    import shapely

    if isinstance(value, bytes):
        return shapely.from_wkb(value)
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("{"):
            return shapely.from_geojson(text)
        if _HEX.fullmatch(text):  # as PostGIS exports WKB
            return shapely.from_wkb(text)
        srid = _SRID.match(text)
        shape = shapely.from_wkt(text[srid.end() :] if srid else text)
        return shapely.set_srid(shape, int(srid[1])) if srid else shape
    if isinstance(value, Mapping):  # GeoArrow: a point, or a box
        if {"x", "y"} <= value.keys():
            return shapely.Point(value["x"], value["y"])
        return shapely.box(*_box(value).as_tuple())
    return _nested(value)


def _own_crs(shape: BaseGeometry) -> str | None:
    """The system that a geometry itself names by its number, as PostGIS's do; None for longitude and latitude."""
    import shapely

    srid = int(shapely.get_srid(shape))
    return None if srid in (0, 4326) else f"EPSG:{srid}"


def _values(column: Any) -> list[Any]:  # noqa: ANN401 - pyarrow has no types
    """Values of a column; an exception for each that Python has no form for, as times of far-off years."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_value_or_fault(scalar) for scalar in column]


def _value_or_fault(scalar: Any) -> Any:  # noqa: ANN401
    try:
        return scalar.as_py()
    except (ValueError, OverflowError) as err:
        return err


def _nested(value: Sequence[Any]) -> BaseGeometry:
    """GeoArrow's lists: of two numbers a point, of points a line, of rings a polygon, of polygons several."""
    import shapely

    depth, inner = 0, value
    while isinstance(inner, Sequence) and not isinstance(inner, str) and len(inner):
        depth, inner = depth + 1, inner[0]
    is_struct = isinstance(inner, Mapping)

    def ring(points: Sequence[Any]) -> list[tuple[float, float]]:
        return [(p["x"], p["y"]) for p in points] if is_struct else [(p[0], p[1]) for p in points]

    depth += is_struct  # a point's numbers are one list more
    if depth == 1:
        return shapely.Point(value[0], value[1])
    if depth == 2:
        return shapely.MultiPoint(ring(value))
    if depth == 3:
        return shapely.Polygon(ring(value[0]), [ring(hole) for hole in value[1:]])
    if depth == 4:
        return shapely.MultiPolygon([(ring(rings[0]), [ring(hole) for hole in rings[1:]]) for rings in value])
    raise ValueError("its geometry is neither WKB, WKT, GeoJSON nor one of GeoArrow's")


def _geometry_column(path: Path, schema: pa.Schema) -> tuple[str | None, str | None]:
    """The column of geometries and their coordinate system, None for longitude and latitude.

    Raises:
        SourceError: the file's account of them can't be understood.
    """
    try:
        geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        name = geo.get("primary_column")
        name = name if name in schema.names else find(schema.names, GEOMETRIES)
        if name is None:
            return None, None
        crs = geo.get("columns", {}).get(name, {}).get("crs")
        if crs is None:
            about = (schema.field(name).metadata or {}).get(b"ARROW:extension:metadata", b"")
            crs = json.loads(about).get("crs") if about.strip() else None
    except (ValueError, AttributeError) as err:
        raise SourceError(f"{path}: its account of its geometries is damaged: {err}") from err
    return name, None if crs is None else _crs(path, crs if isinstance(crs, str) else json.dumps(crs))


def _crs(path: Path, text: str) -> str | None:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    if text in _WGS84:
        return None
    try:
        crs = CRS.from_user_input(text)
    except CRSError as err:
        raise SourceError(f"{path}: the coordinate system of its geometries can't be understood: {text[:120]}") from err
    wgs84 = (CRS.from_user_input(known) for known in _WGS84)
    return None if any(crs == known for known in wgs84) else crs.to_wkt()


def _in_degrees(shapes: Sequence[Any], crs: str) -> list[BaseGeometry | Exception]:
    """Geometries transformed to longitude and latitude of WGS 84, all at once where that can be done."""
    import shapely
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import CRSError
    from rasterio.warp import transform

    def to_degrees(positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transform(crs, "EPSG:4326", positions[:, 0], positions[:, 1]))

    fault = ValueError("its geometry is no place of its coordinate system")
    try:
        moved = shapely.transform(shapely.force_2d(np.array(shapes, object)), to_degrees)
    except CRSError:
        return [ValueError(f"the coordinate system of its geometry, {crs[:80]}, is not known")] * len(shapes)
    except CPLE_BaseError:  # so many of them are no places that GDAL gives up
        return [fault] if len(shapes) == 1 else [_in_degrees([shape], crs)[0] for shape in shapes]
    finite = np.isfinite(shapely.bounds(moved)).all(axis=-1) | shapely.is_empty(moved)
    return [shape if good else fault for shape, good in zip(moved, finite, strict=True)]
