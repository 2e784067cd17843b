"""The running service bounds the threads of a single product."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from threadpoolctl import threadpool_info

from app.main import create_app
from app.threads import limit_threads
from tests.app.conftest import ToyModel, toy_settings


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    limit_threads(before)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors to tell one thread from two")
@pytest.mark.parametrize("threads", [1, 2])
def test_products_take_as_many_threads_as_the_setting_says(toy_folder: Path, threads: int) -> None:
    np.ones((2, 2), np.float32) @ np.ones((2, 2), np.float32)
    with TestClient(create_app(toy_settings(toy_folder, threads=threads), lambda name: ToyModel())) as client:
        assert client.get("/search", params={"q": "forest"}).status_code == 200
        pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert pools
        assert set(pools) == {threads}
        assert torch.get_num_threads() == threads
