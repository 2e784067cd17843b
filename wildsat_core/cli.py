"""The command `wildsat`: sub-commands that each room registers through the entry-point group `wildsat.commands`.

A command is loaded when it is used, so that `wildsat search` does not pay for importing the trainer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import click
import typer
from rich.console import Console

from wildsat_core import __version__
from wildsat_core.errors import WildsatError

COMMAND_GROUP: Final = "wildsat.commands"
EXIT_FAILURE: Final = 1  # the command ran and failed; click itself exits with 2 when the arguments are wrong


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=COMMAND_GROUP)}


def load_command(name: str) -> click.Command:
    """The sub-command of this name, as click sees it.

    Raises:
        KeyError: no room registers this name.
    """
    target = _entry_points()[name].load()
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    app = typer.Typer(add_completion=False)
    app.command(name=name)(target)
    return typer.main.get_command(app)


def run_command(name: str, arguments: Sequence[str]) -> None:
    """Run another room's command, so that `demo` can serve without importing the service."""
    load_command(name).main(args=list(arguments), prog_name=f"wildsat {name}", standalone_mode=False)


class _Rooms(click.Group):
    """A group whose sub-commands are the registered entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_entry_points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load_command(cmd_name) if cmd_name in _entry_points() else None


@click.command(cls=_Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wildsat")
def wildsat() -> None:
    """Search the Earth's habitats: index satellite imagery, then find places by describing them.

    Start with `wildsat demo`: it builds a small collection and serves it on http://localhost:8000.
    """


def main(arguments: Sequence[str] | None = None) -> Any:  # noqa: ANN401 - click's return value, None in practice
    """Entry point of the console script; errors of ours become one line and exit code 1."""
    try:
        return wildsat.main(args=arguments, prog_name="wildsat")
    except WildsatError as err:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {err}", highlight=False)
        sys.exit(EXIT_FAILURE)
