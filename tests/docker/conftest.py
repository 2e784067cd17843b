"""One engine, one clone, one stack for the whole run; everything is torn down at its end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine import Engine, NoEngineError, find_engine, provide_base
from tests.docker.stack import Stack, carry_local_files, free_port, fresh_clone, install_tools


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    # Below /tmp and short, because the path of a socket may have 107 characters; an engine removes what it made itself.
    with tempfile.TemporaryDirectory(prefix="wildsat-docker-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def tools(scratch: Path) -> Path:
    return install_tools(scratch / "tools")


@pytest.fixture(scope="session")
def engine(scratch: Path) -> Iterator[Engine]:
    folder = scratch / "engine"
    folder.mkdir()
    try:
        found = find_engine(folder)
    except NoEngineError as err:
        pytest.skip(str(err))
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="session")
def base(engine: Engine, scratch: Path) -> str:
    try:
        return provide_base(engine, scratch / "engine")
    except NoEngineError as err:
        pytest.skip(str(err))


@pytest.fixture(scope="session")
def clone(scratch: Path) -> Path:
    folder = fresh_clone(scratch / "clone")
    carry_local_files(folder)
    return folder


@pytest.fixture(scope="session")
def stack(engine: Engine, base: str, clone: Path, tools: Path) -> Iterator[Stack]:
    """A stack that was built and started; `docker compose down` afterwards also removes its volumes."""
    running = Stack(engine, clone, tools / "docker-compose", free_port())
    running.compose("build", "wildsat", timeout_s=3600, WILDSAT_REVISION="0123abc")
    try:
        running.up()
        yield running
    finally:
        running.compose("--profile", "index", "down", "--volumes", "--remove-orphans", check=False)
