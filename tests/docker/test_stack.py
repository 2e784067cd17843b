"""The life of a deployment, in order: start, restart, new tiles, a prefix, backup, a graceful stop, a kill, a leave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.docker.stack import Stack

COLLECTIONS = "/data/collections"
VISIBLE_S = 20.0  # on a machine that is busy with other things; a second where it is not


def write_raster(path: Path, west: float, side_px: int = 640, seed: int = 1) -> None:
    """A GeoTIFF of coloured noise in patches, a quarter of a degree a hundred pixels."""
    import rasterio
    from rasterio import Affine

    rng = np.random.default_rng(seed)
    patches = rng.integers(20, 230, (3, side_px // 16, side_px // 16), dtype=np.uint8)
    pixels = patches.repeat(16, axis=1).repeat(16, axis=2) + rng.integers(0, 20, (3, side_px, side_px), dtype=np.uint8)
    profile = {"driver": "GTiff", "width": side_px, "height": side_px, "count": 3, "dtype": "uint8"}
    transform = Affine(0.0025, 0.0, west, 0.0, -0.0025, 40.0)
    with rasterio.open(path, "w", crs="EPSG:4326", transform=transform, **profile) as file:
        file.write(pixels)
    path.chmod(0o644)


@pytest.fixture(scope="module")
def imagery(clone: Path) -> Path:
    folder = clone / "imagery"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def load(stack: Stack) -> Iterator[list[int]]:
    """Two clients that search without a pause; gives the list of statuses so far, -1 for a broken connection."""
    statuses: list[int] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            try:
                statuses.append(stack.get("/search", q=f"forest {len(statuses) % 7}", k=20, timeout_s=10).status)
            except OSError:
                statuses.append(-1)
                time.sleep(0.1)

    clients = [threading.Thread(target=search) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        yield statuses
    finally:
        stop.set()
        for client in clients:
            client.join()


def wait_for_tiles(stack: Stack, collection: str, tiles: int | None) -> None:
    """Return as soon as the running service serves so many tiles; None for a collection that is gone."""
    started = time.monotonic()
    while stack.collections().get(collection, {}).get("tiles") != tiles:
        assert time.monotonic() - started < VISIBLE_S, (
            f"{collection} never came to {tiles} tiles: {stack.collections()}"
        )
        time.sleep(0.05)


def test_up_serves_the_demo_collection_and_its_page(stack: Stack) -> None:
    assert stack.inspect("{{.State.Health.Status}}") == "healthy"
    assert stack.collections()["demo"]["tiles"] > 9000
    best = stack.get("/search", q="sand dunes in a desert", k=5).json
    assert best["returned"] == 5
    assert all(feature["properties"]["thumbnail"] for feature in best["features"])
    assert b'id="map"' in stack.page()
    assert stack.get("/static/vendor/maplibre-gl/dist/maplibre-gl.mjs").status == 200
    assert b"wildsat_collection_tiles" in stack.get("/metrics").body


def test_the_container_can_change_nothing_but_its_volumes(stack: Stack) -> None:
    assert stack.inspect("{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}") == "true [ALL]"
    assert stack.compose("exec", "-T", "wildsat", "id", "-u").stdout.strip() == "10001"
    refused = stack.compose("exec", "-T", "wildsat", "touch", "/opt/wildsat/x", check=False)
    assert "Read-only file system" in refused.stderr
    stack.compose("exec", "-T", "wildsat", "touch", "/data/collections/.writable", "/tmp/writable")


def test_a_restart_finds_the_collection_again(stack: Stack) -> None:
    before, generation = stack.tile_ids("mangrove coast"), stack.collections()["demo"]["generation"]
    stack.compose("restart", "wildsat")
    stack.up()
    assert stack.tile_ids("mangrove coast") == before
    assert stack.collections()["demo"]["generation"] == generation


def test_tiles_of_the_index_profile_appear_in_the_running_service(stack: Stack, imagery: Path) -> None:
    write_raster(imagery / "west.tif", -120.0, seed=1)
    started = stack.inspect("{{.State.StartedAt}}")
    stack.index("build", "fields", "--input", "/imagery/west.tif", "--tile-px", "64", "--workers", "0")
    wait_for_tiles(stack, "fields", 100)
    write_raster(imagery / "east.tif", -110.0, seed=2)
    stack.index("build", "fields", "--input", "/imagery/east.tif", "--tile-px", "64", "--workers", "0")
    wait_for_tiles(stack, "fields", 200)
    sides = {tile_id[:4] for tile_id in stack.tile_ids("fields", "fields", k=200)}
    assert sides == {"west", "east"}
    assert stack.inspect("{{.State.StartedAt}}") == started


def test_a_killed_container_and_a_killed_job_lose_nothing(stack: Stack, imagery: Path) -> None:
    write_raster(imagery / "more.tif", -100.0, side_px=2560, seed=3)
    before = stack.tile_ids("open water", "fields", k=200)
    job = stack.start_compose(
        "run", "--rm", "--no-TTY", "--name", "wildsat-test-job", "index", "build", "fields", "--input",
        "/imagery/more.tif", "--tile-px", "64", "--workers", "0", "--segment-tiles", "200",
    )  # fmt: skip
    with load(stack) as statuses:
        time.sleep(8)
        stack.engine.run("kill", "--signal", "KILL", "wildsat-test-job", check=False)
        stack.engine.run("kill", "--signal", "KILL", stack.container())
        time.sleep(1)
    job.communicate(timeout=60)
    assert 200 in statuses, "there was no load"
    assert set(statuses) <= {200, -1}, "an answer was wrong, not just missing"
    stack.up()
    assert stack.tile_ids("open water", "fields", k=200) == before
    stack.index("verify", "fields")
    stack.index("verify", "demo")
    stack.index("build", "fields", "--input", "/imagery/more.tif", "--tile-px", "64", "--workers", "0")
    wait_for_tiles(stack, "fields", 200 + 1600)


def test_a_stopping_service_finishes_the_request_in_flight(stack: Stack) -> None:
    body = b'{"terms": [{"text": "salt marsh"}], "k": 3}'
    head = "POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    container = stack.container()
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as client:
        client.sendall(head.encode() + body[:10])
        time.sleep(0.5)
        stopping = stack.start_compose("stop", "wildsat")
        time.sleep(2)
        client.sendall(body[10:])
        answer = client.recv(4096)
    stopping.communicate(timeout=60)
    assert answer.startswith(b"HTTP/1.1 200")
    state = stack.engine.run("inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", container)
    assert state.stdout.strip() == "143 false", "it did not end by itself upon SIGTERM"


def test_behind_a_proxy_the_service_works_under_a_prefix_and_with_keys(stack: Stack) -> None:
    (stack.clone / "wildsat.env").write_text("WILDSAT_ROOT_PATH=/habitats\nWILDSAT_REQUIRE_KEY=true\n")
    keys = stack.clone / "keys.txt"
    keys.write_text("a-key-of-a-client-0001\na-key-of-a-client-0002\n")
    stack.up(WILDSAT_API_KEYS_FILE=str(keys))
    try:
        assert stack.inspect("{{.State.Health.Status}}") == "healthy"
        assert b"/habitats/static/" in stack.page()
        assert stack.get("/search", q="forest").status == 401
        ask = "import sys, urllib.request as r; print(r.urlopen(r.Request(*sys.argv[1:2], headers={'X-API-Key': "
        ask += "'a-key-of-a-client-0002'})).status)"
        asked = ("python", "-c", ask, "http://127.0.0.1:8000/search?q=forest&k=1")
        assert stack.compose("exec", "-T", "wildsat", *asked).stdout.strip() == "200"
    finally:
        (stack.clone / "wildsat.env").unlink()
        stack.up()
    assert stack.get("/search", q="forest").status == 200


def test_a_backup_restores_the_collection_as_it_was(stack: Stack, clone: Path) -> None:
    before, archive = stack.tile_ids("river delta", "fields", k=50), clone / "fields.tar"
    rest = "$(find fields -mindepth 1 -maxdepth 1 ! -name CURRENT ! -name generations)"
    back_up = f"cd {COLLECTIONS} && tar -c fields/CURRENT fields/generations {rest}"
    with archive.open("wb") as file:
        stack.compose("exec", "-T", "wildsat", "sh", "-c", back_up, output=file)
    stack.compose("exec", "-T", "wildsat", "rm", "-r", f"{COLLECTIONS}/fields")
    wait_for_tiles(stack, "fields", None)
    restore = f"cd {COLLECTIONS} && mkdir -p .incoming && tar -C .incoming -x && mv .incoming/fields ."
    with archive.open("rb") as file:
        stack.compose("exec", "-T", "wildsat", "sh", "-c", restore, input=file)
    wait_for_tiles(stack, "fields", 1800)
    stack.index("verify", "fields")
    assert stack.tile_ids("river delta", "fields", k=50) == before


def test_down_removes_the_containers_and_keeps_the_collections(stack: Stack) -> None:
    before = stack.tile_ids("tundra")
    stack.compose("down")
    assert stack.container() == ""
    stack.up()
    assert stack.tile_ids("tundra") == before
    assert stack.collections()["fields"]["tiles"] == 1800
