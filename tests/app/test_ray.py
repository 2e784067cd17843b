"""A service whose shards are actors on a real Ray cluster of three nodes, killed under load, never wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.main import create_app
from tests.app.conftest import toy_settings
from tests.conftest import s3_access
from tests.core.search.fakes import FakeModel, random_collection, revisited_collection
from wildsat_core.collection.copies import Copies, copies_of
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.collection.mirror import mirrored

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray"),
]

QUESTIONS = (
    "/search?q=dunes&k=50&explain=true",
    "/search?q=mangrove&not=ice&spacing_km=900&max_per_country=9",
    "/search?q=dunes&min_percentile=80&bbox=-120,-60,120,60",
    "/search?like=tile-7&up=tile-9,tile-12,tile-40&down=tile-3,tile-5&k=20&offset=5",
    "/search?near=10,50&countries=BRA,NOR&max_cloud=0.7&k=30",
    "/suggest?q=dunes&up=tile-9&down=tile-3",
    "/changes?q=dunes&collection=revisited&before=2019/2020&direction=loss",
    "/heatmap/4/8/7.png?q=dunes&min_percentile=40",
    "/export?q=dunes&format=csv&limit=200",
    "/export?q=dunes&format=geoparquet&limit=50",
    "/collections",
    "/collections/random/items?limit=30&bbox=-150,-60,150,70",
    "/tiles/tile-11",
    "/tiles/tile-11/habitats",
    "/tiles/none",
)


@pytest.fixture(scope="module")
def cluster(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Three nodes, which may read from a store."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_access(s3_endpoint).items():
            patch.setenv(name, value)
        nodes = tmp_path_factory.mktemp("nodes")
        patch.setenv("WILDSAT_CACHE", str(nodes))
        import ray
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 8, "node_ip_address": "127.0.0.1", "object_store_memory": 80_000_000}
        made = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        for _ in range(2):
            made.add_node(**node)
        made.cache = nodes
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ray")
    random_collection(root / "random", 500, seed=2, segment_rows=60)
    revisited_collection(root / "revisited", 120)
    return root


def service(folder: Path, **settings: object) -> TestClient:
    made = toy_settings(folder, default_collection="random", max_kept_bytes=0, **settings)
    return TestClient(create_app(made, lambda name: FakeModel()), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def sharded(cluster: object, folder: Path) -> Iterator[TestClient]:
    address = cluster.address  # type: ignore[attr-defined]
    with service(folder, engine="ray", ray_address=address, shards=3, replicas=2) as client:
        yield client


@pytest.fixture(scope="module")
def single(folder: Path) -> Iterator[TestClient]:
    with service(folder) as client:
        yield client


def told(answer: Response) -> object:
    """Everything that an answer says but how long it took and when."""
    if "json" not in answer.headers["content-type"]:
        return answer.status_code, answer.content
    said = answer.json()
    for name in ("timings_ms", "timeStamp", "request_id"):
        said.pop(name, None)
    return answer.status_code, said


def replicas_of(client: TestClient) -> list[list[tuple[str, int]]]:
    """Node and process of each replica of each shard."""
    found: list[list[tuple[str, int]]] = client.app.state.catalog._engines.cluster.processes()
    return found


def wait_for(condition, seconds: float = 120.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.2)


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_those_of_one_process(sharded: TestClient, single: TestClient, question: str) -> None:
    assert told(sharded.get(question)) == told(single.get(question))


def test_replicas_of_a_shard_are_on_different_nodes(sharded: TestClient) -> None:
    for replicas in replicas_of(sharded):
        assert len({node for node, _ in replicas}) == len(replicas)


class Load:
    """Threads that ask all the time; an answer is right, or a refusal that says when to come back."""

    def __init__(self, client: TestClient, right: dict[str, object]) -> None:
        self.client, self.right = client, right
        self.wrong: list[object] = []
        self.answers = self.refusals = 0
        self._stop = threading.Event()

    def __enter__(self) -> Load:
        self._pool = ThreadPoolExecutor(2)
        self._threads = [self._pool.submit(self._run, i) for i in range(2)]
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.result()
        self._pool.shutdown()

    def _run(self, first: int) -> None:
        questions = list(self.right)
        while not self._stop.is_set():
            first += 1
            question = questions[first % len(questions)]
            answer = self.client.get(question)
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
                self.refusals += 1
            elif told(answer) == self.right[question]:
                self.answers += 1
            else:
                self.wrong.append((question, told(answer)))

    def goes_on(self, answers: int) -> None:
        reached = self.answers + answers
        wait_for(lambda: self.answers >= reached)


def test_shards_of_a_collection_in_a_store_are_fetched_by_their_actors(
    cluster: object, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = mirrored(s3, "random").root
    random_collection(root, 300, seed=3, segment_rows=60)
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "service"))
    settings = {"store": s3, "store_interval_s": 0.1, "swap_interval_s": 0.05}
    address = cluster.address  # type: ignore[attr-defined]
    with (
        service(root.parent, **settings, engine="ray", ray_address=address, shards=2) as sharded,
        service(root.parent, **settings) as single,
    ):
        for question in (*QUESTIONS[:5], "/export?q=dunes&format=csv&limit=200", "/tiles/tile-11/thumbnail.webp"):
            assert told(sharded.get(question)) == told(single.get(question))
        facts, parts = copies_of(s3, Copies.FACTS), copies_of(s3, Copies.PARTS).name
        assert not list(facts.rglob("*.npy"))  # the service itself fetches no vectors
        nodes: Path = cluster.cache  # type: ignore[attr-defined]
        assert len(list(nodes.glob(f"{parts}/random/segments/[!.]*"))) == 5
        delete_tiles(root, np.arange(0, 300, 7), generation=1)
        for client in (sharded, single):
            wait_for(lambda client=client: client.get("/search?q=dunes").json().get("generation") == 2)
        assert told(sharded.get(QUESTIONS[1])) == told(single.get(QUESTIONS[1]))


def test_killed_under_load_no_answer_is_wrong(cluster, sharded: TestClient, single: TestClient) -> None:
    right = {question: told(single.get(question)) for question in QUESTIONS[:6]}
    replicas = replicas_of(sharded)
    with Load(sharded, right) as load:
        load.goes_on(4)
        os.kill(replicas[1][0][1], signal.SIGKILL)
        load.goes_on(6)
        assert load.refusals == 0  # the other replica answers
        head = cluster.head_node
        cluster.remove_node(next(node for node in cluster.list_all_nodes() if node is not head), allow_graceful=False)
        load.goes_on(6)
    assert load.wrong == []
    print(f"{load.answers} right answers, {load.refusals} refusals, none wrong")


def test_a_shard_without_replicas_is_refused_or_told_and_comes_back(sharded: TestClient) -> None:
    wait_for(lambda: all(len(replicas) == 2 for replicas in replicas_of(sharded)))
    wait_for(lambda: sharded.get("/search?q=dunes").status_code == 200)
    whole = told(sharded.get("/search?q=dunes"))
    [gone, *_] = replicas_of(sharded)
    for _, process in gone:
        os.kill(process, signal.SIGKILL)
    refused = sharded.get("/search?q=dunes")
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert "partial=true" in refused.json()["detail"]
    partial = sharded.get("/search?q=open+sea&partial=true&k=500")
    assert partial.status_code == 200
    assert "etag" not in partial.headers
    assert partial.headers["cache-control"] == "no-store"
    said = partial.json()
    assert said["missing"]["shards"] == 1
    assert said["missing"]["of"] == 3
    assert said["matched"] == said["total"] - said["missing"]["tiles"] == 500 - said["missing"]["tiles"]
    wait_for(lambda: sharded.get("/search?q=dunes").status_code == 200)
    assert told(sharded.get("/search?q=dunes")) == whole
    assert sharded.get("/search?q=dunes&partial=true").json()["missing"] is None


def test_a_new_generation_is_served_by_all_shards_together(
    folder: Path, sharded: TestClient, single: TestClient
) -> None:
    delete_tiles(folder / "random", np.arange(0, 500, 7), generation=1)
    for client in (sharded, single):
        wait_for(lambda client=client: client.get("/search?q=dunes").json().get("generation") == 2)
    for question in QUESTIONS[:3]:
        wait_for(lambda question=question: sharded.get(question).status_code == 200)
        assert told(sharded.get(question)) == told(single.get(question))
