"""GET /search over HTTP: latency and throughput at 1, 8 and 32 clients, against the engine alone in the same run.

    python -m benchmarks.http --rows 15000                          # random vectors: the cost of the service itself
    python -m benchmarks.http --rows 15000 --workers 2
    python -m benchmarks.http --rows 1000000
    python -m benchmarks.http --collections collections --name demo # a real collection: with its text encoder

The server runs in a process of its own, the load in this one, both on the same machine. "again" asks the same question,
which is answered from memory; "narrowed" a text that is known, in another box each time; "new" a new text each time.
For the ratio to the engine alone, one client and an engine in this process take turns at the same questions, so that
both meet the same disturbances; processor time is given beside the time on the clock.
"""

import argparse
import asyncio
import itertools
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from app.requests.parameters import SearchParameters
from app.settings import Settings
from app.threads import limit_threads
from benchmarks.random_collection import RandomModel, random_collection
from wildsat_core.collection import open_collection
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.query import Query
from wildsat_core.search.species import load_species

CLIENTS = (1, 8, 32)
Question = dict[str, str]  # parameters of a search
WORDS = ("mangrove", "steppe", "tundra", "glacier", "savanna", "rainforest", "dunes", "delta", "fjord", "taiga")


def new_texts() -> Iterator[str]:
    """Texts that were never asked before in this run."""
    for number in itertools.count():
        yield f"{WORDS[number % len(WORDS)]} near place {number}"


def percentile(times_s: list[float], share: float) -> float:
    return sorted(times_s)[min(len(times_s) - 1, int(share * len(times_s)))] * 1000


@contextmanager
def server(folder: Path, name: str, workers: int) -> Iterator[tuple[int, int]]:
    """A server in a process of its own; gives its port and process id once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"WILDSAT_COLLECTIONS": str(folder), "WILDSAT_DEFAULT_COLLECTION": name, "WILDSAT_WORKERS": str(workers)}
    command = [sys.executable, "-m", "benchmarks.serving", str(port)]
    started = time.perf_counter()
    with subprocess.Popen(command, env=os.environ | told) as process:
        try:
            wait_until_ready(port, process)
            print(
                f"ready after {time.perf_counter() - started:.1f} s, imports and country borders included", flush=True
            )
            yield port, process.pid
        finally:
            process.terminate()


def wait_until_ready(port: int, process: subprocess.Popen) -> None:
    while process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not start")


def processor_s(pid: int) -> float:
    """Processor time that a process and those it has started have used; NaN where there is no /proc."""
    try:
        pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        stats = [Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split() for one in pids]
    except OSError:
        return math.nan
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def post(target: str, body: bytes) -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Connection:
    """One connection that stays open where the server lets it; a client library would cost more than the server."""

    port: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, port: int) -> "Connection":
        return cls(port, *await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and read the whole answer; gives its status and body."""
        if self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in head if line.startswith(b"content-length"))
        body = await self.reader.readexactly(length)
        if b"connection: close" in head:
            self.writer.close()
        return int(head[0].split()[1]), body


@dataclass
class Load:
    """What a load brought: times of the answers, and how many requests were refused as too many."""

    times_s: list[float]
    refused: int
    took_s: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times_s) / self.took_s

    def __str__(self) -> str:
        """Latencies and rate on one line."""
        p50, p95, p99 = (percentile(self.times_s, share) for share in (0.5, 0.95, 0.99))
        return f"p50 {p50:7.2f}  p95 {p95:7.2f}  p99 {p99:7.2f} ms  {self.rate:7.1f} answers/s, {self.refused} refused"


async def load(port: int, clients: int, seconds: float, request: Callable[[], bytes]) -> Load:
    """Each client asks again as soon as it is answered."""
    found = Load([], 0, 0.0)
    began = time.perf_counter()

    async def client() -> None:
        connection = await Connection.to(port)
        while time.perf_counter() < began + seconds:
            asked = request()
            started = time.perf_counter()
            status, _ = await connection.ask(asked)
            if status == 503:
                found.refused += 1
                continue
            assert status == 200, status
            found.times_s.append(time.perf_counter() - started)
        connection.writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    found.took_s = time.perf_counter() - began
    return found


def open_engine(folder: Path, name: str) -> SearchEngine:
    collection = open_collection(folder / name)
    if name.startswith("random-"):
        return SearchEngine(collection, RandomModel())
    from wildsat_core.models.registry import load_model

    return SearchEngine(collection, load_model(collection.manifest.model.name))


async def take_turns(
    port: int, pid: int, engine: SearchEngine, kind: str, question: Callable[[], Question], seconds: float
) -> None:
    """Engine, service, engine, service ...: medians on the clock, means of processor time, and their ratios."""
    connection = await Connection.to(port)
    times_ms: tuple[list[float], list[float]] = ([], [])
    used = {"engine": 0.0, "service": -processor_s(pid)}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        query = read(question())
        started, cpu = time.perf_counter(), time.process_time()
        engine.search(query)
        between = time.perf_counter()
        used["engine"] += time.process_time() - cpu
        status, _ = await connection.ask(address(question()))
        assert status == 200, status
        times_ms[0].append((between - started) * 1000)
        times_ms[1].append((time.perf_counter() - between) * 1000)
    used["service"] += processor_s(pid)
    connection.writer.close()
    alone, served = (statistics.median(times) for times in times_ms)
    cpu_alone, cpu_served = (used[who] * 1000 / len(times_ms[0]) for who in ("engine", "service"))
    print(
        f"in turns      {kind:9} engine p50 {alone:7.2f} ms ({cpu_alone:.2f} ms processor), "
        f"service p50 {served:7.2f} ms ({cpu_served:.2f} ms processor): x {served / alone:.2f}",
        flush=True,
    )


def read(question: Question) -> Query:
    """A question as the service puts it to its engine: with what the words mean, and with its own defaults."""
    return SearchParameters.model_validate(question).to_query(load_species())


def address(question: Question) -> bytes:
    """A question as the service is asked it."""
    return get(f"/search?{urlencode(question)}")


def measure(
    port: int, pid: int, engine: SearchEngine, kind: str, question: Callable[[], Question], seconds: float
) -> None:
    def request() -> bytes:
        return address(question())

    engine.search(read(question()))
    asyncio.run(load(port, 1, min(1.0, seconds), request))
    asyncio.run(take_turns(port, pid, engine, kind, question, seconds))
    for clients in CLIENTS:
        before = processor_s(pid)
        found = asyncio.run(load(port, clients, seconds, request))
        used = processor_s(pid) - before
        if not found.times_s:
            print(f"{clients:3} clients   {kind:9} every request was refused as too many", flush=True)
            continue
        each = used * 1000 / len(found.times_s)
        print(f"{clients:3} clients   {kind:9} {found}, {each:.2f} ms processor each", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="random tiles; made in the folder when they are not there")
    parser.add_argument("--collections", type=Path, default=Path("collections"), help="folder of the collections")
    parser.add_argument("--name", default="demo")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each line")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    options = parser.parse_args()
    name = options.name
    if options.rows:
        name = f"random-{options.rows}"
        random_collection(options.collections, options.rows)
    print(f"collection {name}: {len(open_collection(options.collections / name))} tiles, k 20", flush=True)
    limit_threads(Settings().threads)  # the engine alone under the same bound as in the service
    engine = open_engine(options.collections, name)
    with server(options.collections, name, options.workers) as (port, pid):
        texts, numbers = new_texts(), itertools.count()
        same = {"q": "mangrove coast"}
        kinds = {
            "again": lambda: same,
            "narrowed": lambda: same | {"bbox": f"-180,{-89 + next(numbers) / 1e6:.6f},180,90"},
            "new": lambda: {"q": next(texts)},
        }
        for kind, question in kinds.items():
            measure(port, pid, engine, kind, question, options.seconds)


if __name__ == "__main__":
    main()
