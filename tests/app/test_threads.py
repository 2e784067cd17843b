"""The running service bounds the threads of a single product."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from tests.app.conftest import ToyModel, toy_settings

ASK = """
import json, numpy, torch
from threadpoolctl import threadpool_info
from app.threads import limit_threads
def threads():
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"] + [torch.get_num_threads()]
before = threads()
limit_threads(1)
print(json.dumps([before, threads()]))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors to tell one thread from two")
def test_numpy_and_torch_keep_to_the_limit() -> None:
    # In a process of its own: the suite may run with a limit already, from which the pools can't grow.
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    told = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=free, check=True)
    before, after = json.loads(told.stdout)
    assert max(before) > 1
    assert set(after) == {1}
    assert len(after) >= 2


def test_the_service_takes_the_limit_from_its_settings(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    monkeypatch.setattr("app.main.limit_threads", limits.append)
    with TestClient(create_app(toy_settings(toy_folder, threads=3), lambda name: ToyModel())):
        assert limits == [3]
