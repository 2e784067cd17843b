"""Indexing: end to end against the bare encoder and a plain loop; adding to and opening 1 M tiles; memory of a build.

    python -m benchmarks.indexing throughput --model wildsat-mini --tile-px 128 --tiles 4000
    python -m benchmarks.indexing throughput --architecture timm:resnet50 --tile-px 224 --tiles 400
    python -m benchmarks.indexing large --rows 1000000
    python -m benchmarks.indexing memory --tiles 20000 100000
    python -m benchmarks.indexing throughput --architecture timm:vit_base_patch16_224 --features 768 --tile-px 224 \\
        --tiles 40000 --device cuda --workers 14
    python -m benchmarks.indexing gpu

"bare" embeds one batch of resident pixels again and again: nothing is decoded or written, and its rate is the most
that any index can reach. "loop" reads, embeds and writes one tile after another, as a first script would, with the
model as it is loaded; "loop-optimised" with the model set up for speed as the build does (bfloat16 where the device
multiplies it). All take turns in one run, so that a busy machine slows them alike; each figure is the median of the
turns. Beside tiles a second of the clock stand tiles a second of this process's own processor time, which a busy
machine leaves as it is: reading happens in other processes, so there the build's cost is what it adds to the encoder.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine

from app.catalog import Catalog, Watcher
from app.settings import Settings
from benchmarks.gpu_search import gpu
from benchmarks.random_collection import DIM, REF, RandomModel, random_collection, random_tiles, unit
from indexer.encoding import Encoder
from indexer.pipeline import BuildOptions, build_collection
from indexer.reading import ReadOptions, read_chunk
from indexer.report import peak_memory_mib
from indexer.sources import Candidate, Reading
from indexer.sources.raster import PixelGrid, RasterSource
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import load_model
from wildsat_core.preprocess import Preprocessing
from wildsat_core.search.query import Query, VectorTerm
from wildsat_core.types import BBox, SpaceSpec, Tile

TURNS = 3


def random_model(architecture: str, features: int, channels: int = 3) -> WildSATModel:
    """A model of any backbone with random weights: as fast as a trained one."""
    head = HeadConfig(in_features=features, out_features=DIM)
    config = ModelConfig(
        name="random-weights",
        architecture=architecture,
        feature_size=features,
        preprocessing=Preprocessing(channels=channels),
        tile_heads={"text": head, "image": head},
        location=LocationConfig(kind="position", parameters={"dim": DIM}, out_features=DIM),
    )
    return WildSATModel(config).eval()


def write_imagery(path: Path, tiles: int, tile_px: int) -> RasterSource:
    """A compressed, tiled GeoTIFF of smooth noise, which decodes about as slowly as a real picture."""
    across = int(np.ceil(np.sqrt(tiles)))
    side = across * tile_px
    rng = np.random.default_rng(0)
    transform = Affine(10, 0, 400_000, 0, -10, 4_000_000)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "crs": "EPSG:32614"}
    options = {"tiled": True, "compress": "deflate", "predictor": 2, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", transform=transform, **profile, **options) as out:
        for row in range(0, side, tile_px):
            noise = rng.integers(0, 256, (3, tile_px // 4, side // 4 + 1)).repeat(4, axis=1).repeat(4, axis=2)
            strip = (noise[:, :tile_px, :side] // 2 + rng.integers(0, 40, (3, tile_px, side))).astype(np.uint8)
            out.write(strip, window=rasterio.windows.Window(0, row, side, tile_px))
    return RasterSource(str(path), PixelGrid(tile_px, tile_px))


@dataclass(frozen=True)
class Rate:
    """Tiles a second, by the clock and by this process's processor time."""

    clock: float
    processor: float


class Stopwatch:
    """Both times since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def seconds(self) -> tuple[float, float]:
        clock, processor = self.start
        return time.perf_counter() - clock, time.process_time() - processor

    def rate(self, tiles: int) -> Rate:
        clock, processor = self.seconds()
        return Rate(tiles / clock, tiles / processor)


def bare_rate(encoder: Encoder, source: RasterSource, batch: int, batches: int) -> Rate:
    """Tiles a second of the encoder alone, in all spaces, on pixels that are in memory."""
    candidates = list(source.candidates())[:batch]
    chunk = read_chunk(source, ReadOptions(thumbnail_px=None), candidates)
    pixels = np.stack(chunk.pixels)
    watch = Stopwatch()
    for _ in range(batches):
        encoder.encode(chunk.tiles, pixels)
    return watch.rate(batches * len(chunk.tiles))


def loop_rate(model: WildSATModel, source: RasterSource, root: Path, tiles: int) -> Rate:
    """Tiles a second when each tile is read, embedded and handed to the writer before the next."""
    watch = Stopwatch()
    with CollectionWriter(root, root.name, model.ref, model.spaces, job="loop") as writer:
        for candidate in list(source.candidates())[:tiles]:
            chunk = read_chunk(source, ReadOptions(), [candidate])
            vectors = model.embed_pixels(np.stack(chunk.pixels))
            vectors |= model.embed_places(np.array([tile.lon_lat for tile in chunk.tiles]))
            writer.add(chunk.tiles, {space: vectors[space] for space in model.spaces}, chunk.thumbnails)
        writer.publish({})
    return watch.rate(tiles)


def whole_rate(model: WildSATModel, source: RasterSource, root: Path, batch: int, workers: int) -> Rate:
    """Tiles a second of `build_collection`, from starting its workers to the published generation."""
    watch = Stopwatch()
    report = build_collection(source, model, root, BuildOptions(batch_tiles=batch, workers=workers), {})
    print(f"  build: {report.text().splitlines()[-1]}", flush=True)
    return watch.rate(report.added)


def throughput(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    model = load_model(args.model) if args.architecture is None else random_model(args.architecture, args.features)
    model = model.to(args.device)
    plain = copy.deepcopy(model)  # float32 in torch's own layout, as a model is loaded
    encoder = Encoder(model)
    with tempfile.TemporaryDirectory() as folder:
        source = write_imagery(Path(folder) / "imagery.tif", args.tiles, args.tile_px)
        tiles = source.count() or 0
        bare_rate(encoder, source, args.batch, 1)  # warm up
        rates: dict[str, list[Rate]] = {"bare": [], "build": [], "loop": [], "loop-optimised": []}
        for turn in range(TURNS):
            rates["bare"].append(bare_rate(encoder, source, args.batch, max(tiles // args.batch // 2, 2)))
            rates["build"].append(whole_rate(model, source, Path(folder) / f"b{turn}", args.batch, args.workers))
            few = max(tiles // 8, 50)
            rates["loop"].append(loop_rate(plain, source, Path(folder) / f"l{turn}", few))
            rates["loop-optimised"].append(loop_rate(model, source, Path(folder) / f"h{turn}", few))
    name = args.architecture or args.model
    print(f"{name} on {args.device}, {tiles} tiles of {args.tile_px} px, batches of {args.batch}, ", end="")
    print(f"{args.threads} threads, {args.workers} workers")
    for unit_name in ("clock", "processor"):
        middle = {kind: statistics.median(getattr(r, unit_name) for r in turns) for kind, turns in rates.items()}
        shown = ", ".join(f"{kind} {rate:.0f}" for kind, rate in middle.items())
        ratios = ", ".join(
            f"build/{other} {middle['build'] / middle[other]:.2f}" for other in rates if other != "build"
        )
        print(f"  {unit_name}: {shown} tiles/s; {ratios}")


def large(args: argparse.Namespace) -> None:
    """Open a large collection as the service does; add 1,000 embedded tiles from another process until it answers."""
    folder = Path(args.folder or tempfile.mkdtemp())
    random_collection(folder, args.rows)
    root = folder / f"random-{args.rows}"
    start = Stopwatch()
    open_collection(root)
    opened = start.seconds()
    catalog = Catalog(folder, root.name, lambda _: RandomModel(), ann_rows=Settings().ann_rows)
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
    generation = catalog.get(root.name).collection.generation
    time.sleep(np.random.default_rng().uniform(0, 1))  # at any moment between two looks
    start = time.perf_counter()
    here.send("write")
    while catalog.get(root.name).collection.generation == generation:
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

    def candidates(self):
        for i in range(self.tiles):
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
    print(f"{report.added:,} tiles: peak {peak} MiB, {peak - before} MiB above a build of 8 tiles")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("throughput")
    one.add_argument("--model", default="wildsat-mini")
    one.add_argument("--architecture", help="a backbone with random weights instead of a model")
    one.add_argument("--features", type=int, default=2048)
    one.add_argument("--tiles", type=int, default=4000)
    one.add_argument("--tile-px", type=int, default=128)
    one.add_argument("--batch", type=int, default=256)
    one.add_argument("--threads", type=int, default=torch.get_num_threads())
    one.add_argument("--workers", type=int, default=1)
    one.add_argument("--device", default="cpu", help="cpu or cuda; copying pixels there is part of every rate")
    one.set_defaults(run=throughput)
    two = kinds.add_parser("large")
    two.add_argument("--rows", type=int, default=1_000_000)
    two.add_argument("--folder", help="keep the collection here for the next run")
    two.add_argument("--turns", type=int, default=10)
    two.add_argument("--interval", type=float, default=Settings.model_fields["swap_interval_s"].default)
    two.set_defaults(run=large)
    three = kinds.add_parser("memory")
    three.add_argument("--tiles", type=int, nargs="+", default=[20_000, 100_000])
    three.set_defaults(run=memory)
    four = kinds.add_parser("one-build")
    four.add_argument("tiles", type=int)
    four.set_defaults(run=one_build)
    five = kinds.add_parser("gpu")
    five.add_argument("--rows", type=int, default=10_000_000)
    five.add_argument("--dim", type=int, default=DIM)
    five.add_argument("--device", default="cuda")
    five.set_defaults(run=gpu)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
