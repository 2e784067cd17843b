"""The command that a message gives works for the way in which the project was installed."""

import json
import subprocess
import sys

import pytest

from wildsat_core import installation
from wildsat_core.errors import MissingExtraError


class Installed:
    """A distribution with some of the files that installers write."""

    def __init__(self, **files):
        self.files = files

    def read_text(self, name):
        return self.files.get(name.partition(".")[0].lower())


@pytest.fixture
def command(monkeypatch):
    def of(origin, installer="pip", pip=True, python="/env/bin/python"):
        monkeypatch.setattr(sys, "executable", python)
        monkeypatch.setattr(installation.PathFinder, "find_spec", lambda name: pip or None)
        installed = Installed(installer=installer + "\n", direct_url=json.dumps(origin) if origin else None)
        monkeypatch.setattr(installation, "distribution", lambda name: installed)
        return installation.install_command("serve")

    return of


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, '"wildsat[serve]"'),
        ({"url": "file:///src/wildsat", "dir_info": {"editable": True}}, '-e "/src/wildsat[serve]"'),
        ({"url": "file:///my%20src/wildsat", "dir_info": {}}, '"/my src/wildsat[serve]"'),
        (
            {"url": "file:///w/wildsat-1-py3-none-any.whl", "archive_info": {}},
            '"wildsat[serve] @ file:///w/wildsat-1-py3-none-any.whl"',
        ),
    ],
)
def test_the_command_installs_from_where_it_came(command, origin, expected):
    assert command(origin) == f"/env/bin/python -m pip install {expected}"


def test_uv_is_named_where_it_made_an_environment_without_pip(command):
    assert command(None, "uv", pip=False) == 'uv pip install --python /env/bin/python "wildsat[serve]"'
    assert command(None, "uv", pip=True).startswith("/env/bin/python -m pip")
    assert command(None, "pip", python="/my env/python").startswith('"/my env/python" -m pip')


def test_a_clone_that_is_only_on_the_path_installs_itself(monkeypatch, tmp_path):
    def none(name):
        raise installation.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "distribution", none)
    monkeypatch.setattr(installation, "CLONE", tmp_path)
    assert installation.install_command("geo").endswith('pip install "wildsat[geo]"')
    (tmp_path / "pyproject.toml").touch()
    assert installation.install_command("geo").endswith(f'pip install -e "{tmp_path}[geo]"')


def test_a_missing_extra_names_purpose_package_and_command():
    said = str(MissingExtraError("geopandas", "geo", "to_geodataframe()"))
    assert said.startswith("to_geodataframe() needs the package 'geopandas', which is not installed. Install it with: ")
    assert said.endswith('[geo]"')


def test_asking_for_pip_leaves_setuptools_as_it_was():
    """setuptools' finder gives up its own distutils for good where it sees pip imported; torch.compile needs it."""
    program = "from wildsat_core import installation as i; i._installer(i.distribution('wildsat')); import setuptools"
    by_uv = "from importlib.metadata import Distribution; Distribution.read_text = lambda *_: 'uv'; "
    subprocess.run([sys.executable, "-c", by_uv + program], check=True, capture_output=True)
