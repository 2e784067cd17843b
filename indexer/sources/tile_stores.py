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
from indexer.sources.protocol import MOST_IN_PARTITION, Partition, UnreachableError
from indexer.sources.remote import BUSY, PATIENCE_S, asked_wait_s
from indexer.sources.tile_schemes import (
    SCHEMES,
    TileScheme,
    scheme_of_folder,
    scheme_of_metadata,
)
from wildsat_core.addresses import without_secrets
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.mercator import MAX_ZOOM
from wildsat_core.types import BBox

if TYPE_CHECKING:
    import httpx

ALLOWED_HOSTS_VARIABLE: Final = "WILDSAT_XYZ_HOSTS"
SQUARE: Final = 128  # tiles a side of a partition
MAX_BYTES: Final = 16 * 2**20
TIMEOUT_S: Final = 20.0
_PICTURE: Final = re.compile(r"^(\d+)(?:@2x)?\.(png|jpg|jpeg|webp|tif|tiff)$", re.IGNORECASE)


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

    def stored_tiles(self, zoom: int, partition: Partition) -> Iterator[StoredTile]:
        """Tiles of a partition, in a fixed order."""
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
        """The largest in its table."""
        [(finest,)] = self._query("SELECT max(zoom_level) FROM tiles WHERE typeof(zoom_level) = 'integer'")
        return None if finest is None else int(finest)

    def count(self, zoom: int) -> int | None:
        """By its table."""
        [(count,)] = self._query("SELECT count(*) FROM tiles WHERE zoom_level = ?", zoom)
        return int(count)

    def partitions(self, zoom: int) -> Iterator[Partition]:
        """Squares of 128 x 128 tiles, from large row numbers to small ones: southwards, where rows count from there."""
        # One look at the table's index gives them all.
        query = (
            "SELECT tile_column / ? AS across, tile_row / ? AS up, count(*) FROM tiles "
            "WHERE zoom_level = ? AND typeof(tile_column) = 'integer' AND typeof(tile_row) = 'integer' "
            "GROUP BY up, across ORDER BY up DESC, across"
        )
        for across, up, count in self._query(query, SQUARE, SQUARE, zoom):
            yield Partition(f"{zoom}-{across}-{up}", int(count), (int(across) * SQUARE, int(up) * SQUARE))

    def stored_tiles(self, zoom: int, partition: Partition) -> Iterator[StoredTile]:
        """Rows of the table within a square."""
        column, row = partition.locator
        query = (
            "SELECT tile_column, tile_row FROM tiles WHERE zoom_level = ? AND tile_column BETWEEN ? AND ? "
            "AND tile_row BETWEEN ? AND ? ORDER BY tile_row DESC, tile_column"
        )
        found = self._query(query, zoom, column, column + SQUARE - 1, row, row + SQUARE - 1)
        yield from (StoredTile(zoom, int(x), int(y)) for x, y in found)

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
        """The largest number among its folders."""
        return max((int(p.name) for p in Path(self.root).iterdir() if p.name.isdecimal()), default=None)

    def count(self, zoom: int) -> int | None:
        """None."""
        return None

    def partitions(self, zoom: int) -> Iterator[Partition]:
        """Neighbouring columns with together at most 16,384 files; one that has more by itself in several runs."""
        run: list[tuple[int, int, int]] = []
        held = 0
        for column, first, above in self._pieces(zoom):
            if run and held + above - first > MOST_IN_PARTITION:
                yield Partition(f"{zoom}-{run[0][0]}-{run[0][1]}", held, tuple(run))
                run, held = [], 0
            run, held = [*run, (column, first, above)], held + above - first
        if run:
            yield Partition(f"{zoom}-{run[0][0]}-{run[0][1]}", held, tuple(run))

    def stored_tiles(self, zoom: int, partition: Partition) -> Iterator[StoredTile]:
        """Files by column and row."""
        for column, first, above in partition.locator:
            yield from (StoredTile(zoom, column, row, file) for row, file in self._files(zoom, column)[first:above])

    def picture(self, stored: StoredTile) -> bytes:
        """The file's bytes."""
        path = Path(self.root) / stored.file
        try:
            return path.read_bytes()
        except OSError as err:
            raise SourceError(f"{path} can't be read: {err.strerror}") from err

    def inputs(self, zoom: int) -> Iterator[str]:
        """All files of a zoom."""
        for column in self._columns(zoom):
            yield from (str(Path(self.root) / file) for _, file in self._files(zoom, column))

    def _pieces(self, zoom: int) -> Iterator[tuple[int, int, int]]:
        """Column, and from which to before which of its files."""
        for column in self._columns(zoom):
            count = len(self._files(zoom, column))
            for first in range(0, count, MOST_IN_PARTITION):
                yield column, first, min(first + MOST_IN_PARTITION, count)

    def _columns(self, zoom: int) -> list[int]:
        folder = Path(self.root) / str(zoom)
        if not folder.is_dir():
            raise SourceError(f"{self.root} has no map tiles of zoom {zoom}: there is no folder {folder}")
        return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())

    def _files(self, zoom: int, column: int) -> list[tuple[int, str]]:
        """Row and file, below the root, of each picture of a column."""
        folder = Path(self.root) / str(zoom) / str(column)
        found = ((_PICTURE.fullmatch(entry.name), entry.name) for entry in os.scandir(folder))
        return sorted((int(match.group(1)), f"{zoom}/{column}/{name}") for match, name in found if match)


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
