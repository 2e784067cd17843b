"""`wildsat index build` and `wildsat index add`: from an area and some imagery to a collection."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from indexer.land import LandMask
from indexer.listing import Chooser
from indexer.pipeline import BuildOptions, build_collection
from indexer.pixels import Stretch
from indexer.plan import plan_build
from indexer.progress import progress_bar
from indexer.reading import ReadOptions, default_workers
from indexer.source_table import SOURCES, SourceRequest, make_source
from wildsat_core.collection import open_collection
from wildsat_core.collection.writer import check_collection_name
from wildsat_core.countries import load_countries
from wildsat_core.errors import CollectionNotFoundError, InvalidInputError
from wildsat_core.geo import parse_bbox

Name = Annotated[str, typer.Argument(help="Name of the collection.")]
Kind = Annotated[str, typer.Option("--source", help=f"Kind of imagery: {', '.join(sorted(SOURCES))}.")]
Input = Annotated[str, typer.Option("--input", "-i", help="File, folder or address of the imagery.")]
Model = Annotated[str, typer.Option(help="Model: a name from `wildsat models`, or a directory.")]
Box = Annotated[
    str | None, typer.Option("--bbox", metavar="W,S,E,N", help="Only tiles centred in this box of degrees.")
]
TileKm = Annotated[float | None, typer.Option(help="Side of a tile on the kilometre grid of the globe.")]
StepKm = Annotated[float | None, typer.Option(help="Distance of tile centres; less than --tile-km overlaps.")]
TilePx = Annotated[int | None, typer.Option(help="Side of a tile in pixels.")]
StepPx = Annotated[int | None, typer.Option(help="Step in pixels, when cutting along a raster's own pixels.")]
Extent = Annotated[
    str | None, typer.Option(metavar="W,S,E,N", help="Where a picture without georeference lies, in degrees.")
]
Bands = Annotated[str, typer.Option(help="Names of the bands, in the order that the model takes them.")]
BandIndexes = Annotated[str | None, typer.Option(help="Which of the file's bands these are, counted from 1.")]
StretchOption = Annotated[
    str | None, typer.Option("--stretch", metavar="LOW,HIGH", help="Stored values that become 0 and 255.")
]
NoData = Annotated[float | None, typer.Option(help="Value that means no data, where the file does not say.")]
MaxMissing = Annotated[float, typer.Option(min=0, max=1, help="Largest share of a tile without data.")]
MinLand = Annotated[float, typer.Option(min=0, max=1, help="Smallest share of land of a tile; 0 takes the sea too.")]
Scene = Annotated[str | None, typer.Option(help="First part of tile ids; the file's name if left out.")]
CapturedOn = Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Day of the imagery.")]
Title = Annotated[str, typer.Option(help="Title shown to searchers.")]
Description = Annotated[str, typer.Option(help="Description shown to searchers.")]
Attribution = Annotated[str, typer.Option(help="Who must be named beside the imagery.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Tiles embedded at once.")]
Workers = Annotated[int | None, typer.Option(min=0, help="Processes that read tiles; 0 reads in this one.")]
SegmentTiles = Annotated[int, typer.Option(min=1, help="Tiles in a segment: the most that a kill loses.")]
ThumbnailPx = Annotated[int, typer.Option(min=0, max=512, help="Longer side of thumbnails; 0 for none.")]
Device = Annotated[str, typer.Option(help="Where the model runs: auto, cpu or cuda.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the encoder: pays from 100,000 tiles on a GPU.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print tiles, bytes and time, and write nothing.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for another writer.")]
Collections = Annotated[
    Path, typer.Option("--collections", envvar="WILDSAT_COLLECTIONS", help="Folder that holds the collections.")
]


@dataclass(frozen=True)
class _Order:
    """What a command line asks for, checked."""

    root: Path
    request: SourceRequest
    options: dict[str, Any]
    provenance: dict[str, str]
    model: str
    device: str
    min_land: float
    dry_run: bool


def build(
    name: Name,
    input_: Input,
    source: Kind = "raster",
    model: Model = "wildsat-mini",
    bbox: Box = None,
    tile_km: TileKm = None,
    step_km: StepKm = None,
    tile_px: TilePx = None,
    step_px: StepPx = None,
    extent: Extent = None,
    bands: Bands = "red,green,blue",
    band_indexes: BandIndexes = None,
    stretch: StretchOption = None,
    nodata: NoData = None,
    max_missing: MaxMissing = 0.3,
    min_land: MinLand = 0.0,
    scene: Scene = None,
    date: CapturedOn = None,
    title: Title = "",
    description: Description = "",
    attribution: Attribution = "",
    batch: Batch = 256,
    workers: Workers = None,
    segment_tiles: SegmentTiles = 16_384,
    thumbnail_px: ThumbnailPx = 128,
    device: Device = "auto",
    compile_: Compile = False,
    dry_run: DryRun = False,
    wait: Wait = 0.0,
    collections: Collections = Path("collections"),
) -> None:
    """Index imagery into a collection, making it if there is none.

    The same command goes on after an interruption, and does nothing when all is indexed. Look first with --dry-run.

    Example: wildsat index build alps --input alps.tif --tile-km 2.56 --stretch 0,3000 --attribution "Copernicus"
    """
    request = SourceRequest(
        kind=source,
        input=input_,
        tile_km=tile_km,
        step_km=step_km,
        tile_px=tile_px,
        step_px=step_px,
        extent=parse_bbox(extent) if extent else None,
        area=parse_bbox(bbox) if bbox else None,
        bands=tuple(b.strip() for b in bands.split(",")),
        band_indexes=_whole_numbers(band_indexes),
        stretch=Stretch.parse(stretch) if stretch else None,
        nodata=nodata,
        scene=scene,
        captured_on=_date(date),
    )
    options = {
        "batch_tiles": batch,
        "workers": default_workers() if workers is None else workers,
        "segment_tiles": segment_tiles,
        "read": ReadOptions(thumbnail_px or None, max_missing=max_missing),
        "wait_s": wait,
        "compile_backbone": compile_,
    }
    facts = {"title": title or name, "description": description, "attribution": attribution}
    _run(_Order(collections / check_collection_name(name), request, options, facts, model, device, min_land, dry_run))


def _run(order: _Order, on_known: Literal["skip", "replace"] = "skip") -> None:
    from wildsat_core.models.registry import load_model

    console = Console(stderr=True)
    source = make_source(order.request)
    model = load_model(order.model, _device(order.device))
    countries = load_countries()
    land = LandMask.from_countries(countries) if countries and order.min_land > 0 else None
    if order.min_land > 0 and land is None:
        raise InvalidInputError(
            "--min-land needs country outlines: install them with 'python -m app.assets'", "min-land"
        )
    options = BuildOptions(**order.options, land=land, min_land=order.min_land, countries=countries, on_known=on_known)
    if order.dry_run:
        chooser = Chooser(_known_in(order.root), land, order.min_land, None)
        typer.echo(plan_build(source, model, options, chooser).text())
        return
    with progress_bar("tiles", source.count(), console) as advance:
        report = build_collection(source, model, order.root, options, order.provenance, advance)
    console.print(report.text(), highlight=False)


def _known_in(root: Path) -> Any:  # noqa: ANN401 - a function of a set of ids
    try:
        tiles = open_collection(root).tiles
    except CollectionNotFoundError:
        return lambda _: set()
    return lambda ids: set(tiles.arrow["tile_id"].take(tiles.rows_of(sorted(ids))).to_pylist())


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidInputError("--device cuda: no CUDA device is visible here; use --device cpu", "device")
    return name


def _whole_numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as err:
        raise InvalidInputError(
            f"--band-indexes must be whole numbers like 4,3,2, got {text!r}", "band-indexes"
        ) from err


def _date(text: str | None) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError as err:
        raise InvalidInputError(f"--date must look like 2023-07-31, got {text!r}", "date") from err
