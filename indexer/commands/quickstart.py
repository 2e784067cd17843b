"""`wildsat quickstart`: what a model makes of a folder of pictures, with nothing built or served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from indexer.commands.options import band_numbers, stretch_of


def quickstart(
    pictures: Annotated[
        Path, typer.Argument(help="Folder of satellite pictures: PNG, JPEG, WebP, GeoTIFF, JPEG 2000.")
    ],
    text: Annotated[list[str], typer.Option(help="What to look for, in words; may be given often.")],
    model: Annotated[str, typer.Option(help="Name or folder of a model, or folder of a training run.")] = "wildsat-s2",
    k: Annotated[int, typer.Option("-k", min=1, help="How many pictures of each text.")] = 12,
    out: Annotated[Path, typer.Option(help="Contact sheet to write (HTML, in one file).")] = Path("quickstart.html"),
    band_indexes: Annotated[
        str | None, typer.Option(metavar="N,…", help="Which bands of a file are red, green and blue, from 1, as 4,3,2.")
    ] = None,
    stretch: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Stored values that become black and white, as 0,3000.")
    ] = None,
) -> None:
    """Rank the pictures of a folder by words, and write the best as a contact sheet.

    For example: wildsat quickstart pictures --text ocean --text "dry grassland"
    """
    from indexer.quickstart import PictureFolder, left_out_in_words, rank_pictures, write_sheet
    from wildsat_core.models.config import CONFIG_FILE
    from wildsat_core.models.registry import load_model

    indexes, mapped = band_numbers(band_indexes), stretch_of(stretch)
    run = Path(model) / "model"
    loaded = load_model(run if (run / CONFIG_FILE).is_file() else model).optimise_for_inference()
    folder = PictureFolder.for_model(pictures, loaded, indexes, mapped)
    ranking = rank_pictures(folder, text, loaded)
    write_sheet(out, ranking, folder, loaded.config.name, k)

    console = Console()
    for row, asked in enumerate(text):
        table = Table(title=asked, box=None, title_justify="left")
        for heading in ("rank", "score", "picture"):
            table.add_column(heading, justify="left" if heading == "picture" else "right")
        for rank, (name, score) in enumerate(ranking.best(row, k), 1):
            table.add_row(str(rank), f"{score:.3f}", name)
        console.print(table)
        if ranking.unfamiliar[row]:
            console.print("The model knows nothing of this: the order means little.")
    if ranking.left_out:
        console.print(f"left out {len(ranking.left_out)}: {'; '.join(left_out_in_words(ranking))}", highlight=False)
    console.print(f"wrote {out}", soft_wrap=True, highlight=False)
