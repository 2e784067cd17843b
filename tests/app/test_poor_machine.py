"""`wildsat serve` where little is given: no UTF-8, 1,024 descriptors for a hundred collections with imagery."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.app.conftest import ROWS, picture, write_rows
from tests.app.test_swap import wait_for
from tests.app.test_workers import free_port
from wildsat_core.collection.map_tiles import MapTile, write_map_tiles

COLLECTIONS = 100
ODD_FOLDERS = ("größe 北海".encode(), b"caf\xe9", b"two\nlines")
TOLD = {"title": "Föhn – 北海", "attribution": "Ærø", "notice": "Ünïcode.", "description": "Für Tests."}
POOR = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "WILDSAT_MAX_WAIT_S": "60"}
PROGRAM = """
import sys
import app.main
from tests.app.conftest import ToyModel
app.main.registry_loader = lambda *_: lambda name: ToyModel()
from wildsat_core.cli import main
main(sys.argv[1:])
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks /proc for open descriptors")


@dataclass
class Service:
    """The program, its address and its log so far."""

    process: subprocess.Popen
    url: str
    log: Path

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder, log, port = tmp_path_factory.mktemp("c"), tmp_path_factory.mktemp("log") / "log", free_port()
    metadata = {"name": "toy", "format": "png", "minzoom": "0", "maxzoom": "0"}
    for number in range(COLLECTIONS):
        name = "demo" if number == 0 else f"c{number}"
        write_rows(folder, name, ROWS[:2], TOLD)
        tile = MapTile(0, 0, 0, picture((number, 9, 9), "PNG", 4))
        write_map_tiles(folder / name / "imagery.mbtiles", [tile], metadata)
    for name in ODD_FOLDERS:
        where = os.path.join(os.fsencode(folder), name)  # noqa: PTH118 - bytes that are no text
        os.mkdir(where)  # noqa: PTH102
        with open(os.path.join(where, b"CURRENT"), "w", encoding="utf-8") as file:  # noqa: PTH118, PTH123
            file.write("1\n")
    arguments = ["serve", "--port", str(port), "--collections", str(folder)]
    limited = ["bash", "-c", 'ulimit -n 1024; exec "$@"', "-", sys.executable, "-c", PROGRAM, *arguments]
    with log.open("wb") as out, subprocess.Popen(limited, env=os.environ | POOR, stdout=out, stderr=out) as process:
        try:
            found = Service(process, f"http://127.0.0.1:{port}", log)
            wait_for(lambda: is_ready(found), 200)
            yield found
        finally:
            process.kill()


def is_ready(service: Service) -> bool:
    assert service.process.poll() is None, service.log.read_text("utf-8", "replace")
    try:
        return httpx.get(f"{service.url}/readyz", timeout=20, verify=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_hundred_collections_with_imagery_need_few_descriptors(poor: Service) -> None:
    with httpx.Client(base_url=poor.url, timeout=60) as client:
        names = [entry["id"] for entry in client.get("/collections").json()["collections"]]
        assert len(names) == COLLECTIONS

        def ask(name: str) -> list[int]:
            asked = (
                f"/collections/{name}/imagery/0/0/0",
                f"/tiles/amazon/thumbnail.webp?collection={name}",
                f"/search?q=ice&collection={name}",
            )
            return [client.get(path).status_code for path in asked]

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, names)) == [[200, 200, 200]] * COLLECTIONS
        assert poor.descriptors < 400
        colours = {client.get(f"/collections/{name}/imagery/0/0/0").content for name in names}
        assert len(colours) == COLLECTIONS, "each shows its own"


def test_more_idle_connections_than_descriptors_leave_room_for_the_next(poor: Service) -> None:
    with ExitStack() as stack:
        for _ in range(1200):
            stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(poor.url).port), timeout=10))
        for _ in range(3):
            assert httpx.get(f"{poor.url}/search?q=ice", timeout=20, verify=False).status_code == 200
        assert poor.descriptors < 1000
    assert "1024 open files leave room for 624 connections, not for 2000" in poor.log.read_text("ascii")
    assert "looking for new generations failed" not in poor.log.read_text("ascii")


def test_without_utf8_answers_and_log_say_everything(poor: Service) -> None:
    with httpx.Client(base_url=poor.url, timeout=60) as client:
        page = client.get("/?q=wüste 砂漠", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "wüste 砂漠" in page.text
        assert TOLD["notice"] in client.get("/search?q=wüste").json()["notice"]
        assert client.get("/collections/demo").json()["title"] == TOLD["title"]
        assert client.get("/export?q=ice&format=csv").text.splitlines()[0].startswith("rank")
        ready = client.get("/readyz").json()
        assert (ready["status"], len(ready["refused"])) == ("ready", len(ODD_FOLDERS))
        assert client.get("/collections/größe 北海/items").status_code == 400
        assert client.get("/nowhere/北海").status_code == 404
        assert client.get("/search?q=ice&collection=北海").status_code == 422
    log = poor.log.read_text("ascii")  # all that such a terminal shows
    assert "Traceback" not in log
    assert "Logging error" not in log
    refused = [line for line in log.splitlines() if "can't be served" in line]
    assert len(refused) == len(ODD_FOLDERS)
    started = "WildSAT is starting"
    odd = [one for one in log.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", one) and not one.startswith(started)]
    assert odd == [], "one line an event"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["index", "info", "demo"], 0, TOLD["title"]),
        (["index", "stats", "demo"], 0, "FJI 1"),
        (["index", "info", "größe"], 1, "error: no collection"),
        (["search", "--help"], 0, "search"),
        (["serve", "--help"], 0, "--workers"),
        (["nönsense"], 2, "No such command"),
    ],
)
def test_without_utf8_the_command_line_says_everything(
    tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    write_rows(tmp_path, "demo", ROWS, TOLD)
    command = [sys.executable, "-m", "wildsat_core.cli", *arguments]
    done = subprocess.run(command, env=os.environ | POOR, capture_output=True, cwd=tmp_path)
    told = (done.stdout + done.stderr).decode("utf-8")  # in ASCII, or, where click insists, in UTF-8
    assert done.returncode == status, told
    assert said in told
    assert "Traceback" not in told
    assert "Error:" not in told
