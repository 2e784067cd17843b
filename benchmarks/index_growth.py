"""`python -m benchmarks.indexing large` and `memory`: opening and changing 1 M tiles; memory of a build."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from app.catalog import Catalog, Watcher
from app.engines import LocalEngines
from app.settings import Settings
from benchmarks.index_throughput import Stopwatch, random_model
from benchmarks.random_collection import DIM, REF, RandomModel, random_collection, random_tiles, unit
from indexer.cluster.build import build_collection
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import ReadOptions
from indexer.sources import Candidate, Reading
from indexer.sources.protocol import MOST_IN_PARTITION, Partition
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.machine import peak_memory_mib
from wildsat_core.search.query import Query, VectorTerm
from wildsat_core.types import BBox, SpaceSpec, Tile


def large(args: argparse.Namespace) -> None:
    """Open a large collection as the service does; add 1,000 embedded tiles from another process until it answers."""
    folder = Path(args.folder or tempfile.mkdtemp())
    random_collection(folder, args.rows)
    root = folder / f"random-{args.rows}"
    start = Stopwatch()
    open_collection(root)
    opened = start.seconds()
    catalog = Catalog(
        folder, root.name, lambda _: RandomModel(), LocalEngines(device=None, ann_rows=Settings().ann_rows)
    )
    start = Stopwatch()
    catalog.open_all()
    print(f"{args.rows:,} tiles x {DIM}: open {shown(opened)}; ready to answer {shown(start.seconds())}")
    watcher = Watcher(catalog, args.interval)
    watcher.start()
    turns = [added_and_answered(catalog, root) for _ in range(args.turns)]
    watcher.stop()
    print(f"1,000 tiles added {args.turns} times by another process, looked for every {args.interval} s:")
    for name, seconds in zip(("written and published", "answered with"), np.transpose(turns), strict=True):
        print(f"  {name} after {np.median(seconds):.2f} s median, {np.max(seconds):.2f} s worst")


def added_and_answered(catalog: Catalog, root: Path) -> tuple[float, float]:
    """Seconds from a writer's start to its end, and to the first answer of the running service with a tile of it."""
    here, there = get_context("spawn").Pipe()
    writer = get_context("spawn").Process(target=add_tiles, args=(root, there))
    writer.start()
    tile_id, vector = here.recv()
    generation = catalog.get(root.name).manifest.generation
    time.sleep(np.random.default_rng().uniform(0, 1))  # at any moment between two looks
    start = time.perf_counter()
    here.send("write")
    while catalog.get(root.name).manifest.generation == generation:
        time.sleep(0.002)
    best = catalog.get(root.name).engine.search(Query(terms=(VectorTerm(space="text", vector=vector),), k=1))
    answered = time.perf_counter() - start
    assert best.hits[0].tile.tile_id == tile_id
    written = here.recv()
    writer.join()
    return written, answered


def add_tiles(root: Path, parent: Connection) -> None:
    """Add 1,000 tiles when the parent says so, and tell it how many seconds that took."""
    rng = np.random.default_rng(time.time_ns())
    tiles, vectors = random_tiles(rng, int(rng.integers(10**9, 2 * 10**9)), 1000), unit(rng, 1000)
    parent.send((tiles[500].tile_id, vectors[500]))
    parent.recv()
    start = time.perf_counter()
    with CollectionWriter(root, root.name, REF, {"text": SpaceSpec(DIM, "cosine")}) as writer:
        writer.add(tiles, {"text": vectors})
        writer.publish()
    parent.send(time.perf_counter() - start)


def shown(seconds: tuple[float, float]) -> str:
    return f"{seconds[0]:.2f} s ({seconds[1]:.2f} s of processor time)"


@dataclass(frozen=True)
class NoiseSource:
    """Tiny tiles of noise, made rather than read, to build large collections quickly."""

    tiles: int
    name: str = "noise"
    bands: tuple[str, ...] = ("red", "green", "blue")

    def count(self) -> int:
        return self.tiles

    def partitions(self) -> Iterator[Partition]:
        for first in range(0, self.tiles, MOST_IN_PARTITION):
            above = min(first + MOST_IN_PARTITION, self.tiles)
            yield Partition(f"from-{first}", above - first, range(first, above))

    def candidates(self, partition: Partition | None = None) -> Iterator[Candidate]:
        for i in range(self.tiles) if partition is None else partition.locator:
            lon, lat = -180 + (i * 0.618034 % 1) * 359.9, -80 + i / self.tiles * 160
            yield Candidate(Tile(f"noise-{i}", BBox(lon, lat, lon + 0.05, lat + 0.05), 10.0, "noise"), i)

    def read(self, candidate: Candidate) -> Reading:
        return Reading(np.random.default_rng(candidate.locator).integers(0, 256, (3, 16, 16)).astype(np.uint8))

    def provenance(self) -> dict[str, str]:
        return {"source": self.name}


def memory(args: argparse.Namespace) -> None:
    """Peak memory of builds of different sizes, each in a process of its own."""
    for tiles in args.tiles:
        subprocess.run([sys.executable, "-m", "benchmarks.indexing", "one-build", str(tiles)], check=True)


def one_build(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    model = random_model("timm:resnet10t", 512)
    with tempfile.TemporaryDirectory() as folder:
        options = BuildOptions(workers=1, batch_tiles=512, read=ReadOptions(thumbnail_px=32))
        report = build_collection(NoiseSource(8), model, Path(folder) / "few", options, {})
        before = peak_memory_mib()
        report = build_collection(NoiseSource(args.tiles), model, Path(folder) / "many", options, {})
    peak = peak_memory_mib()
    print(f"{report.added:,} tiles: peak {peak:.0f} MiB, {peak - before:.0f} MiB above a build of 8 tiles")
