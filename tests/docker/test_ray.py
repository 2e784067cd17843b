"""The service over a Ray cluster in containers: answers, a build, a lost worker, a lost head, and who is let in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine import Engine
from tests.docker.stack import Stack, free_port
from tests.docker.test_stack import load, wait_for_tiles, write_raster

RETURN_S = 300.0  # for a container to start Ray again, and an actor to open its shard

JOIN = "import ray; ray.init('ray-head:6379', logging_level='ERROR'); print('joined')"


@pytest.fixture(scope="module")
def cluster(engine: Engine, base: str, clone: Path, tools: Path) -> Iterator[Stack]:
    """The profile `ray`, started as the documentation says."""
    running = Stack(engine, clone, tools / "docker-compose", free_port(), "ray", "WILDSAT_RAY_PORT", "wildsat-test-ray")
    (clone / "imagery").mkdir(exist_ok=True)
    running.compose("build", "ray", timeout_s=3600)
    try:
        running.up()
        yield running
    finally:
        running.compose("--profile", "ray", "down", "--volumes", "--remove-orphans", check=False)


def containers(cluster: Stack, service: str) -> list[str]:
    """Ids of the running containers of a service."""
    return cluster.compose("ps", "--quiet", service).stdout.split()


def ray_nodes(cluster: Stack) -> int:
    """Nodes of the cluster that are alive."""
    ask = "import ray; ray.init('auto', logging_level='ERROR'); print(sum(node['Alive'] for node in ray.nodes()))"
    done = cluster.compose("exec", "-T", "ray", "python", "-c", ask, check=False)
    return int(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout else 0


def test_a_cluster_serves_what_one_process_finds(cluster: Stack) -> None:
    assert len(containers(cluster, "ray-worker")) == 2
    assert ray_nodes(cluster) == 4  # the service's container is one without processors
    typed = ("wildsat", "search", "salt marsh on a coast", "-k", "50", "--format", "geojson")
    alone = json.loads(cluster.compose("exec", "-T", "ray", *typed).stdout)["features"]
    answer = cluster.get("/search", q="salt marsh on a coast", k=50).json
    assert [feature["id"] for feature in answer["features"]] == [feature["id"] for feature in alone]
    told, expected = ([one["properties"]["score"] for one in found] for found in (answer["features"], alone))
    assert told == pytest.approx(expected, abs=1e-4)  # texts are encoded by two processes, on other threads
    assert answer["missing"] is None


def test_only_the_service_is_published_and_only_on_this_machine(cluster: Stack) -> None:
    published = {}
    for service in ("ray", "ray-head", "ray-worker"):
        for container in containers(cluster, service):
            template = "{{json .HostConfig.PortBindings}}"
            ports = json.loads(cluster.engine.run("inspect", "--format", template, container).stdout)
            published |= {(service, port): bound for port, bound in (ports or {}).items()}
    assert published == {("ray", "8000/tcp"): [{"HostIp": "127.0.0.1", "HostPort": str(cluster.port)}]}


def test_who_has_no_token_is_not_let_in_and_nothing_is_told_to_rays_makers(cluster: Stack) -> None:
    for service in ("ray-head", "ray-worker", "ray"):
        told = cluster.compose("exec", "-T", service, "sh", "-c", "echo $RAY_AUTH_MODE $RAY_USAGE_STATS_ENABLED")
        assert told.stdout.split() == ["token", "0"]
    token = cluster.compose("exec", "-T", "ray-head", "ray", "get-auth-token").stdout.strip()
    assert len(token) >= 32
    joined = cluster.compose("exec", "-T", "ray-worker", "python", "-c", JOIN)
    assert "joined" in joined.stdout
    wrong = ("exec", "-T", "--env", f"RAY_AUTH_TOKEN={'0' * 64}", "ray-worker", "timeout", "30", "python", "-c", JOIN)
    refused = cluster.compose(*wrong, check=False)  # Ray would try for minutes
    assert "joined" not in refused.stdout
    assert "InvalidAuthToken" in refused.stderr
    assert token not in cluster.compose("logs", "ray", "ray-head", "ray-worker").stdout


def test_a_build_on_the_cluster_appears_in_the_running_service(cluster: Stack, clone: Path) -> None:
    write_raster(clone / "imagery" / "cluster.tif", -120.0, seed=1)
    typed = ("--input", "/imagery/cluster.tif", "--tile-px", "64", "--engine", "ray", "--address", "auto")
    done = cluster.compose("exec", "-T", "ray", "wildsat", "index", "build", "raster", "fields", *typed)
    assert "100 tiles added" in done.stderr
    wait_for_tiles(cluster, "fields", 100)


def test_a_worker_that_is_killed_costs_no_answer(cluster: Stack) -> None:
    before = cluster.tile_ids("mangrove coast")
    with load(cluster) as statuses:
        time.sleep(2)
        cluster.engine.run("kill", "--signal", "KILL", containers(cluster, "ray-worker")[0])
        time.sleep(20)
    assert len(statuses) > 20
    assert set(statuses) == {200}
    assert cluster.tile_ids("mangrove coast") == before
    cluster.up()
    assert len(containers(cluster, "ray-worker")) == 2
    assert cluster.tile_ids("mangrove coast") == before


def test_a_head_that_is_lost_comes_back_with_the_service(cluster: Stack) -> None:
    before = cluster.tile_ids("tundra")
    [head] = containers(cluster, "ray-head")
    cluster.engine.run("kill", "--signal", "KILL", head)
    cluster.engine.run("start", head)
    deadline = time.monotonic() + RETURN_S
    while not is_back(cluster):
        assert time.monotonic() < deadline, cluster.compose("logs", "--tail", "30", "ray", check=False).stdout
        time.sleep(2)
    assert cluster.tile_ids("tundra") == before


def is_back(cluster: Stack) -> bool:
    """Whether the new head has all its nodes and the service answers."""
    try:
        return ray_nodes(cluster) == 4 and cluster.get("/search", q="tundra", k=1).status == 200
    except OSError:
        return False
