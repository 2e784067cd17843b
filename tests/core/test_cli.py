"""The command line: every registered command explains itself, errors are one line, exit codes mean something."""

import errno
import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from typer.testing import CliRunner

from wildsat_core import cli
from wildsat_core.cli import COMMAND_GROUP, app, load_command

NAMES = sorted(point.name for point in entry_points(group=COMMAND_GROUP))


def test_the_registered_commands_are_the_designs():
    data = ["area", "dataset", "demo", "eval", "index", "mcp", "models"]
    assert [*data, "quickstart", "search", "serve", "train"] == NAMES


def test_help_lists_every_command_and_says_where_to_start():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in NAMES)
    assert "wildsat demo" in result.output


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name):
    assert load_command(name) is not None
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "wildsat_core.cli", *arguments], capture_output=True, text=True)


def test_an_error_of_ours_is_one_line_and_exit_code_1(tmp_path):
    answer = run("search", "dunes", "--folder", str(tmp_path), "--collection", "none")
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: no collection at ")
    assert len(answer.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_written_is_one_line(monkeypatch, capsys):
    def app(**_):
        raise PermissionError(errno.EACCES, "Permission denied", "there")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as exit_:
        cli.main([])
    assert (exit_.value.code, capsys.readouterr().err) == (1, "error: there: Permission denied\n")


@pytest.mark.parametrize(("said", "then"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_somebody_says_otherwise(said, then, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", said or "")
    if said is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(cli, "app", lambda **_: None)
    cli.main([])
    assert os.environ["OMP_WAIT_POLICY"] == then


def test_wrong_arguments_exit_with_2(tmp_path):
    assert run("search").returncode == 2
    assert run("nonsense").returncode == 2
    assert run("search", "dunes", "--format", "xml").returncode == 2
