"""Several processes that serve on one port and answer as one: `wildsat serve --workers N`.

Vectors and pictures are read through memory maps, so the processes share them. Each watches the collections itself;
they count metrics and rates together in a folder that goes when they do.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors import Multiprocess

from app.catalog import ModelLoader
from app.settings import Settings
from wildsat_core.errors import WildsatError

TOGETHER = "PROMETHEUS_MULTIPROC_DIR"  # where they count; prometheus-client reads it when it is imported
ANSWER_S = 30  # a process that gives no sign of life for so long is ended, and another takes its place
REFUSED = "refused"  # in that folder: why they can't start


def serve_together(count: int, factory: str, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
    """Serve until a signal ends it.

    Args:
        count: processes.
        factory: where each finds the function that makes its application, as module:function.
        options: for uvicorn's Config.

    Raises:
        WildsatError: they can't start.
    """
    with tempfile.TemporaryDirectory(prefix="wildsat-workers-") as folder:
        os.environ[TOGETHER] = folder
        os.environ.setdefault("WILDSAT_TEXT_CACHE", str(Path(folder) / "texts.sqlite"))
        config = Config(factory, factory=True, workers=count, timeout_worker_healthcheck=ANSWER_S, **options)
        supervisor = Multiprocess(config, sockets=[config.bind_socket()])
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            why = Path(folder, REFUSED)
            raise WildsatError(why.read_text("utf-8") if why.exists() else "no process could start; see the log")


def worker_app(load: ModelLoader | None = None) -> FastAPI:
    """The application of one of several processes; ends the process where it can't start.

    Args:
        load: gives the model of a name; None loads from the registry.
    """
    end_with_parent()
    with ending_at_once():
        from app.main import create_app

        together = Path(os.environ[TOGETHER])
        app = create_app(Settings().share(), load, together)
        try:
            app.state.catalog.open_all()
        except WildsatError as err:
            refuse(together, str(err))
        return app


@contextmanager
def ending_at_once() -> Iterator[None]:
    """While nothing is served yet, have signals end the process; uvicorn would first wait until all is loaded."""
    waiting = {one: signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in waiting.items():
            signal.signal(one, handler)


def refuse(together: Path, why: str) -> None:
    """End this process for good; the one that started it tells what the first to end has left."""
    with suppress(FileExistsError), (together / REFUSED).open("x", encoding="utf-8", errors="replace") as file:
        file.write(why)
    sys.exit(STARTUP_FAILURE)


def end_with_parent() -> None:
    """Stop this process in good order when the one that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="wildsat-parent", daemon=True).start()
