"""Names that people give to the columns of a table of pictures or vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

IDS: Final = ("tile_id", "unique_id", "id", "item_id", "image_id", "scene_id", "chip_id", "patch_id", "uid")
FILES: Final = ("file", "file_name", "filename", "filepath", "file_path", "image", "image_path")
LONGITUDES_LATITUDES: Final = (
    *(("lon", "lat"), ("longitude", "latitude"), ("lng", "lat"), ("long", "lat")),
    *(("centre_lon", "centre_lat"), ("center_lon", "center_lat"), ("centroid_lon", "centroid_lat")),
    *(("lon_centre", "lat_centre"), ("lon_center", "lat_center"), ("decimallongitude", "decimallatitude"), ("x", "y")),
)
DATES: Final = (
    *("captured_on", "date", "timestamp", "datetime", "time", "acquired", "acquisition_date", "capture_date"),
    *("sensing_time", "start_datetime"),
)
CLOUDS: Final = ("cloud_cover", "cloud")
BOXES: Final = ("bbox", "bounds", "bounding_box")
CORNERS: Final = (
    *(("xmin", "ymin", "xmax", "ymax"), ("west", "south", "east", "north"), ("minx", "miny", "maxx", "maxy")),
    *(("min_x", "min_y", "max_x", "max_y"), ("left", "bottom", "right", "top")),
    *(("min_lon", "min_lat", "max_lon", "max_lat"), ("lon_min", "lat_min", "lon_max", "lat_max")),
)
GEOMETRIES: Final = ("geometry", "geom", "wkb_geometry", "the_geom", "wkb", "wkt", "footprint", "shape")


def plain(name: str) -> str:
    """A name for comparing: lower case, '_' for spaces and '-', without what is around it."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def find(names: Iterable[str], known: Sequence[str]) -> str | None:
    """The column, as it is written, that has the first of the known names; None where none has."""
    written = {plain(name): name for name in reversed(list(names))}
    return next((written[name] for name in known if name in written), None)


def find_all(names: Iterable[str], known: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """The columns of the first set of names that are all there."""
    written = {plain(name): name for name in reversed(list(names))}
    return next((tuple(written[n] for n in group) for group in known if all(n in written for n in group)), None)


def first_of(row: Mapping[str, str], known: Sequence[str]) -> str | None:
    """What a row has in the first of these columns that it has and that is not empty; names are plain ones."""
    return next((row[name] for name in known if row.get(name)), None)
