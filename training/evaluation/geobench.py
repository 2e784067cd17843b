"""GEO-Bench's folders (Lacoste et al., arXiv:2306.03831): an HDF5 file a sample, JSON for parts and labels.

Its files hold pickles, too, and these are not read: classes have numbers, not names. Labels come from `label_map.json`
(class: samples), `label_stats.json` (sample: labels as 0 and 1), or a mask in the sample's file. Red, green and blue
are read; the bands that are named wrongly in m-eurosat and m-brick-kiln are others. Nothing is fetched.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.earth.chips import EUROSAT_WHITE, FULL_REFLECTANCE
from training.evaluation.labelled_set import IGNORED, LabelledSet, Labels, Mask, Part, Picture
from wildsat_core.errors import InvalidInputError, MissingDataError, MissingExtraError, SourceError

SPLITS: dict[str, Part] = {"train": "train", "valid": "val", "test": "test"}
DEFAULT = "default_partition.json"
MASK = "label"
BRIGHTEST_SHARE = 4.0  # reflectance as a share of the light never reaches this; numbers of eight bits do


def open_geobench(source: str) -> LabelledSet:
    """Open `geobench:<folder of a data set, or one of its ..._partition.json>`.

    Raises:
        MissingDataError: the folder does not hold a data set, or not its labels.
        MissingExtraError: h5py is not installed.
        SourceError: a file is damaged.
    """
    path = Path(source.removeprefix("geobench:")).expanduser()
    partition = path if path.suffix == ".json" else path / DEFAULT
    if not partition.is_file():
        raise MissingDataError(f"{partition.parent} is no folder of GEO-Bench: there is no {partition.name}")
    folder = partition.parent
    named = _json(partition)
    samples = [(part, str(sample)) for split, part in SPLITS.items() for sample in named.get(split, [])]
    if not samples:
        raise MissingDataError(f"{partition} names no samples in its parts train, valid and test")
    names = [sample for _, sample in samples]
    files = [folder / f"{name}.hdf5" for name in names]
    white = _white(folder, files)

    def read(row: int) -> Picture:
        shown = np.stack([_dataset(files[row], colour) for colour in ("Red", "Green", "Blue")])
        return (np.nan_to_num(shown) * (255 / white)).clip(0, 255).round().astype(np.uint8)

    parts = np.array([part for part, _ in samples])
    if _has_masks(files[0]):
        classes, labels = _classes_of_masks(folder, files), np.zeros((len(files), 0), bool)
        return LabelledSet(folder.name, classes, labels, parts, read, mask=lambda row: _mask(files[row]))
    classes, known = _labels(folder, names)
    return LabelledSet(folder.name, classes, known, parts, read)


def _labels(folder: Path, names: list[str]) -> tuple[tuple[str, ...], Labels]:
    """Names of the C classes, mostly numbers, and (N,) classes or (N, C) labels of samples."""
    by_class, by_sample = folder / "label_map.json", folder / "label_stats.json"
    try:
        if by_class.is_file():
            listed = _json(by_class)
            classes = sorted(listed, key=int if all(name.isdigit() for name in listed) else str)
            known = {str(name): row for row, label in enumerate(classes) for name in listed[label]}
            return tuple(classes), np.array([known[name] for name in names], np.int64)
        if by_sample.is_file():
            listed = _json(by_sample)
            found = np.array([listed[name] for name in names], np.float64)
            count = found.shape[1] if found.shape[1] > 1 else int(found.max()) + 1
            classes = [str(i) for i in range(count)]
            if found.shape[1] == 1:  # a class is written as its number, or as zeros and a one
                return tuple(classes), found[:, 0].astype(np.int64)
            return tuple(classes), found.argmax(1) if (found.sum(1) == 1).all() else found == 1
    except (KeyError, ValueError, TypeError, IndexError) as err:
        raise SourceError(f"the labels of {folder} do not fit its samples: {err!r}") from err
    raise MissingDataError(
        f"{folder} has neither label_map.json nor label_stats.json; the labels in its samples are pickles, which may "
        "run any code and are not read"
    )


def _white(folder: Path, files: list[Path]) -> float:
    """The number of the red band that is shown as 255, by the largest in the statistics or in the first samples."""
    statistics = folder / "band_stats.json"
    largest = [float(of["max"]) for name, of in (_json(statistics) if statistics.is_file() else {}).items()
               if _is_band(name, "Red")]  # fmt: skip
    brightest = max(largest or [float(np.nanmax(_dataset(file, "Red"))) for file in files[:32]])
    if brightest <= BRIGHTEST_SHARE:
        return EUROSAT_WHITE
    return EUROSAT_WHITE * FULL_REFLECTANCE if brightest > 255 else 255.0


def _classes_of_masks(folder: Path, files: list[Path]) -> tuple[str, ...]:
    statistics = folder / "label_stats.json"
    if statistics.is_file() and (listed := _json(statistics)):
        count = len(next(iter(listed.values())))
    else:
        count = max(int(_mask(file).max()) for file in files) + 1
    return tuple(str(i) for i in range(count))


def _mask(file: Path) -> Mask:
    with _opened(file) as content:
        values = np.asarray(content[MASK])
    lowest, highest = values.min(), values.max()
    if lowest < 0 or highest > IGNORED:
        raise SourceError(f"{file} has a mask of {lowest} to {highest}; classes are numbers from 0 to {IGNORED}")
    return np.asarray(values.reshape(values.shape[:2]), np.uint8)


def _has_masks(file: Path) -> bool:
    with _opened(file) as content:
        return MASK in content


def _dataset(file: Path, colour: str) -> NDArray[np.float32]:
    """One band (H, W) by its colour; of several dates the first."""
    with _opened(file) as content:
        names = sorted(name for name in content if _is_band(name, colour))
        if not names:
            raise SourceError(f"{file} has no band {colour}; it has {', '.join(content)}")
        return np.asarray(content[names[0]], np.float32)


def _is_band(name: str, colour: str) -> bool:
    """Whether a band is called so: "04 - Red", "Red", or either with a date after it."""
    return re.fullmatch(rf"(\d+ - )?{colour}(_.*)?", name) is not None


def _opened(file: Path) -> Any:  # noqa: ANN401 - h5py has no types
    try:
        import h5py
    except ImportError as err:
        raise MissingExtraError("h5py", "torchgeo", "GEO-Bench") from err
    try:
        return h5py.File(file, "r")
    except OSError as err:
        raise SourceError(f"{file} can't be read: {err}") from err


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise SourceError(f"{path} can't be read: {err}") from err
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path} must hold an object", "data")
    return content
