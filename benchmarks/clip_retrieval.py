"""This service against clip-retrieval's back end: the same vectors, an embedding as the query, both in one run.

    python3 -m venv /tmp/clip
    /tmp/clip/bin/pip install --no-deps clip-retrieval==2.45.0
    /tmp/clip/bin/pip install 'numpy<2' 'flask<4' 'flask_restful<1' 'flask_cors<5' 'faiss-cpu<2' 'pandas<3'
    /tmp/clip/bin/pip install 'pyarrow<16' 'prometheus-client<1' 'fire<0.6' 'setuptools<80'
    /tmp/clip/bin/pip install tqdm h5py fsspec pillow torch
    python -m benchmarks.clip_retrieval --python /tmp/clip/bin/python --rows 100000

The back end runs as `clip-retrieval back` runs it (Flask, threads, a flat FAISS index, metadata in Parquet, which is
its default), with two things left out that a query by embedding never uses: its CLIP model, and the parts of the
package that compute embeddings. Its de-duplication is off. Every request holds a vector that was not asked before, so
no cache helps. The servers are loaded in turns and answer with 20 hits each; before, their hits are compared.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.http import CLIENTS, Connection, Load, load, post, server
from benchmarks.random_collection import DIM, random_collection, unit
from wildsat_core.collection.reader import Collection

K = 20
ROUNDS = 3
CHUNK = 50_000
NAME = "random"

# An empty package of the same name keeps its __init__ from importing what needs forty packages more.
START = """
import importlib.util, logging, sys, types
found = importlib.util.find_spec("clip_retrieval")
package = types.ModuleType("clip_retrieval")
package.__path__ = list(found.submodule_search_locations)
sys.modules["clip_retrieval"] = package
sys.modules["all_clip"] = types.ModuleType("all_clip")
sys.modules["all_clip"].load_clip = lambda *args, **options: (None, None, None)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from clip_retrieval.clip_back import clip_back
clip_back(sys.argv[1], port=int(sys.argv[2]), enable_mclip_option=False, provide_aesthetic_embeddings=False)
"""


def write_index(collection: Collection, folder: Path) -> Path:
    """The collection's vectors and ids as the back end reads them, row by row; gives the file that names the index."""
    import faiss
    import pyarrow as pa
    import pyarrow.parquet as pq

    listing = folder / "indices_paths.json"
    if listing.exists():
        return listing
    (folder / "metadata").mkdir(parents=True)
    index = faiss.IndexFlatIP(DIM)
    ids: list[str] = []
    for start in range(0, len(collection), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(collection)))
        index.add(np.ascontiguousarray(collection.vectors("text", rows), np.float32))
        ids += [tile.tile_id for tile in collection.tiles.tiles_at(rows)]
    faiss.write_index(index, str(folder / "image.index"))
    pq.write_table(pa.table({"url": ids}), folder / "metadata" / "metadata_0.parquet")
    listing.write_text(json.dumps({NAME: str(folder)}))
    return listing


@contextmanager
def clip_back(python: Path, listing: Path) -> Iterator[int]:
    """The back end in a process of its own; gives its port once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(python), "-c", START, str(listing), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                with socket.socket() as knock:
                    if knock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            else:
                raise SystemExit("clip-retrieval's back end did not start; what it said stands above")
            yield port
        finally:
            process.terminate()


def requests_of(seed: int, body: Callable[[list[float]], tuple[str, dict[str, object]]]) -> Callable[[], bytes]:
    """Requests with a new vector each; the same seed gives both servers the same vectors."""
    rng = np.random.default_rng(seed)

    def request() -> bytes:
        target, told = body(np.round(unit(rng, 1, DIM)[0].astype(float), 7).tolist())
        return post(target, json.dumps(told).encode())

    return request


def ours(vector: list[float]) -> tuple[str, dict[str, object]]:
    return "/search", {"terms": [{"vector": vector, "space": "text"}], "k": K}


def theirs(vector: list[float]) -> tuple[str, dict[str, object]]:
    return "/knn-service", {
        "embedding_input": vector,
        "modality": "image",
        "num_images": K,
        "num_result_ids": K,
        "indice_name": NAME,
        "deduplicate": False,
    }


async def agreement(our_port: int, their_port: int, queries: int = 20) -> float:
    """Share of the hits that both give for the same vectors."""
    we, they = await Connection.to(our_port), await Connection.to(their_port)
    ask_us, ask_them = requests_of(1, ours), requests_of(1, theirs)
    same = 0
    for _ in range(queries):
        _, our_body = await we.ask(ask_us())
        _, their_body = await they.ask(ask_them())
        our_ids = {feature["id"] for feature in json.loads(our_body)["features"]}
        same += len(our_ids & {hit["url"] for hit in json.loads(their_body)})
    we.writer.close()
    they.writer.close()
    return same / (queries * K)


def median_of(loads: list[Load]) -> Load:
    return sorted(loads, key=lambda found: found.rate)[len(loads) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="interpreter that has clip-retrieval")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--collections", type=Path, default=Path("collections"), help="folder for what is made")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each load, of which there are 18")
    options = parser.parse_args()
    collection = random_collection(options.collections, options.rows)
    listing = write_index(collection, options.collections.resolve() / ".clip-retrieval" / collection.name)
    print(f"{len(collection)} vectors x {DIM}, k {K}", flush=True)
    with (
        server(options.collections, collection.name) as (our_port, _),
        clip_back(options.python, listing) as their_port,
    ):
        print(f"same hits: {asyncio.run(agreement(our_port, their_port)):.3f}", flush=True)
        contenders = {"this service": (our_port, ours), "clip-retrieval": (their_port, theirs)}
        for clients in CLIENTS:
            found: dict[str, list[Load]] = {name: [] for name in contenders}
            for turn in range(ROUNDS):
                for name, (port, body) in contenders.items():
                    request = requests_of(1000 * clients + turn, body)
                    found[name].append(asyncio.run(load(port, clients, options.seconds, request)))
            for name, loads in found.items():
                print(f"{clients:3} clients   {name:15} {median_of(loads)}", flush=True)
            ratio = median_of(found["this service"]).rate / median_of(found["clip-retrieval"]).rate
            print(f"{clients:3} clients   throughput      x {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
