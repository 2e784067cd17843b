"""A hostile night, on a real server: idle, slow, unread and abandoned connections cost the next visitor nothing."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app import connections
from app.connections import Room
from app.layers.gate import Gate
from app.main import create_app
from tests.app.conftest import ToyModel, toy_settings
from tests.app.test_swap import wait_for


@contextmanager
def bounded(app: FastAPI, most: int) -> Iterator[tuple[str, Room]]:
    """A real server on loopback as `wildsat serve` runs it."""
    room = Room(most)
    config = uvicorn.Config(
        app, http=room.protocol, ws="none", host="127.0.0.1", port=0, log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, 60)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", room
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def connect(stack: ExitStack, url: str, said: bytes = b"") -> socket.socket:
    place = urlsplit(url)
    connection = stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=10))
    with contextlib.suppress(ConnectionError):
        connection.sendall(said)
    return connection


def answered_within(url: str, seconds: float) -> None:
    """The quickest of some visitors, since the machine may have other work at any moment."""
    took = []
    for _ in range(5):
        started = time.monotonic()
        assert httpx.get(f"{url}/search?q=ice", timeout=20, verify=False).status_code == 200
        took.append(time.monotonic() - started)
    assert min(took) < seconds


@pytest.fixture
def app(toy_folder: Path) -> FastAPI:
    return create_app(toy_settings(toy_folder), lambda name: ToyModel())


@pytest.mark.parametrize("said", [b"", b"GET /search?q=ice HTTP/1.1\r\nHost: "], ids=["idle", "half a head"])
def test_two_thousand_that_ask_nothing_leave_room_for_the_next(app: FastAPI, said: bytes) -> None:
    with bounded(app, 500) as (url, room), ExitStack() as stack:
        answered_within(url, 20)  # the first one loads what all need
        for _ in range(2000):
            connect(stack, url, said)
        answered_within(url, 1)
        assert len(room.waiting) <= 500


def test_a_head_that_does_not_come_is_not_waited_for(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    whole = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with bounded(app, 100) as (url, room), ExitStack() as stack:
        for said in (b"", b"GET /livez HTT", whole + b"GET /livez HTT"):
            connection = connect(stack, url, said)
            started = time.monotonic()
            while connection.recv(4096):  # what was asked in whole is answered, then the connection ends
                pass
            assert 0.3 < time.monotonic() - started < 5
        assert not room.waiting
        # One that asks again in time is kept.
        connection = connect(stack, url)
        for _ in range(4):
            connection.sendall(whole)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.25)


@pytest.mark.parametrize("whole", [False, True])
def test_a_head_without_end_is_refused(app: FastAPI, whole: bool) -> None:
    line, end = b"X-Long: " + b"a" * 4000 + b"\r\n", b"\r\n" if whole else b""
    with bounded(app, 100) as (url, _), ExitStack() as stack:
        short, long = (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + line * lines for lines in (15, 18))
        assert connect(stack, url, short + b"\r\n").recv(4096).startswith(b"HTTP/1.1 200")
        connection, answer = connect(stack, url, long + end), b""
        while more := connection.recv(4096):
            answer += more
        assert answer.startswith(b"HTTP/1.1 400")
        # Many small requests that come at once are no long head.
        connection = connect(stack, url, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 3000:
            answer += connection.recv(1 << 16)


def test_who_does_not_read_is_not_waited_for(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.5)
    with bounded(app, 100) as (url, room), ExitStack() as stack:
        connection = stack.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect((urlsplit(url).hostname, urlsplit(url).port))
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200)  # more than the system holds for it
        connection.settimeout(10)
        time.sleep(2)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(1 << 20):
                pass
        answered_within(url, 5)
        assert len(room.waiting) <= 1


def test_sixty_abandoned_searches_are_not_worked_on(toy_folder: Path) -> None:
    hold, worked = threading.Event(), []

    class SlowModel(ToyModel):
        def embed_texts(self, texts: list[str]):
            if "slow" in texts[0]:
                worked.append(texts[0])
                hold.wait(30)
            return super().embed_texts(texts)

    app = create_app(toy_settings(toy_folder, max_running=1, max_wait_s=60), lambda name: SlowModel())
    gate: Gate = app.state.gate
    with bounded(app, 500) as (url, _):
        with ExitStack() as stack:
            connect(stack, url, b"GET /search?q=slow+ice HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: bool(worked))
            for number in range(60):
                connect(stack, url, f"GET /search?q=slow+{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_for(lambda: gate.waiting == 60)
        wait_for(lambda: gate.waiting == 0)  # they have gone, the one at work is still at it
        hold.set()
        answered_within(url, 5)
        assert worked == ["slow ice"]


def test_a_turn_that_comes_as_somebody_gives_up_is_passed_on() -> None:
    async def run() -> None:
        gate, never = Gate(1, 5, 10), asyncio.Event()
        await gate.enter(never.wait)
        waiter = asyncio.create_task(gate.enter(never.wait))
        await asyncio.sleep(0.01)
        gate.leave()
        waiter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiter
            gate.leave()
        await asyncio.wait_for(gate.enter(never.wait), 1)

    asyncio.run(run())


def test_no_word_that_is_sent_as_a_method_makes_a_series(app: FastAPI) -> None:
    with TestClient(app) as client:
        for number in range(50):
            client.request(f"BREW{number}", "/search")
        text = client.get("/metrics").text
    assert "BREW" not in text
    assert 'method="other"' in text
