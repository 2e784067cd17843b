"""What torchrun does with a run: several processes that train one model, and processes that it starts again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.training.conftest import tiny_config
from tests.training.test_loop import ROOT, metrics
from training import loop
from wildsat_core.errors import TrainingError


def test_what_torchrun_starts_again_goes_on_from_the_newest_checkpoint(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"steps": 2, "checkpoint_every": 2}
    config = tiny_config(painted, tmp_path / "run", run=run)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert loop.train(config).steps == 2  # lost before its first checkpoint: from the beginning
    longer = tiny_config(painted, tmp_path / "run", run=run | {"steps": 3})
    assert loop.train(longer).steps == 3
    assert len(metrics(tmp_path / "run")) == 3
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    with pytest.raises(TrainingError, match="has checkpoints already"):
        loop.train(longer)


def test_two_processes_of_torchrun_train_one_model_and_end_well(painted: Path, tmp_path: Path) -> None:
    config = tiny_config(painted, tmp_path / "run", run={"steps": 2}, data={"workers": 1})
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "training", "--config", str(file)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("finished after 2 steps") == 1  # one of the two says it
    assert len(metrics(tmp_path / "run")) == 2
