"""`wildsat train` and `wildsat dataset`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.mini.commands import train_mini
from training.sentinel.commands import train_s2
from wildsat_core.errors import InvalidInputError

if TYPE_CHECKING:
    from training.data.build import SplitPlan

train = typer.Typer(add_completion=False, no_args_is_help=True)
dataset = typer.Typer(
    help="Make data sets to train on, from sightings, texts and imagery.", add_completion=False, no_args_is_help=True
)
train.command("mini")(train_mini)
train.command("s2")(train_s2)

Block = Annotated[float, typer.Option(help="Side of the blocks held out whole, in degrees, 5 to 15.")]
Shares = Annotated[str, typer.Option(help="Shares of places for train, val and test.")]
Seed = Annotated[int, typer.Option(help="Seed of the division into parts.")]
Buffer = Annotated[float, typer.Option(min=0, help="Places so near to a held-out one are not trained on, in km.")]
Again = Annotated[bool, typer.Option(help="Replace the data set that lies there, and its embeddings.")]


@train.callback(invoke_without_command=True)
def train_model(
    context: typer.Context,
    config: Annotated[str, typer.Option(help="A YAML file, or the name of a row, as resnet50-random.")] = "",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value: section.key=value; may be given often.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="ours, or reference: train a row as WildSAT's own code does; short for --set recipe=...")
    ] = "",
    dry_run: Annotated[bool, typer.Option(help="Print what would be trained, how long, and how much memory.")] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on from the newest checkpoint of a run; its config is RUN/config.json.")
    ] = False,
) -> None:
    """Train a model as a config says, or one of the models below.

    Several GPUs or processes: torchrun --nproc-per-node 4 -m training --config ...
    """
    if context.invoked_subcommand is not None:
        return
    if not config:
        raise InvalidInputError(
            "name a config: wildsat train --config resnet50-random --set data.folder=..., or, to go on with a run, its "
            "own: wildsat train --config RUN/config.json --resume",
            "config",
        )
    from training.config import read_train_config

    wanted = read_train_config(config, [*([f"recipe={recipe}"] if recipe else []), *(changes or [])])
    speaks = os.environ.get("RANK", "0") == "0"  # torchrun's number of this process; one of them is enough to say it
    if dry_run:
        from training.estimate import estimate

        found = estimate(wanted)
        for line in found.lines() if speaks else []:
            typer.echo(line)
        return
    from training.loop import train as run_training

    outcome = run_training(wanted, resume=resume)
    if not speaks:
        return
    state = "finished" if outcome.finished else "stopped"
    end = "none was left, a larger run.steps goes on" if outcome.loss is None else f"loss {outcome.loss:.4f}"
    typer.echo(f"{state} after {outcome.steps} steps, {end}; {outcome.folder}", err=True)


@train.command("sinr")
def train_sinr(
    observations: Annotated[
        Path, typer.Option(help="Sightings: GBIF's download, iNaturalist's or eBird's export, CSV or Parquet.")
    ],
    out: Annotated[Path, typer.Option(help="New directory of the location encoder.")],
    inputs: Annotated[str, typer.Option(help="sin_cos: position; env: climate; sin_cos_env: both.")] = "sin_cos",
    width: Annotated[int, typer.Option(help="Width of the network.")] = 256,
    depth: Annotated[int, typer.Option(help="Residual blocks.")] = 4,
    sinusoids: Annotated[int, typer.Option(help="Position features, four to an octave.")] = 4,
    epochs: Annotated[int, typer.Option(help="Times through the sightings.")] = 10,
    batch: Annotated[int, typer.Option(help="Sightings a step.")] = 2048,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 5e-4,
    seed: Annotated[int, typer.Option(help="Seed.")] = 123,
    least: Annotated[int, typer.Option(help="Leave out species with fewer sightings.")] = 1,
    maps: Annotated[int, typer.Option(help="Draw range maps of so many of the commonest species.")] = 6,
    device: Annotated[str, typer.Option(help="cuda, cpu, or auto: a GPU where there is one.")] = "auto",
) -> None:
    """Train a location encoder from sightings alone, and draw range maps."""
    from training.data.observations import read_observations
    from training.distributed import choose_device
    from training.sinr import SinrConfig, train_sinr_encoder

    seen = read_observations(observations)
    typer.echo(seen.report())
    settings = SinrConfig(
        inputs=inputs, width=width, depth=depth, sinusoids=sinusoids, epochs=epochs, batch=batch, lr=lr, seed=seed,
        least_sightings=least,
    )  # fmt: skip
    where = choose_device(device)
    result = train_sinr_encoder(seen.rows, settings, out, source=observations, device=where, say=typer.echo)
    if maps:
        from training.range_map import draw_range_maps

        for picture in draw_range_maps(result, seen.rows, out / "maps", most=maps):
            typer.echo(f"drew {picture}")


@train.command("range-map")
def range_map(
    encoder: Annotated[Path, typer.Argument(help="Directory that `wildsat train sinr` wrote.")],
    species: Annotated[str, typer.Argument(help="Name of a species that it knows.")],
    out: Annotated[Path, typer.Option(help="Picture to write (PNG).")],
) -> None:
    """Draw where a location encoder expects a species."""
    from training.range_map import draw_range_map
    from training.sinr import load_sinr

    typer.echo(f"drew {draw_range_map(load_sinr(encoder), species, out)}")


@dataset.command("build")
def build(
    folder: Annotated[Path, typer.Argument(help="New folder of the data set.")],
    observations: Annotated[
        Path, typer.Option(help="Sightings: GBIF's download, iNaturalist's or eBird's export, CSV or Parquet.")
    ],
    texts: Annotated[Path, typer.Option(help="Parquet or CSV of species, text, source, licence.")],
    imagery: Annotated[
        str, typer.Option(help="folder:DIRECTORY, satlas:DIRECTORY or raster:FILE; or give a source after --.")
    ] = "",
    cut: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- CUT-OPTIONS", help="Cut imagery into FOLDER/imagery first: options of `wildsat index cut`."
        ),
    ] = None,
    side_km: Annotated[
        float | None, typer.Option(help="Side of the ground that a picture shows; the folder's own, or 5, if left out.")
    ] = None,
    cell_km: Annotated[float, typer.Option(help="Side of the equal-area cells that group sightings.")] = 100.0,
    bands: Annotated[
        str, typer.Option(help="Bands of a file, in order; the folder's own, or red,green,blue, if left out.")
    ] = "",
    dates: Annotated[Path | None, typer.Option(help="satlas: image_times.json, where it is not found.")] = None,
    block_deg: Block = 10.0,
    shares: Shares = "0.8,0.1,0.1",
    seed: Seed = 123,
    buffer_km: Buffer = 10.0,
    citation: Annotated[str, typer.Option(help="Whom to cite for the sightings, where the file doesn't say.")] = "",
    doi: Annotated[str, typer.Option(help="DOI of the sightings, as 10.15468/dl.abcdef, where it doesn't say.")] = "",
    again: Again = False,
) -> None:
    """Join sightings, texts and imagery to a data set.

    Any imagery that the indexer reads: its options come after two dashes, as in wildsat dataset build fiji
    --observations gbif.csv --texts texts.parquet -- sentinel2 --bbox 177,-18.5,-179,-16 --from 2023-05-01 --to
    2023-09-30. The same command goes on after an interruption.
    """
    from training.data.build import build_dataset, read_texts
    from training.data.imagery import open_imagery
    from training.data.observations import read_observations

    if bool(imagery) == bool(cut):
        raise InvalidInputError("give --imagery, or the options of `wildsat index cut` after --", "imagery")
    if cut and not any(word.startswith("-") for word in cut):
        raise InvalidInputError(f"unexpected argument {cut[0]!r}; options of `index cut` begin after --", "folder")
    _require_room(folder, again)
    plan = _plan(block_deg, shares, seed, buffer_km)
    seen, known_texts = read_observations(observations), read_texts(texts)
    told = {"citation": citation, "doi": doi}
    seen.credit = seen.credit.model_copy(update={name: text for name, text in told.items() if text})
    typer.echo(seen.report())
    if cut:
        imagery = f"folder:{_cut(folder / 'imagery', cut)}"
        if "--dry-run" in cut:
            return
    names = tuple(band.strip() for band in bands.split(",")) if bands else None
    pictures = open_imagery(imagery, side_km=side_km, bands=names, dates=dates)
    report = build_dataset(folder, seen, known_texts, pictures, cell_km=cell_km, plan=plan)
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"now: wildsat dataset embed-texts {folder}")


@dataset.command("explore")
def explore(
    folder: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Page to write (HTML, in one file).")] = Path("explore.html"),
    count: Annotated[int, typer.Option(min=1, help="How many places, drawn at random.")] = 12,
    species: Annotated[str, typer.Option(help="Only species with these letters in their name.")] = "",
    part: Annotated[str, typer.Option(help="Only train, val, test or buffer.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Show places of a data set: the tile, its other dates, its species and texts, and where it lies."""
    from training.data.explore import Selection, choose_places, write_explorer
    from training.data.tables import open_dataset

    data = open_dataset(folder)
    places = choose_places(data, Selection(count, species, part, seed))
    for fault in write_explorer(out, data, places):
        typer.echo(f"warning: {fault}", err=True)
    typer.echo(f"wrote {out}: {len(places)} places")


@dataset.command("import")
def import_files(
    folder: Annotated[Path, typer.Argument(help="New folder of the data set.")],
    pictures: Annotated[Path, typer.Option(help="WildSAT's dataloader_data.npy.")],
    wiki: Annotated[Path, typer.Option(help="LE-SINR's wiki_data_v4.pt.")],
    imagery: Annotated[Path, typer.Option(help="Sentinel-2 folder of the SatlasPretrain tree.")],
    nine_bands: Annotated[bool, typer.Option(help="Band files lie beside the true-colour pictures.")] = False,
    block_deg: Block = 10.0,
    shares: Shares = "0.98,0.01,0.01",
    seed: Seed = 123,
    buffer_km: Buffer = 10.0,
    again: Again = False,
) -> None:
    """Convert the reference's own data files, once and safely."""
    from training.data.reference import import_reference

    _require_room(folder, again)
    plan = _plan(block_deg, shares, seed, buffer_km)
    for line in import_reference(folder, pictures, wiki, imagery, plan=plan, nine_bands=nine_bands).lines():
        typer.echo(line)


@dataset.command("species")
def species(
    out: Annotated[Path, typer.Argument(help="Parquet file to write, such as wildsat_core/data/species.parquet.")],
    data: Annotated[Path, typer.Option(envvar="WILDSAT_DATA", help="Folder that holds species/.")],
    work: Annotated[Path, typer.Option(help="Folder for the facts about land, made once.")] = Path("work/mini"),
) -> None:
    """Make the table of species that the search reads names and ranges from; needs the package taxoniq."""
    from training.earth.cells import load_cells
    from training.earth.vocabulary import Vocabulary
    from training.mini.species_facts import gather_species, names_of_ncbi, write_species

    rows = gather_species(Vocabulary(load_cells(work / "cells.npz")), data, names_of_ncbi)
    write_species(rows, out)
    typer.echo(f"wrote {out}: {len(rows)} species")


@dataset.command("embed-texts")
def embed(
    folder: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    encoder: Annotated[str, typer.Option(help="minilm, gritlm, or st:<sentence-transformers model>.")] = "minilm",
    batch: Annotated[int, typer.Option(help="Texts at a time.")] = 256,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Precompute the text embeddings of a data set."""
    from training.data.embed import embed_texts
    from wildsat_core.text import load_text_encoder

    def show(done: int, count: int) -> None:
        typer.echo(f"\r{done}/{count} texts", nl=done == count, err=True)

    done = embed_texts(folder, load_text_encoder(encoder, device), batch=batch, progress=show)
    typer.echo(f"embedded {done} texts with {encoder}")


def _require_room(folder: Path, again: bool) -> None:
    from training.data.tables import ABOUT

    if (folder / ABOUT).exists() and not again:
        raise InvalidInputError(
            f"{folder} holds a data set already; name a new folder, or give --again to replace it and its embeddings",
            "folder",
        )


def _cut(folder: Path, options: list[str]) -> Path:
    """Have the indexer cut tiles into a folder, by the name that it registers, so that it need not be imported."""
    from wildsat_core.cli import run_command

    run_command("index", ["cut", *options, "--out", str(folder)])
    return folder


def _plan(block_deg: float, shares: str, seed: int, buffer_km: float) -> SplitPlan:
    from training.data.build import SplitPlan

    try:
        parts: Any = tuple(float(share) for share in shares.split(","))
        if len(parts) != 3 or abs(sum(parts) - 1) > 1e-6 or min(parts) < 0:
            raise ValueError("they must be three and sum to 1")
    except ValueError as err:
        raise InvalidInputError(f"shares must be like 0.8,0.1,0.1, got {shares!r}: {err}", "shares") from err
    if not 5 <= block_deg <= 15:
        raise InvalidInputError(f"blocks must be 5 to 15 degrees wide, got {block_deg}", "block_deg")
    return SplitPlan(block_deg, parts, seed, buffer_km)
