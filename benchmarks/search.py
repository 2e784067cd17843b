"""The engine's scan against numpy, FAISS and usearch on the same vectors in one run; filters; the heat-map.

    python -m benchmarks.search [--rows 1000000] [--spectrum mini] [--folder /tmp/bench] [--rounds 7] [--device cuda]

With --spectrum mini the vectors are wildsat-mini's of random land points and the queries real texts, as in use; without
it both are random directions, the worst case. With a device the engine's scan runs there; the others stay on the CPU.
Figures are medians in milliseconds and ratios to the engine; every contender must find the same best 20.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np

from benchmarks.land_collection import LandModel, land_collection, questions
from benchmarks.random_collection import DIM, RandomModel, random_collection
from wildsat_core.area import Area
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.heatmap import paint
from wildsat_core.search.query import Filters, Query, TextTerm
from wildsat_core.types import BBox, Space

K = 20
IN_A_ROW = (
    5  # queries that each contender answers in its turn: what one leaves in the caches is not the next one's loss
)
WARM_UP = 20  # queries: until the cache of scores is full, each takes memory that the process has never touched


class Contender:
    """Something that finds the K best rows for a query vector."""

    def __init__(self, name: str, search: Callable[[np.ndarray], np.ndarray]) -> None:
        self.name, self.search = name, search
        self.times_ms: list[float] = []
        self.recalls: list[float] = []


def numpy_best(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    scores = vectors @ query
    best = np.argpartition(-scores, K)[:K]
    return best[np.argsort(-scores[best])]


def contenders(vectors: np.ndarray) -> list[Contender]:
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


def milliseconds(run: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    answer = run()
    return (time.perf_counter() - start) * 1e3, answer


def report(name: str, times: list[float], base: float, note: str = "") -> None:
    median = statistics.median(times)
    print(f"{name:34} {median:8.2f} ms   x {median / base:5.2f}   {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/wildsat-benchmarks"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--spectrum", choices=["random", "mini"], default="random")
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
    opened, collection = milliseconds(make)
    ready, engine = milliseconds(lambda: SearchEngine(collection, model, device=args.device))
    prepared, _ = milliseconds(lambda: engine.search(Query((TextTerm("warm up"),))))
    print(f"{args.rows} x {DIM}: open {opened:.0f} ms, engine {ready:.0f} ms, first search {prepared:.0f} ms")

    vectors = collection.vectors(space, np.arange(args.rows))
    rivals = contenders(vectors)
    for i in range(WARM_UP):
        engine.search(Query((TextTerm(f"warm up {i}"),), k=K))
    mine: list[float] = []
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
                vector = model.embed_texts([text])[0]
                took, found = milliseconds(lambda rival=rival, vector=vector: rival.search(vector))
                rival.times_ms.append(took)
                rival.recalls.append(len(best & set(np.asarray(found).tolist())) / K)
    base = statistics.median(mine)
    report("this engine", mine, base, "filters, percentiles and tiles included")
    for rival in rivals:
        report(rival.name, rival.times_ms, base, f"same best {K}: {statistics.mean(rival.recalls):.3f}")
    filtered(engine, args.rounds * IN_A_ROW, base)
    together(engine, base)
    heat(engine, base)


def together(engine: SearchEngine, base: float) -> None:
    """Searches that come at once share passes over the vectors."""
    for threads in (8, 32):
        queries = [Query((TextTerm(f"at once {threads} {i}"),), k=K) for i in range(10 * threads)]
        with ThreadPoolExecutor(threads) as pool:
            took, _ = milliseconds(lambda pool=pool, queries=queries: list(pool.map(engine.search, queries)))
        report(f"this engine, {threads} at once", [took / len(queries)], base, "time for each search")


def filtered(engine: SearchEngine, queries: int, base: float) -> None:
    box = Filters(bbox=BBox(0.0, 0.0, 7.2, 30.0))  # 1 % of the sphere
    ring = [[0, 0], [14, 2], [12, 18], [3, 15], [0, 0]]
    polygon = Filters(area=Area.from_geojson({"type": "Polygon", "coordinates": [ring]}))
    for name, filters in (("1 % box", box), ("polygon", polygon)):
        times, recalls, matched = [], [], 0
        rows = engine.passing(filters)
        for i in range(queries):
            query = Query((TextTerm(f"filtered {i}"),), filters, k=K)
            took, result = milliseconds(lambda query=query: engine.search(query))
            times.append(took)
            vector = engine.model.embed_texts([f"filtered {i}"])[0]
            scores = engine.collection.vectors(next(iter(engine.collection.spaces)), rows) @ vector
            best = rows[np.argsort(-scores, kind="stable")[:K]]
            recalls.append(len({hit.row for hit in result.hits} & set(best.tolist())) / K)
            matched = result.matched
        note = f"{matched} tiles pass, recall@{K} {statistics.mean(recalls):.3f}"
        report(f"this engine, {name}", times, base, note)


def heat(engine: SearchEngine, base: float) -> None:
    """A map tile in the middle of the land at each zoom, of a query that is cached."""
    took, field = milliseconds(lambda: engine.heat(Query((TextTerm("query 0"),))))
    first, _ = milliseconds(lambda: field.grid(0, 0, 0))
    print(f"heat-map: scores {took:.0f} ms, the world's pictures {first:.0f} ms")
    for z in range(15):
        x, y = int((10.0 / 360 + 0.5) * 2**z), int(0.47 * 2**z)
        times = [milliseconds(lambda z=z, x=x, y=y: paint(field.grid(z, x, y)))[0] for _ in range(9)]
        report(f"heat-map tile {z}/{x}/{y}", times, base, "query cached")


if __name__ == "__main__":
    main()
