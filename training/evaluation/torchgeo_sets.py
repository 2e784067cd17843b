"""Classification data sets of the library torchgeo that lie in a folder already, in true colour; nothing is fetched."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.earth.chips import EUROSAT_WHITE, FULL_REFLECTANCE
from training.evaluation.labelled_set import PARTS, LabelledSet, Part, Picture, hashed_part
from wildsat_core.errors import InvalidInputError, MissingDataError, SourceError
from wildsat_core.torchvision_guard import guard_torchvision

SPLITS: dict[Part, tuple[str, ...]] = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
LOOKED_AT = 32  # pictures of a data set, to learn what its numbers mean

TorchgeoSet = Any  # its data sets have a length and samples {"image": (C, H, W), "label": number}


def open_torchgeo(source: str) -> LabelledSet:
    """Open `torchgeo:<data set>:<its folder>`; one without parts is divided by a hash of each picture's number.

    Raises:
        MissingDataError: the folder does not hold the data set.
        InvalidInputError: torchgeo is not installed or knows no such data set, or pictures have several labels each.
    """
    name, _, folder = source.removeprefix("torchgeo:").partition(":")
    kind = _find(source, name)
    if not Path(folder or ".").is_dir():
        raise MissingDataError(f"there is no folder {folder}; give torchgeo:{name}:FOLDER with the data set in it")
    divided: tuple[Part | None, ...] = PARTS if "split" in inspect.signature(kind).parameters else (None,)
    return _from_samples(name, kind, {part: _open(kind, name, folder or ".", part) for part in divided})


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


def _open(kind: TorchgeoSet, name: str, folder: str, part: Part | None) -> TorchgeoSet:
    """One part of a data set, of its bands red, green and blue where it has others."""
    known = inspect.signature(kind).parameters
    options = {"root": folder, "download": False, "bands": _true_colour(kind)}
    given = {option: value for option, value in options.items() if option in known and value is not None}
    fault: Exception | None = None
    for split in SPLITS[part] if part else (None,):
        try:
            return kind(**given, **({"split": split} if split else {}))
        except Exception as err:  # noqa: BLE001 - each has errors of its own for files that are not there
            if fault is None or isinstance(fault, AssertionError):  # as they refuse a part of another name
                fault = err
    where = f"{name} ({part})" if part else name
    raise MissingDataError(f"torchgeo can't open {where} in {folder}: {fault}") from fault


def _true_colour(kind: TorchgeoSet) -> Sequence[str] | None:
    """Its bands red, green and blue in its own words; None where it has no others."""
    named = getattr(kind, "BAND_SETS", {}).get("rgb") or getattr(kind, "rgb_bands", None)
    return tuple(named) if named else None


def _from_samples(name: str, kind: TorchgeoSet, sequences: dict[Part | None, TorchgeoSet]) -> LabelledSet:
    starts = np.cumsum([0, *map(len, sequences.values())])
    parts = list(sequences.values())
    labels = [_label_of(name, part, i) for part in parts for i in range(len(part))]
    classes = getattr(parts[0], "classes", None) or [str(i) for i in range(max(labels) + 1)]

    def image(row: int) -> NDArray[np.float32]:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return np.asarray(parts[part][row - int(starts[part])]["image"], np.float32)

    looked_at = [image(row) for row in np.linspace(0, len(labels) - 1, min(LOOKED_AT, len(labels))).astype(int)]
    if (bands := looked_at[0].shape[0]) != 3:
        raise SourceError(f"{name} has pictures of {bands} bands; true colour is needed")
    white = _white(max(float(picture.max()) for picture in looked_at), reflectance=_true_colour(kind) is not None)

    def read(row: int) -> Picture:
        return (image(row) * (255 / white)).clip(0, 255).round().astype(np.uint8)

    if None in sequences:
        divided = np.array([hashed_part(f"{name} {i}") for i in range(len(labels))])
    else:
        divided = np.repeat(np.array(list(sequences)), np.diff(starts))
    return LabelledSet(name, tuple(map(str, classes)), np.array(labels), divided, read)


def _white(brightest: float, *, reflectance: bool) -> float:
    """The number that is shown as 255: of pictures, or of a sensor's reflectance as EuroSAT's own pictures show it."""
    if not reflectance:
        return 1.0 if brightest <= 1 else 255.0
    return EUROSAT_WHITE * (FULL_REFLECTANCE if brightest > 255 else 1)


def _label_of(name: str, part: TorchgeoSet, row: int) -> int:
    targets = getattr(part, "targets", None)  # those that are folders of classes know them without reading pictures
    label = part[row]["label"] if targets is None else targets[row]
    if np.ndim(label):
        raise InvalidInputError(f"{name} has several labels a picture; one each is needed", "data")
    return int(label)
