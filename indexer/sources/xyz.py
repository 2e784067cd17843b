"""Web map tiles as imagery: an MBTiles file, a folder of z/x/y pictures, or an address with {z}, {x} and {y}."""

from __future__ import annotations

import functools
import io
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from indexer.sources.picture import decode_picture
from indexer.sources.places import centre_in, slug
from indexer.sources.protocol import Candidate, LeftOut, Reading, UnreachableError
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.mercator import map_tile_box, map_tiles_in, pixel_m
from wildsat_core.types import BBox, Tile

if TYPE_CHECKING:
    import httpx

ALLOWED_HOSTS_VARIABLE: Final = "WILDSAT_XYZ_HOSTS"
DEFAULT_TILE_PX: Final = 256
MAX_BYTES: Final = 16 * 2**20
TIMEOUT_S: Final = 20.0
BUSY: Final = frozenset({429, 500, 502, 503, 504})
RETRY_AFTER_S: Final = (0.5, 2.0, 4.0)  # unless the server names a time
LONGEST_WAIT_S: Final = 60.0
_PICTURE: Final = re.compile(r"^(\d+)\.(png|jpg|jpeg|webp|tif|tiff)$", re.IGNORECASE)


@dataclass(frozen=True)
class XyzSource:
    """Map tiles of one zoom.

    Attributes:
        location: file, folder or address template.
        zoom: which zoom; None takes the finest of a file or folder.
        area: only tiles with their centre in this box; an address needs one.
        hosts: hosts that an address may name, from $WILDSAT_XYZ_HOSTS if left out.
        scene: first part of tile ids.
        tile_px: side of a map tile, for the size of its pixels on the ground; None asks the first one of a file or
            folder, and takes 256 for an address.
    """

    location: str
    zoom: int | None = None
    area: BBox | None = None
    scene: str | None = None
    hosts: tuple[str, ...] | None = field(default=None, repr=False)
    tile_px: int | None = None
    bands: tuple[str, ...] = RGB
    name: str = "xyz"

    def __post_init__(self) -> None:
        """Check the address before anything is fetched."""
        if self.is_address:
            self._check_address()
        elif not Path(self.location).exists():
            raise SourceError(f"{self.location} is neither a file, a folder nor an address with {{z}}, {{x}} and {{y}}")

    @property
    def is_address(self) -> bool:
        return "://" in self.location

    def count(self) -> int | None:
        """Number of map tiles; None for a folder, which must be walked to count."""
        if Path(self.location).is_file() and self.area is None:
            query = "SELECT count(*) FROM tiles WHERE zoom_level = ?"
            [(count,)] = _query(self.location, query, self._zoom())
            return int(count)
        if self.is_address:
            assert self.area is not None
            assert self.zoom is not None
            return sum(1 for _ in map_tiles_in(self.area, self.zoom))
        return None

    def candidates(self) -> Iterator[Candidate | LeftOut]:
        """Map tiles in a fixed order.

        Raises:
            SourceError: there is no such zoom, or the file is damaged.
        """
        zoom, side_px = self._zoom(), self.tile_px
        for column, row, where in self._places(zoom):
            if not (0 <= column < 1 << zoom and 0 <= row < 1 << zoom):
                yield LeftOut("off the map", f"{self.location}: zoom {zoom} has no tile {column}/{row}")
                continue
            box = map_tile_box(zoom, column, row)
            if self.area is not None and not centre_in(self.area, box):
                continue
            side_px = side_px or self._side_px(zoom, column, row, where)
            tile = Tile(
                tile_id=f"{self._scene}-{zoom}-{column}-{row}",
                bbox=box,
                gsd_m=pixel_m(box, side_px),
                source=self.name,
                href=f"{zoom}/{column}/{row}",
            )
            yield Candidate(tile, (zoom, column, row, where))

    def read(self, candidate: Candidate) -> Reading:
        """One map tile, (3, H, W) uint8.

        Raises:
            SourceError: missing or not a picture.
        """
        return decode_picture(self._bytes(*candidate.locator), (1, 2, 3), candidate.tile.tile_id)

    def provenance(self) -> dict[str, Any]:
        """What and which zoom."""
        return {"source": self.name, "input": self._scene, "zoom": self._zoom(), "bands": list(self.bands)}

    @property
    def _scene(self) -> str:
        if self.scene:
            return self.scene
        return slug(self.location.split("://")[1].split("/")[0] if self.is_address else Path(self.location).stem)

    def _bytes(self, zoom: int, column: int, row: int, where: str) -> bytes:
        if self.is_address:
            return _fetch(_filled(self.location, zoom, column, row))
        if where:
            return _file_bytes(Path(self.location) / where)
        return _mbtiles_picture(self.location, zoom, column, row)

    def _side_px(self, zoom: int, column: int, row: int, where: str) -> int:
        from PIL import Image

        if self.is_address:
            return DEFAULT_TILE_PX
        try:
            with Image.open(io.BytesIO(self._bytes(zoom, column, row, where))) as picture:
                return picture.width
        except (OSError, SourceError):
            return DEFAULT_TILE_PX

    def _zoom(self) -> int:
        if self.zoom is not None:
            return self.zoom
        if Path(self.location).is_file():
            [(finest,)] = _query(self.location, "SELECT max(zoom_level) FROM tiles")
        else:
            finest = max((int(p.name) for p in Path(self.location).iterdir() if p.name.isdecimal()), default=None)
        if finest is None:
            raise SourceError(f"{self.location} holds no map tiles")
        return int(finest)

    def _places(self, zoom: int) -> Iterator[tuple[int, int, str]]:
        """Column, row from the north, and for a folder the file."""
        if self.is_address:
            assert self.area is not None
            yield from ((column, row, "") for column, row in map_tiles_in(self.area, zoom))
        elif Path(self.location).is_file():
            query = "SELECT tile_column, tile_row FROM tiles WHERE zoom_level = ? ORDER BY tile_row DESC, tile_column"
            # MBTiles counts rows from the south.
            yield from ((column, (1 << zoom) - 1 - row, "") for column, row in _query(self.location, query, zoom))
        else:
            yield from self._files(zoom)

    def _files(self, zoom: int) -> Iterator[tuple[int, int, str]]:
        folder = Path(self.location) / str(zoom)
        if not folder.is_dir():
            raise SourceError(f"{self.location} has no map tiles of zoom {zoom}: there is no folder {folder}")
        columns = (p for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())
        for column in sorted(columns, key=lambda p: int(p.name)):
            found = ((_PICTURE.fullmatch(p.name), p) for p in column.iterdir())
            for row, path in sorted((int(match.group(1)), path) for match, path in found if match):
                yield int(column.name), row, str(path.relative_to(self.location))

    def _check_address(self) -> None:
        """Refuse what would fetch from a host that nobody allowed.

        Raises:
            InvalidInputError: the host is not allowed, or zoom or area is missing.
        """
        import httpx

        url = httpx.URL(_filled(self.location, 0, 0, 0))
        allowed = self.hosts if self.hosts is not None else _allowed_hosts()
        host = url.host if url.port is None else f"{url.host}:{url.port}"
        if url.scheme not in ("http", "https") or host not in allowed:
            raise InvalidInputError(
                f"fetching from {url.scheme}://{host} is not allowed; set {ALLOWED_HOSTS_VARIABLE}={host} if the owner "
                f"of that service lets you download its tiles (allowed now: {', '.join(allowed) or 'none'})",
                "input",
            )
        if any(part not in self.location for part in ("{z}", "{x}", "{y}")):
            raise InvalidInputError(f"the address needs {{z}}, {{x}} and {{y}}, got {self.location}", "input")
        if others := re.findall(r"\{[^}]*\}", _filled(self.location, 0, 0, 0)):
            raise InvalidInputError(
                f"the address has {', '.join(others)} in it: put what is meant there; only {{z}}, {{x}} and {{y}} are "
                "filled in",
                "input",
            )
        if self.zoom is None or self.area is None:
            raise InvalidInputError("an address needs --zoom and --bbox", "zoom")


def _filled(template: str, zoom: int, column: int, row: int) -> str:
    return template.replace("{z}", str(zoom)).replace("{x}", str(column)).replace("{y}", str(row))


def _allowed_hosts() -> tuple[str, ...]:
    return tuple(host.strip() for host in os.environ.get(ALLOWED_HOSTS_VARIABLE, "").split(",") if host.strip())


@functools.lru_cache(maxsize=4)
def _mbtiles(path: str) -> sqlite3.Connection:
    """Open read-only, once a process and file.

    Raises:
        SourceError: not an MBTiles file.
    """
    connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("SELECT zoom_level, tile_column, tile_row FROM tiles LIMIT 1")
    except sqlite3.DatabaseError as err:
        connection.close()
        raise SourceError(f"{path} is not an MBTiles file: {err}") from err
    return connection


def _query(path: str, query: str, *values: int) -> Iterator[tuple[Any, ...]]:
    """Rows of an MBTiles file.

    Raises:
        SourceError: it is damaged.
    """
    try:
        yield from _mbtiles(path).execute(query, values)
    except sqlite3.DatabaseError as err:
        raise SourceError(f"{path} is damaged: {err}") from err


def _mbtiles_picture(path: str, zoom: int, column: int, row: int) -> bytes:
    query = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
    found = next(_query(path, query, zoom, column, (1 << zoom) - 1 - row), None)
    if found is None or not isinstance(found[0], bytes):
        raise SourceError(f"{path} has no map tile {zoom}/{column}/{row}")
    return found[0]


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise SourceError(f"{path} can't be read: {err.strerror}") from err


@functools.lru_cache(maxsize=1)
def _client() -> httpx.Client:
    """One client a process. Redirects are not followed: they could lead to a host that is not allowed."""
    import httpx

    return httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, headers={"User-Agent": "wildsat-indexer"})


def _fetch(url: str) -> bytes:
    """One picture over HTTP, no larger than MAX_BYTES; a server that is busy is asked again.

    Raises:
        UnreachableError: no answer, or that it is busy, each time.
        SourceError: another status than 200, or too large.
    """
    import httpx

    problem = ""
    for patience_s in (*RETRY_AFTER_S, None):
        try:
            with _client().stream("GET", url) as answer:
                if answer.status_code not in BUSY:
                    return _body(answer, url)
                problem = f"answered {answer.status_code}"
                asked_s = answer.headers.get("Retry-After", "")
        except httpx.HTTPError as err:
            problem, asked_s = f"can't be fetched: {err!r}", ""
        if patience_s is not None:
            time.sleep(min(float(asked_s), LONGEST_WAIT_S) if asked_s.isdecimal() else patience_s)
    raise UnreachableError(f"{url} {problem}")


def _body(answer: httpx.Response, url: str) -> bytes:
    if answer.status_code != 200:
        raise SourceError(f"{url} answered {answer.status_code}")
    data = bytearray()
    for part in answer.iter_bytes():
        data += part
        if len(data) > MAX_BYTES:
            raise SourceError(f"{url} is larger than {MAX_BYTES} bytes")
    return bytes(data)
