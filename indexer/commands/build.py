"""`wildsat index build` and `wildsat index add`: from an area and some imagery to a collection."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from indexer.commands.days import parse_day
from indexer.commands.progress import progress_bar
from indexer.commands.roots import CollectionsFolder, collection_root
from indexer.pipeline.build import build_collection
from indexer.pipeline.estimate import plan_build
from indexer.pipeline.land import LandMask
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import ReadOptions, default_workers
from indexer.sources.pixels import Stretch
from indexer.sources.places import area_box
from indexer.sources.sentinel2 import DEFAULT_COLLECTION
from indexer.sources.table import DEFAULT_INPUTS, OPTIONS, VECTORS, SourceRequest, check_options, make_source
from wildsat_core.area import Area
from wildsat_core.collection import open_collection, read_current_manifest
from wildsat_core.collection.writer import check_collection_name
from wildsat_core.countries import Countries, load_countries
from wildsat_core.errors import CollectionNotFoundError, InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.types import SPACES

Name = Annotated[str, typer.Argument(help="Name of the collection.")]
Kind = Annotated[str, typer.Option("--source", help=f"Kind of imagery: {', '.join(sorted(OPTIONS))}.")]
Input = Annotated[
    str | None,
    typer.Option("--input", "-i", help="File, folder or address of the imagery. [default for sentinel2: Earth Search]"),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Model: a name from `wildsat models`, or a directory. [default: the collection's, or wildsat-mini]"
    ),
]
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
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the model on a CPU. [default: all cores]")]
SegmentTiles = Annotated[int, typer.Option(min=1, help="Tiles in a segment: the most that a kill loses.")]
ThumbnailPx = Annotated[int, typer.Option(min=0, max=512, help="Longer side of thumbnails; 0 for none.")]
Device = Annotated[str, typer.Option(help="Where the model runs: auto, cpu or cuda.")]
Compile = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", help="Compile the model. [default: after a minute, if possible]"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print tiles, bytes and time, and write nothing.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for another writer.")]
AreaFile = Annotated[
    Path | None, typer.Option("--area", metavar="FILE", help="Only tiles that meet the polygons of a GeoJSON file.")
]
Since = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="sentinel2: first day.")]
Until = Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="sentinel2: last day.")]
MaxCloud = Annotated[float, typer.Option(help="sentinel2: largest share of cloud of a scene.")]
Pick = Annotated[str, typer.Option(help="sentinel2: scene of a cell: newest, least-cloudy, or all dates.")]
Assets = Annotated[str, typer.Option(help="sentinel2: visual (true colour), or bands (reflectance; give --stretch).")]
Signer = Annotated[str | None, typer.Option(metavar="MODULE:FUNCTION", help="sentinel2: signs addresses of assets.")]
Catalogue = Annotated[str, typer.Option(help="sentinel2: which collection of the catalogue.")]
Table = Annotated[
    str | None, typer.Option(help="folder: CSV with file, lon, lat, date; index.csv if there is one. none: no table.")
]
GsdM = Annotated[float | None, typer.Option(help="folder: metres a pixel of pictures without georeference.")]
Dates = Annotated[str | None, typer.Option(help="satlas: the data set's image_times.json.")]
Metadata = Annotated[str | None, typer.Option(help="majortom: the data set's metadata file.")]
Zoom = Annotated[int | None, typer.Option(help="xyz: which zoom; the finest if left out.")]
VectorSpace = Annotated[str, typer.Option("--space", help=f"parquet: space of the vectors: {', '.join(SPACES)}.")]
Column = Annotated[str, typer.Option(help="parquet: column of the vectors; --model says who made them.")]
Metric = Annotated[str, typer.Option(help="parquet: how vectors are compared: cosine or inner_product.")]
Replace = Annotated[bool, typer.Option("--replace", help="Embed tiles anew that are indexed already.")]


@dataclass(frozen=True)
class _Order:
    """What a command line asks for, checked."""

    root: Path
    request: SourceRequest
    options: dict[str, Any]
    provenance: dict[str, str]
    model: str | None
    device: str
    min_land: float
    area: Area | None
    replace: bool
    dry_run: bool


def build(
    name: Name,
    input_: Input = None,
    source: Kind = "raster",
    model: Model = None,
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
    area: AreaFile = None,
    since: Since = None,
    until: Until = None,
    max_cloud: MaxCloud = 0.3,
    pick: Pick = "newest",
    assets: Assets = "visual",
    signer: Signer = None,
    catalogue: Catalogue = DEFAULT_COLLECTION,
    table: Table = None,
    gsd_m: GsdM = None,
    dates: Dates = None,
    metadata: Metadata = None,
    zoom: Zoom = None,
    space: VectorSpace = "image",
    column: Column = "embedding",
    metric: Metric = "cosine",
    replace: Replace = False,
    title: Title = "",
    description: Description = "",
    attribution: Attribution = "",
    batch: Batch = 256,
    workers: Workers = None,
    threads: Threads = None,
    segment_tiles: SegmentTiles = 16_384,
    thumbnail_px: ThumbnailPx = 128,
    device: Device = "auto",
    compile_: Compile = None,
    dry_run: DryRun = False,
    wait: Wait = 0.0,
    collections: CollectionsFolder = Path("collections"),
) -> None:
    """Index imagery into a collection, making it if there is none.

    The same command goes on after an interruption, and does nothing when all is indexed. Look first with --dry-run.

    Raster: wildsat index build alps --input alps.tif --tile-km 2.56 --stretch 0,3000 --attribution "Copernicus"

    Catalogue: wildsat index build fiji --source sentinel2 --bbox 177,-18.5,-179,-16 --from 2023-05-01 --to 2023-09-30
    """
    given = dict(locals())  # all options by name: those of the source are read where `cut` reads them, too
    polygons = Area.from_file(area) if area else None
    request = source_request(given, polygons)
    options = {
        "batch_tiles": batch,
        "workers": default_workers() if workers is None else workers,
        "segment_tiles": segment_tiles,
        "read": ReadOptions(thumbnail_px or None, max_missing=max_missing),
        "wait_s": wait,
        "compiled": compile_,
        "threads": threads,
    }
    facts = {key: given[key] for key in ("title", "description", "attribution") if given[key]}
    root = collections / check_collection_name(name)
    order = _Order(root, request, options, facts, model, device, min_land, polygons, replace, dry_run)
    if source != VECTORS and (space, column, metric) != ("image", "embedding", "cosine"):
        raise InvalidInputError("--space, --column and --metric are of the source 'parquet'", "space")
    if source == VECTORS:
        _run_vectors(order, space, column, metric)
    else:
        _run(order)


@functools.wraps(build)
def add(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of `build`
    collection_root(options["name"], options["collections"])
    build(*arguments, **options)


add.__doc__ = """Index more imagery into a collection that there is.

    Tiles that it holds already are skipped, or embedded anew and replaced with --replace. Takes the options of `build`;
    the model is the collection's own.
    """


def source_request(given: Mapping[str, Any], polygons: Area | None) -> SourceRequest:
    """What the options of `build` say about the source.

    Args:
        given: options by the name of their parameter of `build`.
        polygons: the area of --area.

    Raises:
        InvalidInputError: one of them can't be read.
    """
    box, extent, stretch = given["bbox"], given["extent"], given["stretch"]
    parsed = {
        "kind": given["source"],
        "input": given["input_"] or _default_input(given["source"]),
        "extent": parse_bbox(extent) if extent else None,
        "area": parse_bbox(box) if box else area_box(polygons) if polygons else None,
        "bands": tuple(band.strip() for band in given["bands"].split(",")),
        "band_indexes": _whole_numbers(given["band_indexes"]),
        "stretch": Stretch.parse(stretch) if stretch else None,
        "captured_on": parse_day(given["date"], "date"),
        "since": parse_day(given["since"], "from"),
        "until": parse_day(given["until"], "to"),
    }
    as_given = {field.name: given[field.name] for field in fields(SourceRequest) if field.name not in parsed}
    return SourceRequest(**parsed, **as_given)


def land_mask(countries: Countries | None, min_land: float) -> LandMask | None:
    """The mask that --min-land needs; None when the sea is taken too.

    Raises:
        InvalidInputError: the outlines are not installed.
    """
    if min_land == 0:
        return None
    if countries is None:
        raise InvalidInputError(
            "--min-land needs country outlines: install them with 'python -m app.assets'", "min-land"
        )
    return LandMask.from_countries(countries)


def _run(order: _Order) -> None:
    from wildsat_core.models.registry import load_model

    console = Console(stderr=True)
    source = make_source(order.request)
    model = load_model(order.model or _model_of(order.root), _device(order.device))
    options = _options(order)
    if order.dry_run:
        typer.echo(plan_build(source, model, options, _planner(order, options)).text())
        return
    with progress_bar("tiles", source.count(), console) as advance:
        report = build_collection(source, model, order.root, options, order.provenance, advance)
    typer.echo(report.text(), err=True)


def _run_vectors(order: _Order, space: str, column: str, metric: str) -> None:
    """Ready-made vectors: nothing is decoded or embedded, the rest is as for pictures."""
    from indexer.vectors.build import build_from_vectors, plan_vectors
    from indexer.vectors.files import VectorFiles, given_vectors

    check_options(order.request)
    path = Path(order.request.input)
    files = VectorFiles(path, given_vectors(path, column, space, metric, order.model) if order.model else None)
    options = replace(_options(order), centres_in=order.request.area)
    typer.echo(
        f"vectors of {files.model.name}: " + ", ".join(f"{s} ({d.dim}, {d.metric})" for s, d in files.specs.items())
    )
    if order.dry_run:
        typer.echo(plan_vectors(files, _planner(order, options)).text())
        return
    console = Console(stderr=True)
    with progress_bar("rows", files.count(), console) as advance:
        report = build_from_vectors(files, order.root, options, order.provenance, advance)
    typer.echo(report.text(), err=True)


def _options(order: _Order) -> BuildOptions:
    countries = load_countries()
    return BuildOptions(
        **order.options,
        land=land_mask(countries, order.min_land),
        min_land=order.min_land,
        countries=countries,
        area=order.area,
        on_known="replace" if order.replace else "skip",
    )


def _planner(order: _Order, options: BuildOptions) -> Chooser:
    known = (lambda _: set()) if order.replace else _known_in(order.root)
    return Chooser(known, options.land, options.min_land, None, options.area, options.centres_in)


def _known_in(root: Path) -> Any:  # noqa: ANN401 - a function of a set of ids
    try:
        tiles = open_collection(root).tiles
    except CollectionNotFoundError:
        return lambda _: set()
    return lambda ids: set(tiles.take(tiles.rows_of(sorted(ids)))["tile_id"].to_pylist())


def _model_of(root: Path) -> str:
    """The model that a collection was made by, or the one that ships with the program."""
    try:
        return read_current_manifest(root).model.name
    except CollectionNotFoundError:
        return "wildsat-mini"


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidInputError("--device cuda: no CUDA device is visible here; use --device cpu", "device")
    return name


def _default_input(kind: str) -> str:
    if kind not in DEFAULT_INPUTS:
        raise InvalidInputError(f"say with --input where the imagery of the source {kind!r} is", "input")
    return DEFAULT_INPUTS[kind]


def _whole_numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as err:
        raise InvalidInputError(
            f"--band-indexes must be whole numbers like 4,3,2, got {text!r}", "band-indexes"
        ) from err
