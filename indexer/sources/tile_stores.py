"""Where map tiles are: an MBTiles file, a folder of z/x/y pictures, or a server. Each lists and reads one zoom.

Rows and columns are numbered here as the store has them; what places they are is the scheme's business
(`tile_schemes.py`).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from indexer.sources.library_errors import library_errors, read_error
from indexer.sources.protocol import MOST_IN_PARTITION, LeftOut, Partition, UnreachableError
from indexer.sources.remote import BUSY, PATIENCE_S, asked_wait_s
from indexer.sources.tile_schemes import (
    SCHEMES,
    TileScheme,
    scheme_of_folder,
    scheme_of_metadata,
)
from indexer.sources.walking import is_of_a_program
from wildsat_core.addresses import without_secrets
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.mercator import MAX_ZOOM
from wildsat_core.types import BBox

if TYPE_CHECKING:
    import httpx

ALLOWED_HOSTS_VARIABLE: Final = "WILDSAT_XYZ_HOSTS"
SQUARE: Final = 128  # tiles a side of a partition
GIVEN_TWICE: Final = "id given twice"
_LONGEST_TOLD: Final = 300  # of a row that holds who knows what
MAX_BYTES: Final = 16 * 2**20
TIMEOUT_S: Final = 20.0
_PICTURE: Final = re.compile(r"(.*?)(?:@2x)?\.(?:png|jpg|jpeg|webp|tif|tiff)", re.IGNORECASE)

# Of the table of an MBTiles file, whose columns may hold anything: SQLite does not insist on their types.
_FINEST: Final = """
    SELECT max(zoom_level) FROM tiles WHERE typeof(zoom_level) = 'integer' AND zoom_level BETWEEN 0 AND ?
"""
_SQUARES: Final = """
    SELECT tile_column / ? AS across, tile_row / ? AS up, count(*) FROM tiles
    WHERE zoom_level = ? AND typeof(tile_column) = 'integer' AND typeof(tile_row) = 'integer'
    AND tile_column >= 0 AND tile_row >= 0 GROUP BY up, across ORDER BY up DESC, across
"""
_IN_SQUARE: Final = """
    SELECT tile_column, tile_row, count(*) FROM tiles
    WHERE zoom_level = ? AND tile_column BETWEEN ? AND ? AND tile_row BETWEEN ? AND ?
    AND typeof(tile_column) = 'integer' AND typeof(tile_row) = 'integer'
    GROUP BY tile_row, tile_column ORDER BY tile_row DESC, tile_column
"""
_ODD: Final = """
    SELECT zoom_level, tile_column, tile_row FROM tiles
    WHERE typeof(zoom_level) <> 'integer' OR zoom_level NOT BETWEEN 0 AND ? OR (zoom_level = ? AND NOT
    (typeof(tile_column) = 'integer' AND typeof(tile_row) = 'integer' AND tile_column >= 0 AND tile_row >= 0))
    ORDER BY zoom_level, tile_column, tile_row
"""


class StoredTile(NamedTuple):
    """One map tile of a store: its numbers there and, in a folder, its file."""

    zoom: int
    column: int
    row: int
    file: str = ""


class TileStore(Protocol):
    """Map tiles somewhere."""

    def scheme(self) -> tuple[TileScheme, BBox | None]:
        """How its tiles are numbered by what it says of itself, and the bounds that it tells.

        Raises:
            SourceError: it says something that can't be understood.
        """
        ...

    def finest_zoom(self) -> int | None:
        """None where it holds no map tiles."""
        ...

    def count(self, zoom: int) -> int | None:
        """Number of tiles of a zoom; None where only listing would tell."""
        ...

    def partitions(self, zoom: int) -> Iterator[Partition]:
        """Neighbouring tiles, in a fixed order.

        Raises:
            SourceError: there is no such zoom, or the store is damaged.
        """
        ...

    def stored_tiles(self, zoom: int, partition: Partition) -> Iterator[StoredTile | LeftOut]:
        """Tiles of a partition, in a fixed order, and what should be tiles but can't be."""
        ...

    def picture(self, stored: StoredTile) -> bytes:
        """Bytes of a tile's file.

        Raises:
            SourceError: there is none.
            UnreachableError: the server does not answer.
        """
        ...

    def inputs(self, zoom: int) -> Iterator[str]:
        """Files whose change would change the tiles."""
        ...


@dataclass(frozen=True)
class MBTilesFile:
    """An MBTiles file.

    Source: https://github.com/mapbox/mbtiles-spec/blob/master/1.3/spec.md
    """

    path: str

    def scheme(self) -> tuple[TileScheme, BBox | None]:
        """Rows from the south, unless its metadata say something else."""
        return scheme_of_metadata(self._metadata(), self.path, SCHEMES["tms"])

    def finest_zoom(self) -> int | None:
        """The largest in its table, as far as a zoom can be and as its metadata tell."""
        finest = self._finest(self._told_finest())
        return self._finest(MAX_ZOOM) if finest is None else finest

    def count(self, zoom: int) -> int | None:
        """By its table."""
        [(count,)] = self._query("SELECT count(*) FROM tiles WHERE zoom_level = ?", zoom)
        return int(count)

    def partitions(self, zoom: int) -> Iterator[Partition]:
        """Squares of 128 x 128 tiles, from large row numbers to small ones: southwards, where rows count from there.

        The last one has the rows of the table that are no map tiles.
        """
        # One look at the table's index gives them all.
        for across, up, count in self._query(_SQUARES, SQUARE, SQUARE, zoom):
            at_most = min(int(count), SQUARE**2)
            yield Partition(f"{zoom}-{across}-{up}", at_most, (int(across) * SQUARE, int(up) * SQUARE))
        if next(self._odd_rows(zoom), None) is not None:
            yield Partition(f"{zoom}-odd", 0)

    def stored_tiles(self, zoom: int, partition: Partition) -> Iterator[StoredTile | LeftOut]:
        """Rows of the table within a square."""
        if partition.locator is None:
            yield from self._odd_rows(zoom)
            return
        column, row = partition.locator
        for x, y, times in self._query(_IN_SQUARE, zoom, column, column + SQUARE - 1, row, row + SQUARE - 1):
            yield StoredTile(zoom, int(x), int(y))
            for _ in range(times - 1):
                yield LeftOut(GIVEN_TWICE, f"{self.path}: map tile {zoom}/{x}/{y} stands {times} times in its table")

    def picture(self, stored: StoredTile) -> bytes:
        """The row's bytes."""
        query = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
        found = next(self._query(query, stored.zoom, stored.column, stored.row), None)
        if found is None or not isinstance(found[0], bytes):
            raise SourceError(f"{self.path} has no map tile {stored.zoom}/{stored.column}/{stored.row}")
        return found[0]

    def inputs(self, zoom: int) -> Iterator[str]:
        """The file."""
        yield self.path

    def _odd_rows(self, zoom: int) -> Iterator[LeftOut]:
        """Rows of no zoom, or of this one but of no place."""
        for row in self._query(_ODD, max(zoom, self._told_finest()), zoom):
            what = ", ".join(f"{name} {value!r}" for name, value in zip(("zoom", "column", "row"), row, strict=True))
            yield LeftOut("bad row", f"{self.path}: no map tile has {what}"[:_LONGEST_TOLD])

    def _finest(self, most: int) -> int | None:
        [(finest,)] = self._query(_FINEST, most)
        return None if finest is None else int(finest)

    def _told_finest(self) -> int:
        told = str(self._metadata().get("maxzoom", ""))
        return min(int(told), MAX_ZOOM) if told.isdecimal() else MAX_ZOOM

    def _metadata(self) -> dict[str, Any]:
        try:
            return {str(name): value for name, value in self._query("SELECT name, value FROM metadata")}
        except SourceError:
            return {}  # a file without this table still has its tiles

    def _query(self, query: str, *values: int) -> Iterator[tuple[Any, ...]]:
        try:
            yield from _mbtiles(self.path).execute(query, values)
        except library_errors() as err:
            raise read_error(f"{self.path} can't be read as MBTiles", self.path, err) from err


@dataclass(frozen=True)
class TileFolder:
    """A folder zoom/column/row.suffix."""

    root: str

    def scheme(self) -> tuple[TileScheme, BBox | None]:
        """By the document beside the tiles; rows from the north where there is none."""
        return scheme_of_folder(Path(self.root))

    def finest_zoom(self) -> int | None:
        """The largest number among its folders that a zoom can be."""
        zooms = (int(path.name) for path in Path(self.root).iterdir() if path.is_dir() and _is_number(path.name))
        return max((zoom for zoom in zooms if zoom <= MAX_ZOOM), default=None)

    def count(self, zoom: int) -> int | None:
        """None."""
        return None

    def partitions(self, zoom: int) -> Iterator[Partition]:
        """Neighbouring columns with together at most 16,384 files; one that has more by itself in several runs.

        The last one has what is beside the columns.
        """
        run: list[tuple[int, int, int]] = []
        held = 0
        for column, first, above in self._pieces(zoom):
            if run and held + above - first > MOST_IN_PARTITION:
                yield Partition(f"{zoom}-{run[0][0]}-{run[0][1]}", held, tuple(run))
                run, held = [], 0
            run, held = [*run, (column, first, above)], held + above - first
        if run:
            yield Partition(f"{zoom}-{run[0][0]}-{run[0][1]}", held, tuple(run))
        if self._columns(zoom)[1]:
            yield Partition(f"{zoom}-odd", 0)

    def stored_tiles(self, zoom: int, partition: Partition) -> Iterator[StoredTile | LeftOut]:
        """Files by column and row; of several of one tile, the first by name."""
        if partition.locator is None:
            for name in self._columns(zoom)[1]:
                yield LeftOut("bad row", f"{self.root}/{zoom}/{name}: no column of map tiles has this name")
            return
        for column, first, above in partition.locator:
            files = self._files(zoom, column)
            before = files[first - 1].row if first else None
            for stored in files[first:above]:
                if stored.row is None:
                    yield LeftOut("bad row", f"{self.root}/{stored.file}: no row of map tiles has this name")
                elif stored.row == before:
                    yield LeftOut(GIVEN_TWICE, f"{self.root}/{stored.file}: there is another picture of this map tile")
                else:
                    yield StoredTile(zoom, column, stored.row, stored.file)
                before = stored.row

    def picture(self, stored: StoredTile) -> bytes:
        """The file's bytes."""
        path = Path(self.root) / stored.file
        try:
            return path.read_bytes()
        except OSError as err:
            raise SourceError(f"{path} can't be read: {err.strerror}") from err

    def inputs(self, zoom: int) -> Iterator[str]:
        """All files of a zoom."""
        for column in self._columns(zoom)[0]:
            yield from (str(Path(self.root) / found.file) for found in self._files(zoom, column))

    def _pieces(self, zoom: int) -> Iterator[tuple[int, int, int]]:
        """Column, and from which to before which of its files."""
        for column in self._columns(zoom)[0]:
            count = len(self._files(zoom, column))
            for first in range(0, count, MOST_IN_PARTITION):
                yield column, first, min(first + MOST_IN_PARTITION, count)

    def _columns(self, zoom: int) -> tuple[list[int], list[str]]:
        """Columns, and names of other folders and pictures beside them."""
        folder = Path(self.root) / str(zoom)
        if not folder.is_dir():
            raise SourceError(f"{self.root} has no map tiles of zoom {zoom}: there is no folder {folder}")
        columns, others = [], []
        for path in folder.iterdir():
            if path.is_dir() and _is_number(path.name):
                columns.append(int(path.name))
            elif not is_of_a_program(path.name) and (path.is_dir() or _PICTURE.fullmatch(path.name)):
                others.append(path.name)
        return sorted(columns), sorted(others)

    def _files(self, zoom: int, column: int) -> list[_File]:
        """Pictures of a column by row and name; last those that are of no row."""
        folder = Path(self.root) / str(zoom) / str(column)
        names = (entry.name for entry in os.scandir(folder) if not is_of_a_program(entry.name))
        found = ((match.group(1), name) for name in names if (match := _PICTURE.fullmatch(name)))
        files = [
            _File(int(row) if row.isascii() and row.isdecimal() else None, f"{zoom}/{column}/{name}")
            for row, name in found
        ]
        return sorted(files, key=lambda file: (file.row is None, file.row or 0, file.file))


class _File(NamedTuple):
    """A picture in a folder of map tiles, below its root; its row is None where its name is none."""

    row: int | None
    file: str


def _is_number(name: str) -> bool:
    """Whether a folder's name is a column or zoom: a whole number as programs write it."""
    return name.isascii() and name.isdecimal() and name == str(int(name))


@dataclass(frozen=True)
class TileServer:
    """An address with {z}, {x} and {y}, or {-y} for rows from the south, and the area that is asked of it."""

    template: str
    numbering: TileScheme
    area: BBox

    def scheme(self) -> tuple[TileScheme, BBox | None]:
        """As it was told."""
        return self.numbering, None

    def finest_zoom(self) -> int | None:
        """Not known."""
        return None

    def count(self, zoom: int) -> int | None:
        """Tiles centred in the area."""
        return len(self.numbering.columns_in(self.area, zoom)) * len(self.numbering.rows_in(self.area, zoom))

    def partitions(self, zoom: int) -> Iterator[Partition]:
        """Squares of at most 128 x 128 tiles, from north to south."""
        columns, rows = self.numbering.columns_in(self.area, zoom), self.numbering.rows_in(self.area, zoom)
        for square in itertools.product(_runs(rows), _runs(columns)):
            down, across = square
            yield Partition(f"{zoom}-{across[0]}-{down[0]}", len(down) * len(across), (down, across))

    def stored_tiles(self, zoom: int, partition: Partition) -> Iterator[StoredTile]:
        """Row by row."""
        down, across = partition.locator
        yield from (StoredTile(zoom, column, row) for row, column in itertools.product(down, across))

    def picture(self, stored: StoredTile) -> bytes:
        """What the server answers."""
        return fetch(filled(self.template, stored.zoom, stored.column, stored.row))

    def inputs(self, zoom: int) -> Iterator[str]:
        """None."""
        yield from ()


def check_address(template: str, hosts: Iterable[str] | None, zoom: int | None, area: BBox | None) -> None:
    """Refuse what would fetch from a host that nobody allowed.

    Raises:
        InvalidInputError: the host is not allowed, or zoom or area is missing.
    """
    import httpx

    shown = without_secrets(template)
    url = httpx.URL(filled(template, 0, 0, 0))
    allowed = tuple(hosts) if hosts is not None else _allowed_hosts()
    host = url.host if url.port is None else f"{url.host}:{url.port}"
    if url.scheme not in ("http", "https") or host not in allowed:
        raise InvalidInputError(
            f"fetching from {url.scheme}://{host} is not allowed; set {ALLOWED_HOSTS_VARIABLE}={host} if the owner "
            f"of that service lets you download its tiles (allowed now: {', '.join(allowed) or 'none'})",
            "input",
        )
    if "{z}" not in template or "{x}" not in template or ("{y}" not in template and "{-y}" not in template):
        raise InvalidInputError(f"the address needs {{z}}, {{x}} and {{y}} (or {{-y}}), got {shown}", "input")
    if others := re.findall(r"\{[^}]*\}", filled(template, 0, 0, 0)):
        raise InvalidInputError(
            f"the address has {', '.join(others)} in it: put what is meant there; only {{z}}, {{x}} and {{y}} are "
            "filled in",
            "input",
        )
    if zoom is None or area is None:
        raise InvalidInputError("an address needs --zoom and --bbox", "zoom")
    if not 0 <= zoom <= MAX_ZOOM:
        raise InvalidInputError(f"zoom must lie in 0..{MAX_ZOOM}, got {zoom}", "zoom")


def filled(template: str, zoom: int, column: int, row: int) -> str:
    """The address of one tile; its row is numbered as the address has it."""
    for part, number in (("{z}", zoom), ("{x}", column), ("{y}", row), ("{-y}", row)):
        template = template.replace(part, str(number))
    return template


def _runs(numbers: list[int]) -> list[list[int]]:
    return [numbers[start : start + SQUARE] for start in range(0, len(numbers), SQUARE)]


def _allowed_hosts() -> tuple[str, ...]:
    return tuple(host.strip() for host in os.environ.get(ALLOWED_HOSTS_VARIABLE, "").split(",") if host.strip())


@functools.lru_cache(maxsize=4)
def _mbtiles(path: str) -> sqlite3.Connection:
    """Open read-only, once a process and file.

    Raises:
        SourceError: not an MBTiles file.
    """
    try:
        connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.ExitStack() as closing:
            closing.callback(connection.close)
            connection.execute("SELECT zoom_level, tile_column, tile_row FROM tiles LIMIT 1")
            closing.pop_all()
    except library_errors() as err:
        raise read_error(f"{path} is not an MBTiles file", path, err) from err
    return connection


@functools.lru_cache(maxsize=1)
def _client() -> httpx.Client:
    """One client a process. Redirects are not followed: they could lead to a host that is not allowed."""
    import httpx

    return httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, headers={"User-Agent": "wildsat-indexer"})


def fetch(url: str) -> bytes:
    """One picture over HTTP, no larger than MAX_BYTES; a server that is busy is asked again.

    Raises:
        UnreachableError: no answer, or that it is busy, each time.
        SourceError: another status than 200, or too large.
    """
    import httpx

    problem, shown = "", without_secrets(url)
    for patience_s in (*PATIENCE_S, None):
        try:
            with _client().stream("GET", url) as answer:
                if answer.status_code not in BUSY:
                    return _body(answer, shown)
                problem = f"answered {answer.status_code}"
                asked_s = answer.headers.get("Retry-After", "")
        except httpx.HTTPError as err:
            problem, asked_s = f"can't be fetched: {without_secrets(repr(err))}", ""
        if patience_s is not None:
            time.sleep(asked_wait_s(asked_s, patience_s))
    raise UnreachableError(f"{shown} {problem}")


def _body(answer: httpx.Response, shown: str) -> bytes:
    if answer.status_code != 200:
        raise SourceError(f"{shown} answered {answer.status_code}")
    data = bytearray()
    for part in answer.iter_bytes():
        data += part
        if len(data) > MAX_BYTES:
            raise SourceError(f"{shown} is larger than {MAX_BYTES} bytes")
    return bytes(data)
