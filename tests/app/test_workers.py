"""Several processes on one port answer as one: counted together, reloaded together, ended together."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.layers import rates
from app.layers.rates import TokenBuckets
from app.settings import Settings
from tests.app.conftest import ROWS, write_rows
from tests.app.test_swap import wait_for

KEYS = ("key-of-the-tests-1", "key-of-the-tests-2")
BURST = 100

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for child processes")


def children(pid: int) -> set[int]:
    """Processes that a process has started, the resource tracker of multiprocessing aside."""
    try:
        found = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
        return {one for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()}
    except OSError:
        return set()


@dataclass
class Service:
    """The program, and how to ask it."""

    process: subprocess.Popen
    url: str
    folder: Path
    shared: Path

    def get(self, path: str, key: str = KEYS[0]) -> httpx.Response:
        """Ask on a connection of its own, so that any of the processes may answer.

        It is not encrypted; reading the certificates for each would take longer than all else.
        """
        return httpx.get(f"{self.url}{path}", headers={"X-API-Key": key}, timeout=60, verify=False)

    @property
    def workers(self) -> set[int]:
        return children(self.process.pid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def service(folder: Path, shared: Path, *command: str, port: int, **settings: object) -> Iterator[Service]:
    environment = {f"WILDSAT_{name.upper()}": str(value) for name, value in settings.items()}
    told = os.environ | environment | {"WILDSAT_COLLECTIONS": str(folder), "TMPDIR": str(shared)}
    with subprocess.Popen(
        [sys.executable, "-m", *command], env=told, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield Service(process, f"http://127.0.0.1:{port}", folder, shared)
        finally:
            process.kill()


def is_ready(running: Service) -> bool:
    assert running.process.poll() is None, running.process.stderr.read()
    try:
        return running.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder, shared, port = tmp_path_factory.mktemp("c"), tmp_path_factory.mktemp("shared"), free_port()
    write_rows(folder, "demo", ROWS[:5])
    with service(
        folder,
        shared,
        "tests.app.toy_workers",
        str(port),
        port=port,
        api_keys=",".join(KEYS),
        rate_per_minute=0.5,
        rate_burst=BURST,
        workers=2,
    ) as found:
        wait_for(lambda: is_ready(found), 200)
        # Both are up: each has begun to count.
        wait_for(lambda: found.get("/livez").is_success and len(counting(shared)) == 2, 100)
        yield found


def counting(shared: Path) -> set[str]:
    """Which processes have counted a request."""
    files = shared.glob("wildsat-workers-*/histogram_*.db")
    return {file.stem for file in files if b"wildsat_request_seconds" in file.read_bytes()}


def count_of(metrics: str, route: str) -> float:
    found = re.findall(rf'^wildsat_request_seconds_count{{.*route="{route}".*}} (.*)$', metrics, re.MULTILINE)
    return sum(map(float, found))


def test_they_count_requests_together(running: Service) -> None:
    before = count_of(running.get("/metrics").text, "/heatmap/legend")
    assert before == 0
    for _ in range(12):
        assert running.get("/heatmap/legend").status_code == 200
    told = [running.get("/metrics").text for _ in range(4)]
    assert {count_of(text, "/heatmap/legend") for text in told} == {12}
    assert all('wildsat_collection_tiles{collection="demo"} 5.0' in text for text in told)


def test_an_export_is_the_same_from_each(running: Service) -> None:
    for kind in ("geojson", "geoparquet", "csv"):
        assert len({running.get(f"/export?q=ice&format={kind}").content for _ in range(4)}) == 1


def test_all_of_them_serve_a_new_generation(running: Service) -> None:
    write_rows(running.folder, "demo", ROWS[5:])
    wait_for(lambda: running.get("/search?q=ice").json()["generation"] == 2)
    # Who has seen it at one of them may name it to all.
    pages = [running.get("/collections/demo/items?q=ice&generation=2") for _ in range(8)]
    assert [page.status_code for page in pages] == [200] * 8
    assert {page.json()["numberMatched"] for page in pages} == {6}


def test_a_client_has_one_budget_whoever_answers(running: Service) -> None:
    answers = [running.get("/collections", KEYS[1]).status_code for _ in range(BURST + 10)]
    assert set(answers) == {200, 429}
    assert answers == sorted(answers)  # once spent it is spent in all


def test_another_takes_the_place_of_one_that_died(running: Service) -> None:
    before = running.workers
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    wait_for(lambda: len(running.workers) == 2 and running.workers != before, 100)
    # The new one answers, too, and what the dead one had counted is not lost.
    wait_for(lambda: running.get("/livez").is_success and len(counting(running.shared)) == 3, 100)
    assert count_of(running.get("/metrics").text, "/heatmap/legend") == 12


def test_they_end_in_good_order_and_leave_nothing(running: Service) -> None:
    workers = running.workers
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not list(running.shared.iterdir())


ORPHAN = """
import multiprocessing, sys, time
from app.workers import end_with_parent

def work():
    end_with_parent()
    print("working", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
    time.sleep(600)
"""


def test_they_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    (tmp_path / "orphan.py").write_text(ORPHAN)
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, tmp_path / "orphan.py"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    ) as parent:
        assert parent.stdout.readline() == "working\n"
        workers = children(parent.pid)
        assert len(workers) == 1
        parent.kill()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 60)


def test_what_can_not_be_served_is_told_in_one_sentence(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", ROWS)
    (tmp_path / "shared").mkdir()
    command, port = ("wildsat_core.cli", "serve", "--workers", "2", "--port"), free_port()
    with service(tmp_path, tmp_path / "shared", *command, str(port), port=port) as found:
        assert found.process.wait(200) == 1
        told = [line for line in found.process.stderr.read().splitlines() if "toy" in line]
    assert len(told) == 1
    assert told[0].startswith("error: ")


def test_limits_are_shared_among_them() -> None:
    whole = Settings(workers=3, max_running=4, max_waiting=64, max_exports=1, max_requests=256, max_connections=2000)
    each = whole.share()
    shares = (each.max_running, each.max_waiting, each.max_exports, each.max_requests, each.max_connections)
    assert shares == (2, 22, 1, 86, 667)
    assert Settings(workers=1).share() == Settings(workers=1)


def test_two_processes_take_from_the_same_buckets(tmp_path: Path) -> None:
    one, other = (TokenBuckets(60, 3, tmp_path / "rates") for _ in range(2))
    taken = [buckets.take("a", 0.0) for buckets in (one, other, one, other, one)]
    assert taken == [0.0, 0.0, 0.0, pytest.approx(1.0), pytest.approx(1.0)]
    assert [buckets.take("a", 1.0) for buckets in (one, other)] == [0.0, pytest.approx(1.0)]


def test_only_who_has_a_full_bucket_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "SWEEP", 10)
    buckets = TokenBuckets(60, 2)
    for _ in range(2):
        buckets.take("spent", 0.0)
    for number in range(7):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 8
    assert buckets.take("late", 1.5) == 0.0  # the tenth: all but the one that took two tokens are full again
    assert len(buckets) == 2
    assert buckets.take("spent", 1.5) == 0.0
    assert buckets.take("spent", 1.5) == pytest.approx(0.5)
    monkeypatch.setattr(rates, "MOST_CLIENTS", 5)
    for number in range(50):
        buckets.take(str(number), 1.5)
    assert len(buckets) <= 5 + 10
    assert buckets.take("spent", 1.5) > 0  # who has the least left is remembered longest


def test_who_can_not_be_counted_is_let_pass_and_that_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    buckets = TokenBuckets(60, 1, tmp_path / "rates")
    buckets._connection.close()
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0] * 3
    assert len([record for record in caplog.records if "rates can't be counted" in record.getMessage()]) == 1
