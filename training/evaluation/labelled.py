"""Opens labelled pictures: a folder of classes, a zip of one, a table, or a data set of torchgeo."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.evaluation.labelled_set import LabelledSet, Labels, Part, Picture, hashed_part
from training.evaluation.torchgeo_sets import open_torchgeo
from wildsat_core.errors import InvalidInputError, MissingDataError, SourceError

ENDINGS = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
SEPARATORS = r"[;|]"  # between the labels of one picture; names have commas
_OWN_COLUMNS = {"file", "label", "labels", "split"}
_PART_NAMES: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def open_labelled(source: str) -> LabelledSet:
    """Open a data set.

    Args:
        source: a folder, or a zip, with a folder for each class, which may lie in folders train, val and test; a CSV of
            `file,label` and, if known, `split` and any further columns; one of `file,labels`, where a picture has any
            number of labels with ; or | between them; or `torchgeo:<data set>:<its folder>`.
            Without parts of its own, a picture's is chosen by a hash of its file name: 80 % train, 5 % val, 15 % test.

    Raises:
        MissingDataError: nothing is there.
        InvalidInputError: it holds no classes, or is none of these.
    """
    if source.startswith("torchgeo:"):
        return open_torchgeo(source)
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.suffix.lower() in ENDINGS)
        return _by_folders(path.name, files, lambda name: (path / name).read_bytes(), str(path))
    if not path.is_file():
        raise MissingDataError(
            f"there is no data set at {path}; give a folder of classes, a zip, a CSV or torchgeo:..."
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
    named = [(file, Path(file).parent.name, _part_in_path(file)) for file in files]
    named = [row for row in named if row[1] and row[1].lower() not in _PART_NAMES]
    if not named:
        raise InvalidInputError(f"{what} has no folders of pictures, one for each class", "data")
    parts = [part or hashed_part(file) for file, _, part in named]
    return _made(name, [row[0] for row in named], [row[1] for row in named], parts, content)


def _by_table(path: Path) -> LabelledSet:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    known = rows[0].keys() if rows else set()
    if "file" not in known or len({"label", "labels"} & known) != 1:
        raise InvalidInputError(f"{path} needs the columns file and label, or file and labels, and a row", "data")
    several = "labels" in known
    parts: list[str] = []
    for number, row in enumerate(rows, 2):
        part = (row.get("split") or "").strip().lower()
        if part and part not in _PART_NAMES:
            raise InvalidInputError(f"{path}, line {number}: split must be train, val or test, got {part!r}", "data")
        if not row["file"] or not (several or row["label"]):
            raise InvalidInputError(f"{path}, line {number}: file and label must not be empty", "data")
        parts.append(_PART_NAMES[part] if part else hashed_part(row["file"]))
    columns = {
        column: np.array([row.get(column) or "" for row in rows])
        for column in rows[0]
        if column and column not in _OWN_COLUMNS
    }
    files = [row["file"] for row in rows]
    labels = [_split(row["labels"]) for row in rows] if several else [row["label"].strip() for row in rows]
    return _made(path.stem, files, labels, parts, lambda name: (path.parent / name).read_bytes(), columns)


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
        try:
            return _decoded(content(files[row]))
        except (OSError, ValueError, SyntaxError) as err:  # Pillow raises SyntaxError for a broken PNG
            raise SourceError(f"{files[row]} can't be read: {err}") from err

    return LabelledSet(name, classes, known, np.array(parts), read, columns or {})


def _numbered(labels: Sequence[str] | Sequence[set[str]]) -> tuple[tuple[str, ...], Labels]:
    """Names of classes, and the labels as a data set keeps them."""
    if labels and isinstance(labels[0], str):
        classes, numbers = np.unique(np.array(labels), return_inverse=True)
        return tuple(classes.tolist()), numbers.astype(np.int64)
    names = sorted(set().union(*labels))
    return tuple(names), np.array([[name in one for name in names] for one in labels], bool).reshape(len(labels), -1)


def _decoded(content: bytes) -> Picture:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        if opened.mode.startswith(("I", "F")):
            raise ValueError(f"it has pixels of the mode {opened.mode}; eight-bit pictures in true colour are needed")
        return np.ascontiguousarray(np.asarray(opened.convert("RGB"), np.uint8).transpose(2, 0, 1))


def _part_in_path(file: str) -> Part | None:
    return next((_PART_NAMES[p.lower()] for p in Path(file).parts[:-2] if p.lower() in _PART_NAMES), None)
