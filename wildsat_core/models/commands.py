"""`wildsat models`: list and show what there is, convert and fetch published weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from wildsat_core.errors import InvalidInputError, ModelNotFoundError
from wildsat_core.files import require_new, write_text_atomically
from wildsat_core.ground_scale import in_words
from wildsat_core.models.config import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, ModelConfig, read_config
from wildsat_core.models.registry import MODELS, find_spec, installed_models, model_home

models = typer.Typer(
    add_completion=False, help="List models; convert and fetch published weights.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models of the registry and those that are installed."""
    rows = known_models()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(
        "name", "architecture", "start", "bands", "input", "pixels", "features", "text", "metric", "installed", box=None
    )
    for row in rows:
        size = "own size" if row["input_px"] is None else f"{row['input_px']} px"
        table.add_row(
            row["name"],
            row["architecture"],
            row["start"],
            f"{len(row['bands'])} of {row['channels']}",
            size,
            in_words(row["gsd_m"]) if row["gsd_m"] else "any",
            str(row["feature_size"]),
            row["text_encoder"],
            row["metric"],
            "yes" if row["installed"] else "",
        )
    console = Console()
    # Names must come out whole, however narrow the terminal: they are what is typed next.
    Console(width=max(console.width, 160)).print(table)
    console.print("Any timm backbone can be trained by its name, timm:convnext_tiny, and torchgeo's weights by theirs,")
    console.print("torchgeo:ResNet50_Weights.SENTINEL2_RGB_MOCO")


@models.command()
def show(name: str, as_json: AsJson = False) -> None:
    """Show everything that is known about one model."""
    facts = describe_model(name)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value)
        typer.echo(f"{key:<{width}}  {text}")


@models.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A WildSAT .pth, SINR model.pt, SatCLIP .ckpt or wiki_data_v4.pt.")],
    name: Annotated[str, typer.Option(help="Name of the result.")],
    row: Annotated[str | None, typer.Option(help="Row of the registry, where the file doesn't say.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory of the result.")] = None,
) -> None:
    """Turn published weights into a directory of safetensors and JSON. Nothing in the file is run."""
    typer.echo(convert_file(file, name, out or model_home() / name, row))


@models.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, or a model directory.")],
    name: Annotated[str, typer.Option(help="Name that the model is loaded by from now on.")],
    again: Annotated[bool, typer.Option(help="Replace a model of this name.")] = False,
) -> None:
    """Put the best model of a training run where the indexer and the service find it by name."""
    typer.echo(f"{name} is ready in {export_model(run, name, again=again)}")


@models.command()
def pull(
    name: str,
    base: Annotated[str | None, typer.Option(help="Address of a mirror; files lie under it by identifier.")] = None,
    again: Annotated[bool, typer.Option(help="Fetch it though it is there.")] = False,
) -> None:
    """Fetch a published WildSAT checkpoint and convert it."""
    from wildsat_core.models.pull import pull_model

    typer.echo(f"{name} is ready in {pull_model(name, base, again=again)}")


def known_models() -> list[dict[str, Any]]:
    """Rows of the registry, then installed models that are not in it, each with whether it is installed."""
    installed = installed_models()
    rows = [spec.as_dict() | {"installed": spec.name in installed} for spec in MODELS.values()]
    return rows + [_installed_facts(installed[name]) for name in installed if name not in MODELS]


def describe_model(name: str) -> dict[str, Any]:
    """Facts about a model of the registry, an installed one, or a timm backbone.

    Raises:
        ModelNotFoundError: there is none of this name.
    """
    installed = installed_models()
    if name in installed:
        row = MODELS[name].as_dict() if name in MODELS else {}
        return row | _installed_facts(installed[name]) | {"directory": str(installed[name])}
    return find_spec(name).as_dict() | {"installed": False}


def convert_file(file: Path, name: str, out: Path, row: str | None = None) -> str:
    """Convert any of the published kinds of file; says what was made.

    Raises:
        CheckpointError: unsafe, damaged or of no known kind.
        InvalidInputError: there is no such file, or the result's directory is taken.
    """
    from wildsat_core.models.checkpoint import read_checkpoint
    from wildsat_core.models.convert import convert_checkpoint
    from wildsat_core.models.location_files import read_location_file, save_location, save_species
    from wildsat_core.text.wiki import is_text_table, save_text_table

    if not file.is_file():
        raise InvalidInputError(f"there is no file {file}", "file")
    require_new(out, "out")
    content = read_checkpoint(file)
    if "satellite_state_dict" in content:
        model = convert_checkpoint(file, name, out, row)
        return f"{name}: {model.config.description} Written to {out}"
    if is_text_table(content):
        return f"{name}: {save_text_table(content, out)} text embeddings, written to {out}"
    kind, arguments, encoder = read_location_file(file)
    save_location(encoder, kind, arguments, out, file)
    species = save_species(content, encoder, out)
    known = f" of {species} species" if species else ""
    return f"{name}: a {kind} location encoder{known}, written to {out}"


def export_model(run: Path, name: str, *, again: bool = False) -> Path:
    """Copy a run's model, and its card, under a name, after checking that it loads.

    Raises:
        ModelNotFoundError: the folder holds no model.
        CheckpointError: its files are damaged or don't fit each other.
        InvalidInputError: the name is taken or can't be one.
    """
    from pydantic import ValidationError

    from wildsat_core.models.model import WildSATModel

    source = next(
        (d for d in (run / "model", run) if (d / CONFIG_FILE).is_file() and (d / WEIGHTS_FILE).is_file()), None
    )
    if source is None:
        raise ModelNotFoundError(f"{run} holds no trained model; a run has one from its first validation on")
    out = model_home() / name
    if out.exists() and not again:
        raise InvalidInputError(f"there is a model {name!r} already; choose another name or give --again", "name")
    model = WildSATModel.open(source)
    try:
        model.config = ModelConfig.model_validate(model.config.model_dump() | {"name": name})
    except ValidationError as err:
        raise InvalidInputError(f"a model can't be called {name!r}: letters, digits, '.', '_' and '-'", "name") from err
    model.save(out)
    if (source / CARD_FILE).is_file():
        write_text_atomically(out / CARD_FILE, (source / CARD_FILE).read_text("utf-8"))
    return out


def _installed_facts(directory: Path) -> dict[str, Any]:
    config = read_config(directory)
    return {
        "name": config.name,
        "title": config.title,
        "architecture": config.architecture,
        "start": "trained here",
        "bands": list(config.preprocessing.bands),
        "channels": config.preprocessing.channels,
        "input_px": config.preprocessing.input_px,
        "preprocessing": config.preprocessing.describe(),
        "feature_size": config.feature_size,
        "text_encoder": config.text_encoder,
        "metric": config.metric,
        "gsd_m": config.gsd_m,
        "side_km": config.side_km,
        "licence": config.licence,
        "description": config.description,
        "source": config.source,
        "source_sha256": config.source_sha256,
        "installed": True,
    }
