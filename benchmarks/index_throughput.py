"""`python -m benchmarks.indexing throughput`: a build end to end against the bare encoder and a plain loop."""

import argparse
import copy
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine

from benchmarks.random_collection import DIM
from indexer.cluster.build import build_collection
from indexer.pipeline.encoding import Encoder
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import ReadOptions, read_chunk
from indexer.sources.grid import KilometreGrid
from indexer.sources.raster import PixelGrid, RasterSource
from wildsat_core.collection import CollectionWriter
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import load_model
from wildsat_core.preprocess import Preprocessing

MOST_IN_LOOP = 400  # tiles: its rate is soon known


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
    options |= {"num_threads": "all_cpus"}
    with rasterio.open(path, "w", transform=transform, **profile, **options) as out:
        for row in range(0, side, tile_px):
            coarse = rng.integers(0, 128, (3, tile_px // 4, side // 4 + 1), np.uint8)
            noise = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :tile_px, :side]
            strip = noise + rng.integers(0, 40, (3, tile_px, side), np.uint8)
            out.write(strip, window=rasterio.windows.Window(0, row, side, tile_px))
    return RasterSource(str(path), PixelGrid(tile_px, tile_px))


def imagery_of(args: argparse.Namespace, folder: Path) -> RasterSource:
    """The raster that was named, or one of noise."""
    if args.input is None:
        return write_imagery(folder / "imagery.tif", args.tiles, args.tile_px)
    if args.tile_km is not None:
        return RasterSource(args.input, KilometreGrid(args.tile_km, args.tile_km), tile_px=args.tile_px)
    return RasterSource(args.input, PixelGrid(args.tile_px, args.tile_px))


@dataclass(frozen=True)
class Rate:
    """Tiles a second, by the clock and by processor time."""

    clock: float
    processor: float


class Stopwatch:
    """Both times since it was made; the processor's includes that of processes which were started and ended since."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), sum(os.times()[:4])

    def seconds(self) -> tuple[float, float]:
        clock, processor = self.start
        return time.perf_counter() - clock, sum(os.times()[:4]) - processor

    def rate(self, tiles: int) -> Rate:
        clock, processor = self.seconds()
        return Rate(tiles / clock, tiles / processor)


def bare_rate(encoder: Encoder, source: RasterSource, batch: int, batches: int) -> Rate:
    """Tiles a second of the encoder alone, in all spaces, on pixels that are in memory."""
    candidates = list(islice(source.candidates(), batch))
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
        for candidate in islice(source.candidates(), tiles):
            chunk = read_chunk(source, ReadOptions(), [candidate])
            vectors = model.embed_pixels(np.stack(chunk.pixels))
            vectors |= model.embed_places(np.array([tile.lon_lat for tile in chunk.tiles]))
            writer.add(chunk.tiles, {space: vectors[space] for space in model.spaces}, chunk.thumbnails)
        writer.publish({})
    return watch.rate(tiles)


def whole_rate(model: WildSATModel, source: RasterSource, root: Path, batch: int, workers: int) -> Rate:
    """Tiles a second of `build_collection`, from starting its workers to the published generation."""
    watch = Stopwatch()
    report = build_collection(source, model, root, BuildOptions(batch_tiles=batch, workers=workers, compiled=False), {})
    print(f"  build: {report.text().splitlines()[-1]}", flush=True)
    return watch.rate(report.added)


def throughput(args: argparse.Namespace) -> None:
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    model = load_model(args.model) if args.architecture is None else random_model(args.architecture, args.features)
    model = model.to(args.device)
    plain = copy.deepcopy(model)  # float32 in torch's own layout, as a model is loaded
    encoder = Encoder(model, batch_tiles=args.batch, compiled=args.compile)
    with tempfile.TemporaryDirectory() as folder:
        source = imagery_of(args, Path(folder))
        tiles = source.count() or 0
        bare_rate(encoder, source, args.batch, 1)  # warm up
        rates: dict[str, list[Rate]] = {"bare": [], "build": [], "loop": [], "loop-optimised": []}
        for turn in range(args.turns):
            rates["bare"].append(bare_rate(encoder, source, args.batch, max(tiles // args.batch // 2, 2)))
            rates["build"].append(whole_rate(model, source, Path(folder) / f"b{turn}", args.batch, args.workers))
            few = max(min(tiles // 8, MOST_IN_LOOP), 50)
            rates["loop"].append(loop_rate(plain, source, Path(folder) / f"l{turn}", few))
            rates["loop-optimised"].append(loop_rate(model, source, Path(folder) / f"h{turn}", few))
    name = args.architecture or args.model
    print(f"{name} on {args.device}, {tiles} tiles of {args.tile_px} px, batches of {args.batch}, ", end="")
    print(f"{torch.get_num_threads()} threads, {args.workers} workers, compiled in {encoder.compile_s:.0f} s")
    for unit_name in ("clock", "processor"):
        middle = {kind: statistics.median(getattr(r, unit_name) for r in turns) for kind, turns in rates.items()}
        shown = ", ".join(f"{kind} {rate:.0f}" for kind, rate in middle.items())
        ratios = ", ".join(
            f"build/{other} {middle['build'] / middle[other]:.2f}" for other in rates if other != "build"
        )
        print(f"  {unit_name}: {shown} tiles/s; {ratios}")
