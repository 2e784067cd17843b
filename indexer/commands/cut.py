"""`wildsat index cut`: the tiles of any source as pictures with a table, for training and for other programs."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from indexer.commands.by_source import by_source, join
from indexer.commands.options import DryRun, PictureOptions, Workers, running
from indexer.commands.progress import progress_bar
from indexer.commands.sources import PICTURES
from indexer.pipeline.cutting import CutFolder, cut_tiles, estimate_cut
from indexer.pipeline.listing import Chooser
from indexer.pipeline.reading import ReadOptions, default_workers
from wildsat_core.addresses import same_when_signed_anew
from wildsat_core.land import load_land


@dataclass(frozen=True, kw_only=True)
class Cut(PictureOptions):
    """Pictures, which are written as they are."""

    out: Annotated[
        Path, running("--out", "-o", metavar="FOLDER", help="Folder to cut into: a new one, or one to go on with.")
    ]
    workers: Workers = None
    dry_run: DryRun = False

    def run(self) -> None:
        """Cut what the source gives."""
        source = self.source()
        made_from = {
            **source.provenance(),
            "max_missing": self.max_missing,
            "min_land": self.min_land,
            "area": self.polygons.to_geojson() if self.polygons else None,
            # Those that the facts above don't tell.
            "options": hashlib.sha256(same_when_signed_anew(repr(source)).encode()).hexdigest()[:16],
        }
        folder = CutFolder(self.out, source.bands, made_from)
        chooser = Chooser(folder.known, load_land() if self.min_land else None, self.min_land, None, self.polygons)
        read = ReadOptions(thumbnail_px=None, max_missing=self.max_missing)
        workers = default_workers() if self.workers is None else self.workers
        if self.dry_run:
            typer.echo(estimate_cut(source, chooser, read, workers).text("cut"))
            return
        with progress_bar("tiles", source.count(), Console(stderr=True)) as advance:
            report = cut_tiles(source, folder, chooser, read, workers, advance, self.max_bad)
        typer.echo(report.text(), err=True)


def run_cut(order: Cut) -> None:
    """Cut."""
    order.run()


cut = by_source(
    {kind: join(Cut, options) for kind, options in PICTURES.items()},
    run_cut,
    """Cut imagery into pictures with a table of their places and dates.

    The same command goes on after an interruption. What it writes can be trained on (`wildsat dataset build --imagery
    folder:OUT`) and indexed (`wildsat index build folder`).

    For example: wildsat index cut sentinel2 --bbox 177,-18.5,-179,-16 --from 2023-05-01 --to 2023-09-30 --out fiji
    """,
)
