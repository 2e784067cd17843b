"""Libraries that import torchvision load here behind the guard, as they do in the program."""

import pytest
import torch

from wildsat_core.torchvision_guard import guard_torchvision

guard_torchvision()


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20_260)
        yield
