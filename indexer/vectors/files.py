"""Ready-made vectors as a source: Parquet files with a place and a vector in each row. No model runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.protocol import Candidate, LeftOut
from indexer.sources.walking import files_below
from indexer.vectors.rows import BAD_ROW, RowReader
from wildsat_core.errors import InvalidInputError, ModelNotFoundError, SourceError
from wildsat_core.models.registry import model_ref
from wildsat_core.types import SPACES, ModelRef, Space, SpaceSpec

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

METADATA_KEY: Final = b"wildsat"
ROWS_AT_ONCE: Final = 4096
NO_VECTOR: Final = "no vector"


@dataclass(frozen=True, slots=True)
class GivenVectors:
    """What a file that was not exported here does not say of itself.

    Attributes:
        column: which column holds the vectors.
        space: which space they are.
        spec: dimension and metric.
        model: who made them.
    """

    column: str
    space: Space
    spec: SpaceSpec
    model: ModelRef


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a file: N tiles, (N, D) vectors of each space, N pictures or None; and the rows that are no tiles.

    A candidate's locator is its row of `vectors` and `thumbnails`.
    """

    candidates: list[Candidate]
    vectors: dict[Space, npt.NDArray[np.float32]]
    thumbnails: list[bytes | None]
    faults: list[LeftOut]

    def __len__(self) -> int:
        """Rows of the file, good and bad."""
        return len(self.thumbnails)

    def at(self, kept: npt.NDArray[np.integer]) -> tuple[dict[Space, npt.NDArray[np.float32]], list[bytes | None]]:
        """Vectors (R, D) by space and R thumbnails of the rows `kept`, (R,)."""
        return {space: array[kept] for space, array in self.vectors.items()}, [self.thumbnails[i] for i in kept]


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or all below a folder, as those of a data set in parts (`year=2024/part-0.parquet`)."""
    return sorted(files_below(path, {".parquet"})) if path.is_dir() else [path]


class VectorFiles:
    """One Parquet file, or all of a folder, that hold the same kind of vectors.

    Attributes:
        model: who made the vectors.
        specs: dimension and metric of each space.

    Raises:
        SourceError: a file can't be read, does not say what its vectors are, or says otherwise than the first.
    """

    def __init__(self, path: Path, given: GivenVectors | None = None) -> None:
        """Read what the files say of themselves.

        Args:
            path: a file, or a folder with *.parquet at any depth.
            given: for files that were not exported here.
        """
        self.path, self._given = path, given
        self._files = parquet_files(path)
        if not self._files:
            raise SourceError(f"{path} is a folder without *.parquet files")
        contents = [_contents_of(file, given) for file in self._files]
        for file, found in zip(self._files, contents, strict=True):
            if found[:3] != contents[0][:3]:
                raise SourceError(f"{file} holds vectors of another model or space than {self._files[0]}")
        self.model, self._columns, self.specs, self._facts = contents[0]

    def __repr__(self) -> str:
        """All that decides what the rows are; builds are told apart by it."""
        return f"VectorFiles({str(self.path)!r}, {self.model}, {self._columns}, {self.specs})"

    def count(self) -> int:
        """Rows of all files."""
        import pyarrow.parquet as pq

        return sum(pq.read_metadata(file).num_rows for file in self._files)

    def inputs(self) -> Iterator[str]:
        """The files."""
        yield from map(str, self._files)

    def provenance(self) -> dict[str, Any]:
        """What an exported file says of itself, else where the vectors come from."""
        return self._facts

    def read(self, *, with_vectors: bool = True) -> Iterator[Rows]:
        """All rows in order, some thousand at once.

        Raises:
            SourceError: a file is damaged, or has no columns of ids or places.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        for path in self._files:
            try:
                with pq.ParquetFile(path) as file:
                    reader = RowReader.of(path, file.schema_arrow)
                    heavy = (*self._columns.values(), "thumbnail") if with_vectors else ()
                    columns = [name for name in file.schema_arrow.names if name in {*reader.columns, *heavy}]
                    first_row = 1
                    for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                        yield self._rows(pa.Table.from_batches([batch]), reader, first_row, with_vectors)
                        first_row += len(batch)
            except library_errors() as err:
                raise read_error(f"{path} can't be read as Parquet", str(path), err) from err

    def _rows(self, table: pa.Table, reader: RowReader, first_row: int, with_vectors: bool) -> Rows:
        columns = self._columns.items() if with_vectors else ()
        vectors, wrong = {}, np.zeros(len(table), bool)
        for space, column in columns:
            vectors[space], missing = _vectors(table, column, self.specs[space])
            wrong |= missing
        if self._given is not None:  # what was exported here is as it must be, to the last bit
            vectors = {space: _comparable(array, self.specs[space]) for space, array in vectors.items()}
        pictures = table["thumbnail"].to_pylist() if "thumbnail" in table.column_names else [None] * len(table)
        candidates, faults = [], []
        for i, tile in enumerate(reader.tiles(table.select([c for c in reader.columns if c in table.column_names]))):
            if isinstance(tile, str):
                faults.append(LeftOut(BAD_ROW, f"{reader.path}, row {first_row + i}, {tile}"))
            elif wrong[i]:
                dims = " or ".join(str(self.specs[space].dim) for space in self.specs)
                what = f"{reader.path}, row {first_row + i}, the row of {reader.id} {tile.tile_id!r}"
                faults.append(LeftOut(BAD_ROW, f"{what}: its vector must be a list of {dims} numbers"))
            else:
                candidates.append(Candidate(tile, i))
        return Rows(candidates, vectors, pictures, faults)


def given_vectors(path: Path, column: str, space: str, metric: str, made_by: str) -> GivenVectors:
    """What a person says of vectors made elsewhere; the dimension is that of the first vector.

    Raises:
        InvalidInputError: an unknown space or metric.
        SourceError: the file can't be read, or lacks the column.
    """
    import pyarrow.parquet as pq

    known = next((s for s in SPACES if s == space), None)
    if known is None or metric not in ("cosine", "inner_product"):
        raise InvalidInputError(
            f"--space must be one of {', '.join(SPACES)}, --metric cosine or inner_product", "space"
        )
    files = parquet_files(path)
    if not files:
        raise SourceError(f"{path} is a folder without *.parquet files")
    try:
        with pq.ParquetFile(files[0]) as file:
            _check_column(file, files[0], column)
            dim = _dimension(file, column)
    except library_errors() as err:
        raise read_error(f"{files[0]} can't be read as Parquet", str(files[0]), err) from err
    if dim is None:
        raise SourceError(f"{files[0]}: column {column!r} is empty")
    spec = SpaceSpec(dim, "cosine" if metric == "cosine" else "inner_product")
    try:
        model = model_ref(made_by)
    except ModelNotFoundError:
        model = ModelRef(made_by, "", "", "vectors made elsewhere")
    return GivenVectors(column, known, spec, model)


def _dimension(file: pq.ParquetFile, column: str) -> int | None:
    """Length of the first list that is there; a file may begin with rows that lack theirs."""
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=[column]):
        if (found := next((len(one) for one in batch[column] if one.is_valid and len(one)), None)) is not None:
            return found
    return None


def _check_column(file: pq.ParquetFile, path: Path, column: str) -> None:
    import pyarrow as pa

    if column not in file.schema_arrow.names:
        raise SourceError(f"{path} has no column {column!r} of vectors; it has: {', '.join(file.schema_arrow.names)}")
    kind = file.schema_arrow.field(column).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise SourceError(f"{path}: column {column!r} must hold a list of numbers in each row, it holds {kind}")


def _contents_of(
    path: Path, given: GivenVectors | None
) -> tuple[ModelRef, dict[Space, str], dict[Space, SpaceSpec], dict[str, Any]]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return _contents(file, path, given)
    except library_errors() as err:
        raise read_error(f"{path} can't be read as Parquet", str(path), err) from err


def _contents(
    file: pq.ParquetFile, path: Path, given: GivenVectors | None
) -> tuple[ModelRef, dict[Space, str], dict[Space, SpaceSpec], dict[str, Any]]:
    """Model, vector column of each space, their specs, and provenance.

    Raises:
        SourceError: neither the file nor the caller says.
    """
    metadata = file.schema_arrow.metadata or {}
    if given is not None:
        _check_column(file, path, given.column)
        return given.model, {given.space: given.column}, {given.space: given.spec}, {"source": "parquet"}
    if METADATA_KEY not in metadata:
        raise SourceError(
            f"{path} was not exported here: say what its vectors are with --space, --column and --model "
            "(of `index build`; --made-by of `index import`)"
        )
    try:
        facts = json.loads(metadata[METADATA_KEY])
        specs: dict[Space, SpaceSpec] = {space: SpaceSpec(**spec) for space, spec in facts["spaces"].items()}
        columns: dict[Space, str] = {space: f"vector_{space}" for space in specs}
        return ModelRef(**facts["model"]), columns, specs, dict(facts["provenance"])
    except (ValueError, KeyError, TypeError) as err:
        raise SourceError(f"{path}: its metadata is damaged: {err!r}") from err


def _vectors(table: pa.Table, column: str, spec: SpaceSpec) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """(N, D) float32 of a column of lists, zeros for a list that is missing or of another length; (N,) which those are.

    A number that is missing in a list is NaN.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = table[column].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    lengths = pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False)
    wrong = lengths != spec.dim
    flat = lists.filter(pa.array(~wrong)).flatten().to_numpy(zero_copy_only=False)
    vectors = np.zeros((len(lists), spec.dim), np.float32)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is left out
        vectors[~wrong] = flat.astype(np.float32).reshape(-1, spec.dim)
    return vectors, wrong


def _comparable(vectors: npt.NDArray[np.float32], spec: SpaceSpec) -> npt.NDArray[np.float32]:
    """(N, D) as a collection stores them: of length 1 for the metric cosine. A zero vector stays, to be left out."""
    if spec.metric == "inner_product":
        return vectors
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)  # squares of float32 may overflow
    with np.errstate(invalid="ignore"):  # infinity becomes NaN, which is left out, too
        unit: npt.NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return unit
