"""`wildsat index ann | delete | compact | upgrade | stats | export | import | gc`: change and take away."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

from indexer.commands.days import parse_day
from indexer.commands.progress import progress_bar
from indexer.commands.roots import CollectionName, CollectionsFolder, StoreAddress, collection_root, folder_of
from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.types import SPACES

if TYPE_CHECKING:
    from wildsat_core.collection import Collection
    from wildsat_core.search.query import Filters

Wait = Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for another writer.")]


def delete(
    name: CollectionName,
    tile_id: Annotated[list[str] | None, typer.Option("--id", help="This tile; may be given more than once.")] = None,
    ids_file: Annotated[Path | None, typer.Option(help="Tiles of this file, an id a line.")] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="Tiles that meet this box.")] = None,
    area: Annotated[Path | None, typer.Option(help="Tiles that meet the polygons of this GeoJSON file.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="Tiles of this day or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Tiles of this day or earlier.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Tiles of this kind of source.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    wait: Wait = 0.0,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Take tiles out of a collection: those that meet all the conditions given.

    Searchers stop seeing them with their next query. The files go when old generations are collected (`gc`).
    """
    from wildsat_core.collection import open_collection
    from wildsat_core.collection.maintain import delete_where

    root = collection_root(name, collections, store)
    ids = list(tile_id or []) + (_lines(ids_file) if ids_file else [])
    conditions = (ids, bbox, area, since, until, source)
    if not any(conditions):
        raise InvalidInputError("say which tiles: --id, --ids-file, --bbox, --area, --from, --to or --source", "id")
    filters = _filters(bbox, area, since, until)
    choose = partial(_rows_meeting, ids=ids if tile_id or ids_file else None, filters=filters, source=source)
    if dry_run:
        collection = open_collection(root)
        typer.echo(f"{len(choose(collection)):,} of {len(collection):,} tiles would be taken out")
        return
    manifest, gone = delete_where(root, choose, wait_s=wait)
    typer.echo(f"{gone:,} of {manifest.tiles + gone:,} tiles were taken out")


def compact(
    name: CollectionName,
    wait: Wait = 0.0,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Rewrite a collection's live tiles as few sorted segments; ids and results stay the same."""
    from wildsat_core.collection.maintain import compact as compact_collection

    with Console(stderr=True).status("rewriting segments"):
        manifest = compact_collection(collection_root(name, collections, store), wait_s=wait)
    typer.echo(f"generation {manifest.generation}: {manifest.tiles:,} tiles in {len(manifest.segments)} segments")


def upgrade(
    name: CollectionName,
    wait: Wait = 0.0,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Rewrite a collection of an older format in today's; ids, rows and results stay the same.

    A service moves to it with its next look. The old files stay until `gc` takes them.
    """
    from wildsat_core.collection.upgrade import upgrade as upgrade_collection

    root = collection_root(name, collections, store)
    with progress_bar("segments", None) as advance:
        manifest = upgrade_collection(root, wait_s=wait, on_segment=lambda: advance(1))
    typer.echo(f"generation {manifest.generation}: {manifest.tiles:,} tiles, format version {manifest.format_version}")


def ann(
    name: CollectionName,
    kind: Annotated[
        str, typer.Option(help="ivfpq (small), sq8 (exacter), hnsw (fast, large), cagra (hnsw, made on a GPU).")
    ] = "ivfpq",
    space: Annotated[
        list[str] | None, typer.Option(help="Space to index; may be repeated.", show_default="all")
    ] = None,
    recall: Annotated[
        float, typer.Option(min=0.01, max=1.0, metavar="SHARE", help="Wanted of the exact best 10.")
    ] = 0.95,
    wait: Wait = 0.0,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Build approximate indexes for a collection too large to scan; their measured recall is told and kept."""
    from wildsat_core.collection import open_collection
    from wildsat_core.search.ann import build_ann
    from wildsat_core.search.scorer import ANN_ROWS

    root = collection_root(name, collections, store)
    held = open_collection(root).spaces
    unknown = [wanted for wanted in space or [] if wanted not in held]
    if unknown:
        raise InvalidInputError(f"{name!r} has no space {unknown[0]!r}, it has: {', '.join(held)}", "space")
    for wanted in [s for s in held if space is None or s in space]:
        with Console(stderr=True).status(f"building {kind} over the {wanted} space"):
            manifest = build_ann(open_collection(root), wanted, kind, least_recall=recall, wait_s=wait)
        made = manifest.ann[wanted]
        settings = ", ".join(f"{key} {value}" for key, value in made.search.items())
        typer.echo(
            f"{wanted}: {kind}, {made.info.bytes / 1e6:.1f} MB, {settings}, "
            f"recall@10 {made.recall_at_10:.3f}, recall@20 {made.recall_at_20:.3f}"
        )
        if made.recall_at_10 < recall:
            typer.echo(
                f"{wanted}: that is the most that {kind} reaches, less than the {recall:g} asked for; it is kept, and "
                "answers tell its recall. --kind sq8 is exacter; without an index the scan is exact.",
                err=True,
            )
    if len(collection := open_collection(root)) < ANN_ROWS:
        typer.echo(
            f"Answers use an index from {ANN_ROWS:,} tiles on and this collection has {len(collection):,}: it is "
            "scanned exactly, unless the service is told otherwise by WILDSAT_ANN_ROWS.",
            err=True,
        )


def gc(
    name: CollectionName,
    grace: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Keep generations that were live within so long.")
    ] = 3600.0,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also what interrupted builds of the last week would go on from.")
    ] = False,
    wait: Wait = 0.0,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Remove the files of old generations, once their grace period is over."""
    from wildsat_core.collection.garbage import UNFINISHED_S, collect_garbage

    root = collection_root(name, collections, store)
    unfinished_s = 0 if unfinished else UNFINISHED_S
    removed = collect_garbage(root, grace_s=grace, unfinished_s=unfinished_s, wait_s=wait)
    for path in removed:
        typer.echo(f"removed {path}")
    typer.echo(f"{len(removed)} files and folders removed")


def stats(
    name: CollectionName,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Say how a collection's tiles are spread over countries, years, months and sources."""
    from wildsat_core.collection import open_collection

    facts = collection_stats(open_collection(collection_root(name, collections, store)))
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    for heading, values in facts.items():
        shown = (
            values if not isinstance(values, dict) else ", ".join(f"{k} {n:,}" for k, n in list(values.items())[:12])
        )
        typer.echo(f"{heading.ljust(10)}  {shown}")


def export(
    name: CollectionName,
    path: Annotated[Path, typer.Argument(help="The GeoParquet file to write.")],
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Write a collection as one GeoParquet file with vectors and thumbnails, which `import` takes again."""
    from indexer.vectors.exchange import export_collection
    from wildsat_core.collection import open_collection

    collection = open_collection(collection_root(name, collections, store))
    with progress_bar("tiles", len(collection)) as advance:
        written = export_collection(collection, path, advance)
    typer.echo(f"{written:,} tiles written to {path}, {path.stat().st_size / 2**20:,.1f} MiB")


def import_(
    name: Annotated[str, typer.Argument(help="Name of the collection to make, or to add to.")],
    path: Annotated[Path, typer.Argument(help="Parquet file: exported here, or any with a place and a vector a row.")],
    space: Annotated[str, typer.Option(help=f"Which space given vectors are: {', '.join(SPACES)}.")] = "image",
    column: Annotated[str, typer.Option(help="Column of given vectors.")] = "embedding",
    metric: Annotated[str, typer.Option(help="How given vectors are compared: cosine or inner_product.")] = "cosine",
    made_by: Annotated[
        str | None, typer.Option(help="Which model made given vectors: an installed one, or a name.")
    ] = None,
    attribution: Annotated[str, typer.Option(help="Who must be named beside the imagery.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace tiles that are there already.")] = False,
    max_bad: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="SHARE", help="Most bad rows among all.", show_default="half, or three"),
    ] = None,
    wait: Wait = 0.0,
    collections: CollectionsFolder = Path("collections"),
    store: StoreAddress = None,
) -> None:
    """Make a collection of ready vectors: of a file exported here, or, with --made-by, of any Parquet file.

    Such a file needs an id (tile_id, item_id, …), a place (geometry, bbox, or lon and lat) and a list of numbers in
    each row; a date and a cloud cover are taken when there are any.
    """
    from indexer.pipeline.options import BuildOptions
    from indexer.vectors.exchange import import_collection
    from indexer.vectors.files import given_vectors
    from wildsat_core.collection.writer import check_collection_name

    given = None if made_by is None else given_vectors(path, column, space, metric, made_by)
    facts = {"attribution": attribution} if attribution else {}
    options = BuildOptions(on_known="replace" if replace else "skip", wait_s=wait, max_bad=max_bad)
    root = folder_of(name, collections, store) / check_collection_name(name)
    with progress_bar("rows", None) as advance:
        manifest = import_collection(path, root, given, advance, facts, options)
    typer.echo(f"{name}: {manifest.tiles:,} tiles, generation {manifest.generation}, model {manifest.model.name}")


def collection_stats(collection: Collection) -> dict[str, Any]:
    """Counts of the live tiles by country, year, month and source, the commonest first; JSON values."""
    tiles, live = collection.tiles, collection.tiles.live
    codes = [tiles.countries[i] if i >= 0 else "none" for i in tiles.country[live]]
    days = tiles.captured_on[live]
    known = days[~np.isnat(days)]
    years = known.astype("datetime64[Y]").astype(int) + 1970
    months = known.astype("datetime64[M]").astype(int) % 12 + 1
    sources = tiles.column("source").filter(live).to_pylist()
    return {
        "tiles": int(live.sum()),
        "undated": int(len(days) - len(known)),
        "countries": dict(Counter(codes).most_common()),
        "years": {str(year): n for year, n in sorted(Counter(years.tolist()).items())},
        "months": {str(month): n for month, n in sorted(Counter(months.tolist()).items())},
        "sources": dict(Counter(sources).most_common()),
    }


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise InvalidInputError(f"--ids-file {path} can't be read as a text of ids: {err}", "ids-file") from err
    return [line.strip() for line in lines if line.strip()]


def _filters(bbox: str | None, area: Path | None, since: str | None, until: str | None) -> Filters:
    from wildsat_core.search.query import Filters

    return Filters(
        bbox=parse_bbox(bbox) if bbox else None,
        area=Area.from_file(area) if area else None,
        date_from=parse_day(since, "from"),
        date_to=parse_day(until, "to"),
    )


def _rows_meeting(
    collection: Collection, ids: list[str] | None, filters: Filters, source: str | None
) -> npt.NDArray[np.int64]:
    """Live rows that meet all conditions given, by the search's own exact filters."""
    from wildsat_core.search.filters import BlockBoxes, passing_rows

    passing = passing_rows(collection, BlockBoxes.of(collection), filters)
    rows = np.flatnonzero(collection.tiles.live) if passing is None else passing
    if ids is not None:
        rows = np.intersect1d(rows, collection.tiles.rows_of(ids))
    if source is not None:
        names = np.array(collection.tiles.column("source").to_pylist(), object)
        rows = rows[names[rows] == source]
    return rows
