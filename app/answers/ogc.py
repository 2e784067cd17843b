"""Collections as OGC API Features and STAC describe them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from app.catalog import Served
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.search.query import Filters
from wildsat_core.types import BBox

Crs84 = Literal["http://www.opengis.net/def/crs/OGC/1.3/CRS84"]
CRS84: str = get_args(Crs84)[0]
UNDATED_SINCE = dt.date(1970, 1, 1)  # STAC wants an interval where the day is unknown; long before any imagery


def spatial_extent(served: Served) -> list[float]:
    """Box around all live tiles, -180 to 180 when one crosses; the whole globe for an empty collection."""
    tiles = served.collection.tiles
    if not tiles.live.any():
        return [-180.0, -90.0, 180.0, 90.0]
    west, south = float(tiles.west[tiles.live].min()), float(tiles.south[tiles.live].min())
    east, north = float(tiles.east[tiles.live].max()), float(tiles.north[tiles.live].max())
    if east > 180.0:
        west, east = -180.0, 180.0
    return [round(v, 6) for v in (west, south, east, north)]


def temporal_extent(served: Served) -> list[str | None]:
    """First and last day as RFC 3339 times; open to the past when no tile's day is known."""
    span = served.collection.tiles.dates_spanned()
    if span is None:
        return [None, served.collection.manifest.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")]
    return [f"{span[0].isoformat()}T00:00:00Z", f"{span[1].isoformat()}T23:59:59Z"]


def collection_entry(served: Served) -> dict[str, Any]:
    """A collection with its extent and what this service adds under "wildsat"; without links."""
    manifest = served.collection.manifest
    told = manifest.provenance
    imagery, scale = imagery_entry(served), served.collection.ground_scale
    return {
        "id": served.name,
        "name": served.name,
        "title": told.get("title") or served.name,
        "description": told.get("description") or f"Satellite tiles of the collection {served.name}.",
        "notice": served.notice,
        "attribution": told.get("attribution"),
        "imagery": imagery is not None,
        "imagery_max_zoom": imagery["maxzoom"] if imagery else None,
        "extent": {
            "spatial": {"bbox": [spatial_extent(served)], "crs": CRS84},
            "temporal": {"interval": [temporal_extent(served)]},
        },
        "itemType": "feature",
        "crs": [CRS84],
        "wildsat": {
            "tiles": len(served.collection),
            "generation": manifest.generation,
            "model": manifest.model.name,
            "notice": served.notice,
            "default_blend": default_blend(served),
            "gsd_m": scale.gsd_m if scale else None,
            "tile_m": scale.side_m if scale else None,
            "spaces": {name: {"dim": spec.dim, "metric": spec.metric} for name, spec in manifest.spaces.items()},
            "imagery": imagery,
            "created_at": manifest.created_at.isoformat(),
        },
    }


def default_blend(served: Served) -> float:
    return float(served.model.default_blend) if "place" in served.collection.spaces else 0.0


def imagery_entry(served: Served) -> dict[str, Any] | None:
    """URL template and zooms of the collection's own imagery, None without any."""
    if served.imagery is None:
        return None
    least, greatest = served.imagery.zooms
    return {"tiles": f"/collections/{served.name}/imagery/{{z}}/{{x}}/{{y}}", "minzoom": least, "maxzoom": greatest}


CONFORMANCE = (
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
)


def landing(served: Iterable[Served], base: str) -> dict[str, Any]:
    """The service as an OGC landing page and a STAC Catalog in one."""
    links = [
        {"rel": "self", "href": f"{base}/", "type": "application/json"},
        {"rel": "root", "href": f"{base}/", "type": "application/json"},
        {"rel": "service-desc", "href": f"{base}/openapi.json", "type": "application/json"},
        {"rel": "service-doc", "href": f"{base}/docs", "type": "text/html"},
        {"rel": "conformance", "href": f"{base}/conformance", "type": "application/json"},
        {"rel": "search", "href": f"{base}/stac/search", "type": "application/geo+json", "method": "GET"},
        {"rel": "search", "href": f"{base}/stac/search", "type": "application/geo+json", "method": "POST"},
        {"rel": "data", "href": f"{base}/collections", "type": "application/json"},
    ]
    links += [
        {"rel": "child", "href": f"{base}/collections/{s.name}", "type": "application/json", "title": s.name}
        for s in served
    ]
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": "wildsat",
        "title": "WildSAT habitat search",
        "description": "Satellite tiles that can be searched by habitat text, place, picture or species.",
        "conformsTo": list(CONFORMANCE),
        "links": links,
    }


def parse_ogc_bbox(value: str | Sequence[float]) -> BBox:
    """Read four numbers, or six with heights, which are left out.

    Raises:
        InvalidInputError: another count, not finite, or out of range.
    """
    numbers = value.split(",") if isinstance(value, str) else list(value)
    return parse_bbox([float(n) for n in ([*numbers[:2], *numbers[3:5]] if len(numbers) == 6 else numbers)])


def ogc_filters(datetime: str | None, *, days: bool = True, **filters: Any) -> Filters:  # noqa: ANN401 - of any kind
    """Filters on an OGC `datetime` and more.

    Items of unknown date say that they are of some time from UNDATED_SINCE on: they pass where that meets the interval.

    Raises:
        InvalidInputError: see `parse_datetime`.
    """
    first, last = parse_datetime(datetime, days=days) if datetime is not None else (None, None)
    undated = (last is None or last >= UNDATED_SINCE) and (first is None or first <= dt.datetime.now(dt.UTC).date())
    return Filters(date_from=first, date_to=last, undated=undated, **filters)


def parse_datetime(text: str, *, days: bool = True) -> tuple[dt.date | None, dt.date | None]:
    """First and last day of an OGC `datetime`: an instant or an interval, open where an end is ".." or empty.

    Args:
        text: as it was sent.
        days: whether a day without a time is taken; STAC item search forbids it.

    Raises:
        InvalidInputError: not RFC 3339, or both ends open.
    """
    ends = text.split("/")
    if len(ends) == 1:
        ends *= 2
    found = [_day(end, alone=days) for end in ends] if len(ends) == 2 else []
    if not found or found == [None, None]:
        raise InvalidInputError(
            f"datetime must be an RFC 3339 time or an interval such as 2024-01-01T00:00:00Z/.., got {text[:80]!r}",
            "datetime",
        )
    return found[0], found[1]


def _day(text: str, *, alone: bool) -> dt.date | None:
    if text in ("", ".."):
        return None
    if (len(text) == 10 and not alone) or not re.fullmatch(
        r"\d{4}-\d\d-\d\d(?:[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d))?", text, re.ASCII
    ):
        raise InvalidInputError(f"datetime has RFC 3339 times: 2024-01-01T00:00:00Z; got {text[:40]!r}", "datetime")
    try:
        if len(text) == 10:
            return dt.date.fromisoformat(text)
        return dt.datetime.fromisoformat(text.upper()).astimezone(dt.UTC).date()
    except (ValueError, OverflowError) as err:
        raise InvalidInputError(f"datetime has no such time: {text[:40]!r}", "datetime") from err
