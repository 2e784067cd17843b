"""`wildsat index cut`: the tiles of any source as pictures with a table, for training and for other programs."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from indexer.commands.build import build, land_mask, source_request
from indexer.commands.progress import progress_bar
from indexer.pipeline.cutting import CutFolder, cut_tiles, plan_cut
from indexer.pipeline.listing import Chooser
from indexer.pipeline.reading import ReadOptions, default_workers
from indexer.sources.table import make_source
from wildsat_core.area import Area
from wildsat_core.countries import load_countries

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to cut into: a new one, or one to go on with.")]

# Options of `build` that are about the collection and the model, not about the tiles.
_NOT_HERE: Final = frozenset({
    "name", "model", "replace", "title", "description", "attribution", "batch", "segment_tiles", "thumbnail_px",
    "device", "compile_", "threads", "wait", "collections",
})  # fmt: skip


def cut(**given: Any) -> None:  # noqa: ANN401 - the options of `build`, listed below
    """Cut imagery into pictures with a table of their places and dates.

    Takes the options of `wildsat index build` that say what is read. The same command goes on after an interruption.
    What it writes can be trained on (`wildsat dataset build --imagery folder:OUT`) and indexed (`--source folder`).

    wildsat index cut --source sentinel2 --bbox 177,-18.5,-179,-16 --from 2023-05-01 --to 2023-09-30 --pick all
    --out fiji
    """
    polygons = Area.from_file(given["area"]) if given["area"] else None
    source = make_source(source_request(given, polygons))
    made_from = {
        **source.provenance(),
        "max_missing": given["max_missing"],
        "min_land": given["min_land"],
        "area": polygons.to_geojson() if polygons else None,
        "options": hashlib.sha256(repr(source).encode()).hexdigest()[:16],  # those that the facts above don't tell
    }
    folder = CutFolder(given["out"], source.bands, made_from)
    land = land_mask(load_countries(), given["min_land"])
    chooser = Chooser(folder.known, land, given["min_land"], None, polygons)
    read = ReadOptions(thumbnail_px=None, max_missing=given["max_missing"])
    workers = default_workers() if given["workers"] is None else given["workers"]
    if given["dry_run"]:
        typer.echo(plan_cut(source, chooser, read, workers).text("cut"))
        return
    console = Console(stderr=True)
    with progress_bar("tiles", source.count(), console) as advance:
        report = cut_tiles(source, folder, chooser, read, workers, advance)
    typer.echo(report.text(), err=True)


def _signature() -> inspect.Signature:
    of_build = inspect.signature(build, eval_str=True).parameters
    kept = [
        parameter.replace(kind=parameter.KEYWORD_ONLY) for name, parameter in of_build.items() if name not in _NOT_HERE
    ]
    return inspect.Signature([inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, annotation=Out), *kept])


cut.__signature__ = _signature()  # type: ignore[attr-defined] # typer reads a command's options from it
