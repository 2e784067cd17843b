"""`wildsat eval probe|zeroshot|bias|robustness`: one command, several models, one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from training.evaluation.experiments import Setting
    from training.evaluation.features import Subject
    from training.evaluation.labelled_set import LabelledSet
    from training.evaluation.results import Results

    Experiment = Callable[[list[Subject], LabelledSet, Setting], Results]

Data = Annotated[
    str,
    typer.Option(
        help="Folder or zip of a folder for each class, CSV of file,label or file,labels, torchgeo:NAME:FOLDER."
    ),
]
Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        help="May be given often: a model, its or a run's folder, random:ROW, start:ROW, timm:NAME, torchgeo:WEIGHTS, "
        "colour.",
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the results: JSON, LaTeX and a plot.")]
Crop = Annotated[int | None, typer.Option(min=8, help="Take the middle of each picture alone, so many pixels a side.")]
Most = Annotated[int | None, typer.Option(min=2, help="At most so many pictures of each part, for a look.")]
Seed = Annotated[int, typer.Option(help="Seed of random weights and draws.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads to compute with.")]

SHIPPED = ("wildsat-s2", "colour")


def probe(
    data: Data,
    models: Models = list(SHIPPED),  # noqa: B006 - typer copies it
    shots: Annotated[
        str | None,
        typer.Option(help="Pictures a class for probes with few labels, 1,5,10 if left out; empty for none."),
    ] = None,
    out: Out = Path("work/probe"),
    crop: Crop = None,
    most: Most = None,
    seed: Seed = 0,
    threads: Threads = 2,
) -> None:
    """Classify with features alone: a linear probe, nearest neighbours, and few labels a class."""
    from training.evaluation.experiments import probe as run

    _run(run, data, models, _setting(most, seed, shots), out, "probe", threads, crop)


def zeroshot(
    data: Data,
    models: Models = ["wildsat-s2"],  # noqa: B006 - typer copies it
    prompts: Annotated[
        Path | None, typer.Option(help="YAML of texts for each class; the classes' own names if left out.")
    ] = None,
    out: Out = Path("work/zeroshot"),
    crop: Crop = None,
    most: Most = None,
    seed: Seed = 0,
    threads: Threads = 2,
) -> None:
    """Classify by texts alone, without a single label."""
    from training.evaluation.experiments import read_prompts, zero_shot

    def run(subjects: list[Subject], labelled: LabelledSet, setting: Setting) -> Results:
        return zero_shot(subjects, labelled, read_prompts(prompts, labelled.classes), setting)

    _run(run, data, models, _setting(most, seed), out, "zeroshot", threads, crop)


def bias(
    data: Data,
    by: Annotated[str, typer.Option(help="climate, country, latitude, or a column of the CSV, as an income group.")],
    models: Models = list(SHIPPED),  # noqa: B006 - typer copies it
    out: Out = Path("work/bias"),
    crop: Crop = None,
    most: Most = None,
    seed: Seed = 0,
    threads: Threads = 2,
) -> None:
    """Compare what a linear probe gets right in one part of the world with another."""
    from training.evaluation.experiments import bias as measured

    def run(subjects: list[Subject], labelled: LabelledSet, setting: Setting) -> Results:
        return measured(subjects, labelled, by, setting)

    _run(run, data, models, _setting(most, seed), out, f"bias-{by}", threads, crop)


def robustness(
    data: Data,
    models: Models = list(SHIPPED),  # noqa: B006 - typer copies it
    out: Out = Path("work/robustness"),
    crop: Crop = None,
    most: Most = None,
    seed: Seed = 0,
    threads: Threads = 2,
) -> None:
    """Ask a linear probe of the same pictures under other stretches, haze, autumn colours and coarser pixels."""
    from training.evaluation.experiments import robustness as run

    _run(run, data, models, _setting(most, seed), out, "robustness", threads, crop)


def _setting(most: int | None, seed: int, shots: str | None = None) -> Setting:
    from training.evaluation.experiments import Setting
    from wildsat_core.errors import InvalidInputError

    if shots is None:
        return Setting(None, most, seed)
    try:
        numbers = tuple(int(part) for part in shots.split(",") if part.strip())
        if any(number < 1 for number in numbers):
            raise ValueError("they must be positive")
    except ValueError as err:
        raise InvalidInputError(f"shots must be like 1,5,10, got {shots!r}: {err}", "shots") from err
    return Setting(numbers, most, seed)


def _run(
    experiment: Experiment, data: str, models: list[str], setting: Setting, out: Path, name: str, threads: int,
    crop: int | None,
) -> None:  # fmt: skip
    import torch

    from training.evaluation.features import open_subject
    from training.evaluation.labelled import open_labelled

    torch.set_num_threads(threads)
    labelled = open_labelled(data)
    labelled = labelled if crop is None else labelled.cropped(crop)
    results = experiment([open_subject(model, setting.seed) for model in dict.fromkeys(models)], labelled, setting)
    console = Console()
    console.print(results.table())
    for path in results.write(out, name):
        console.print(f"wrote {path}")


def ann(
    collection: Annotated[Path, typer.Option(help="Folder of a collection; it stays as it is.")],
    space: Annotated[str, typer.Option(help="Which vectors: text, location, image or place.")] = "text",
    kinds: Annotated[str, typer.Option(help="Indexes to measure; cagra and flat-gpu need a GPU.")] = "ivfpq,hnsw,sq8",
    least_recall: Annotated[float, typer.Option(min=0.01, max=1, help="Recall@10 that each is tuned to reach.")] = 0.95,
    out: Out = Path("work/ann"),
) -> None:
    """Measure what each approximate index misses of the exact answer, and what it costs."""
    import json
    from dataclasses import asdict

    from rich.table import Table

    from training.evaluation.ann_recall import measure_indexes
    from wildsat_core.files import write_text_atomically

    named = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    found = measure_indexes(collection, space, named, least_recall)  # type: ignore[arg-type]
    table = Table(title=f"Approximate indexes over the {space} space of {collection.name}")
    for heading in ("index", "recall@10", "recall@20", "setting", "MB", "built in"):
        table.add_column(heading, justify="right" if heading != "index" else "left")
    for row in found:
        setting = ", ".join(f"{name} {value}" for name, value in row.search.items())
        recalls = (f"{row.recall_at_10:.3f}", f"{row.recall_at_20:.3f}")
        table.add_row(row.kind, *recalls, setting, f"{row.file_bytes / 1e6:.1f}", f"{row.build_s:.1f} s")
    console = Console()
    console.print(table)
    write_text_atomically(out / "ann.json", json.dumps([asdict(row) for row in found], indent=1) + "\n")
    console.print(f"wrote {out / 'ann.json'}")
