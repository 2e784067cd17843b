"""The engine's scan against numpy, FAISS and usearch on the same vectors in one run; filters; the heat-map.

    python -m benchmarks.search [--rows 1000000] [--spectrum mini] [--folder /tmp/bench] [--rounds 7] [--graph]

With --spectrum mini the vectors are wildsat-mini's of random land points and the queries real texts, as in use; without
it both are random directions, the worst case. With a device the engine's scan runs there; the others stay on the CPU.
Figures are medians of wall time and of processor time (all threads) in milliseconds, and ratios of both to the
engine's, taken in turns; the share of the engine's best 20 that each contender finds stands beside them. "int8 pass" is
the engine without prefixes. The graph of HNSW is kept in the folder: it takes long to build.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.land_collection import LandModel, land_collection, questions
from benchmarks.random_collection import DIM, RandomModel, random_collection
from wildsat_core.area import Area
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.heatmap import paint
from wildsat_core.search.query import Filters, Query, TextTerm
from wildsat_core.types import BBox, Space

Took = tuple[float, float]  # wall and processor time in milliseconds

K = 20
GRAPH_DEGREE, GRAPH_EFFORT, GRAPH_SEARCHES = 32, 100, (64, 256)
IN_A_ROW = (
    5  # queries that each contender answers in its turn: what one leaves in the caches is not the next one's loss
)
WARM_UP = 20  # queries: until the cache of scores is full, each takes memory that the process has never touched


class Contender:
    """Something that finds the K best rows for a query vector."""

    def __init__(self, name: str, search: Callable[[Any], np.ndarray]) -> None:
        self.name, self.search = name, search
        self.times_ms: list[Took] = []
        self.recalls: list[float] = []


def numpy_best(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    scores = vectors @ query
    best = np.argpartition(-scores, K)[:K]
    return best[np.argsort(-scores[best])]


def contenders(vectors: np.ndarray, graph_folder: Path | None) -> list[Contender]:
    import faiss

    flat = faiss.IndexFlatIP(DIM)
    flat.add(vectors)
    half = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    half.train(vectors[:1000])
    half.add(vectors)
    eight = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    eight.train(vectors[:100_000])
    eight.add(vectors)
    found = [
        Contender("numpy float32", lambda q: numpy_best(vectors, q)),
        Contender("FAISS IndexFlatIP", lambda q: flat.search(q[None], K)[1][0]),
        Contender("FAISS SQ fp16", lambda q: half.search(q[None], K)[1][0]),
        Contender("FAISS SQ 8 bit", lambda q: eight.search(q[None], K)[1][0]),
        *(graph_contenders(vectors, graph_folder) if graph_folder else []),
    ]
    try:
        from usearch.index import MetricKind, search
    except ImportError:
        print("usearch is not installed: left out")
        return found
    codes = np.clip(np.rint(vectors * 127 / np.abs(vectors).max()), -127, 127).astype(np.int8)

    def usearch_best(q: np.ndarray) -> np.ndarray:
        query = np.clip(np.rint(q * 127 / np.abs(q).max()), -127, 127).astype(np.int8)
        return search(codes, query, K, MetricKind.IP, exact=True, threads=2).keys

    return [*found, Contender("usearch exact int8", usearch_best)]


def graph_contenders(vectors: np.ndarray, folder: Path) -> list[Contender]:
    """FAISS HNSW at some efforts; the graph is read from the folder where an earlier run left it."""
    import faiss

    path = folder / f"hnsw-{len(vectors)}-{hashlib.sha256(vectors[:1000].tobytes()).hexdigest()[:8]}.faiss"
    if path.exists():
        graph = faiss.read_index(str(path))
    else:
        graph = faiss.IndexHNSWFlat(vectors.shape[1], GRAPH_DEGREE, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = GRAPH_EFFORT
        took, _ = milliseconds(lambda: graph.add(vectors))
        print(f"HNSW of degree {GRAPH_DEGREE}: built in {took[1] / 1e3:.0f} s of a processor", flush=True)
        faiss.write_index(graph, str(path))

    def search(effort: int, query: np.ndarray) -> np.ndarray:
        return graph.search(query[None], K, params=faiss.SearchParametersHNSW(efSearch=effort))[1][0]

    return [Contender(f"FAISS HNSW, efSearch {effort}", partial(search, effort)) for effort in GRAPH_SEARCHES]


class Forgetful:
    """A model that knows no texts of its own, so that the engine makes no prefixes."""

    def __init__(self, model: LandModel | RandomModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def typical_texts(self) -> np.ndarray:
        return np.empty((0, DIM), np.float32)


def milliseconds(run: Callable[[], object]) -> tuple[Took, object]:
    start, worked = time.perf_counter(), time.process_time()
    answer = run()
    return ((time.perf_counter() - start) * 1e3, (time.process_time() - worked) * 1e3), answer


def medians(times: list[Took]) -> Took:
    wall, processor = (statistics.median(each) for each in zip(*times, strict=True))
    return wall, processor


def report(name: str, times: list[Took], base: Took, note: str = "") -> None:
    wall, processor = medians(times)
    print(
        f"{name:34} {wall:8.2f} ms  x {wall / base[0]:5.2f}   {processor:8.2f} ms of processors"
        f"  x {processor / base[1]:5.2f}   {note}",
        flush=True,
    )


def memory_mb() -> int:
    """Memory of this process that is not mapped from files."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/wildsat-benchmarks"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--spectrum", choices=["random", "mini"], default="random")
    parser.add_argument("--graph", action="store_true", help="HNSW, too: its graph takes long to build, once")
    parser.add_argument("--device", help="of the engine's scan, such as cuda; the CPU's own scan if left out")
    args = parser.parse_args()

    space: Space = "text"
    if args.spectrum == "mini":
        model, space, texts_of = LandModel(), "place", questions()
        make = partial(land_collection, args.folder, args.rows, model)
    else:
        model, texts_of = RandomModel(), (f"query {i}" for i in count())
        make = partial(random_collection, args.folder, args.rows)
    make()
    before = memory_mb()
    opened, collection = milliseconds(make)
    table = memory_mb() - before
    ready, engine = milliseconds(lambda: SearchEngine(collection, model, device=args.device))
    prepared, _ = milliseconds(lambda: engine.search(Query((TextTerm("warm up"),))))
    print(f"{args.rows} x {DIM}: open {opened[0]:.0f} ms, engine {ready[0]:.0f} ms, first search {prepared[0]:.0f} ms")
    scan = memory_mb() - before - table
    print(f"memory a tile: {table * 2**20 / args.rows:.0f} bytes of table, {scan * 2**20 / args.rows:.0f} of scan")

    vectors = collection.vectors(space, np.arange(args.rows))
    rivals = contenders(vectors, args.folder if args.graph else None)
    if args.spectrum == "mini":
        old = SearchEngine(collection, Forgetful(model))
        for text in islice(texts_of, WARM_UP):
            old.search(Query((TextTerm(text),), k=K))
        rivals.append(Contender("this engine, int8 pass", lambda text: engine_best(old, text)))
    for i in range(WARM_UP):
        engine.search(Query((TextTerm(f"warm up {i}"),), k=K))
    mine: list[Took] = []
    for _ in range(args.rounds):  # one after the other in each round, so that a slow moment meets all
        texts = list(islice(texts_of, IN_A_ROW))
        model.embed_texts(texts)
        results = []
        for text in texts:
            took, result = milliseconds(lambda text=text: engine.search(Query((TextTerm(text),), k=K)))
            mine.append(took)
            results.append({hit.row for hit in result.hits})
        for rival in rivals:
            for text, best in zip(texts, results, strict=True):
                asked = text if rival.name.startswith("this engine") else vector_of(engine, text)
                took, found = milliseconds(lambda rival=rival, asked=asked: rival.search(asked))
                rival.times_ms.append(took)
                rival.recalls.append(len(best & set(np.asarray(found).tolist())) / K)
    base = medians(mine)
    report(f"this engine ({result.backend})", mine, base, "filters, percentiles and tiles included")
    for rival in rivals:
        report(rival.name, rival.times_ms, base, f"same best {K}: {statistics.mean(rival.recalls):.3f}")
    filtered(engine, args.rounds * IN_A_ROW, base)
    together(engine, base)
    heat(engine, base)


def vector_of(engine: SearchEngine, text: str) -> np.ndarray:
    """What the engine ranks by: the text's vector less what plain habitats share; made before a rival's clock runs."""
    [slope] = engine.plan(Query((TextTerm(text),))).slopes.values()
    return slope


def engine_best(engine: SearchEngine, text: str) -> np.ndarray:
    return np.array([hit.row for hit in engine.search(Query((TextTerm(text),), k=K)).hits])


def together(engine: SearchEngine, base: Took) -> None:
    """Searches that come at once share passes over the vectors."""
    for threads in (8, 32):
        texts = [f"at once {threads} {i}" for i in range(10 * threads)]
        engine.model.embed_texts(texts)
        queries = [Query((TextTerm(text),), k=K) for text in texts]
        with ThreadPoolExecutor(threads) as pool:
            took, _ = milliseconds(lambda pool=pool, queries=queries: list(pool.map(engine.search, queries)))
        report(
            f"this engine, {threads} at once",
            [(took[0] / len(queries), took[1] / len(queries))],
            base,
            "time for each search",
        )


def filtered(engine: SearchEngine, queries: int, base: Took) -> None:
    box = Filters(bbox=BBox(0.0, 0.0, 7.2, 30.0))  # 1 % of the sphere
    ring = [[0, 0], [14, 2], [12, 18], [3, 15], [0, 0]]
    polygon = Filters(area=Area.from_geojson({"type": "Polygon", "coordinates": [ring]}))
    for name, filters in (("1 % box", box), ("polygon", polygon)):
        times, recalls, matched = [], [], 0
        rows = engine.passing(filters)
        for i in range(queries):
            engine.model.embed_texts([f"filtered {i}"])
            query = Query((TextTerm(f"filtered {i}"),), filters, k=K)
            took, result = milliseconds(lambda query=query: engine.search(query))
            times.append(took)
            vector = vector_of(engine, f"filtered {i}")
            scores = engine.collection.vectors(next(iter(engine.collection.spaces)), rows) @ vector
            best = rows[np.argsort(-scores, kind="stable")[:K]]
            recalls.append(len({hit.row for hit in result.hits} & set(best.tolist())) / K)
            matched = result.matched
        note = f"{matched} tiles pass, recall@{K} {statistics.mean(recalls):.3f}"
        report(f"this engine, {name}", times, base, note)


def heat(engine: SearchEngine, base: Took) -> None:
    """A map tile in the middle of the land at each zoom, of a query that is cached."""
    took, field = milliseconds(lambda: engine.heat(Query((TextTerm("query 0"),))))
    first, _ = milliseconds(lambda: field.grid(0, 0, 0))
    print(f"heat-map: scores {took[0]:.0f} ms, the world's pictures {first[0]:.0f} ms")
    for z in range(15):
        x, y = int((10.0 / 360 + 0.5) * 2**z), int(0.47 * 2**z)
        times = [milliseconds(lambda z=z, x=x, y=y: paint(field.grid(z, x, y)))[0] for _ in range(9)]
        report(f"heat-map tile {z}/{x}/{y}", times, base, "query cached")


if __name__ == "__main__":
    main()
