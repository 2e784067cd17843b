"""Tiles from the rows of a Parquet file, by whatever of the usual columns are there."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from indexer.sources.places import area_box, cloud_share
from wildsat_core.area import Area
from wildsat_core.errors import SourceError
from wildsat_core.geo import square_bbox
from wildsat_core.types import BBox, Tile

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_SIDE_KM: Final = 2.56  # of a place that comes as a point
ID_COLUMNS: Final = ("tile_id", "unique_id", "id")
LON_LAT_COLUMNS: Final = (("lon", "lat"), ("centre_lon", "centre_lat"), ("longitude", "latitude"))
DATE_COLUMNS: Final = ("captured_on", "date", "timestamp", "datetime")


def tiles_of(table: pa.Table, path: Path) -> Iterator[Tile]:
    """Tiles of rows, by the columns that are there.

    Raises:
        SourceError: no id, or no place.
    """
    import shapely

    names = set(table.column_names)
    id_column = next((c for c in ID_COLUMNS if c in names), None)
    if id_column is None:
        raise SourceError(f"{path} has no column {' or '.join(ID_COLUMNS)}; it has: {', '.join(sorted(names))}")
    keep = [c for c in table.column_names if not c.startswith("vector_") and c not in ("thumbnail", "embedding")]
    for row in table.select(keep).to_pylist():
        if row[id_column] is None:
            raise SourceError(f"{path} has rows without {id_column}")
        try:
            yield _tile(row, str(row[id_column]), path)
        except (ValueError, TypeError, IndexError, shapely.GEOSException) as err:
            raise SourceError(f"{path}, the row of {id_column} {row[id_column]!r}: {err}") from err


def _tile(row: Mapping[str, Any], tile_id: str, path: Path) -> Tile:
    box, outline = _place(row, path)
    country = row.get("country")
    return Tile(
        tile_id=tile_id,
        bbox=box,
        gsd_m=_gsd_m(row.get("gsd_m")),
        source=str(row.get("source") or "parquet"),
        href=str(row.get("href") or ""),
        captured_on=_date(next((row[c] for c in DATE_COLUMNS if row.get(c)), None)),
        cloud_cover=cloud_share(row.get("cloud_cover")),
        country=None if country is None else str(country),
        footprint_wkb=outline,
    )


def _gsd_m(value: float | str | None) -> float:
    """Metres a pixel, 0 where it is unknown: nothing, an empty text or NaN.

    Raises:
        ValueError: no number, negative or infinite.
    """
    metres = float(value or 0.0)
    if math.isnan(metres):
        return 0.0
    if not 0 <= metres < math.inf:
        raise ValueError(f"gsd_m is the size of a pixel in metres, got {metres}")
    return metres


def _place(row: Mapping[str, Any], path: Path) -> tuple[BBox, bytes | None]:
    """Box and, where it says too much, outline of a row."""
    import shapely

    box = row.get("bbox")
    outline = row.get("geometry")
    if isinstance(box, Mapping):
        corners = BBox(box["xmin"], box["ymin"], box["xmax"], box["ymax"])
        if corners.width_deg == 360.0 and isinstance(outline, bytes):  # which readers prune by, not what it covers
            corners = area_box(Area(shapely.from_wkb(outline)))
        return corners, outline if row.get("is_box") is False else None
    if isinstance(outline, bytes):
        shape = shapely.from_wkb(outline)
        if shape.geom_type != "Point":
            return area_box(Area(shape)), outline  # of several parts perhaps, on both sides of 180 degrees
        lon, lat = shape.coords[0][:2]
        return square_bbox(lon, lat, DEFAULT_SIDE_KM), None
    for columns in LON_LAT_COLUMNS:
        if all(row.get(column) is not None for column in columns):
            lon, lat = (float(row[column]) for column in columns)
            return square_bbox(lon, lat, DEFAULT_SIDE_KM), None
    raise SourceError(f"{path} has rows without a place: a column bbox, geometry (WKB), or lon and lat is needed")


def _date(value: Any) -> dt.date | None:  # noqa: ANN401 - a date, a time or a text of one
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, dt.datetime):
        return value.date()
    return value if isinstance(value, dt.date) else dt.datetime.fromisoformat(str(value)).date()
