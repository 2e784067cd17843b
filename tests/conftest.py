"""What every test has: the choice of a processor that isn't there, and object storage."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer import testing

MEMORY = Path("/dev/shm")
ROOM = 8 << 30  # bytes
# Ray reads these when any test of a worker first imports it: clusters listen on loopback alone, tell their makers
# nothing, and ask for no token, whatever lies in the home folder.
RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bf16",
        choices=("off", "on"),
        help="let models take this processor for one that multiplies bfloat16 itself, or for one that doesn't",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Tests wait for the disk thousands of times, to see what is left when it fails: memory does, where there is plenty.
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM and not _refuses_programs(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    for name, value in RAY.items():
        os.environ.setdefault(name, value)
    # An app becomes dozens of commands whenever one of them runs, and some tests run fifty.
    testing._get_command = cache(testing._get_command)
    if (choice := config.getoption("--bf16")) is not None:
        from wildsat_core.models import precision

        # Before any other module asks for it by name. Processes that a test starts see the real processor.
        precision.supports_bf16 = lambda _: choice == "on"


def _refuses_programs(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_NOEXEC)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a real S3 server on loopback, which knows conditional writes."""
    pytest.importorskip("obstore", reason="needs wildsat[store]")
    server = pytest.importorskip("moto.server", reason="needs wildsat[dev]")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


def s3_access(endpoint: str) -> dict[str, str]:
    """The environment that whoever reads or writes a store of this server needs."""
    told = {"ENDPOINT_URL": endpoint, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1"}
    return {f"AWS_{name}": value for name, value in told.items()}


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A store of its own, s3://bucket/prefix, with credentials in the environment and an empty cache."""
    import httpx

    bucket = f"b-{secrets.token_hex(6)}"
    httpx.put(f"{s3_endpoint}/{bucket}").raise_for_status()
    for name, value in s3_access(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "cache"))
    return f"s3://{bucket}/collections"
