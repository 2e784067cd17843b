"""What the CPU image is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.docker.stack import Stack
from wildsat_core import __version__

IMAGE = "wildsat:latest"


def in_image(stack: Stack, script: str) -> str:
    """Output of a shell script in a new container of the image."""
    return stack.engine.run(
        "run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "/bin/sh", IMAGE, "-c", script
    ).stdout.strip()


@pytest.fixture(scope="module")
def facts(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.engine.run("image", "inspect", IMAGE).stdout)[0]
    return found


def test_the_image_says_its_version_and_revision(facts: dict[str, Any]) -> None:
    labels = facts["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == "0123abc"


def test_the_image_runs_as_an_ordinary_user_and_checks_its_health(facts: dict[str, Any]) -> None:
    assert facts["Config"]["User"] == "10001"
    assert "/opt/wildsat/healthcheck.py" in facts["Config"]["Healthcheck"]["Test"]


def test_the_image_has_no_build_tools(stack: Stack) -> None:
    wanted = "for tool in gcc cc g++ make git curl wget node npm pip pip3 uv; do command -v $tool; done; true"
    assert in_image(stack, wanted) == ""
    assert in_image(stack, "find / -xdev -name 'pip' -type d -path '*-packages*' | head -3") == ""


def test_the_image_carries_no_cuda(stack: Stack) -> None:
    libraries = (
        "find /opt/venv \\( -name 'libtorch_cuda*' -o -name 'libcu*' -o -name 'libnccl*' -o -name 'libtriton*' \\)"
    )
    # The package index has no CPU build of torchvision, and its only one bundles a CUDA runtime of a megabyte.
    assert in_image(stack, libraries + " -size +2M -o -path '*-packages/nvidia' | head -3") == ""
    assert in_image(stack, "/opt/venv/bin/python -c 'import torch; print(torch.version.cuda)'") == "None"


def test_the_image_has_torch_once_and_in_one_layer(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_image(stack, "find / -xdev -name 'libtorch_cpu.so*' | wc -l") == "1"
    history = stack.engine.run("history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE).stdout
    layers = [line.split("\t", 1) for line in history.splitlines() if not line.startswith("0B")]
    large = [(size, command) for size, command in layers if size.endswith("GB")]
    assert [command for _, command in large if "/opt/venv" in command] == [command for _, command in large]
    assert len(large) <= 1
    with capsys.disabled():
        print()
        for size, command in layers:
            print(f"  {size:>8}  {command[:100]}")
        total = int(stack.engine.run("image", "inspect", "--format", "{{.Size}}", IMAGE).stdout)
        print(f"  {total / 1e6:>6.0f}MB  {IMAGE}")
        print(
            "  " + in_image(stack, "du -sm /opt/venv/lib/python3.11/site-packages/torch /opt/wildsat /opt/wildsat/demo")
        )


def test_the_context_leaves_out_what_images_do_not_need(stack: Stack) -> None:
    assert in_image(stack, "find /opt/wildsat \\( -name tests -o -name .git -o -name '*.whl' -o -name ca.pem \\)") == ""
    assert in_image(stack, "ls /opt/wildsat/lib/app/static/vendor").split() == [
        "maplibre-gl",
        "swagger-ui-dist",
        "topojson-client",
        "world-atlas",
    ]
