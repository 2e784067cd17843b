"""Scenes of a STAC catalogue: searched once, kept as small records, and asked which of them cover a box."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from wildsat_core.errors import MissingExtraError, SourceError
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# From processing baseline 04.00 (25 January 2022) stored values are reflectance x 10,000 + 1000.
# https://sentinels.copernicus.eu/-/sentinel-2-processing-baseline-04-00
OFFSET_BASELINE: Final = 4.0
BOA_OFFSET: Final = -1000
LEAST_COVER: Final = 0.5


@dataclass(frozen=True, slots=True)
class Scene:
    """One Sentinel-2 product.

    Attributes:
        cloud_cover: share in [0, 1]; 1 where the catalogue does not say, so that such a scene is the last choice.
        offset: to be added to stored reflectance.
        hrefs: address of each asset by key.
        footprint: outline in degrees.
        cover: share of the box asked about that the scene covers; 1 for all of it.
    """

    scene_id: str
    date: dt.date
    cloud_cover: float
    offset: int
    hrefs: Mapping[str, str]
    footprint: BaseGeometry
    cover: float = 0.0

    def asset(self, keys: Sequence[str]) -> str:
        """Address of the first of these assets that the scene has.

        Raises:
            SourceError: it has none of them.
        """
        for key in keys:
            if key in self.hrefs:
                return self.hrefs[key]
        raise SourceError(f"scene {self.scene_id} has no asset {' or '.join(keys)}; it has {', '.join(self.hrefs)}")


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
    api: str, collection: str, area: BBox, since: dt.date, until: dt.date, max_cloud: float
) -> list[Scene]:
    """Scenes that meet an area within a time, each once, in the order of their ids.

    Raises:
        MissingExtraError: pystac-client is not installed.
        SourceError: the catalogue does not answer, or not as a STAC API does.
    """
    try:
        from pystac_client import Client
        from pystac_client.exceptions import APIError
    except ImportError as err:
        raise MissingExtraError("pystac-client", "stac", "searching a STAC catalogue") from err
    import requests

    days = f"{since.isoformat()}T00:00:00Z/{until.isoformat()}T23:59:59Z"
    items: dict[str, dict[str, Any]] = {}
    try:
        client = Client.open(api)
        for box in _boxes(area):
            search = client.search(collections=[collection], bbox=box, datetime=days, limit=100)
            items |= {item["id"]: item for item in search.items_as_dicts()}
    except (APIError, requests.RequestException, KeyError, ValueError, NotImplementedError) as err:
        raise SourceError(f"{api} can't be searched as a STAC API: {err}") from err
    scenes = (_scene(items[item_id]) for item_id in sorted(items))
    # Not every catalogue can filter by cloud, so it is done here; a scene whose cloud is unknown is kept.
    known = {item_id for item_id, item in items.items() if "eo:cloud_cover" in item["properties"]}
    return [scene for scene in scenes if scene.cloud_cover <= max_cloud or scene.scene_id not in known]


def _scene(item: Mapping[str, Any]) -> Scene:
    """A record of a STAC item.

    Raises:
        SourceError: the item lacks what STAC requires.
    """
    import shapely

    properties = item["properties"]
    try:
        when = properties.get("datetime") or properties["start_datetime"]
        return Scene(
            scene_id=item["id"],
            date=dt.datetime.fromisoformat(when).date(),
            cloud_cover=float(properties.get("eo:cloud_cover", 100.0)) / 100,
            offset=reflectance_offset(properties, item["assets"].values()),
            hrefs={key: asset["href"] for key, asset in item["assets"].items()},
            footprint=shapely.make_valid(shapely.geometry.shape(item["geometry"])),
        )
    except (KeyError, TypeError, ValueError) as err:
        raise SourceError(f"scene {item.get('id')} of the catalogue can't be understood: {err!r}") from err


def reflectance_offset(properties: Mapping[str, Any], assets: Iterable[Mapping[str, Any]]) -> int:
    """What to add to a scene's stored reflectance so that all scenes agree: 0 or -1000.

    Catalogues that have applied the offset to the pixels say so; otherwise the processing baseline decides, and where
    it is not told, the offset that the assets' own description names.
    """
    if properties.get("earthsearch:boa_offset_applied") is True:
        return 0
    baseline = properties.get("s2:processing_baseline") or properties.get("processing:version")
    if baseline is not None:
        return BOA_OFFSET if float(baseline) >= OFFSET_BASELINE else 0
    for asset in assets:
        for band in asset.get("raster:bands", []):
            if band.get("offset") and band.get("scale"):
                return round(float(band["offset"]) / float(band["scale"]))
    return 0


def _boxes(area: BBox) -> list[tuple[float, float, float, float]]:
    """One box, or two where it crosses the antimeridian: not every catalogue takes west > east."""
    west, south, east, north = area.as_tuple()
    if not area.crosses_antimeridian:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _outline(box: BBox) -> BaseGeometry:
    import shapely

    return shapely.union_all([shapely.box(*part) for part in _boxes(box)])
