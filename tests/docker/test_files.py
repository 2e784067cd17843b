"""What needs no engine: the linter's opinion and whether every profile is well-formed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docker.stack import REPOSITORY

PROFILES = {
    "": {"wildsat"},
    "gpu": {"wildsat", "gpu"},
    "index": {"wildsat", "index"},
    "index-gpu": {"wildsat", "index-gpu"},
    "train": {"wildsat", "train"},
    "ray": {"wildsat", "ray", "ray-head", "ray-worker"},
    "observability": {"wildsat", "prometheus", "grafana"},
}


def test_hadolint_finds_nothing(tools: Path) -> None:
    done = subprocess.run([tools / "hadolint", "docker/Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_and_starts_its_services(tools: Path, profile: str) -> None:
    command = [tools / "docker-compose", *(["--profile", profile] if profile else []), "config"]
    valid = subprocess.run([*command, "--quiet"], cwd=REPOSITORY, capture_output=True, text=True)
    assert (valid.returncode, valid.stderr) == (0, "")
    services = subprocess.run([*command, "--services"], cwd=REPOSITORY, capture_output=True, text=True)
    assert set(services.stdout.split()) == PROFILES[profile]


def test_training_on_a_gpu_is_valid(tools: Path) -> None:
    command = [tools / "docker-compose", "-f", "docker-compose.yml", "-f", "docker/train-gpu.yml", "config", "--quiet"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
