"""Scenes of a STAC catalogue: searched once, kept as small records, and asked which of them cover a box."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin

import numpy as np

from indexer.sources.outlines import outline_on_globe
from indexer.sources.protocol import LeftOut
from indexer.sources.stac_api import search_items
from indexer.sources.times import utc_day
from wildsat_core.addresses import without_secrets
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

logger = logging.getLogger(__name__)

# From processing baseline 04.00 (25 January 2022) stored values are reflectance x 10,000 + 1000.
# https://sentinels.copernicus.eu/-/sentinel-2-processing-baseline-04-00
OFFSET_BASELINE: Final = 4.0
OFFSET_DAY: Final = dt.date(2022, 1, 25)
BOA_OFFSET: Final = -1000
LEAST_COVER: Final = 0.5

# The scene classification in the catalogues at hand.
CLASS_KEYS: Final = ("scl", "SCL", "SCL_20m")

# What GDAL reads by range requests, and how it is spelled for it. Nothing else that a catalogue names is opened: a file
# of this machine least of all.
_READABLE: Final[Mapping[str, str]] = {
    "http": "http", "https": "https", "s3": "s3", "gs": "gs", "az": "az", "abfs": "az", "abfss": "az",
}  # fmt: skip

_OF_ADDRESSES: Final = "%/:?#[]@!$&'()*+,;=~"  # what stands in addresses as it is; blanks and the like do not


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An asset, or a band of one, as catalogues call it.

    Attributes:
        keys: keys of assets that hold nothing else, the best first.
        common_name: of the band; None for an asset with several bands.
    """

    keys: tuple[str, ...]
    common_name: str | None = None


@dataclass(frozen=True, slots=True)
class Asset:
    """Where pixels are.

    Attributes:
        hrefs: addresses of the same file, to be tried in this order.
        band: which of its bands, counted from 1; None for all.
    """

    hrefs: tuple[str, ...]
    band: int | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """One Sentinel-2 product.

    Attributes:
        cloud_cover: share in [0, 1]; None where the catalogue does not say.
        offset: to be added to stored reflectance; None where the catalogue does not say.
        assets: those asked for, in their order.
        footprint: outline in degrees.
        classes: where each pixel's class is, which tells cloud from ground; None where the item has no such asset.
        version: what the catalogue tells of how its files were made; another one where they were replaced.
        cover: share of the box asked about that the scene covers; 1 for all of it.
    """

    scene_id: str
    date: dt.date
    cloud_cover: float | None
    offset: int | None
    assets: tuple[Asset, ...]
    footprint: BaseGeometry
    classes: Asset | None = None
    version: str = ""
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

        self._whole = [replace(scene, cover=1.0) for scene in scenes]
        self._outlines = np.array([scene.footprint for scene in scenes], object)
        shapely.prepare(self._outlines)
        self._tree = shapely.STRtree(self._outlines)

    def over_each(self, boxes: Sequence[BBox], least: float = LEAST_COVER) -> list[list[Scene]]:
        """Scenes that cover so much of each box, with their cover, in the order in which they were given."""
        import shapely

        outlines = shapely.box(*np.array([box.as_tuple() for box in boxes]).T)
        for i, box in enumerate(boxes):
            if box.crosses_antimeridian:
                outlines[i] = _outline(box)
        box_of, scene_of = self._tree.query(outlines, predicate="intersects")
        order = np.lexsort((scene_of, box_of))
        box_of, scene_of = box_of[order], scene_of[order]
        covers = np.ones(len(box_of))
        # Most boxes lie within a scene, which is quickly told; the overlap is only worked out for the others.
        partly = ~shapely.covers(self._outlines[scene_of], outlines[box_of])
        overlaps = shapely.intersection(self._outlines[scene_of[partly]], outlines[box_of[partly]])
        covers[partly] = np.round(shapely.area(overlaps) / shapely.area(outlines[box_of[partly]]), 6)
        found: list[list[Scene]] = [[] for _ in boxes]
        for box, scene, cover in zip(box_of.tolist(), scene_of.tolist(), covers.tolist(), strict=True):
            if cover >= least:
                found[box].append(self._whole[scene] if cover == 1.0 else replace(self._whole[scene], cover=cover))
        return found


def search_scenes(
    api: str,
    collection: str,
    area: BBox,
    since: dt.date,
    until: dt.date,
    max_cloud: float,
    assets: Sequence[Sequence[str]],
    common_names: Sequence[str] = (),
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
        common_names: of the band that each of them holds, to find it by what assets say of their bands; none for
            assets of several bands. https://github.com/stac-extensions/eo#common-band-names

    Raises:
        MissingExtraError: pystac-client is not installed.
        SourceError: the catalogue does not answer, or not as a STAC API does.
    """
    import shapely

    wanted = [_Wanted(tuple(keys), name) for keys, name in zip_longest(assets, common_names)]
    seen: set[str] = set()
    for item in search_items(api, collection, _boxes(area), since, until):
        name = str(item.get("id")) if isinstance(item, Mapping) else "without an id"
        if name in seen or not _is_asked_for(item, collection, since, until):
            continue
        seen.add(name)
        try:
            scene = _scene(item, wanted, api)
        except (AttributeError, KeyError, TypeError, ValueError, shapely.errors.GEOSException) as err:
            fault = str(err) if isinstance(err, ValueError) else f"a part of it is not as STAC has it ({err!r})"
            yield LeftOut("scene not understood", f"scene {name} of the catalogue: {fault}")
            continue
        # Not every catalogue can filter by cloud, so it is done here.
        if scene.cloud_cover is None or scene.cloud_cover <= max_cloud:
            yield scene


def _is_asked_for(item: Any, collection: str, since: dt.date, until: dt.date) -> bool:  # noqa: ANN401
    """Whether an item is of the collection and time that were asked for, as far as it tells: not all servers look."""
    try:
        first, last = _days(item["properties"])
        return str(item.get("collection") or collection) == collection and first <= until and last >= since
    except (AttributeError, KeyError, TypeError, ValueError):
        return True  # what is wrong with it is told later


def _days(properties: Mapping[str, Any]) -> tuple[dt.date, dt.date]:
    """First and last day of an item.

    Raises:
        ValueError: it has none.
    """
    days = [day for name in ("", "start_", "end_") if (day := utc_day(properties.get(f"{name}datetime"))) is not None]
    if not days:
        raise ValueError("it has no date")
    return min(days), max(days)


def _outline_of_box(box: Sequence[float] | None) -> dict[str, Any]:
    """A bbox of a STAC item as its geometry, for one that has none.

    Raises:
        ValueError: it has no bbox either.
    """
    if not box or len(box) not in (4, 6):
        raise ValueError("it has neither a geometry nor a bbox")
    west, south, *_, east, north = box if len(box) == 4 else (*box[:2], *box[3:5])
    east += 360.0 if east < west else 0.0
    return {
        "type": "Polygon",
        "coordinates": [[(west, south), (east, south), (east, north), (west, north), (west, south)]],
    }


def _cloud_share(percent: Any) -> float | None:  # noqa: ANN401 - whatever the catalogue has there
    """Share of cloud; None where it is unknown, for which some catalogues write a number out of range."""
    cloud = float("nan") if percent is None else float(percent)
    return cloud / 100 if 0 <= cloud <= 100 else None


def _scene(item: Mapping[str, Any], wanted: Sequence[_Wanted], api: str) -> Scene:
    """A record of a STAC item.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: the item lacks what is needed.
    """
    if not all(isinstance(item[part], Mapping) for part in ("properties", "assets")):
        raise ValueError("it has no properties, or no assets")
    properties = item["properties"]
    date = utc_day(properties.get("datetime")) or _days(properties)[0]
    links = [link for link in item.get("links") or [] if isinstance(link, Mapping)]
    base = next((link["href"] for link in links if link.get("rel") == "self" and link.get("href")), f"{api}/search")
    chosen = [_choose(item["assets"], one) for one in wanted]
    return Scene(
        scene_id=str(item["id"]),
        date=date,
        cloud_cover=_cloud_share(properties.get("eo:cloud_cover")),
        offset=reflectance_offset(properties, [asset for asset, _ in chosen]),
        assets=tuple(Asset(_addresses(asset, urljoin(api, base)), band) for asset, band in chosen),
        footprint=outline_on_globe(item.get("geometry") or _outline_of_box(item.get("bbox"))),
        classes=_classes(item["assets"], urljoin(api, base)),
        version=_version(properties, [asset for asset, _ in chosen]),
    )


def _version(properties: Mapping[str, Any], assets: Iterable[Mapping[str, Any]]) -> str:
    """By STAC's common metadata, and the extensions "file" and "processing"."""
    of_item = [properties.get(name) for name in ("updated", "version", "s2:processing_baseline", "processing:version")]
    of_files = [asset.get(name) for asset in assets for name in ("updated", "file:checksum", "file:size")]
    return "\0".join("" if told is None else str(told) for told in (*of_item, *of_files))


def _classes(assets: Mapping[str, Mapping[str, Any]], base: str) -> Asset | None:
    found = next((assets[key] for key in CLASS_KEYS if key in assets), None)
    try:
        return Asset(_addresses(found, base), 1) if found else None
    except (AttributeError, TypeError, ValueError):
        return None  # a scene can do without


def _choose(assets: Mapping[str, Mapping[str, Any]], wanted: _Wanted) -> tuple[Mapping[str, Any], int | None]:
    """The asset that is wanted, and its band: by key, or else by what assets say of their bands."""
    by_key = {key.lower(): asset for key, asset in assets.items()}
    for key in map(str.lower, wanted.keys):
        if isinstance(by_key.get(key), Mapping):
            return by_key[key], 1 if wanted.common_name else None
    assets = {key: asset for key, asset in assets.items() if isinstance(asset, Mapping)}
    if wanted.common_name:
        found = [
            (len(bands), asset, number)
            for asset in assets.values()
            if not _is_small(asset)
            for bands in [_bands(asset)]
            for number, band in enumerate(bands, start=1)
            if wanted.common_name in (band.get("eo:common_name"), band.get("common_name"))
            or band.get("name") in wanted.keys
        ]
        if found:
            _, asset, number = min(found, key=lambda one: one[0])  # one that holds nothing else goes first
            return asset, number
    else:
        visual = (asset for asset in assets.values() if "visual" in (asset.get("roles") or []) and not _is_small(asset))
        if (found_visual := next(visual, None)) is not None:
            return found_visual, None
    raise ValueError(f"it has no asset {' or '.join(wanted.keys)}; it has {', '.join(assets)}")


def _is_small(asset: Mapping[str, Any]) -> bool:
    """Whether an asset is a picture for people, not the pixels themselves."""
    return bool({"thumbnail", "overview"} & set(asset.get("roles") or []))


def _bands(asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What an asset says of its bands, in STAC 1.1's words or the extension's before it."""
    return [band for band in asset.get("bands") or asset.get("eo:bands") or [] if isinstance(band, Mapping)]


def _addresses(asset: Mapping[str, Any], base: str) -> tuple[str, ...]:
    """Addresses of an asset's file that may be opened: its own, and those of the extension "alternate assets".

    Raises:
        ValueError: there is none.
    """
    alternates = asset.get("alternate") or {}
    given = [asset.get("href"), *(one.get("href") for one in alternates.values() if isinstance(one, Mapping))]
    found = []
    for href in given:
        whole = urljoin(base, str(href)) if href else ""
        scheme, between, rest = whole.partition("://")
        if between and scheme.lower() in _READABLE:
            rest = quote(rest, safe=_OF_ADDRESSES) if scheme.lower().startswith("http") else rest
            found.append(f"{_READABLE[scheme.lower()]}://{rest}")
    if not found:
        told = ", ".join(without_secrets(str(href)) for href in given if href) or "none"
        raise ValueError(f"its asset has no address that may be read from a catalogue: {told}")
    return tuple(dict.fromkeys(found))


def reflectance_offset(properties: Mapping[str, Any], assets: Iterable[Mapping[str, Any]]) -> int | None:
    """What to add to a scene's stored reflectance so that all scenes agree: 0 or -1000; None where nothing tells.

    Catalogues that have applied the offset to the pixels say so; otherwise the processing baseline decides, unless the
    assets' own description says that there is none left, and where no baseline is told, the offset that they name.
    """
    if any(properties.get(f"{prefix}:boa_offset_applied") is True for prefix in ("earthsearch", "sentinel", "s2")):
        return 0
    told = next((offset for asset in assets if (offset := _told_offset(asset)) is not None), None)
    baseline = _baseline(properties.get("s2:processing_baseline") or properties.get("processing:version"))
    if baseline is None:
        return told
    return BOA_OFFSET if baseline >= OFFSET_BASELINE and told != 0 else 0


def _told_offset(asset: Mapping[str, Any]) -> int | None:
    """The offset in stored numbers that an asset names: of itself, or of its bands."""
    bands = [band for band in asset.get("raster:bands") or [] if isinstance(band, Mapping)]
    for one in (asset, *_bands(asset), *bands):
        offset, scale = (one.get(f"raster:{word}", one.get(word)) for word in ("offset", "scale"))
        if offset is not None and scale:
            return round(float(offset) / float(scale))
    return None


def _baseline(text: Any) -> float | None:  # noqa: ANN401 - whatever the catalogue has there
    """Number of a baseline, written 04.00, 4.0 or, as in product names, N0400; None for anything else."""
    found = re.fullmatch(r"N?(\d{2})(\d{2})|N?(\d+\.\d+)", str(text))
    if found is None:
        return None
    whole, hundredths, number = found.groups()
    return float(number or f"{whole}.{hundredths}")


def _boxes(area: BBox) -> list[BBox]:
    """One box, or two where it crosses the antimeridian: not every catalogue takes west > east."""
    if not area.crosses_antimeridian:
        return [area]
    return [replace(area, east=180.0), replace(area, west=-180.0)]


def _outline(box: BBox) -> BaseGeometry:
    import shapely

    parts = [shapely.box(*part.as_tuple()) for part in _boxes(box)]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)
