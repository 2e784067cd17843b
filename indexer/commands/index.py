"""`wildsat index`: its sub-commands, and those that only look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from indexer.commands.begin import add, build
from indexer.commands.change import ann, compact, delete, export, gc, import_, stats, upgrade
from indexer.commands.cut import cut
from indexer.commands.roots import CollectionsFolder, StoreAddress, collection_root
from indexer.commands.share import commit, plan, status, work

index = typer.Typer(
    help="Build collections from imagery, look into them and change them.", no_args_is_help=True, add_completion=False
)


@index.command()
def info(
    name: Annotated[str, typer.Argument(help="Collection: its name, or the path of its folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Say what a collection holds: generation, model, spaces, tiles, sizes."""
    from indexer.commands.inspection import describe, describe_text

    facts = describe(collection_root(name, collections, store))
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo(describe_text(facts))


@index.command()
def verify(
    name: Annotated[str, typer.Argument(help="Collection: its name, or the path of its folder.")],
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Check every byte of a collection against its hashes; exit with 1, naming the files, if any is wrong."""
    from wildsat_core.collection.maintain import verify as verify_collection

    root = collection_root(name, collections, store)
    problems = verify_collection(root)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{f'{store}/{name}' if store else root}: all files are as they were written")


index.add_typer(build, name="build")
index.add_typer(add, name="add")
index.add_typer(cut, name="cut")
index.add_typer(plan, name="plan")
for shared in (work, status, commit):
    index.command()(shared)
for change in (ann, delete, compact, upgrade, stats, export, gc):
    index.command()(change)
index.command("import")(import_)
