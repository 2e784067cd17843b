"""A Docker engine for the tests: the one that runs, else a private one that is gone afterwards.

A private engine comes from Debian's packages, unpacked below a scratch folder, and listens on a socket of its own. It
has no bridge and touches no firewall, so builds use the machine's network and published ports go through its proxy.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("docker.io", "containerd", "runc", "tini", "debootstrap")
START_S = 60
BASE = "debian:bookworm-slim"


class NoEngineError(Exception):
    """No engine runs and none can be started; the message says why."""


@dataclass
class Engine:
    """How to reach an engine.

    Attributes:
        environment: what clients need on top of the process's own.
        docker: the command-line client.
        private: it was started here, so it must be stopped here.
    """

    environment: Mapping[str, str]
    docker: str
    private: bool = False
    scratch: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def run(self, *arguments: str, timeout_s: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the docker client and return its output; a failure shows its last words."""
        done = subprocess.run(
            [self.docker, *arguments],
            env=os.environ | dict(self.environment),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"docker {' '.join(arguments)} failed: {done.stderr.strip()[-2000:]}")
        return done

    def answers(self) -> bool:
        """Whether there is an engine at the other end."""
        return bool(self.run("version", "--format", "{{.Server.Version}}", check=False).stdout.strip())

    @property
    def has_bridge(self) -> bool:
        """Whether containers reach the network without sharing the machine's own."""
        return "bridge" in self.run("network", "ls", "--format", "{{.Name}}").stdout.split()

    def stop(self) -> None:
        """Stop a private engine with everything in it and remove its data."""
        if self.process is None or self.scratch is None:
            return
        names = self.run("ps", "--quiet", "--all", check=False).stdout.split()
        if names:
            self.run("rm", "--force", *names, check=False)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # The network namespaces of stopped containers may stay mounted.
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[1].startswith(str(self.scratch)):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False)
        shutil.rmtree(self.scratch)


def find_engine(scratch: Path) -> Engine:
    """The engine that answers the docker client, else a new one.

    Raises:
        NoEngineError: neither is to be had.
    """
    client = shutil.which("docker", path="/usr/bin:" + os.environ.get("PATH", ""))
    if client is not None:
        running = Engine({"DOCKER_BUILDKIT": "1"}, client)
        if running.answers():
            return running
    if os.geteuid() != 0:
        raise NoEngineError("no Docker engine answers, and only root may start one")
    if shutil.which("apt-get") is None:
        raise NoEngineError("no Docker engine answers, and there is no apt-get to fetch one with")
    return start_engine(scratch)


def start_engine(scratch: Path) -> Engine:
    """Unpack and start a private engine below a folder.

    Raises:
        NoEngineError: its packages can't be had, or it does not come up.
    """
    root, data = scratch / "root", scratch / "engine"
    unpack_packages(scratch / "packages", root)
    data.mkdir()
    socket = f"unix://{data}/socket"
    path = f"{root}/usr/sbin:{root}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    command = [f"{root}/usr/sbin/dockerd", "--host", socket, "--pidfile", f"{data}/pid"]
    command += ["--data-root", f"{data}/data", "--exec-root", f"{data}/exec", "--storage-driver", storage_driver()]
    command += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(
            ["nice", "-n", "10", *command], env=os.environ | {"PATH": path}, stdout=log, stderr=log
        )
    environment = {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": "1", "PATH": path}
    engine = Engine(environment, f"{root}/usr/bin/docker", True, scratch, process)
    deadline = time.monotonic() + START_S
    while not engine.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            words = (data / "log").read_text(errors="replace").strip()[-600:]
            engine.stop()
            raise NoEngineError(f"a Docker engine can't run here: {words}")
        time.sleep(0.5)
    return engine


def unpack_packages(folder: Path, root: Path) -> None:
    """Fetch Debian's packages of the engine and unpack them, without installing them.

    Raises:
        NoEngineError: they can't be fetched.
    """
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # apt-get fetches as a user of its own
    for command in (["apt-get", "update", "-qq"], ["apt-get", "download", "-qq", *PACKAGES]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise NoEngineError(f"no Docker engine answers, and {' '.join(command)} failed: {done.stderr[-400:]}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True)
    shutil.rmtree(folder)


def storage_driver() -> str:
    """The kernel's overlay where there is one; vfs works everywhere and copies every layer whole."""
    return "overlay2" if "\toverlay\n" in Path("/proc/filesystems").read_text() else "vfs"


def provide_base(engine: Engine, scratch: Path) -> str:
    """Have the base image in the engine: there already, from its registry, or bootstrapped from Debian's packages.

    Returns:
        Which of the three it was, in words.

    Raises:
        NoEngineError: none of them works.
    """
    if engine.run("image", "inspect", BASE, check=False).returncode == 0:
        return "already there"
    if engine.run("pull", "--quiet", BASE, timeout_s=300, check=False).returncode == 0:
        return "from its registry"
    if not engine.private:
        raise NoEngineError(f"{BASE} can't be pulled")
    root, tree = scratch / "root", scratch / "base"
    script, folder = f"{root}/usr/sbin/debootstrap", f"{root}/usr/share/debootstrap"
    environment = os.environ | {"DEBOOTSTRAP_DIR": folder, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    command = ["nice", "-n", "10", "sh", script, "--variant=minbase", "bookworm", str(tree)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise NoEngineError(f"{BASE} can't be pulled, and debootstrap failed: {done.stdout.strip()[-400:]}")
    for leftover in [*tree.glob("var/cache/apt/archives/*.deb"), *tree.glob("var/lib/apt/lists/*Packages")]:
        leftover.unlink()
    # As in the official image: apt keeps no index of packages beside its lists.
    (tree / "etc/apt/apt.conf.d/docker-clean").write_text('Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n')
    with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            [engine.docker, "import", "--change", 'CMD ["bash"]', "-", BASE],
            env=os.environ | dict(engine.environment), stdin=tar.stdout, check=True, capture_output=True,
        )  # fmt: skip
    shutil.rmtree(tree)
    return "bootstrapped here from Debian's packages"
