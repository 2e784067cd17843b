"""What units and shards cost: builds in units against one stream, one worker against two, one shard against several.

    python -m benchmarks.cluster units [--tiles 8192 --unit 4096]
    python -m benchmarks.cluster workers [--tiles 8192 --unit 1024]
    python -m benchmarks.cluster shards [--rows 100000]
    python -m benchmarks.cluster requests [--tiles 29241]

All ways take turns in one run, so that a busy machine slows them alike. Where other processes share the processors only
processor time tells anything of the first two, and the milliseconds of the last are more than they would be.

"units" compares `build_collection`, cut into units, with the same reading, embedding and writing in one stream, which
knows no plan, receipts or committer. "workers" has the units of one plan done by one process, then by two at once, each
on one thread; model and imagery are open before the clock starts. "requests" counts what a build of a scene asks of
servers: parts of a GeoTIFF on loopback, and objects of a store. "shards" asks an engine of one shard, of three in
this process, and of two that are actors on a Ray cluster on loopback, for the same searches.
"""

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.index_throughput import Stopwatch, write_imagery
from benchmarks.range_requests import served
from indexer.cluster import plan as planning
from indexer.cluster.build import build_collection
from indexer.cluster.commit import commit_job
from indexer.cluster.units import units_of
from indexer.cluster.work import Worker, run_units, share_of
from indexer.pipeline.embedding import embedded_batches
from indexer.pipeline.encoding import Encoder
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import read_chunks
from indexer.pipeline.report import BuildReport
from indexer.sources import raster
from indexer.sources.raster import RasterSource
from wildsat_core.collection import CollectionWriter
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import load_model

MODEL = "wildsat-mini"
TILE_PX = 64
OPTIONS = BuildOptions(workers=0, compiled=False, any_scale=True)


def cut(tiles: int) -> None:
    """Cut sources in this process into units of so many tiles."""
    raster.MOST_IN_PARTITION = tiles
    planning.units_of = partial(units_of, most=tiles)


def stream(model: WildSATModel, source: RasterSource, root: Path) -> None:
    """Read, embed and write without units."""
    encoder = Encoder(model, batch_tiles=OPTIONS.batch_tiles)
    report = BuildReport(root.name, MODEL)
    chunks = read_chunks(source, source.candidates(), OPTIONS.read, 0)
    rows = OPTIONS.segment_tiles
    with CollectionWriter(root, root.name, model.ref, model.spaces, segment_rows=rows) as writer:
        for batch in embedded_batches(chunks, encoder, OPTIONS.batch_tiles, report):
            writer.add(batch.tiles, batch.vectors, batch.thumbnails)
        writer.publish(source.provenance())


def in_units(model: WildSATModel, source: RasterSource, root: Path) -> None:
    build_collection(source, model, root, OPTIONS, {})


def units(args: argparse.Namespace) -> None:
    """Processor seconds of a build in units and of one stream."""
    torch.set_num_threads(1)
    cut(args.unit)
    model = load_model(MODEL)
    spent: dict[str, list[float]] = {"stream": [], "units": []}
    with tempfile.TemporaryDirectory() as folder:
        source = write_imagery(Path(folder) / "imagery.tif", args.tiles, TILE_PX)
        stream(model, write_imagery(Path(folder) / "few.tif", 512, TILE_PX), Path(folder) / "warm")
        count = len(list(planning.units_of(source)))
        for turn in range(args.turns):
            for name, way in (("stream", stream), ("units", in_units))[:: 1 if turn % 2 else -1]:
                watch = Stopwatch()
                way(model, source, Path(folder) / f"{name}{turn}")
                spent[name].append(watch.seconds()[1])
    told = {name: statistics.median(each) for name, each in spent.items()}
    ratios = sorted(mine / other for mine, other in zip(spent["units"], spent["stream"], strict=True))
    print(
        f"{source.count()} tiles in {count} units, one thread: {told['units']:.1f} s of a processor, "
        f"{told['units'] / count:.1f} s a unit; one stream {told['stream']:.1f} s; ratio "
        f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


_worker: Worker | None = None  # of a process of the pool


def _open(imagery: Path, root: Path, unit: int) -> None:
    """Once in each process: open all, and embed a little."""
    global _worker  # noqa: PLW0603 - a process of a pool has no other way to keep what it was started with
    torch.set_num_threads(1)
    cut(unit)
    source = RasterSource(str(imagery), raster.PixelGrid(TILE_PX, TILE_PX))
    plan = planning.read_plan(root)
    _worker = Worker.start(root, plan, source, load_model(MODEL), OPTIONS)
    chunk = next(read_chunks(source, source.candidates(), OPTIONS.read, 0))
    _worker.encoder.encode(chunk.tiles, chunk.pixels)


def _share(share: str) -> float:
    """Do a share of the units; gives processor seconds."""
    assert _worker is not None
    watch = Stopwatch()
    run_units(_worker, share_of(len(_worker.units), share))
    return watch.seconds()[1]


def by_workers(imagery: Path, root: Path, unit: int, count: int) -> tuple[float, float]:
    """Seconds of the clock, and of processors, that so many processes take for all units."""
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_open, initargs=(imagery, root, unit)
    ) as pool:
        list(pool.map(time.sleep, [1.0] * count))  # all are there, and none had two
        start = time.perf_counter()
        worked = list(pool.map(_share, [f"{i}/{count}" for i in range(count)]))
        return time.perf_counter() - start, sum(worked)


def workers(args: argparse.Namespace) -> None:
    """One worker and two."""
    cut(args.unit)
    model = load_model(MODEL)
    times: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        imagery = Path(folder) / "imagery.tif"
        source = write_imagery(imagery, args.tiles, TILE_PX)
        for turn in range(args.turns):
            for count in (1, 2):
                root = Path(folder) / f"by{count}-{turn}"
                plan = planning.make_plan(root, "job", source, model.ref, {})
                times[count].append(by_workers(imagery, root, args.unit, count))
                commit_job(root, plan, model.spaces, source, {})
    (one, one_cpu), (two, two_cpu) = (map(statistics.median, zip(*times[n], strict=True)) for n in (1, 2))
    print(
        f"{source.count()} tiles in {len(plan.units)} units: one worker {one:.1f} s ({one_cpu:.1f} of a processor), "
        f"two {two:.1f} s ({two_cpu:.1f}): {one / two / 2:.2f} of twice as fast by the clock, {one_cpu / two_cpu:.2f} "
        "by processor time"
    )


def shards(args: argparse.Namespace) -> None:
    """Milliseconds of a search on one shard and on several, and how often the shards are asked."""
    from app.engines import LocalEngines, RayEngines
    from benchmarks.random_collection import RandomModel, random_collection
    from indexer.cluster.ray_engine import connected
    from wildsat_core.search.query import Query, TextTerm

    model = RandomModel()
    queries = [Query(terms=(TextTerm(f"place {i}"),), k=20) for i in range(args.searches)]
    with tempfile.TemporaryDirectory() as folder, connected(None):
        root = random_collection(Path(folder), args.rows).root
        kinds = {
            "one shard": LocalEngines(device=None, ann_rows=10**9),
            "three here": LocalEngines(device=None, ann_rows=10**9, shards=3),
            "two actors": RayEngines("auto", shards=2, replicas=1, device=None),
        }
        engines = {name: kind.open(root, lambda _: model, None) for name, kind in kinds.items()}
        taken: dict[str, list[float]] = {name: [] for name in engines}
        for query in queries:
            for name, engine in engines.items():
                start = time.perf_counter()
                engine.search(query)
                taken[name].append((time.perf_counter() - start) * 1e3)
    told = {name: statistics.median(each) for name, each in taken.items()}
    added = ", ".join(f"{name} +{told[name] - told['one shard']:.2f} ms" for name in told if name != "one shard")
    print(f"{args.rows} tiles, {args.searches} searches: one shard {told['one shard']:.2f} ms; {added}")


def requests(args: argparse.Namespace) -> None:
    """What a build of one scene, by its address and into a store, asks of both servers."""
    from wildsat_core.collection.mirror import mirrored

    model = load_model(MODEL)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (address, asked, given):
        os.environ["WILDSAT_CACHE"] = f"{folder}/cache"
        scene = Path(folder) / "scene.tif"
        write_imagery(scene, args.tiles, TILE_PX)
        source = RasterSource(f"{address}/{scene.name}", raster.PixelGrid(TILE_PX, TILE_PX))
        units = len(list(planning.units_of(source)))
        (store := Path(folder) / "store").mkdir()
        in_units(model, source, mirrored(f"file://{store}", "scene").root)
        objects = [file.stat().st_size for file in store.rglob("*") if file.is_file()]
        tiles, stored, size = source.count(), sum(objects), scene.stat().st_size
        print(
            f"{tiles} tiles of {TILE_PX} px in {units} units: {asked.value} requests, {asked.value / tiles:.4f} a "
            f"tile, for {given.value / size:.2f} times the scene's {size / 1e6:.0f} MB; {len(objects)} objects in the "
            f"store, {stored / 1e6:.0f} MB, {stored / tiles:.0f} bytes a tile"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    for kind, unit in ((units, 4096), (workers, 1024)):
        one = kinds.add_parser(kind.__name__)
        one.add_argument("--tiles", type=int, default=8192)
        one.add_argument("--unit", type=int, default=unit, help="most tiles of a unit")
        one.add_argument("--turns", type=int, default=3)
        one.set_defaults(run=kind)
    three = kinds.add_parser("shards")
    three.add_argument("--rows", type=int, default=100_000)
    three.add_argument("--searches", type=int, default=200)
    three.set_defaults(run=shards)
    four = kinds.add_parser("requests")
    four.add_argument("--tiles", type=int, default=171 * 171, help="those of a scene of Sentinel-2, 110 km wide")
    four.set_defaults(run=requests)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
