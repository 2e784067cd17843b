"""Scenes of a STAC catalogue: searched once, kept as small records, and asked which of them cover a box."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from indexer.sources.protocol import LeftOut
from wildsat_core.errors import MissingExtraError, SourceError
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# From processing baseline 04.00 (25 January 2022) stored values are reflectance x 10,000 + 1000.
# https://sentinels.copernicus.eu/-/sentinel-2-processing-baseline-04-00
OFFSET_BASELINE: Final = 4.0
OFFSET_DAY: Final = dt.date(2022, 1, 25)
BOA_OFFSET: Final = -1000
LEAST_COVER: Final = 0.5

# Patience with a catalogue that is busy: waits of 0, 1, 2, 4 and 8 seconds, or what the server asks for.
RETRIES: Final[Mapping[str, Any]] = {
    "total": 5,
    "connect": 2,
    "backoff_factor": 0.5,
    "status_forcelist": (429, 500, 502, 503, 504),
    "allowed_methods": ("GET", "POST"),  # a search is posted and changes nothing
    "respect_retry_after_header": True,
}
TIMEOUT_S: Final = (15.0, 60.0)  # to connect, and to wait for bytes


@dataclass(frozen=True, slots=True)
class Scene:
    """One Sentinel-2 product.

    Attributes:
        cloud_cover: share in [0, 1]; None where the catalogue does not say.
        offset: to be added to stored reflectance; None where the catalogue does not say.
        hrefs: addresses of the assets asked for, in their order.
        footprint: outline in degrees.
        cover: share of the box asked about that the scene covers; 1 for all of it.
    """

    scene_id: str
    date: dt.date
    cloud_cover: float | None
    offset: int | None
    hrefs: tuple[str, ...]
    footprint: BaseGeometry
    cover: float = 0.0

    @property
    def likely_offset(self) -> int:
        """The offset that is told, or else that of products of its day: those reprocessed later are mistaken."""
        if self.offset is not None:
            return self.offset
        return BOA_OFFSET if self.date >= OFFSET_DAY else 0


class SceneTable:
    """Scenes by place."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        """Index the outlines."""
        import shapely

        self._scenes = list(scenes)
        self._tree = shapely.STRtree([scene.footprint for scene in self._scenes])

    def over(self, box: BBox) -> list[Scene]:
        """Scenes that cover at least half of a box, the best cover first, then by id; each with its cover."""
        outline = _outline(box)
        found = []
        for i in self._tree.query(outline, predicate="intersects"):
            scene = self._scenes[i]
            cover = scene.footprint.intersection(outline).area / outline.area
            if cover >= LEAST_COVER:
                found.append(replace(scene, cover=round(cover, 6)))
        return sorted(found, key=lambda scene: (-scene.cover, scene.scene_id))


def search_scenes(
    api: str,
    collection: str,
    area: BBox,
    since: dt.date,
    until: dt.date,
    max_cloud: float,
    assets: Sequence[Sequence[str]],
) -> Iterator[Scene | LeftOut]:
    """Scenes that meet an area within a time, each once, and those that can't be understood; pages are not kept.

    Args:
        api: address of the STAC API.
        collection: its collection.
        area: where.
        since: first day.
        until: last day.
        max_cloud: largest share of cloud; a scene whose cloud is unknown is kept.
        assets: keys of each asset that is needed, of which a scene has one.

    Raises:
        MissingExtraError: pystac-client is not installed.
        SourceError: the catalogue does not answer, or not as a STAC API does.
    """
    seen: set[str] = set()
    for item in _items(api, collection, area, since, until):
        name = item.get("id") if isinstance(item, Mapping) else None
        if name in seen:
            continue
        seen.add(str(name))
        try:
            scene = _scene(item, assets)
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            yield LeftOut("scene not understood", f"scene {name} of the catalogue: {err!r}")
            continue
        # Not every catalogue can filter by cloud, so it is done here.
        if scene.cloud_cover is None or scene.cloud_cover <= max_cloud:
            yield scene


def _items(api: str, collection: str, area: BBox, since: dt.date, until: dt.date) -> Iterator[Mapping[str, Any]]:
    try:
        from pystac_client import Client
        from pystac_client.exceptions import APIError
        from pystac_client.stac_api_io import StacApiIO
    except ImportError as err:
        raise MissingExtraError("pystac-client", "stac", "searching a STAC catalogue") from err
    import requests
    from urllib3.util import Retry

    days = f"{since.isoformat()}T00:00:00Z/{until.isoformat()}T23:59:59Z"
    try:
        client = Client.open(api, stac_io=StacApiIO(max_retries=Retry(**RETRIES), timeout=TIMEOUT_S))
        for box in _boxes(area):
            yield from client.search(collections=[collection], bbox=box, datetime=days, limit=100).items_as_dicts()
    except (APIError, requests.RequestException, KeyError, ValueError, NotImplementedError) as err:
        raise SourceError(f"{api} can't be searched as a STAC API: {err}") from err


def _scene(item: Mapping[str, Any], assets: Sequence[Sequence[str]]) -> Scene:
    """A record of a STAC item.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: the item lacks what is needed.
    """
    import shapely

    properties = item["properties"]
    when = properties.get("datetime") or properties["start_datetime"]
    cloud = properties.get("eo:cloud_cover")
    if item["geometry"] is None:
        raise ValueError("it has no geometry")
    return Scene(
        scene_id=item["id"],
        date=dt.datetime.fromisoformat(when).date(),
        cloud_cover=None if cloud is None else float(cloud) / 100,
        offset=reflectance_offset(properties, item["assets"].values()),
        hrefs=tuple(_href(item["assets"], keys) for keys in assets),
        footprint=shapely.make_valid(shapely.geometry.shape(item["geometry"])),
    )


def _href(assets: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> str:
    """Address of the first of these assets that there is."""
    for key in keys:
        if key in assets:
            return str(assets[key]["href"])
    raise ValueError(f"it has no asset {' or '.join(keys)}; it has {', '.join(assets)}")


def reflectance_offset(properties: Mapping[str, Any], assets: Iterable[Mapping[str, Any]]) -> int | None:
    """What to add to a scene's stored reflectance so that all scenes agree: 0 or -1000; None where nothing tells.

    Catalogues that have applied the offset to the pixels say so; otherwise the processing baseline decides, and where
    it is not told, the offset that the assets' own description names.
    """
    if properties.get("earthsearch:boa_offset_applied") is True:
        return 0
    baseline = _baseline(properties.get("s2:processing_baseline") or properties.get("processing:version"))
    if baseline is not None:
        return BOA_OFFSET if baseline >= OFFSET_BASELINE else 0
    for asset in assets:
        for band in asset.get("raster:bands") or []:
            if band.get("offset") and band.get("scale"):
                return round(float(band["offset"]) / float(band["scale"]))
    return None


def _baseline(text: Any) -> float | None:  # noqa: ANN401 - whatever the catalogue has there
    """Number of a baseline, written 04.00, 4.0 or, as in product names, N0400; None for anything else."""
    found = re.fullmatch(r"N?(\d{2})(\d{2})|N?(\d+\.\d+)", str(text))
    if found is None:
        return None
    whole, hundredths, number = found.groups()
    return float(number or f"{whole}.{hundredths}")


def _boxes(area: BBox) -> list[tuple[float, float, float, float]]:
    """One box, or two where it crosses the antimeridian: not every catalogue takes west > east."""
    west, south, east, north = area.as_tuple()
    if not area.crosses_antimeridian:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _outline(box: BBox) -> BaseGeometry:
    import shapely

    return shapely.union_all([shapely.box(*part) for part in _boxes(box)])
