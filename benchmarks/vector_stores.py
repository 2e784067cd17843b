"""What a user would pick instead for filtered search: LanceDB, DuckDB, Qdrant's local mode, Milvus Lite; same vectors.

    python -m benchmarks.vector_stores make FILE [--rows 100000]      # here: vectors, places, questions
    python -P benchmarks/vector_stores.py run FILE [STORE ...]        # in an environment of the stores' own

The stores go into an environment of their own: `pip install numpy lancedb duckdb qdrant-client pymilvus milvus-lite`.
Vectors are wildsat-mini's of random land points, questions real texts; each is asked for its best 20, of all tiles and
of those in a box that holds about a hundredth of them. Every store is measured beside numpy on the same vectors in the
same run; the engine's own ratio to numpy is what `benchmarks.search` tells. Recall is against numpy's exact answer.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

K, QUESTIONS = 20, 24
Search = Callable[[np.ndarray, bool], list[int]]  # rows of the best K for a vector, within the box or of all
Box = tuple[float, float, float, float]


def make(file: Path, rows: int) -> None:
    """Write what is searched and what is asked."""
    from benchmarks.land_collection import LandModel, land_points, questions

    model = LandModel()
    points = land_points(np.random.default_rng(0), rows)
    vectors = np.concatenate(
        [model.model.embed_places(part)["place"] for part in np.array_split(points, rows // 8192 + 1)]
    )
    asked = model.model.embed_texts(list(islice(questions(), QUESTIONS)))
    np.savez(file, vectors=vectors.astype(np.float32), points=points, asked=asked)


def box_of(points: np.ndarray) -> Box:
    """West, south, east, north around the hundredth of the points that is nearest to the middle of Africa."""
    away = np.abs(points - [20.0, 5.0]).max(axis=1)
    half = float(np.quantile(away, 0.01))
    return 20.0 - half, 5.0 - half, 20.0 + half, 5.0 + half


def inside(points: np.ndarray, box: Box) -> np.ndarray:
    west, south, east, north = box
    lon, lat = points.T
    return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)


def with_numpy(vectors: np.ndarray, points: np.ndarray, box: Box, _: Path) -> Iterator[tuple[str, Search]]:
    def search(query: np.ndarray, boxed: bool) -> list[int]:
        rows = np.flatnonzero(inside(points, box)) if boxed else np.arange(len(vectors))
        scores = (vectors[rows] if boxed else vectors) @ query
        best = np.argpartition(-scores, K)[:K]
        return rows[best[np.argsort(-scores[best])]].tolist()

    yield "numpy float32", search


def with_lancedb(vectors: np.ndarray, points: np.ndarray, box: Box, folder: Path) -> Iterator[tuple[str, Search]]:
    import lancedb
    import pyarrow as pa

    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = lancedb.connect(folder).create_table(
        "tiles",
        pa.table({"row": np.arange(len(vectors)), "lon": points[:, 0], "lat": points[:, 1], "vector": column}),
    )
    where = "lon >= {} AND lat >= {} AND lon <= {} AND lat <= {}".format(*box)

    def search(query: np.ndarray, boxed: bool, probes: int = 0) -> list[int]:
        asked = table.search(query).distance_type("dot").limit(K).select(["row"])
        asked = asked.nprobes(probes).refine_factor(10) if probes else asked
        return (asked.where(where, prefilter=True) if boxed else asked).to_arrow()["row"].to_pylist()

    yield "LanceDB, no index", search
    table.create_index(metric="dot", vector_column_name="vector", index_type="IVF_PQ")
    yield "LanceDB IVF_PQ, 20 probes, refined", lambda query, boxed: search(query, boxed, 20)


def with_duckdb(vectors: np.ndarray, points: np.ndarray, box: Box, folder: Path) -> Iterator[tuple[str, Search]]:
    import duckdb
    import pyarrow as pa

    dim = vectors.shape[1]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim)
    held = pa.table({"id": np.arange(len(vectors)), "lon": points[:, 0], "lat": points[:, 1], "vector": column})
    base = duckdb.connect(str(folder / "tiles.duckdb"))
    base.register("held", held)
    base.execute(f"CREATE TABLE tiles AS SELECT id, lon, lat, vector::FLOAT[{dim}] AS vector FROM held")
    where = "WHERE lon >= {} AND lat >= {} AND lon <= {} AND lat <= {}".format(*box)

    def search(query: np.ndarray, boxed: bool) -> list[int]:
        narrowed = where if boxed else ""
        order = f"ORDER BY array_inner_product(vector, ?::FLOAT[{dim}]) DESC LIMIT {K}"
        found = base.execute(f"SELECT id FROM tiles {narrowed} {order}", [query.tolist()])
        return [row for (row,) in found.fetchall()]

    yield "DuckDB, no index", search


def with_qdrant(vectors: np.ndarray, points: np.ndarray, box: Box, _: Path) -> Iterator[tuple[str, Search]]:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    size = vectors.shape[1]
    client.create_collection("tiles", models.VectorParams(size=size, distance=models.Distance.DOT))
    told = [{"lon": float(lon), "lat": float(lat)} for lon, lat in points]
    client.upload_collection("tiles", vectors, told, ids=range(len(vectors)))
    west, south, east, north = box
    ranges = (("lon", west, east), ("lat", south, north))
    narrowed = models.Filter(
        must=[models.FieldCondition(key=name, range=models.Range(gte=low, lte=high)) for name, low, high in ranges]
    )

    def search(query: np.ndarray, boxed: bool) -> list[int]:
        found = client.query_points("tiles", query, limit=K, query_filter=narrowed if boxed else None)
        return [point.id for point in found.points]

    yield "Qdrant, local mode", search


def with_milvus(vectors: np.ndarray, points: np.ndarray, box: Box, folder: Path) -> Iterator[tuple[str, Search]]:
    from pymilvus import MilvusClient

    client = MilvusClient(str(folder / "tiles.db"))
    client.create_collection("tiles", dimension=vectors.shape[1], metric_type="IP", auto_id=False)
    for first in range(0, len(vectors), 2000):
        rows = range(first, min(first + 2000, len(vectors)))
        client.insert(
            "tiles",
            [{"id": i, "vector": vectors[i], "lon": float(points[i, 0]), "lat": float(points[i, 1])} for i in rows],
        )
    where = "lon >= {} and lat >= {} and lon <= {} and lat <= {}".format(*box)

    def search(query: np.ndarray, boxed: bool) -> list[int]:
        [found] = client.search("tiles", [query], limit=K, filter=where if boxed else "")
        return [hit["id"] for hit in found]

    yield "Milvus Lite, its default index", search


STORES = {
    "numpy": with_numpy,
    "lancedb": with_lancedb,
    "duckdb": with_duckdb,
    "qdrant": with_qdrant,
    "milvus": with_milvus,
}


def run(file: Path, stores: list[str]) -> None:
    """Measure stores one after the other, numpy beside each."""
    held = np.load(file)
    vectors, points, asked = held["vectors"], held["points"], held["asked"]
    box = box_of(points)
    [(_, exact)] = with_numpy(vectors, points, box, Path())
    print(f"{len(vectors)} x {vectors.shape[1]}, {inside(points, box).sum()} in the box, k {K}, {len(asked)} questions")
    for store in stores:
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            for name, search in STORES[store](vectors, points, box, Path(folder)):
                print(f"{name}: filled in {time.process_time() - started:.0f} s of processors", flush=True)
                for boxed in (False, True):
                    measure(name, search, exact, asked, boxed)
                started = time.process_time()


def measure(name: str, search: Search, exact: Search, asked: np.ndarray, boxed: bool) -> None:
    """Print medians of wall and processor time, those of numpy in turns, and recall."""
    taken: dict[str, list[tuple[float, float]]] = {"mine": [], "numpy": []}
    recalls = []
    search(asked[0], boxed)
    for query in asked:
        found = {}
        for who, method in (("mine", search), ("numpy", exact)):
            wall, worked = time.perf_counter(), time.process_time()
            found[who] = method(query, boxed)
            taken[who].append(((time.perf_counter() - wall) * 1e3, (time.process_time() - worked) * 1e3))
        recalls.append(len(set(found["mine"]) & set(found["numpy"])) / K)
    wall, worked = (statistics.median(each) for each in zip(*taken["mine"], strict=True))
    beside = statistics.median(wall for wall, _ in taken["numpy"])
    print(
        f"  {name:36} {'1 % box' if boxed else 'no filter':10} {wall:8.2f} ms ({worked:.2f} of processors), "
        f"x {wall / beside:6.2f} numpy's {beside:.2f}, recall@{K} {statistics.mean(recalls):.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("make", "run"):
        command = commands.add_parser(name)
        command.add_argument("file", type=Path)
    commands.choices["make"].add_argument("--rows", type=int, default=100_000)
    commands.choices["run"].add_argument("stores", nargs="*", choices=[[], *STORES], default=[])
    args = parser.parse_args()
    if args.command == "make":
        make(args.file, args.rows)
    else:
        run(args.file, args.stores or list(STORES))


if __name__ == "__main__":
    sys.exit(main())
