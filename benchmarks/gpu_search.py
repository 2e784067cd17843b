"""Search on a GPU against its memory's bandwidth: the engine's products and prefixes, FAISS's flat index and IVF-PQ.

    python -m benchmarks.indexing gpu --rows 10000000

The bandwidth is that of a copy of the vectors' size within the GPU's memory, measured in the same run. Flat searches
read all vectors once, so their share of it tells how near they are to the limit. What the engine's products are off
float64's at most, and whether the best are the same, stands beside their bound. FAISS needs its GPU package; without
it, only the engine's own are measured. Vectors are random, but for the prefixes, which need such as models make: their
coordinates fall off as `SPECTRUM` says. There, the best 20 of all are looked for, with both of the engine's scans.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from wildsat_core.search.device import DeviceScan, products
from wildsat_core.search.device_prefix import DevicePrefixes
from wildsat_core.search.plan import Part, Plan
from wildsat_core.search.prefix import Rotation
from wildsat_core.search.quantised import candidates

K = 20
SPECTRUM = 0.96  # of each coordinate's spread, the next one's: a prefix of 32 holds 93 % of a vector's square
SAMPLE = 65_536
ROUNDS, QUERIES = 21, 16
BLOCK_ROWS = 1_000_000


def seconds(work: Callable[[], object], device: str, rounds: int = ROUNDS) -> float:
    """Median time of some work, the device's own included; the first turn warms up."""
    turns = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        turns.append(time.perf_counter() - start)
    return statistics.median(turns[1:])


def random_vectors(rows: int, dim: int, device: str, spectrum: float = 1.0) -> torch.Tensor:
    """(N, D) float16 unit vectors."""
    spread = spectrum ** torch.arange(dim, device=device)
    out = torch.empty(rows, dim, dtype=torch.float16, device=device)
    generator = torch.Generator(device).manual_seed(0)
    for start in range(0, rows, BLOCK_ROWS):
        block = torch.randn(min(BLOCK_ROWS, rows - start), dim, generator=generator, device=device) * spread
        out[start : start + len(block)] = torch.nn.functional.normalize(block)
    return out


def blocks(vectors: torch.Tensor) -> list[np.ndarray]:
    return [part.float().cpu().numpy() for part in vectors.split(BLOCK_ROWS)]


def copying_rate(vectors: torch.Tensor, device: str) -> float:
    """Bytes a second that the memory reads and writes."""
    target = torch.empty_like(vectors)
    return 2 * vectors.nbytes / seconds(lambda: target.copy_(vectors), device)


def flat_index(faiss: Any, vectors: torch.Tensor, resources: object) -> object:
    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = True
    index = faiss.GpuIndexFlatIP(resources, vectors.shape[1], config)
    for block in blocks(vectors):
        index.add(block)
    return index


def ivfpq_index(faiss: Any, vectors: torch.Tensor, resources: object) -> object:
    """As `wildsat index ann` has it: 4 sqrt(N) lists, a byte for four dimensions."""
    rows, dim = vectors.shape
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True
    plain = faiss.index_factory(dim, f"IVF{int(4 * rows**0.5)},PQ{dim // 4}", faiss.METRIC_INNER_PRODUCT)
    index = faiss.index_cpu_to_gpu(resources, 0, plain, options)
    index.train(vectors[: 64 * int(4 * rows**0.5)].float().cpu().numpy())
    for block in blocks(vectors):
        index.add(block)
    return index


def exactly(vectors: torch.Tensor, query: np.ndarray) -> torch.Tensor:
    """(N,) products in float64, a block at a time."""
    slope = torch.from_numpy(query).to(vectors.device, torch.float64)
    return torch.cat([part.double() @ slope for part in vectors.split(BLOCK_ROWS)])


def off(vectors: torch.Tensor, device: str) -> str:
    """Greatest error of the products over some queries, its bound, and how many of the best K are those of float64."""
    queries = random_vectors(QUERIES, vectors.shape[1], device).float().cpu().numpy()
    queries += np.float32(1e-4) * np.random.default_rng(0).standard_normal(queries.shape, np.float32)  # no float16
    found, bounds = products([vectors], queries)
    worst, same = 0.0, 0
    for row, query in zip(found, queries, strict=True):
        expected = exactly(vectors, query)
        worst = max(worst, float((row - expected).abs().max()))
        same += len(set(row.topk(K).indices.tolist()) & set(expected.topk(K).indices.tolist()))
    length = max(float(part.float().norm(dim=1).max()) for part in vectors.split(BLOCK_ROWS))
    return f"off float64 by {worst:.1e} at most, bound {bounds.max() * length:.1e}; same best: {same} of {QUERIES * K}"


def prefixes(rows: int, dim: int, device: str) -> None:
    """The engine's two exact scans up to the rows that may be among the best K, which the host scores again."""
    held = held_vectors(random_vectors(rows, dim, device, SPECTRUM))
    queries = random_vectors(QUERIES * (ROUNDS + 1) + 1_000, dim, device, SPECTRUM).float().cpu().numpy()
    plans = [Plan((Part("", "text", query, 1.0, 0.0, 1.0),)) for query in queries]
    some = held.vector_parts("text")[0][:SAMPLE].astype(np.float32)
    rotation = Rotation.between(some, queries[-1_000:].astype(np.float64))
    scan, all_rows = DeviceScan(held, device, np.arange(0)), np.arange(rows)
    quick = DevicePrefixes(scan, Rotations({"text": rotation}))
    start = time.perf_counter()
    scan.prepare("text")
    copied = time.perf_counter()
    quick.prepare("text")
    print(f"  vectors copied in {copied - start:.1f} s, prefixes made in {time.perf_counter() - copied:.1f} s")

    def full(plan: Plan) -> np.ndarray:
        [(scores, bound)] = scan.scores([plan])
        return candidates(scores, K, bound)

    def left(plan: Plan) -> np.ndarray:
        found = quick.left(all_rows, plan, K)
        return all_rows if found is None else found[0]

    for name, search in (("full scan", full), ("prefix scan", left)):
        asked = iter(plans)
        one = seconds(lambda search=search, asked=asked: search(next(asked)), device)
        with ThreadPoolExecutor(QUERIES) as pool:
            batches = iter(plans[i : i + QUERIES] for i in range(0, len(plans), QUERIES))
            many = seconds(lambda s=search, b=batches, p=pool: list(p.map(s, next(b))), device)
        print(f"  {name} to the candidates: one query {one * 1e3:.2f} ms; {QUERIES} at once {many * 1e3:.2f} ms")
    kept = [left(plan) for plan in plans[:QUERIES]]
    bests = [np.argsort(-scan.scores([plan])[0][0])[:K] for plan in plans[:QUERIES]]
    missed = sum(len(np.setdiff1d(best, few)) for best, few in zip(bests, kept, strict=True))
    share = np.mean([len(few) for few in kept]) / rows
    print(f"  left by the prefixes: {share:.3%} of the rows, {missed} of the best missed", flush=True)


class Rotations(dict):
    """Those of `wildsat_core.search.prefix`, without measuring whether they are worth it."""

    def of(self, space: str) -> Rotation:
        return self[space]


def held_vectors(vectors: torch.Tensor) -> Any:
    """What scans ask of a collection, for vectors in memory."""
    parts = [part.cpu().numpy() for part in vectors.split(BLOCK_ROWS)]
    offsets = np.cumsum([0, *map(len, parts)])
    segments = [SimpleNamespace(id=str(first), rows=last - first) for first, last in pairwise(offsets.tolist())]
    return SimpleNamespace(
        tiles=range(len(vectors)),
        spaces={"text": SimpleNamespace(dim=vectors.shape[1], dtype="float16")},
        offsets=offsets,
        manifest=SimpleNamespace(segments=segments),
        vector_parts=lambda _: parts,
    )


def faiss_with_gpus() -> Any:
    """The module, or None where it is missing or was built without GPUs."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss if hasattr(faiss, "StandardGpuResources") else None


def gpu(args: argparse.Namespace) -> None:
    vectors = random_vectors(args.rows, args.dim, args.device)
    size, bandwidth = vectors.nbytes, copying_rate(vectors, args.device)
    query = random_vectors(1, args.dim, args.device)[0]
    name = torch.cuda.get_device_name() if args.device.startswith("cuda") else "CPU"
    print(f"{args.rows:,} x {args.dim} float16 on {name}, copying at {bandwidth / 1e9:.0f} GB/s")
    for n in (1, 16):
        slopes = np.repeat(query.float().cpu().numpy()[None], n, axis=0)
        took = seconds(lambda q=slopes: products([vectors], q), args.device)
        share = size / took / bandwidth
        print(f"  the engine's products, {n} queries: {took * 1e3:.2f} ms, {share:.0%} of the bandwidth", flush=True)
    print(f"  {off(vectors, args.device)}", flush=True)
    prefixes(args.rows, args.dim, args.device)
    faiss = faiss_with_gpus()
    if faiss is None:
        print("  FAISS without GPUs: its indexes are left out")
        return
    resources = faiss.StandardGpuResources()
    one, many = (np.repeat(query.float().cpu().numpy()[None], n, axis=0) for n in (1, 64))
    for kind, build in (("GpuIndexFlat", flat_index), ("IVF-PQ", ivfpq_index)):
        start = time.perf_counter()
        index = build(faiss, vectors, resources)
        print(f"  {kind}: built in {time.perf_counter() - start:.1f} s")
        for probes in (16, 64, 256) if kind == "IVF-PQ" else (None,):
            if probes:
                index.nprobe = probes
            times = [seconds(lambda q=q, i=index: i.search(q, K), args.device) for q in (one, many)]
            share = "" if probes else f", {size / times[0] / bandwidth:.0%} of the bandwidth"
            told = f" {probes} lists," if probes else ""
            print(f"   {told} one query {times[0] * 1e3:.2f} ms{share}; 64 queries {times[1] * 1e3:.2f} ms")
        del index
