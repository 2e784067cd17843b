"""Progress bars of builds: how far, how fast, how long still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(title: str, total: int | None, console: Console | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error; gives the function to call with each number of tiles dealt with.

    Without a known total it shows the count alone; where standard error is no terminal, nothing but the end.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda tiles: progress.advance(task, tiles)
