"""Tiles of any source as pictures in a folder with a table, as the `folder` source and `wildsat dataset build` read it.

    OUT/tiles/<tile id>.png | .tif    three bands of eight bits are PNG, everything else is GeoTIFF; both lose nothing
    OUT/index.csv                     file, lon, lat, date, cloud, gsd_m, side_km, id
    OUT/cut.json                      bands, what the tiles were cut from, what was left out

`index.csv` appears when all is cut, in one step. Until then the rows of the tiles that are on disk already stand in a
file beside it, from which the same command goes on.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from indexer.pipeline.estimate import Estimate, spread_sample
from indexer.pipeline.inputs import InputGuard
from indexer.pipeline.left_out import LeftOutCounter, check_faults
from indexer.pipeline.listing import REASONS_BEFORE_READING, Chooser
from indexer.pipeline.reading import ReadOptions, read_chunk, read_chunks
from indexer.sources.file_georeference import box_transform, unwrapped
from indexer.sources.projections import DEGREES
from indexer.sources.protocol import PixelPlace, Source
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.files import TEMPORARY_PREFIX, is_disk_full, write_text_atomically
from wildsat_core.geo import KM_PER_DEGREE
from wildsat_core.types import Tile

TABLE: Final = "index.csv"
FACTS: Final = "cut.json"
PICTURES: Final = "tiles"
COLUMNS: Final = ("file", "lon", "lat", "date", "cloud", "gsd_m", "side_km", "id")

Pixels = npt.NDArray[np.generic]
Row = dict[str, str]


@dataclass
class CutReport:
    """What a run did: tiles written now, tiles there from before, tiles left out by reason, seconds."""

    folder: Path
    written: int = 0
    before: int = 0
    left_out: LeftOutCounter = field(default_factory=LeftOutCounter)
    elapsed_s: float = 0.0

    def text(self) -> str:
        """Two lines for the terminal."""
        before = f", {self.before:,} were there" if self.before else ""
        rate = self.written / self.elapsed_s if self.elapsed_s else 0.0
        return (
            f"{self.folder}: {self.written:,} tiles cut{before}; left out: {self.left_out.text()}\n"
            f"{self.elapsed_s:.1f} s, {rate:,.0f} tiles/s"
        )


class CutFolder:
    """The folder that tiles are cut into."""

    def __init__(self, root: Path, bands: Sequence[str], made_from: Mapping[str, Any]) -> None:
        """Make the folder, or open one that the same command began.

        Raises:
            InvalidInputError: there is something else in it.
        """
        self.root, self._bands, self._made_from = root, tuple(bands), json.loads(json.dumps(made_from, default=str))
        self._part = root / f"{TEMPORARY_PREFIX}index.jsonl"
        self._check()
        self._rows = {row["id"]: row for row in (*_rows_of_table(root / TABLE), *_rows_noted(self._part))}

    def known(self, ids: set[str]) -> set[str]:
        """Which of some tiles are on disk."""
        return ids & self._rows.keys()

    def __len__(self) -> int:
        """Tiles on disk."""
        return len(self._rows)

    def begin(self, source: Source) -> InputGuard:
        """Before the first tile: what tells at the end whether the source is what it was.

        Raises:
            SourceError: it was changed since the run was interrupted; or the disk is full.
        """
        guard = InputGuard(self.root / f"{TEMPORARY_PREFIX}inputs.json", source, "name a new folder with --out")
        with self._advice_when_full():
            guard.begin(goes_on=len(self) > 0)
        return guard

    def add(self, tiles: Sequence[Tile], pixels: Sequence[Pixels], places: Sequence[PixelPlace | None]) -> None:
        """Write tiles, (C, H, W) each, as stored; they are safe on disk when this returns.

        Raises:
            SourceError: the disk is full.
        """
        with self._advice_when_full():
            (self.root / PICTURES).mkdir(parents=True, exist_ok=True)
            if not (self.root / FACTS).exists():
                self._write_facts(LeftOutCounter())
            self._note([self._write(*one) for one in zip(tiles, pixels, places, strict=True)])

    def finish(self, left_out: LeftOutCounter) -> None:
        """Make the table that readers look for.

        Raises:
            SourceError: not one tile was cut.
        """
        if not self._rows:
            reasons = left_out.text() if any(left_out.values()) else "the source lists none"
            raise SourceError(f"no tile could be cut: {reasons}")
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows.values())
        self._write_facts(left_out)
        write_text_atomically(self.root / TABLE, table.getvalue())
        self._part.unlink(missing_ok=True)

    @contextmanager
    def _advice_when_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            if not is_disk_full(err):
                raise
            raise SourceError(
                f"the disk of {self.root} is full after {len(self):,} tiles; make room and give the same command again"
            ) from err

    def _check(self) -> None:
        if not (self.root / FACTS).is_file():
            if self.root.exists() and (not self.root.is_dir() or any(map(_is_of_another, self.root.iterdir()))):
                raise InvalidInputError(f"{self.root} has other things in it; name a new folder with --out", "out")
            return
        before = json.loads((self.root / FACTS).read_text(encoding="utf-8"))
        if before["made_from"] != self._made_from:
            changed = [k for k in before["made_from"] if before["made_from"].get(k) != self._made_from.get(k)]
            raise InvalidInputError(
                f"{self.root} holds tiles of another command, with another {', '.join(changed) or 'source'}; "
                "name a new folder with --out",
                "out",
            )

    def _write(self, tile: Tile, pixels: Pixels, place: PixelPlace | None) -> Row:
        suffix, data = encode_picture(tile, pixels, place)
        name = f"{tile.tile_id}{suffix}"
        is_plain = suffix == ".png" and _is_square(tile, place)
        if suffix == ".png" and place is not None and not is_plain:
            self._write_whole(f"{name}.aux.xml", _georeference_xml(place).encode())
        self._write_whole(name, data)
        lon, lat = tile.lon_lat
        return {
            "file": f"{PICTURES}/{name}",
            "lon": f"{lon:.7f}",
            "lat": f"{lat:.7f}",
            "date": tile.captured_on.isoformat() if tile.captured_on else "",
            "cloud": f"{tile.cloud_cover:g}" if tile.cloud_cover is not None else "",
            "gsd_m": f"{tile.gsd_m!r}" if is_plain else "",  # the others say themselves where they lie
            "side_km": f"{(tile.bbox.north - tile.bbox.south) * KM_PER_DEGREE:.4f}",
            "id": tile.tile_id,
        }

    def _write_whole(self, name: str, data: bytes) -> None:
        """Safe on disk under its name, or not there."""
        aside = self.root / PICTURES / f"{TEMPORARY_PREFIX}{name}"
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.root / PICTURES / name)

    def _note(self, rows: list[Row]) -> None:
        """Remember tiles that are on disk, so that an interrupted run goes on after them."""
        with self._part.open("a", encoding="utf-8", newline="") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows |= {row["id"]: row for row in rows}

    def _write_facts(self, left_out: LeftOutCounter) -> None:
        facts = {
            "bands": list(self._bands),
            "tiles": len(self._rows),
            "left_out": left_out.as_dict(),
            "made_from": self._made_from,
        }
        write_text_atomically(self.root / FACTS, json.dumps(facts, indent=1) + "\n")


def cut_tiles(
    source: Source,
    folder: CutFolder,
    chooser: Chooser,
    read: ReadOptions,
    workers: int,
    on_progress: Callable[[int], None] = lambda _: None,
    max_bad: float | None = None,
) -> CutReport:
    """Write every tile that the chooser takes and that shows something.

    Args:
        source: tiles to cut.
        folder: where to.
        chooser: which; tiles that the folder has are best left out by it.
        read: how; thumbnails are not used.
        workers: processes that read tiles; 0 reads in this one.
        on_progress: called with the number of candidates dealt with since the last call.
        max_bad: largest share of what the source gives that may be unreadable; None for half, or three.

    Raises:
        SourceError: the disk is full, nothing could be cut, or too much is bad.
    """
    start = time.perf_counter()
    guard = folder.begin(source)
    report = CutReport(folder.root)
    listed = LeftOutCounter()
    read_so_far = reported = 0
    for chunk in read_chunks(source, chooser.choose(source, listed), read, workers):
        folder.add(chunk.tiles, chunk.pixels, chunk.places)
        report.written += len(chunk.tiles)
        report.left_out.add(chunk.left_out)
        read_so_far += chunk.listed
        done = read_so_far + sum(listed[reason] for reason in REASONS_BEFORE_READING)
        on_progress(done - reported)
        reported = done
    report.before = listed.pop("already indexed", 0)
    report.left_out.add(listed)
    check_faults(report.left_out, report.written + report.before, max_bad)
    guard.finish()
    folder.finish(report.left_out)
    report.elapsed_s = time.perf_counter() - start
    return report


def estimate_cut(source: Source, chooser: Chooser, read: ReadOptions, workers: int) -> Estimate:
    """List everything, read and encode a sample spread over the list, write nothing."""
    left_out = LeftOutCounter()
    tiles, sample = spread_sample(chooser.choose(source, left_out))
    if not sample:
        return Estimate(tiles, left_out, 0, 0, 0.0)
    start = time.perf_counter()
    chunk = read_chunk(source, read, sample)
    read_s, start = time.perf_counter() - start, time.perf_counter()
    size = sum(len(encode_picture(*one)[1]) for one in zip(chunk.tiles, chunk.pixels, chunk.places, strict=True))
    write_s = time.perf_counter() - start
    per_tile_s = max(read_s / max(workers, 1), write_s) / len(sample)
    return Estimate(tiles, left_out, len(sample), round(tiles * size / len(sample)), tiles * per_tile_s)


def _is_square(tile: Tile, place: PixelPlace | None) -> bool:
    """Whether pixels are squares on the ground in a box of degrees, north up, as the table takes them to be."""
    if place is None:
        return True
    a, b, _, d, e, _ = place.transform
    width, height = a * math.cos(math.radians(tile.lon_lat[1])), -e
    return place.crs == DEGREES and b == d == 0 and height > 0 and abs(width / height - 1) < 0.02


def _georeference_xml(place: PixelPlace) -> str:
    """What lies beside a PNG and tells GDAL where it lies."""
    from rasterio.crs import CRS

    a, b, c, d, e, f = place.transform
    wkt = escape(CRS.from_user_input(place.crs).to_wkt(version="WKT2_2019"))
    numbers = ", ".join(repr(float(v)) for v in (c, a, b, f, d, e))
    return f"<PAMDataset><SRS>{wkt}</SRS><GeoTransform>{numbers}</GeoTransform></PAMDataset>\n"


def encode_picture(tile: Tile, pixels: Pixels, place: PixelPlace | None = None) -> tuple[str, bytes]:
    """File suffix and bytes of a tile, (C, H, W): nothing is lost, and a GeoTIFF says where its pixels lie.

    Args:
        tile: whose box they fill, north up, unless `place` says otherwise.
        pixels: as read.
        place: where they lie.
    """
    if pixels.dtype == np.uint8 and len(pixels) == 3:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(buffer, "PNG")
        return ".png", buffer.getvalue()
    from affine import Affine
    from rasterio.io import MemoryFile

    count, height, width = pixels.shape
    profile = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": pixels.dtype,
        "crs": DEGREES if place is None else place.crs,
        "transform": Affine(*place.transform) if place else box_transform(unwrapped(tile.bbox), width, height),
        "compress": "deflate",
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as out:
            out.write(pixels)
        return ".tif", memory.read()


def _is_of_another(path: Path) -> bool:
    """Whether it is not what a run leaves that was killed before its first tile."""
    return not path.name.startswith(TEMPORARY_PREFIX)


def _rows_of_table(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _rows_noted(path: Path) -> list[Row]:
    """Rows of an interrupted run; a kill may have left half a line at the end, whose tile is cut again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
