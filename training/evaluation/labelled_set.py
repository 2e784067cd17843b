"""Pictures and what is known of them, as the experiments read them, whatever form they lie in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.earth.chips import part_of

Part = Literal["train", "val", "test"]
Picture = NDArray[np.uint8]  # (3, H, W)
Read = Callable[[int], Picture]
Kind = Literal["class", "labels", "rates", "mask"]
Labels = NDArray[np.int64] | NDArray[np.bool_] | NDArray[np.float32]
Mask = NDArray[np.uint8]  # (H, W) the class of each pixel, or IGNORED

IGNORED = 255  # in a mask: not known
PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """N pictures; row i of every array is picture i.

    Attributes:
        name: for tables.
        classes: C names.
        labels: (N,) rows of `classes`; or, where a picture has any number of labels, (N, C) which of them; or (N, C)
            the rate of each, 0 to 1; or (N, 0) where there are masks.
        parts: (N,) "train", "val" or "test".
        read: gives picture i as (3, H, W) uint8, red, green and blue.
        columns: further facts about each picture, by name, (N,) strings; "lon" and "lat" among them if known.
        mask: gives the mask of picture i, if there are masks.
    """

    name: str
    classes: tuple[str, ...]
    labels: Labels
    parts: NDArray[np.str_]
    read: Read
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    mask: Callable[[int], Mask] | None = None

    @property
    def kind(self) -> Kind:
        """What is known of each picture: its class, which labels it has, each one's rate, or each pixel's class."""
        if self.mask is not None:
            return "mask"
        if self.labels.ndim == 1:
            return "class"
        return "labels" if self.labels.dtype == bool else "rates"

    def cropped(self, side: int) -> LabelledSet:
        """The same with the middle of each picture and mask alone, at most so many pixels a side."""
        read, mask = self.read, self.mask
        inner = None if mask is None else lambda row: middle(mask(row), side)
        return replace(self, read=lambda row: middle(read(row), side), mask=inner)

    def rows_of(self, part: Part, most: int | None = None) -> NDArray[np.int64]:
        """Pictures of a part, (R,); with `most` at most so many, evenly over the rows, which lie class by class."""
        rows = np.flatnonzero(self.parts == part)
        if most is not None and len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(int)]
        return rows

    def batches(self, rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.uint8]]:
        """Pictures of some rows in order, (B, 3, H, W); a batch ends early where the size of pictures changes."""
        batch: list[Picture] = []
        for row in rows:
            picture = self.read(int(row))
            if batch and (len(batch) == size or batch[0].shape != picture.shape):
                yield np.stack(batch)
                batch = []
            batch.append(picture)
        if batch:
            yield np.stack(batch)


def middle(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The middle of (..., H, W), at most so many pixels a side."""
    top, left = (max(0, (length - side) // 2) for length in picture.shape[-2:])
    return picture[..., top : top + side, left : left + side]


def hashed_part(file: str) -> Part:
    """The part of a picture without one, as EuroSAT is divided here: what a shipped model learned from is not asked."""
    part = part_of(Path(file).name)
    return "val" if part == "tune" else part


def fingerprint(data: LabelledSet) -> str:
    """Twelve digits that differ when labels or parts do."""
    labels = str(data.labels.tolist()) if data.kind == "class" else hashlib.sha256(data.labels.tobytes()).hexdigest()
    return hashlib.sha256("".join([*data.classes, labels, *data.parts]).encode()).hexdigest()[:12]
