"""Small questions about places and names that several sources ask."""

from __future__ import annotations

import math
import re

from wildsat_core.area import Area
from wildsat_core.geo import KM_PER_DEGREE, wrap_lon
from wildsat_core.ids import tile_id_of
from wildsat_core.types import BBox


def slug(text: str) -> str:
    """Letters, digits, '-', '_' and '.' only, so that ids are safe in addresses; a hash where nothing is left.

    Raises:
        InvalidInputError: the text is empty.
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or tile_id_of(text)


def cloud_share(value: float | str | None) -> float | None:
    """Share of cloud in [0, 1], None where it is unknown: nothing, an empty text or NaN.

    Raises:
        ValueError: no number, or out of range.
    """
    return known_share(value, "cloud cover")


def known_share(value: float | str | None, what: str) -> float | None:
    """A share in [0, 1], None where it is unknown: nothing, an empty text or NaN.

    Raises:
        ValueError: no number, or out of range; it says what of.
    """
    if value is None or value == "" or math.isnan(float(value)):
        return None
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"{what} is a share from 0 to 1, got {share:g}; divide per cent by 100")
    return share


def area_box(area: Area) -> BBox:
    """The narrowest box around an area: over the antimeridian, where that is the shorter way around."""
    import shapely

    west, south, east, north = shapely.bounds(shapely.get_parts(area.geometry)).T
    plain = BBox(float(west.min()), float(south.min()), float(east.max()), float(north.max()))
    over = [BBox(w, plain.south, e, plain.north) for w, e in _gaps(west.tolist(), east.tolist())]
    return min([plain, *over], key=lambda box: box.width_deg)


def _gaps(west: list[float], east: list[float]) -> list[tuple[float, float]]:
    """West and east of the boxes that leave out a gap between two neighbouring parts."""
    order = sorted(zip(west, east, strict=True))
    gaps, reached = [], order[0][1]
    for start, end in order[1:]:
        if start > reached:
            gaps.append((start, reached))  # from this part eastwards around the globe to the last one before it
        reached = max(reached, end)
    return gaps


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
