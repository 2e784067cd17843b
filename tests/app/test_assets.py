"""The installer of third-party assets, with an npm of our own making: no network."""

import base64
import gzip
import hashlib
import io
import json
import stat
import tarfile
from pathlib import Path

import pytest

from app import assets


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    # Without a time in its head, the same files make the same archive in the next second too.
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def static_dir(tmp_path: Path, packed: bytes, **changes: object) -> Path:
    digest = base64.b64encode(hashlib.sha512(packed).digest()).decode()
    entry = {"integrity": f"sha512-{digest}", "files": ["LICENSE", "dist/*.js"]} | changes
    pins = {"dependencies": {"thing": "1.2.3"}, "devDependencies": {}, "vendor": {"thing": entry}}
    (tmp_path / "package.json").write_text(json.dumps(pins))
    return tmp_path


@pytest.fixture
def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An npm that puts down the archive it was given and counts its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def provide(packed: bytes) -> Path:
        (folder / "packed").write_bytes(packed)
        npm = folder / "npm"
        npm.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\ncp {folder}/packed thing-1.2.3.tgz\n')
        npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(assets, "find_npm", lambda: str(npm))
        return folder / "calls"

    return provide


GOOD = {
    "package/package.json": b'{"version": "1.2.3"}',
    "package/LICENSE": b"free",
    "package/dist/a.js": b"a",
    "package/src/a.ts": b"source",
}


def test_only_the_named_files_are_installed_and_once(tmp_path: Path, fake_npm) -> None:
    calls = fake_npm(archive(GOOD))
    static = static_dir(tmp_path, archive(GOOD))
    assert assets.install_all(static, dev=True) == ["thing 1.2.3: installed"]
    folder = static / "vendor" / "thing"
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["LICENSE", "a.js", "installed.json"]
    assert assets.install_all(static, dev=True) == ["thing 1.2.3: already there"]
    assert calls.read_text().count("\n") == 1


def test_what_only_lint_reads_is_left_out_of_production(tmp_path: Path, fake_npm) -> None:
    fake_npm(archive(GOOD))
    static = static_dir(tmp_path, archive(GOOD), devFiles=["src/*.ts"])
    source = static / "vendor" / "thing" / "src" / "a.ts"
    assets.install_all(static, dev=False)
    assert not source.exists()
    assets.install_all(static, dev=True)
    assert source.is_file()
    # Building a package asks for less, and must not take away what lint needs in the clone.
    assert assets.install_all(static, dev=False) == ["thing 1.2.3: already there"]
    assert source.is_file()
    (package,) = assets.read_packages(static, dev=False)
    wanted = assets.installed_files(package, static / "vendor")
    assert sorted(wanted) == ["LICENSE", "dist/a.js", "installed.json"]


def test_a_package_of_a_scope_has_its_folder(tmp_path: Path, fake_npm) -> None:
    fake_npm(archive(GOOD))
    static = static_dir(tmp_path, archive(GOOD))
    pins = (static / "package.json").read_text()
    (static / "package.json").write_text(pins.replace('"thing"', '"@some/thing"'))
    assets.install_all(static, dev=True)
    assert (static / "vendor" / "@some" / "thing" / "LICENSE").is_file()


def test_a_changed_file_is_installed_again(tmp_path: Path, fake_npm) -> None:
    fake_npm(archive(GOOD))
    static = static_dir(tmp_path, archive(GOOD))
    assets.install_all(static, dev=True)
    (static / "vendor" / "thing" / "dist" / "a.js").write_text("changed")
    assert assets.install_all(static, dev=True) == ["thing 1.2.3: installed"]
    assert (static / "vendor" / "thing" / "dist" / "a.js").read_text() == "a"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (GOOD | {"package/package.json": b'{"version": "1.2.4"}'}, "version 1.2.4"),
        ({k: v for k, v in GOOD.items() if "LICENSE" not in k}, "no file LICENSE"),
        (GOOD | {"package/../../evil.js": b"x"}, "leaves its folder"),
    ],
)
def test_an_archive_that_is_not_what_was_pinned_installs_nothing(
    tmp_path: Path, fake_npm, files: dict[str, bytes], said: str
) -> None:
    fake_npm(archive(files))
    static = static_dir(tmp_path, archive(files))
    with pytest.raises(assets.AssetError, match=said):
        assets.install_all(static, dev=True)
    assert not (static / "vendor" / "thing").exists()


def test_an_altered_archive_is_refused_before_it_is_unpacked(
    tmp_path: Path, fake_npm, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_npm(archive(GOOD | {"package/dist/a.js": b"altered"}))
    static = static_dir(tmp_path, archive(GOOD))
    assert assets.main(["--static", str(static)]) == 1
    assert "nothing was installed" in capsys.readouterr().err
    assert not (static / "vendor" / "thing").exists()


def test_without_npm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets.shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(assets.AssetError, match=r"pip install .*\[web\]"):
        assets.find_npm()


def test_our_own_pins_are_exact_hashed_and_carry_a_licence_and_no_address() -> None:
    for package in assets.read_packages(assets.STATIC_DIR, dev=True):
        assert package.integrity.startswith("sha512-"), package
        assert any(name.upper().startswith("LICENSE") for name in package.files), package
    assert "http" not in (assets.STATIC_DIR / "package.json").read_text()
