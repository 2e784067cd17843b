"""The open format of a training set: three Parquet tables and a file of text embeddings, in one folder.

places.parquet   path (under the imagery's root), window (left, top, width, height in pixels, or null for the whole
                 file), lon, lat (centre, degrees), captured_on, cell (equal-area cell of ground), site (places of one
                 site are pictures of the same ground at other dates), split ("train", "val", "test", or "buffer" for a
                 place that is in no part, since it lies too near to one that is held out)
texts.parquet    species, section, text (null where only its embedding is known), source, licence
pairs.parquet    place, text (row numbers of the other tables), group (one species in one cell), lon, lat (of the
                 sighting, degrees)
text_embeddings.safetensors   "embeddings" (T, E), row i of it is row i of texts.parquet
dataset.json     format version, where the imagery is, its bands, the text encoder, counts and provenance
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError, MissingDataError
from wildsat_core.files import sha256_file

if TYPE_CHECKING:
    import pyarrow as pa

PLACES, TEXTS, PAIRS = "places.parquet", "texts.parquet", "pairs.parquet"
EMBEDDINGS, ABOUT = "text_embeddings.safetensors", "dataset.json"
SPLITS = ("train", "val", "test")
BUFFER = "buffer"  # places that are in no part, because they lie too near to what is held out
TEXT_COLUMNS = ("species", "section", "text", "source", "licence")

Split = Literal["train", "val", "test"]
Ints = npt.NDArray[np.int64]


class DatasetAbout(BaseModel):
    """`dataset.json`.

    Attributes:
        imagery: root of the places' paths, absolute or relative to the data set's folder.
        bands: names of the bands in a file, in order.
        band_files: bands beyond red, green and blue are files of their own, in folders beside the picture's that bear
            the bands' names, as in SatlasPretrain.
        text_encoder: which encoder made the embeddings, empty before there are any.
        provenance: what it was made from, for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    imagery: str
    bands: tuple[str, ...] = RGB
    band_files: bool = False
    text_encoder: str = ""
    provenance: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A data set opened for reading. Row numbers of one table are what the others refer to."""

    folder: Path
    about: DatasetAbout
    places: pa.Table
    texts: pa.Table
    pairs: pa.Table

    @property
    def imagery_root(self) -> Path:
        """Where the places' paths begin."""
        return self.folder / self.about.imagery  # an absolute path stays as it is

    def column(self, table: Literal["places", "texts", "pairs"], name: str) -> npt.NDArray[Any]:
        """A column as an array, (N,) of the column's type."""
        values: npt.NDArray[Any] = getattr(self, table).column(name).to_numpy()
        return values

    def pairs_of(self, split: Split) -> Ints:
        """(R,) row numbers of the pairs whose place is in this part, ascending."""
        in_split = self.column("places", "split") == split
        return np.flatnonzero(in_split[self.column("pairs", "place")]).astype(np.int64)

    def fingerprint(self) -> str:
        """Differs when a table or the text encoder does: 64 hexadecimal digits. Where the set lies doesn't count."""
        tables = "".join(sha256_file(self.folder / name) for name in (PLACES, TEXTS, PAIRS))
        return hashlib.sha256(f"{tables}{self.about.text_encoder}".encode()).hexdigest()

    def embeddings(self) -> TextEmbeddings:
        """The text embeddings, read a row at a time.

        Raises:
            MissingDataError: they were not made yet.
        """
        return TextEmbeddings(self.folder / EMBEDDINGS, len(self.texts))


class TextEmbeddings:
    """Rows of `text_embeddings.safetensors`, without loading the file; each process opens its own."""

    def __init__(self, path: Path, rows: int) -> None:
        """Look at the file's header.

        Raises:
            MissingDataError: there is no such file.
            InvalidInputError: it has another number of rows than the table of texts.
        """
        if not path.is_file():
            raise MissingDataError(f"{path} is missing; make it with `wildsat dataset embed-texts {path.parent}`")
        self._path = path
        self._slice: Any = None
        shape = self._open().get_shape()
        if len(shape) != 2 or shape[0] != rows:
            raise InvalidInputError(f"{path} has the shape {tuple(shape)}, the table of texts has {rows} rows")
        self.dim = int(shape[1])
        self._slice = None  # opened again in each worker process

    def _open(self) -> Any:  # noqa: ANN401 - safetensors gives its slices no public type
        from safetensors import safe_open

        if self._slice is None:
            file: Any = safe_open(self._path, "np")
            self._slice = file.get_slice("embeddings")
        return self._slice

    def __getitem__(self, row: int) -> npt.NDArray[np.float32]:
        """(E,) float32."""
        return np.asarray(self._open()[int(row) : int(row) + 1], np.float32).reshape(self.dim)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind when sent to a worker."""
        return {"_path": self._path, "dim": self.dim, "_slice": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the path; the file opens at the first row."""
        self.__dict__.update(state)


def open_dataset(folder: str | Path) -> TrainingSet:
    """Open a data set and check that its tables fit each other.

    Raises:
        MissingDataError: a file is missing.
        InvalidInputError: a file is not of this format, or refers to rows that aren't there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder)
    try:
        about = DatasetAbout.model_validate_json((path / ABOUT).read_bytes())
        tables = [pq.read_table(path / name) for name in (PLACES, TEXTS, PAIRS)]
    except FileNotFoundError as err:
        raise MissingDataError(f"{path} is not a training set: {Path(str(err.filename)).name} is missing") from err
    except (ValidationError, pa.ArrowInvalid) as err:
        raise InvalidInputError(f"{path} can't be read as a training set: {err}") from err
    places, texts, pairs = (
        _with_columns(table, wanted, name)
        for table, wanted, name in zip(tables, (_PLACES, TEXT_COLUMNS, _PAIRS), (PLACES, TEXTS, PAIRS), strict=True)
    )
    for name, table in (("place", places), ("text", texts)):
        rows = pairs.column(name).to_numpy()
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(table)):
            raise InvalidInputError(f"{path / PAIRS} refers to {name} {rows.max()}, there are {len(table)}")
    return TrainingSet(path, about, places, texts, pairs)


def clear_dataset(folder: Path) -> None:
    """Remove what would no longer fit new tables: the description, and whole or half-made embeddings of older texts."""
    for file in (folder / ABOUT, *folder.glob(f"*{EMBEDDINGS}"), *folder.glob(f"*{EMBEDDINGS}.part*")):
        file.unlink(missing_ok=True)


def write_dataset(folder: str | Path, about: DatasetAbout, places: pa.Table, texts: pa.Table, pairs: pa.Table) -> None:
    """Write the tables of a data set; `dataset.json` comes last, so that a folder that has it is whole."""
    import pyarrow.parquet as pq

    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for table, wanted, name in ((places, _PLACES, PLACES), (texts, TEXT_COLUMNS, TEXTS), (pairs, _PAIRS, PAIRS)):
        pq.write_table(_with_columns(table, wanted, name), path / name, compression="zstd")
    write_about(path, about)


def write_about(folder: Path, about: DatasetAbout) -> None:
    """Write `dataset.json` in one step."""
    part = folder / (ABOUT + ".part")
    part.write_text(json.dumps(about.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    part.replace(folder / ABOUT)


_PLACES = ("path", "window", "lon", "lat", "captured_on", "cell", "site", "split")
_PAIRS = ("place", "text", "group", "lon", "lat")


def places_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with the columns of places.parquet to a table with their types."""
    import pyarrow as pa

    types = {
        "path": pa.string(),
        "window": pa.list_(pa.int32(), 4),
        "lon": pa.float64(),
        "lat": pa.float64(),
        "captured_on": pa.date32(),
        "cell": pa.int64(),
        "site": pa.int64(),
        "split": pa.string(),
    }
    return _table(rows, types)


def texts_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with the columns of texts.parquet to a table with their types."""
    import pyarrow as pa

    return _table(rows, dict.fromkeys(TEXT_COLUMNS, pa.string()))


def pairs_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with the columns of pairs.parquet to a table with their types."""
    import pyarrow as pa

    return _table(rows, dict.fromkeys(_PAIRS[:3], pa.int64()) | {"lon": pa.float64(), "lat": pa.float64()})


def _table(rows: list[dict[str, Any]], types: dict[str, pa.DataType]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=pa.schema(types.items()))


def _with_columns(table: pa.Table, wanted: tuple[str, ...], name: str) -> pa.Table:
    missing = [column for column in wanted if column not in table.column_names]
    if missing:
        raise InvalidInputError(
            f"{name} lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}"
        )
    return table.select(list(wanted))
