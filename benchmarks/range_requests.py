"""`python -m benchmarks.indexing requests`: how many range requests and bytes a tile takes from COGs on a server."""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.shutil
from affine import Affine

from indexer.pipeline.reading import ReadOptions, read_chunks
from indexer.sources.grid import KilometreGrid
from indexer.sources.protocol import LeftOut
from indexer.sources.raster import PixelGrid, RasterSource

PIXEL_M = 10


def write_cog(path: Path, side: int, block: int) -> None:
    """A picture that deflate takes to about two thirds, as true colour of land, in blocks of so many pixels."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 128, (3, side // 8, side // 8), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    values = coarse + rng.integers(0, 40, coarse.shape, np.uint8)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "crs": "EPSG:32614"}
    transform = Affine(PIXEL_M, 0, 500_000, 0, -PIXEL_M, 4_000_000)
    plain = path.with_suffix(".plain.tif")
    with rasterio.open(plain, "w", transform=transform, **profile) as out:
        out.write(values)
    rasterio.shutil.copy(plain, path, driver="COG", blocksize=block, compress="deflate", level=1)
    plain.unlink()


def serve(folder: str, port: Any, requests: Any, sent: Any) -> None:
    """Give parts of the files of a folder, and count."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._give(head=True)

        def do_GET(self) -> None:
            self._give(head=False)

        def _give(self, *, head: bool) -> None:
            path = Path(folder) / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            size = path.stat().st_size
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            first, last = (int(wanted[1]), min(int(wanted[2]), size - 1)) if wanted else (0, size - 1)
            self.send_response(206 if wanted else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(last - first + 1))
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            with requests.get_lock():
                requests.value += 1
                sent.value += 0 if head else last - first + 1
            if not head:
                with path.open("rb") as file:
                    file.seek(first)
                    self.wfile.write(file.read(last - first + 1))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.value = server.server_address[1]
    server.serve_forever()


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Any, Any]]:
    """An address, and counters of requests and bytes. A process of its own: GDAL may hold this one's lock."""
    context = multiprocessing.get_context("spawn")
    port, requests, sent = context.Value("i", 0), context.Value("q", 0), context.Value("q", 0)
    process = context.Process(target=serve, args=(str(folder), port, requests, sent), daemon=True)
    process.start()
    while not port.value:
        process.join(0.05)
    try:
        yield f"http://127.0.0.1:{port.value}", requests, sent
    finally:
        process.terminate()
        process.join()


def tell(source: RasterSource, counters: tuple[Any, Any], file_bytes: int, workers: int) -> str:
    """Read all tiles of a raster; requests and bytes of it."""
    before = [counter.value for counter in counters]
    listed = (found for part in source.partitions() for found in source.candidates(part))
    candidates = [found for found in listed if not isinstance(found, LeftOut)]
    chunks = read_chunks(source, candidates, ReadOptions(thumbnail_px=None), workers)
    tiles = sum(len(chunk.tiles) for chunk in chunks)
    asked, given = (counter.value - was for counter, was in zip(counters, before, strict=True))
    return f"{tiles} tiles, {asked} requests, {asked / tiles:.3f} a tile, {given / file_bytes:.2f} times the file"


def range_requests(args: argparse.Namespace) -> None:
    """Print requests and bytes a tile, by blocks of the file, tiles and grids."""
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as (address, *counters):
        for block in args.blocks:
            file = Path(name) / f"{block}.tif"
            write_cog(file, args.side, block)
            for px in args.tile_px:
                km = px * PIXEL_M / 1000
                for kind, grid in (("pixel", PixelGrid(px, px)), ("kilometre", KilometreGrid(km, km))):
                    link = file.with_name(f"{block}-{px}-{kind}.tif")  # a name of its own, so that nothing is known yet
                    link.hardlink_to(file)
                    source = RasterSource(f"{address}/{link.name}", grid, tile_px=px if kind == "kilometre" else None)
                    told = tell(source, (counters[0], counters[1]), file.stat().st_size, args.workers)
                    print(f"blocks of {block}, tiles of {px} px, {kind} grid: {told}", flush=True)
