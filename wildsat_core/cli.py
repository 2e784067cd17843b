"""The command `wildsat`: sub-commands that each room registers through the entry-point group `wildsat.commands`.

A command is loaded when it is used, so that `wildsat search` does not pay for importing the trainer.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from wildsat_core import __version__
from wildsat_core.addresses import keep_secrets_out_of_logs, without_secrets
from wildsat_core.errors import MissingExtraError, WildsatError
from wildsat_core.machine import let_threads_sleep

COMMAND_GROUP: Final = "wildsat.commands"
EXIT_FAILURE: Final = 1  # the command ran and failed; click itself exits with 2 when the arguments are wrong


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=COMMAND_GROUP)}


def load_command(name: str) -> Any:  # noqa: ANN401 - a click command; typer keeps its click to itself
    """The sub-command of this name.

    Raises:
        KeyError: no room registers this name.
    """
    target = _entry_points()[name].load()
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name=name)(target)
        target = single
    command = typer.main.get_command(target)
    command.name = name  # a group has none of its own, and the help lists commands by it
    return command


def run_command(name: str, arguments: Sequence[str]) -> None:
    """Run another room's command, so that `demo` can serve without importing the service."""
    load_command(name).main(args=list(arguments), prog_name=f"wildsat {name}", standalone_mode=False)


class _Rooms(TyperGroup):
    """A group whose sub-commands are the registered entry points.

    Each names the extra that it needs. Without that it is listed all the same, and says what to install when used.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        return sorted(_entry_points())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        if cmd_name not in _entry_points():
            return None
        try:
            return load_command(cmd_name)
        except ModuleNotFoundError as err:
            return _stand_in(cmd_name, _missing(cmd_name, err))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as err:  # a command's heavy libraries are imported when it runs
            raise _missing(ctx.invoked_subcommand, err) from err


def _missing(name: str, err: ModuleNotFoundError) -> Exception:
    """What to tell of a package that a command did not find: the extra that brings it, if it is not our own fault."""
    extras = _entry_points()[name].extras
    package = (err.name or "").partition(".")[0]
    ours = {point.module.partition(".")[0] for point in _entry_points().values()} | {"wildsat_core"}
    return MissingExtraError(package, extras[0], f"wildsat {name}") if extras and package not in ours else err


def _stand_in(name: str, missing: Exception) -> Any:  # noqa: ANN401 - a click command
    """A command of this name that only says what is missing, in its help and when it is used."""
    stand_in = typer.Typer(add_completion=False)

    @stand_in.command(name=name, help=str(missing), context_settings={"ignore_unknown_options": True})
    def explain(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        raise missing

    return typer.main.get_command(stand_in)


app = typer.Typer(cls=_Rooms, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wildsat {__version__}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def wildsat(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_show_version)] = False,
) -> None:
    """Search the Earth's habitats: index satellite imagery, then find places by describing them.

    Start with `wildsat demo`: it builds a small collection and serves it on http://localhost:8000.
    """


def main(arguments: Sequence[str] | None = None) -> Any:  # noqa: ANN401 - click's return value, None in practice
    """Entry point of the console script.

    Errors of ours, and of files that can't be read or written, become one line and exit code 1. Neither they nor the
    log show what is secret in an address.
    """
    let_threads_sleep()
    keep_secrets_out_of_logs()
    _write_what_the_terminal_lacks()
    try:
        return app(args=arguments, prog_name="wildsat")
    except WildsatError as err:
        _fail(str(err))
    except OSError as err:
        if err.filename is None or err.strerror is None:
            raise  # no file that a user could do something about
        _fail(f"{err.filename}: {err.strerror}")


def _write_what_the_terminal_lacks() -> None:
    """Where the locale has no letter for something, as C has none but ASCII, write an escape rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="backslashreplace")


def _fail(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(
        f"[bold red]error:[/] {escape(without_secrets(message))}", highlight=False
    )
    sys.exit(EXIT_FAILURE)


if __name__ == "__main__":
    main()
