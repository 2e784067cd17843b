"""Commands with a sub-command for each kind of imagery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import make_dataclass
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from wildsat_core.errors import InvalidInputError

DEFAULT_KIND: Final = "raster"
OPTION: Final = "--source"
GENERAL: Final = "General"  # of the help: what stands in no panel


class KindGroup(TyperGroup):
    """The kind is the first word, or stands anywhere as --source KIND; without either it is a raster."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer keeps its click to itself
        """Bring the kind to the front, where a group looks for its sub-command."""
        if args and args[0] not in ("--help", "-h"):
            args = kind_first(args, list(self.commands))
        return super().parse_args(ctx, args)


class KindCommand(TyperCommand):
    """Its help is one column for options with what they take, one for what they do, without frames.

    So the forty options of a kind fit two screens of 80 columns; in the frames of other commands they take three.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - typer's own
        """A command as typer makes it, without its frames."""
        super().__init__(*args, **kwargs)
        self.rich_markup_mode = None

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer keeps its click to itself
        """The options by the panel that they stand in."""
        panels: dict[str, list[tuple[str, str]]] = {GENERAL: []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                panels.setdefault(getattr(param, "rich_help_panel", None) or GENERAL, []).append(record)
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records, col_max=34)


def kind_first(args: list[str], kinds: list[str]) -> list[str]:
    """Arguments with the kind of imagery before all others.

    Raises:
        InvalidInputError: there is no such kind.
    """
    words = [part for arg in args for part in (arg.split("=", 1) if arg.startswith(f"{OPTION}=") else [arg])]
    if OPTION in words:
        at = words.index(OPTION)
        kind, rest = "".join(words[at + 1 : at + 2]), [*words[:at], *words[at + 2 :]]
    elif words[0] in kinds:
        return args
    else:
        kind, rest = DEFAULT_KIND, words
        if len(words) > 1 and not words[0].startswith("-") and not words[1].startswith("-"):
            kind = words[0]  # two words: a kind, and a name
    if kind not in kinds:
        raise InvalidInputError(f"unknown source {kind!r}; there are {', '.join(kinds)}", "source")
    return [kind, *rest]


def join(order: type, kind: type) -> type:
    """A dataclass with the options of both, and the help of the kind."""
    about = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    return make_dataclass(kind.__name__, (), bases=(order, kind), frozen=True, kw_only=True, namespace=about)


def by_source(orders: Mapping[str, type], run: Callable[[Any], None], about: str) -> typer.Typer:
    """A command whose sub-commands are kinds of imagery.

    Args:
        orders: dataclasses of all that the command takes, by the name of the kind.
        run: called with an object of one of them, as it was typed.
        about: help of the command.
    """
    group = typer.Typer(
        cls=KindGroup,
        help=about,
        result_callback=run,
        no_args_is_help=True,
        add_completion=False,
        subcommand_metavar="KIND …",
    )
    for kind, order in orders.items():
        group.command(kind, cls=KindCommand, rich_help_panel="Kinds of imagery")(order)
    return group
