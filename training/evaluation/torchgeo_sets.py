"""Classification data sets of the library torchgeo that lie in a folder already, in true colour; nothing is fetched."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.earth.chips import EUROSAT_WHITE, FULL_REFLECTANCE
from training.evaluation.labelled_set import PARTS, LabelledSet, Labels, Part, Picture, hashed_part
from wildsat_core.errors import InvalidInputError, MissingDataError, SourceError
from wildsat_core.torchvision_guard import guard_torchvision

SPLITS: dict[Part, tuple[str, ...]] = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
LOOKED_AT = 32  # pictures of a data set, to learn what its numbers mean
# Sets of all bands of Sentinel-2, as torchgeo sorts them, where blue, green and red are the second to fourth.
SENTINEL2_SETS = ("BigEarthNet", "BigEarthNetV2")
SENTINEL2_RGB = [3, 2, 1]

TorchgeoSet = Any  # its data sets have a length and samples {"image": (C, H, W), "label": a number, or (L,) 0 or 1}


def open_torchgeo(source: str) -> LabelledSet:
    """Open `torchgeo:<data set>:<its folder>`; one without parts is divided by a hash of each picture's number.

    Raises:
        MissingDataError: the folder does not hold the data set.
        InvalidInputError: torchgeo is not installed or knows no such data set, or it is none of pictures with labels.
    """
    name, _, folder = source.removeprefix("torchgeo:").partition(":")
    kind = _find(source, name)
    if not Path(folder or ".").is_dir():
        raise MissingDataError(f"there is no folder {folder}; give torchgeo:{name}:FOLDER with the data set in it")
    divided: tuple[Part | None, ...] = PARTS if "split" in inspect.signature(kind).parameters else (None,)
    opened = {part: _open(kind, name, folder or ".", part) for part in divided}
    return _from_samples(name, kind, {part: data for part, data in opened.items() if data is not None})


def _find(source: str, name: str) -> TorchgeoSet:
    guard_torchvision()  # torchgeo imports torchvision, which may be of another build than torch
    try:
        from torchgeo import datasets
    except ImportError as err:
        raise InvalidInputError(
            f"{source!r} needs the package torchgeo, which can't be imported here: pip install torchgeo ({err})", "data"
        ) from err
    found = next((getattr(datasets, n) for n in dir(datasets) if n.lower() == name.lower()), None)
    if found is None:
        raise InvalidInputError(f"torchgeo has no data set {name!r}; its names are those of torchgeo.datasets", "data")
    return found


def _open(kind: TorchgeoSet, name: str, folder: str, part: Part | None) -> TorchgeoSet | None:
    """One part of a data set, of its bands red, green and blue where it has others; None where it has no such part."""
    known = inspect.signature(kind).parameters
    bands = "s2" if kind.__name__ in SENTINEL2_SETS else _true_colour(kind)
    options = {"root": folder, "download": False, "bands": bands}
    given = {option: value for option, value in options.items() if option in known and value is not None}
    fault: Exception | None = None
    for split in SPLITS[part] if part else (None,):
        try:
            return kind(**given, **({"split": split} if split else {}))
        except Exception as err:  # noqa: BLE001 - each has errors of its own for files that are not there
            if fault is None or isinstance(fault, AssertionError):  # as they refuse a part of another name
                fault = err
    if part == "val" and isinstance(fault, AssertionError):
        return None
    where = f"{name} ({part})" if part else name
    raise MissingDataError(f"torchgeo can't open {where} in {folder}: {fault}") from fault


def _true_colour(kind: TorchgeoSet) -> Sequence[str] | None:
    """Its bands red, green and blue in its own words; None where it has no others."""
    named = getattr(kind, "BAND_SETS", {}).get("rgb") or getattr(kind, "rgb_bands", None)
    return tuple(named) if named else None


def _from_samples(name: str, kind: TorchgeoSet, sequences: dict[Part | None, TorchgeoSet]) -> LabelledSet:
    starts = np.cumsum([0, *map(len, sequences.values())])
    parts = list(sequences.values())
    labels = _labels_of(name, parts)

    def image(row: int) -> NDArray[np.float32]:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        values = np.asarray(parts[part][row - int(starts[part])]["image"], np.float32)
        return values[SENTINEL2_RGB] if kind.__name__ in SENTINEL2_SETS else values

    looked_at = [image(row) for row in np.linspace(0, len(labels) - 1, min(LOOKED_AT, len(labels))).astype(int)]
    if (bands := looked_at[0].shape[0]) != 3:
        raise SourceError(f"{name} has pictures of {bands} bands; true colour is needed")
    reflectance = kind.__name__ in SENTINEL2_SETS or _true_colour(kind) is not None
    white = _white(max(float(picture.max()) for picture in looked_at), reflectance=reflectance)

    def read(row: int) -> Picture:
        return (image(row) * (255 / white)).clip(0, 255).round().astype(np.uint8)

    if None in sequences:
        divided = np.array([hashed_part(f"{name} {i}") for i in range(len(labels))])
    else:
        divided = np.repeat(np.array(list(sequences)), np.diff(starts))
    return LabelledSet(name, _classes(parts[0], labels), labels, divided, read)


def _white(brightest: float, *, reflectance: bool) -> float:
    """The number that is shown as 255: of pictures, or of a sensor's reflectance as EuroSAT's own pictures show it."""
    if not reflectance:
        return 1.0 if brightest <= 1 else 255.0
    return EUROSAT_WHITE * (FULL_REFLECTANCE if brightest > 255 else 1)


def _labels_of(name: str, parts: Sequence[TorchgeoSet]) -> Labels:
    """(N,) classes or (N, C) labels of all parts, one after the other."""
    found = [_label_of(name, part, row) for part in parts for row in range(len(part))]
    if not found:
        raise MissingDataError(f"{name} has no pictures in that folder")
    if np.ndim(found[0]):
        return np.array(found, bool)
    return np.array(found, np.int64)


def _label_of(name: str, part: TorchgeoSet, row: int) -> Any:  # noqa: ANN401 - a number or an array
    """Of one picture, without reading its pixels where the data set lets us."""
    if (targets := getattr(part, "targets", None)) is not None:  # those that are folders of classes
        return int(targets[row])
    if part.__class__.__name__ in SENTINEL2_SETS:  # twelve files a picture, half a million pictures
        return np.asarray(part._load_target(row))
    sample = part[row]
    if not {"image", "label"} <= sample.keys() or np.ndim(sample["label"]) > 1:
        raise InvalidInputError(f"{name} is no data set of pictures with a class or labels each", "data")
    return np.asarray(sample["label"])


def _classes(part: TorchgeoSet, labels: Labels) -> tuple[str, ...]:
    """Names of the classes as the data set has them, or their numbers."""
    count = labels.shape[1] if labels.ndim > 1 else int(labels.max()) + 1
    named = getattr(part, "classes", None) or getattr(part, "class_set", None)
    named = named or getattr(part, "class_sets", {}).get(count) or [str(i) for i in range(count)]
    return tuple(map(str, named))
