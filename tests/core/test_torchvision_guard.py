"""The guard, in processes of its own: what a plain import does, and what it does behind the guard."""

import subprocess
import sys

import pytest

from wildsat_core.torchvision_guard import _built_for_cuda, guard_torchvision


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_torchvision_timm_and_transformers_import_behind_the_guard():
    result = run(
        "from wildsat_core.torchvision_guard import guard_torchvision; guard_torchvision(); guard_torchvision()\n"
        "import torchvision, timm, transformers, torch\n"
        "print(torchvision.models.resnet18().eval()(torch.zeros(1, 3, 32, 32)).shape)"
    )
    assert result.returncode == 0, result.stderr
    assert "[1, 1000]" in result.stdout


def test_the_guard_is_there_for_a_reason():
    import torch

    if torch.version.cuda is not None or not _built_for_cuda():
        pytest.skip("torch and torchvision belong together here")
    result = run("import torchvision")
    assert "operator torchvision::nms does not exist" in result.stderr


def test_builds_that_belong_together_are_left_alone(monkeypatch):
    import torch

    guard_torchvision()  # keep the real one, if any
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert guard_torchvision.__wrapped__() is None
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr("wildsat_core.torchvision_guard._built_for_cuda", lambda: False)
    assert guard_torchvision.__wrapped__() is None
