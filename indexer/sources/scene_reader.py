"""Pixels of scenes that a catalogue names: which address may be read, how, and with which offset."""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from indexer.sources.dataset import open_dataset
from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.mosaics import Mask, Pixels
from indexer.sources.protocol import UnreachableError
from indexer.sources.remote import patiently
from indexer.sources.scenes import Asset
from indexer.sources.view import BandChoice
from wildsat_core.addresses import is_remote, public_name, without_secrets
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import BBox, Tile

logger = logging.getLogger(__name__)

# Reflectance below this is not to be had, but for noise: with 1000 added to it, land and water store no such numbers.
LEAST_WITH_OFFSET: Final = 500
# Of the scene classification: shadow of clouds, clouds of medium and high probability, thin cirrus.
# https://sentiwiki.copernicus.eu/web/s2-processing#S2Processing-SceneClassification
UNCLEAR: Final = (3, 8, 9, 10)
MOST_BELOW_IT: Final = 0.1
# Files that hold their pixels themselves. A virtual raster, which a catalogue could name as well, may lead to any file
# of this machine.
DRIVERS: Final = frozenset({"GTiff", "COG", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JPEG", "PNG", "WEBP"})


class OffsetInDoubtError(SourceError):
    """Reflectance is darker than it can be if the offset that the catalogue tells is in it."""

    reason = "offset in doubt"


@dataclass(frozen=True, slots=True)
class ScenePlace:
    """One scene as a reader must know it: which files and bands of it, and its reflectance offset.

    Attributes:
        day: the date as ids have it.
        classes: where the class of each pixel is; None where there is no such asset.
    """

    scene_id: str
    date: dt.date
    day: str
    cloud_cover: float | None
    assets: tuple[Asset, ...]
    offset: int
    classes: Asset | None = None


@dataclass(frozen=True, slots=True)
class SceneReader:
    """Reads cells of scenes.

    Attributes:
        px: side of a cell in pixels.
        signer: "module:function" that turns an address into one that may be read; None for none.
    """

    px: int
    signer: str | None = None

    def read(self, place: ScenePlace, tile: Tile) -> tuple[Pixels, Mask]:
        """(C, px, px) of one scene, its offset taken back, and the (px, px) mask: of one file, or a file a band.

        Raises:
            UnreachableError: the server does not answer, or the signer failed.
            OffsetInDoubtError: the offset that the catalogue tells is not in the pixels.
            SourceError: an asset can't be read.
        """
        layers, masks = [], []
        for asset in place.assets:
            values, valid = self._read_asset(place, tile, asset)
            layers.append(values)
            masks.append(valid)
        values, valid = np.concatenate(layers), np.logical_and.reduce(masks)
        if place.offset:
            _check_offset(values, valid, place)
            # Below zero after the offset is noise over dark water; the products clip it, too.
            values = np.clip(values.astype(np.int32) + place.offset, 0, None).astype(np.uint16)
        return values, valid

    def prepare(self, place: ScenePlace, boxes: Sequence[BBox]) -> None:
        """Fetch what cells of one scene need of servers, in few requests: of the first address of each of its files.

        Raises:
            SourceError: it can't be had.
        """
        for asset in place.assets:
            if not is_remote(asset.hrefs[0]):
                continue
            href = self._signed(asset.hrefs[0])
            choice = _choice((1, 2, 3) if asset.band is None else (asset.band,))

            def fetch(href: str = href, choice: BandChoice = choice) -> None:
                open_dataset(href, None, choice, DRIVERS).fetch_boxes(boxes, self.px)

            patiently(href, fetch, between=open_dataset.cache_clear)

    def clear(self, place: ScenePlace, tile: Tile) -> Mask:
        """(px, px) True where one scene shows ground, by its scene classification; everywhere, where it has none.

        Raises:
            UnreachableError: the server does not answer, or the signer failed.
        """
        if place.classes is None:
            return np.ones((self.px, self.px), bool)
        fault: SourceError | None = None
        for href in place.classes.hrefs:
            try:
                [classes], valid = self._warped(self._signed(href), tile.bbox, (1,), is_classes=True)
            except UnreachableError:
                raise
            except SourceError as err:
                fault = err
            else:
                return valid & ~np.isin(classes, UNCLEAR)
        logger.warning("%s: clouds can't be told from ground: %s", place.scene_id, fault)
        return np.ones((self.px, self.px), bool)

    def _read_asset(self, place: ScenePlace, tile: Tile, asset: Asset) -> tuple[Pixels, Mask]:
        """Of the first of its addresses that can be read."""
        fault: SourceError | None = None
        for href in asset.hrefs:
            try:
                return self._warped(self._signed(href), tile.bbox, (1, 2, 3) if asset.band is None else (asset.band,))
            except SourceError as err:
                fault = fault or err
        assert fault is not None
        raise fault

    def _warped(
        self, href: str, box: BBox, indexes: tuple[int, ...], *, is_classes: bool = False
    ) -> tuple[Pixels, Mask]:
        """Resample a box of degrees; UTM scenes go on beyond 180 degrees, so a box over it is one piece.

        Raises:
            SourceError: the file can't be read, or holds no numbers of classes where these are wanted.
        """
        choice = _choice(indexes)

        def read() -> tuple[Pixels, Mask]:
            dataset = open_dataset(href, None, choice, DRIVERS)
            if is_classes and dataset.is_palette:
                raise SourceError(f"{public_name(href)} is a palette picture, which has no numbers of classes")
            return dataset.warp_box(box, self.px, is_classes=is_classes)

        try:
            values, valid = patiently(href, read, between=open_dataset.cache_clear)
        except library_errors() as err:
            raise read_error(f"{public_name(href)} can't be read", href, err) from err
        # Sentinel-2 products use 0 for no data, whether or not the file says so.
        return values, valid & (values != 0).any(axis=0)

    def _signed(self, href: str) -> str:
        """The address as it may be read.

        Raises:
            UnreachableError: the signer failed; it may do better later.
        """
        if self.signer is None:
            return href
        try:
            return str(find_signer(self.signer)(href))
        except Exception as err:
            told = without_secrets(f"{type(err).__name__}: {err}")
            raise UnreachableError(f"the signer {self.signer} failed for {public_name(href)}: {told}") from err


def _choice(indexes: tuple[int, ...]) -> BandChoice:
    return BandChoice(tuple(f"band {i}" for i in indexes), indexes)


def _check_offset(values: Pixels, valid: Mask, place: ScenePlace) -> None:
    """Refuse pixels that are too dark to have the offset in them still: it was taken back already.

    Raises:
        OffsetInDoubtError: naming the scene.
    """
    if place.offset >= 0 or not valid.any():
        return
    below = float((values[:, valid] < LEAST_WITH_OFFSET).mean())
    if below > MOST_BELOW_IT:
        raise OffsetInDoubtError(
            f"{place.scene_id}: by the catalogue {-place.offset} is to be taken off its reflectance, but {below:.0%} "
            f"of the values lie below {LEAST_WITH_OFFSET}, so it was taken off already: say --offset 0"
        )


@functools.lru_cache(maxsize=4)
def find_signer(name: str) -> Callable[[str], str]:
    """The function that a "module:function" name means.

    Raises:
        InvalidInputError: there is none.
    """
    module, _, function = name.partition(":")
    try:
        found: Callable[[str], str] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as err:
        raise InvalidInputError(f"--signer {name!r} is not an importable module:function: {err}", "signer") from err
    return found
