"""Opens labelled pictures: a folder of classes, a zip of one, a table, or a data set that others have published."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.evaluation.geobench import open_geobench
from training.evaluation.labelled_set import IGNORED, LabelledSet, Labels, Mask, Part, Picture, hashed_part
from training.evaluation.pictures import decoded, decoded_mask
from training.evaluation.satbird import open_satbird
from training.evaluation.torchgeo_sets import open_torchgeo
from wildsat_core.errors import InvalidInputError, MissingDataError, SourceError

ENDINGS = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
SEPARATORS = r"[;|]"  # between the labels of one picture; names have commas
_KNOWN = {"label", "labels", "mask"}  # a table has one of these columns
_OWN_COLUMNS = {"file", "split"} | _KNOWN
_OTHERS = {"torchgeo": open_torchgeo, "geobench": open_geobench, "satbird": open_satbird}
_PART_NAMES: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
                                "test_gt": "test"}  # fmt: skip
_OTHER_BANDS = ("_msrgb.jpg", "_msrgb.tif")  # fMoW shows every place twice


def open_labelled(source: str) -> LabelledSet:
    """Open a data set.

    Args:
        source: a folder, or a zip, with a folder for each class, which may lie in folders train, val and test; a CSV of
            `file,label` and, if known, `split` and any further columns; one of `file,labels`, where a picture has any
            number of labels with ; or | between them; one of `file,mask`, where a mask is a picture whose pixels are
            numbers of classes; `torchgeo:<data set>:<its folder>`, `geobench:<folder>` or `satbird:<folder>`.
            Without parts of its own, a picture's is chosen by a hash of its file name: 80 % train, 5 % val, 15 % test.

    Raises:
        MissingDataError: nothing is there.
        InvalidInputError: it holds no classes, or is none of these.
    """
    if (other := _OTHERS.get(source.partition(":")[0])) is not None:
        return other(source)
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.suffix.lower() in ENDINGS)
        return _by_folders(path.name, files, lambda name: (path / name).read_bytes(), str(path))
    if not path.is_file():
        raise MissingDataError(
            f"there is no data set at {path}; give a folder of classes, a zip, a CSV, torchgeo:..., geobench:... or "
            "satbird:..."
        )
    if path.suffix.lower() == ".csv":
        return _by_table(path)
    if zipfile.is_zipfile(path):
        archive = zipfile.ZipFile(path)
        files = sorted(name for name in archive.namelist() if Path(name).suffix.lower() in ENDINGS)
        return _by_folders(path.stem, files, archive.read, str(path))
    raise InvalidInputError(f"{path} is neither a folder of classes, nor a zip of one, nor a CSV", "data")


def _by_folders(name: str, files: Sequence[str], content: Callable[[str], bytes], what: str) -> LabelledSet:
    """A picture's class is its folder; a folder above of a part's name says the part."""
    shown = [file for file in files if not file.endswith(_OTHER_BANDS)]
    named = [(file, _class_of(Path(file)), _part_in_path(file)) for file in shown]
    named = [row for row in named if row[1] and row[1].lower() not in _PART_NAMES]
    if not named:
        raise InvalidInputError(f"{what} has no folders of pictures, one for each class", "data")
    parts = [part or hashed_part(file) for file, _, part in named]
    return _made(name, [row[0] for row in named], [row[1] for row in named], parts, content)


def _by_table(path: Path) -> LabelledSet:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    known = rows[0].keys() if rows else set()
    if "file" not in known or len(_KNOWN & known) != 1:
        raise InvalidInputError(f"{path} needs the columns file and label, labels or mask, and a row", "data")
    kind = next(iter(_KNOWN & known))
    parts: list[str] = []
    for number, row in enumerate(rows, 2):
        part = (row.get("split") or "").strip().lower()
        if part and part not in _PART_NAMES:
            raise InvalidInputError(f"{path}, line {number}: split must be train, val or test, got {part!r}", "data")
        if not row["file"] or not (kind == "labels" or row[kind]):
            raise InvalidInputError(f"{path}, line {number}: file and {kind} must not be empty", "data")
        parts.append(_PART_NAMES[part] if part else hashed_part(row["file"]))
    columns = {
        column: np.array([row.get(column) or "" for row in rows])
        for column in rows[0]
        if column and column not in _OWN_COLUMNS
    }
    files = [row["file"] for row in rows]

    def content(name: str) -> bytes:
        return (path.parent / name).read_bytes()

    if kind == "labels":
        return _made(path.stem, files, [_split(row["labels"]) for row in rows], parts, content, columns)
    labels = [row[kind].strip() for row in rows]
    made = _made(path.stem, files, labels, parts, content, columns)
    return made if kind == "label" else _with_masks(made, labels, content)


def _with_masks(made: LabelledSet, files: Sequence[str], content: Callable[[str], bytes]) -> LabelledSet:
    """The data set with masks in place of the names of their files; its classes are the numbers up to the largest."""

    def mask(row: int) -> Mask:
        return _read(files[row], content, decoded_mask)

    largest = max(int(one[one != IGNORED].max(initial=0)) for one in map(mask, range(len(files))))
    names, none = tuple(str(i) for i in range(largest + 1)), np.zeros((len(files), 0), bool)
    return replace(made, classes=names, labels=none, mask=mask)


def _read(file: str, content: Callable[[str], bytes], decode: Callable[[bytes], Picture]) -> Picture:
    try:
        return decode(content(file))
    except (OSError, ValueError, SyntaxError) as err:  # Pillow raises SyntaxError for a broken PNG
        raise SourceError(f"{file} can't be read: {err}") from err


def _split(cell: str | None) -> set[str]:
    """Labels of one picture."""
    return {name for part in re.split(SEPARATORS, cell or "") if (name := part.strip())}


def _made(
    name: str,
    files: Sequence[str],
    labels: Sequence[str] | Sequence[set[str]],
    parts: Sequence[str],
    content: Callable[[str], bytes],
    columns: dict[str, NDArray[np.str_]] | None = None,
) -> LabelledSet:
    classes, known = _numbered(labels)

    def read(row: int) -> Picture:
        return _read(files[row], content, decoded)

    return LabelledSet(name, classes, known, np.array(parts), read, columns or {})


def _numbered(labels: Sequence[str] | Sequence[set[str]]) -> tuple[tuple[str, ...], Labels]:
    """Names of classes, and the labels as a data set keeps them."""
    if labels and isinstance(labels[0], str):
        classes, numbers = np.unique(np.array(labels), return_inverse=True)
        return tuple(classes.tolist()), numbers.astype(np.int64)
    names = sorted(set().union(*labels))
    return tuple(names), np.array([[name in one for name in names] for one in labels], bool).reshape(len(labels), -1)


def _class_of(file: Path) -> str:
    """The folder's name; of one site's pictures in a folder `<class>/<class>_<number>`, as fMoW has them, the class."""
    above = file.parent.parent.name
    return above if re.fullmatch(rf"{re.escape(above)}_\d+", file.parent.name) else file.parent.name


def _part_in_path(file: str) -> Part | None:
    return next((_PART_NAMES[p.lower()] for p in Path(file).parts[:-2] if p.lower() in _PART_NAMES), None)
